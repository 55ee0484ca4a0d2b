//! `just bench dataset`: raw images to shards, and shards to batches, each against what Python does in the same run.
//!
//! The loader's share of a training step is measured by the benchmark of the same name in `crates/cli`.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

mod loader;
mod prepare;
#[path = "../../../../tests/support/readers.rs"]
mod readers;

fn main() {
    prepare::run();
    loader::run();
}
