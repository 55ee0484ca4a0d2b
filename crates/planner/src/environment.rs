//! What a worker's environment says to libtorch and to the libraries of CUDA, which read it as they are loaded.

use crate::precision::cpu_has_bfloat16;

/// The variables of a worker that runs networks on a device.
///
/// CPU: libtorch's kernels for AVX-512, which it leaves off because they slowed processors that clock down for them.
/// Those that compute bfloat16 in hardware are of a later kind.
///
/// CUDA: TF32 is on by default in convolutions and off in products, and is to be one or the other.
pub fn environment(device: &str, tf32: bool) -> Option<(&'static str, &'static str)> {
    if device != "cpu" {
        return Some(if tf32 {
            ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
        } else {
            ("NVIDIA_TF32_OVERRIDE", "0")
        });
    }
    cpu_has_bfloat16().then_some(("ATEN_CPU_CAPABILITY", "avx512"))
}
