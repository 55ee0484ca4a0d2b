//! Files of artifacts: those that a manifest lists, and pictures of an artifact in the making. No path from a request
//! reaches the file system: a name is looked up in a list, and links are not followed.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use crate::error::DashboardError;

/// A manifest is a few kilobytes; one beyond this is not read.
const LARGEST_MANIFEST: u64 = 64 << 20;
/// Bytes read from a file at a time.
const CHUNK: usize = 256 << 10;

/// The manifest of an artifact, if there is one that can be read.
pub(crate) fn manifest(folder: &Path) -> Option<Value> {
    let file = open(&folder.join("manifest.json")).ok()?;
    let mut text = String::new();
    file.take(LARGEST_MANIFEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The names of the files that a manifest lists.
pub(crate) fn listed(manifest: &Value) -> Vec<&str> {
    let files = manifest["files"].as_array();
    let names = files.into_iter().flatten();
    names.filter_map(|file| file["path"].as_str()).collect()
}

/// Whether a name is one component of a path and nothing else.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0'])
        && Path::new(name).components().count() == 1
}

/// Whether a file is a picture, by its name.
pub(crate) fn is_picture(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "png")
}

/// The names of the pictures in a folder where an artifact is being made.
pub(crate) fn pictures_in_the_making(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_plain_name(name) && is_picture(name))
        .collect();
    names.sort_unstable();
    names
}

/// Opens a regular file; links, pipes and devices are refused.
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("not a regular file"))
    }
}

/// A whole small file, such as a picture for a report.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DashboardError> {
    let failed = |source| DashboardError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let mut file = open(path).map_err(failed)?;
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Width and height of a PNG, by its header.
pub(crate) fn png_size(path: &Path) -> Option<[u32; 2]> {
    let mut header = [0; 24];
    open(path).ok()?.read_exact(&mut header).ok()?;
    let number = |at: usize| Some(u32::from_be_bytes(header[at..at + 4].try_into().ok()?));
    let is_png = header.starts_with(b"\x89PNG\r\n\x1a\n") && &header[12..16] == b"IHDR";
    is_png.then(|| Some([number(16)?, number(20)?]))?
}

/// The end of a text file from a byte on: at most `most` bytes, and the offset at which they end.
pub(crate) fn tail(path: &Path, from: Option<u64>, most: u64) -> Option<(String, u64)> {
    use std::io::{Seek, SeekFrom};
    let mut file = open(path).ok()?;
    let len = file.metadata().ok()?.len();
    let earliest = len.saturating_sub(most);
    let begin = match from {
        Some(from) if from <= len => from.max(earliest),
        _ => earliest,
    };
    file.seek(SeekFrom::Start(begin)).ok()?;
    let mut bytes = Vec::new();
    file.take(len - begin).read_to_end(&mut bytes).ok()?;
    let end = begin + bytes.len() as u64;
    Some((String::from_utf8_lossy(&bytes).into_owned(), end))
}

/// A file as an answer, with a tag by which a browser asks for it only when it has changed. Finished artifacts never
/// change.
pub(crate) fn answer(
    path: &Path,
    headers: &HeaderMap,
    is_finished: bool,
) -> Result<Response, DashboardError> {
    let file = open(path).map_err(|source| DashboardError::File {
        path: path.to_owned(),
        source,
    });
    let Ok(file) = file else {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(DashboardError::Absent(format!("file `{name}`")));
    };
    let metadata = file.metadata().map_err(|source| DashboardError::File {
        path: path.to_owned(),
        source,
    })?;
    let tag = format!(
        "\"{:x}-{:x}-{:x}{:x}\"",
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let mut answer_headers = HeaderMap::new();
    let control = if is_finished {
        "private, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    answer_headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer_headers.insert(header::ETAG, tag);
    }
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, answer_headers).into_response());
    }
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    };
    answer_headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer_headers.insert(header::CONTENT_LENGTH, metadata.len().into());
    Ok((answer_headers, stream(file, metadata.len())).into_response())
}

/// Read as it is sent, so that a network of a gigabyte takes no memory.
fn stream(file: std::fs::File, len: u64) -> Body {
    let state = (Some(file.take(len)), len);
    Body::from_stream(futures_util::stream::try_unfold(
        state,
        |(file, left)| async move {
            let Some(mut file) = file.filter(|_| left > 0) else {
                return Ok::<_, std::io::Error>(None);
            };
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK];
                let read = file.read(&mut chunk)?;
                chunk.truncate(read);
                Ok::<_, std::io::Error>((chunk, file))
            });
            let (chunk, file) = read.await.map_err(std::io::Error::other)??;
            if chunk.is_empty() {
                return Err(std::io::Error::other("the file became shorter"));
            }
            let left = left - chunk.len() as u64;
            Ok(Some((chunk, (Some(file), left))))
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::is_plain_name;

    #[test]
    fn a_name_leads_nowhere_else() {
        for name in ["demo-1", "sample", "snapshot-000600.png", "a b", "ü"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in [
            "", ".", "..", "../x", "a/b", "/etc", "a\\b", ".hidden", "a\0b", "a/",
        ] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
