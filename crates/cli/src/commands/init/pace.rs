//! The speed of this machine.

/// What training takes here.
pub(super) struct Measured {
    /// Images a step of whole images.
    pub(super) batch_size: u32,
    /// Parts of a step, with which it fits into memory.
    pub(super) gradient_accumulation: u32,
    /// Images that training sees in a second.
    pub(super) images_per_second: f64,
    /// The memory of a step; none on a GPU.
    pub(super) memory_bytes: Option<u64>,
    /// The time of a sample.
    pub(super) seconds_per_sample: f64,
}
