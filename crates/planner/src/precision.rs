//! What `precision = "auto"` means.

use patchwork_config::Precision;

/// The precision that is used on this machine for a device: bfloat16 where the processor computes it in hardware
/// (or on a CUDA device, all of which of the last years do), float32 elsewhere.
pub fn resolve(precision: Precision, device: &str) -> Precision {
    match precision {
        Precision::Auto if device.starts_with("cuda") || cpu_has_bfloat16() => Precision::Bfloat16,
        Precision::Auto => Precision::Float32,
        chosen => chosen,
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bfloat16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bfloat16() -> bool {
    false
}
