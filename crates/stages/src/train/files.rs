//! The names of a train stage's files in its artifact.

/// The final network.
pub(crate) const NETWORK_FILE: &str = "network.safetensors";

/// The best network, where snapshots are measured.
pub(crate) const BEST_FILE: &str = "best.safetensors";

/// The last checkpoint, where `keep_checkpoint` has it kept.
pub(super) const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// What the names of the snapshots' files begin with.
pub(super) const SNAPSHOT_PREFIX: &str = "snapshot-";

/// The network at an image count at which it was kept.
pub(crate) fn snapshot_file(images: u64) -> String {
    format!("{SNAPSHOT_PREFIX}{images:09}.safetensors")
}
