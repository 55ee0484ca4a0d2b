//! The device that the cases are computed on.

use tch::Device;

/// Chooses the device; unset = the CPU.
const VARIABLE: &str = "PATCHWORK_DEVICE";

/// The device that `PATCHWORK_DEVICE` names.
///
/// # Panics
/// Where there is no such device, and on CUDA where TF32 may be on: the cases are float32's.
pub(crate) fn device() -> Device {
    let name = std::env::var(VARIABLE).unwrap_or_else(|_| "cpu".to_owned());
    let index = match name.as_str() {
        "cpu" => return Device::Cpu,
        "cuda" => Ok(0),
        _ => name.strip_prefix("cuda:").unwrap_or(&name).parse(),
    };
    let index: usize =
        index.unwrap_or_else(|_| panic!("{VARIABLE} is `{name}`: say `cpu`, `cuda` or `cuda:N`"));
    let found = tch::Cuda::device_count();
    assert!(
        (index as i64) < found,
        "{VARIABLE} is `{name}`, and libtorch sees {found} CUDA devices"
    );
    assert!(
        std::env::var("NVIDIA_TF32_OVERRIDE").is_ok_and(|value| value == "0"),
        "on CUDA set NVIDIA_TF32_OVERRIDE=0: convolutions would be in TF32"
    );
    Device::Cuda(index)
}
