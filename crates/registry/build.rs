//! Compiles the migrations in again whenever one changes.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
