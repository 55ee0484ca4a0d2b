//! Compiles the C++ of `csrc/` against libtorch's headers, with NCCL and CUDA graphs where
//! libtorch's CUDA part and the headers of NCCL and CUDA are there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../link-libtorch.rs"]
mod link_libtorch;

fn main() {
    link_libtorch::main();
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    // torch-sys has found it, in whatever way.
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies");
    let lib = PathBuf::from(lib);
    let root = env::var_os("LIBTORCH_INCLUDE").map_or_else(|| parent(&lib), PathBuf::from);
    let include = root.join("include");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    embed(
        "csrc/normalization_kernels.h",
        &out.join("normalization_source.inc"),
    );
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .warnings(true)
        .define("USE_C10D_GLOO", None)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .define("GLOG_USE_GLOG_EXPORT", None)
        // libtorch holds Gloo without its headers; what c10d's own header needs of them is declared here.
        .include("csrc/gloo_declarations")
        .include(&out)
        // Not `include`: what is wrong in libtorch's headers is none of ours.
        .flag("-isystem")
        .flag(&include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .files([
            "csrc/boundary.cpp",
            "csrc/distributed.cpp",
            "csrc/kernels.cpp",
            "csrc/normalization.cpp",
            "csrc/optimizer.cpp",
            "csrc/streams.cpp",
        ]);
    if let Some(headers) = cuda_headers(&lib, &root) {
        build
            .define("USE_C10D_NCCL", None)
            .define("PW_CUDA", None)
            .include("csrc/cuda_declarations")
            .flag("-isystem")
            .flag(headers);
    }
    build.compile("patchwork_libtorch");
}

/// The folder of NCCL's headers and of those of CUDA's runtime, where libtorch has a CUDA part: the one that
/// `scripts/setup.sh` makes, or that of a toolkit.
fn cuda_headers(lib: &Path, root: &Path) -> Option<PathBuf> {
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    let toolkit = env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("include"));
    let own = root.join("cuda-include");
    // A path that is not there counts as changed, each time; libtorch's folder changes when it comes.
    if own.exists() {
        println!("cargo:rerun-if-changed={}", own.display());
    }
    lib.join("libtorch_cuda.so").exists().then_some(())?;
    let folders = toolkit.into_iter().chain([own, root.join("include")]);
    folders
        .filter(|folder| folder.join("cuda_runtime_api.h").exists())
        .find(|folder| folder.join("nccl.h").exists())
}

/// Writes a file of C++ as a literal of its text: what is compiled for a GPU is compiled where the GPU is.
fn embed(source: &str, literal: &Path) {
    let text = fs::read_to_string(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let literal_text = format!("R\"PATCHWORK({text})PATCHWORK\"\n");
    fs::write(literal, literal_text)
        .unwrap_or_else(|error| panic!("{}: {error}", literal.display()));
}

fn parent(lib: &Path) -> PathBuf {
    lib.parent().unwrap_or(lib).to_owned()
}
