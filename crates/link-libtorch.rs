//! Build script shared by every crate whose binaries or tests link libtorch: puts libtorch's folder on their run path,
//! so that they start from anywhere, and has those that compute load libtorch's CUDA part where there is one.

use std::path::Path;

/// The package whose other programs do without libtorch, and the one that computes.
const COMMAND_LINE: (&str, &str) = ("patchwork", "patchwork-worker");

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Ok(libtorch) = std::env::var("LIBTORCH") else {
        return;
    };
    let lib = Path::new(&libtorch).join("lib");
    // Another build of libtorch may come to lie in the same folder.
    println!("cargo:rerun-if-changed={}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let cuda = lib.join("libtorch_cuda.so");
    if cuda.exists() {
        // No symbol of it is asked for: it announces its devices as it is loaded, and a linker would leave it out.
        let argument = format!("-Wl,--no-as-needed,{},--as-needed", cuda.display());
        let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
        if package == COMMAND_LINE.0 {
            println!("cargo:rustc-link-arg-bin={}={argument}", COMMAND_LINE.1);
        } else {
            println!("cargo:rustc-link-arg={argument}");
        }
    }
}
