//! Build script shared by every crate whose binaries or tests link libtorch: puts libtorch's folder on their run path,
//! so that they start from anywhere, and has those that compute load libtorch's CUDA part where there is one.

use std::path::{Path, PathBuf};

/// The package whose other programs do without libtorch, and the one that computes.
const COMMAND_LINE: (&str, &str) = ("patchwork", "patchwork-worker");

pub(crate) fn main() {
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
        // No symbol of either is asked for, and a linker would leave them out. libtorch's CUDA part announces its devices as
        // it is loaded. CUDA's runtime compiler opens its built-ins by their bare name, which is found where they are loaded
        // already: cuDNN's and libtorch's own kernels that are compiled at run time fail without them.
        let mut libraries = vec![cuda];
        if let Some(built_ins) = built_ins(&lib) {
            if let Some(folder) = built_ins.parent().filter(|folder| *folder != lib) {
                println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
            }
            libraries.push(built_ins);
        }
        let libraries: Vec<String> = libraries
            .iter()
            .map(|library| library.display().to_string())
            .collect();
        let argument = format!("-Wl,--no-as-needed,{},--as-needed", libraries.join(","));
        let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
        if package == COMMAND_LINE.0 {
            println!("cargo:rustc-link-arg-bin={}={argument}", COMMAND_LINE.1);
        } else {
            println!("cargo:rustc-link-arg={argument}");
        }
    }
}

/// The built-ins of CUDA's runtime compiler: beside libtorch, or where its Python package requires them.
fn built_ins(lib: &Path) -> Option<PathBuf> {
    let packages = lib.join("../../nvidia");
    let folders = [
        lib.to_owned(),
        packages.join("cu13/lib"),
        packages.join("cuda_nvrtc/lib"),
    ];
    folders.iter().find_map(|folder| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // `libnvrtc-builtins.so.13.0`; an `.alt` is for old processors.
                name.starts_with("libnvrtc-builtins.so.") && !name.contains("alt")
            })
            .collect();
        found.sort();
        found.pop()
    })
}
