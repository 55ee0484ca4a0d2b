//! What `precision = "auto"` means.

use patchwork_terms::Precision;

use crate::error::SpecifyError;
use crate::pipeline::Stage;

/// The precision that `auto` means on this machine for a device: bfloat16 where the processor computes it in hardware
/// (or on a CUDA device, all of which of the last years do), float32 elsewhere.
pub fn automatic(device: &str) -> Precision {
    if device.starts_with("cuda") || cpu_has_bfloat16() {
        Precision::Bfloat16
    } else {
        Precision::Float32
    }
}

/// The precision that a wished one means for a device; none for float16 on a CPU, which would compute slower in it
/// than in float32.
pub fn resolve(precision: Precision, device: &str) -> Option<Precision> {
    match precision {
        Precision::Auto => Some(automatic(device)),
        Precision::Float16 if !device.starts_with("cuda") => None,
        chosen => Some(chosen),
    }
}

/// The precision of a stage on its device.
pub(crate) fn resolved_precision(
    wished: Precision,
    stage: &Stage,
) -> Result<Precision, SpecifyError> {
    resolve(wished, &stage.execution.device).ok_or_else(|| SpecifyError::Float16OnCpu {
        stage: stage.name.clone(),
    })
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bfloat16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bfloat16() -> bool {
    false
}
