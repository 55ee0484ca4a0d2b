//! Whether the machine has a GPU, by its files: what libtorch makes of one, the worker alone can say.

use std::path::Path;

/// Whether NVIDIA's driver has a device on the machine whose root folder is `root`.
pub(crate) fn has_nvidia_gpu(root: &Path) -> bool {
    let devices = std::fs::read_dir(root.join("proc/driver/nvidia/gpus"));
    devices.is_ok_and(|mut devices| devices.next().is_some()) || root.join("dev/nvidia0").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_found_by_its_driver_or_its_device() {
        let root = tempfile::tempdir().unwrap();
        let has = || has_nvidia_gpu(root.path());
        let path = |name: &str| root.path().join(name);
        assert!(!has());
        // The driver alone is there on a machine whose device is not.
        std::fs::create_dir_all(path("proc/driver/nvidia/gpus")).unwrap();
        assert!(!has());
        std::fs::create_dir(path("proc/driver/nvidia/gpus/0000:01:00.0")).unwrap();
        assert!(has());
        std::fs::remove_dir_all(path("proc")).unwrap();
        assert!(!has());
        // A container may see the device and nothing of the driver's folder.
        std::fs::create_dir(path("dev")).unwrap();
        std::fs::write(path("dev/nvidia0"), "").unwrap();
        assert!(has());
    }
}
