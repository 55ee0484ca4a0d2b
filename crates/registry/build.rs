//! Compiles the migrations in anew whenever one changes.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
