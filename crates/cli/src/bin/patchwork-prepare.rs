//! The program that prepares data sets: started by `patchwork`, as `patchwork-worker` is for all other stages.
//!
//! It does without libtorch, which takes a third of a second to load.

use std::process::ExitCode;

/// As in the worker that computes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    patchwork_artifacts::worker::run(patchwork_recipes::check_format, patchwork_preparation::run)
}
