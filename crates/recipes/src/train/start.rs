//! Network files that stages are given.

use std::io::Read;
use std::path::Path;

use patchwork_core::file_error;
use serde_json::Value;

/// A network's file in a format that stages do not read.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{path}` is not a safetensors file\nhint: `patchwork checkpoint import {path} --out network.safetensors` makes one of \
     a pickle of EDM or Patch Diffusion and of a file of torch.save"
)]
pub struct ExternalNetwork {
    path: String,
}

/// Refuses a file that does not begin as a safetensors file does: a length in eight bytes, then a JSON object.
///
/// A file that cannot be read is not refused here: who reads it says why.
pub fn check_format(path: &Path) -> Result<(), ExternalNetwork> {
    const LENGTH_BYTES: usize = 8;
    let mut start = Vec::new();
    let is_read = file_error::open(path).is_ok_and(|file| {
        file.take(LENGTH_BYTES as u64 + 1)
            .read_to_end(&mut start)
            .is_ok()
    });
    if is_read && start.get(LENGTH_BYTES) != Some(&b'{') {
        return Err(ExternalNetwork {
            path: path.display().to_string(),
        });
    }
    Ok(())
}

/// Images that the training of a checkpoint had seen; none for a file that does not say.
///
/// Reads the head of the file alone: its length, then JSON, in whose metadata the train stage keeps where training stood.
pub(crate) fn images_seen(checkpoint: &Path) -> Option<u64> {
    const LARGEST_HEADER: u64 = 100 << 20;
    let mut file = file_error::open(checkpoint).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length).min(LARGEST_HEADER))
        .read_to_end(&mut header)
        .ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    let state = header["__metadata__"]["patchwork.training"].as_str()?;
    let state: Value = serde_json::from_str(state).ok()?;
    state["position"]["images_seen"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("network");
        let starts: [(&[u8], bool); 4] = [
            (b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}", true),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}", false),
            (b"PK\x03\x04\0\0\x08\x08\0\0", false),
            (b"", false),
        ];
        for (bytes, is_ours) in starts {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(check_format(&file).is_ok(), is_ours, "{bytes:?}");
        }
        let refused = check_format(&file).unwrap_err().to_string();
        let command = format!("patchwork checkpoint import {} --out", file.display());
        assert!(refused.contains(&command), "{refused}");
        assert!(check_format(&folder.path().join("none")).is_ok());
    }
}
