//! A folder of NumPy's `.npy` files, one an image, as EDM2's `dataset_tool.py encode` writes it; labels come from its
//! `dataset.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use patchwork_core::{durable, file_error};
use serde::Deserialize;

use super::source::{LatentSource, Stored};
use crate::error::DatasetError;

/// What begins every file (NumPy's format description, `numpy.lib.format`).
const MAGIC: &[u8] = b"\x93NUMPY";

/// Deepest nesting of folders.
const MAX_DEPTH: usize = 16;

/// The list of labels that EDM's tools write.
const DATASET_JSON: &str = "dataset.json";

pub(super) struct NpySource {
    folder: PathBuf,
    /// Paths in the folder, sorted.
    names: Vec<String>,
    labels: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Option<Vec<(String, u32)>>,
}

impl NpySource {
    pub(super) fn open(folder: &Path) -> Result<Self, DatasetError> {
        let mut names = Vec::new();
        collect(folder, "", 0, &mut names)?;
        names.sort_unstable();
        let json = folder.join(DATASET_JSON);
        let labels = if json.is_file() {
            let listed: Labels =
                serde_json::from_slice(&file_error::read(&json)?).map_err(|cause| {
                    DatasetError::Archive {
                        path: json.clone(),
                        problem: cause.to_string(),
                    }
                })?;
            listed.labels.unwrap_or_default().into_iter().collect()
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            folder: folder.to_owned(),
            names,
            labels,
        })
    }
}

impl LatentSource for NpySource {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn files(&self) -> Vec<PathBuf> {
        let json = Some(DATASET_JSON.to_owned());
        let names = self.names.iter().cloned().chain(json);
        let paths = names.map(|name| self.folder.join(name));
        paths.filter(|path| path.is_file()).collect()
    }

    fn key(&self, image: usize) -> String {
        self.names[image].clone()
    }

    fn label(&self, image: usize) -> Option<u32> {
        self.labels.get(&self.names[image]).copied()
    }

    fn read(&self, image: usize) -> Result<Result<Stored, String>, DatasetError> {
        let bytes = file_error::read(&self.folder.join(&self.names[image]))?;
        Ok(parse(&bytes))
    }
}

fn collect(
    folder: &Path,
    within: &str,
    depth: usize,
    names: &mut Vec<String>,
) -> Result<(), DatasetError> {
    if depth > MAX_DEPTH || !folder.is_dir() {
        return Ok(());
    }
    for path in durable::list(folder)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.is_dir() {
            collect(&path, &format!("{within}{name}/"), depth + 1, names)?;
        } else if path.extension().is_some_and(|ending| ending == "npy") {
            names.push(format!("{within}{name}"));
        }
    }
    Ok(())
}

/// One array of three dimensions.
fn parse(bytes: &[u8]) -> Result<Stored, String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it is not an array of NumPy")?;
    let (version, rest) = rest
        .split_at_checked(2)
        .ok_or("it ends within its header")?;
    let (length, rest) = match (version[0], rest) {
        (1, [low, high, rest @ ..]) => (usize::from(u16::from_le_bytes([*low, *high])), rest),
        (2 | 3, [a, b, c, d, rest @ ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("its header is of an unknown version".to_owned()),
    };
    let (header, data) = rest
        .split_at_checked(length)
        .ok_or("it ends within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is not text".to_owned())?;
    let Header { kind, shape } = parse_header(header)?;
    let count = shape
        .iter()
        .try_fold(1_usize, |count, side| count.checked_mul(*side))
        .ok_or("its shape is too large")?;
    let width = kind.bytes();
    if count.checked_mul(width) != Some(data.len()) {
        return Err(format!(
            "its shape {shape:?} does not fit its {} bytes of data",
            data.len()
        ));
    }
    let values = match kind {
        Element::F16 => (data.as_chunks::<2>().0.iter())
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect(),
        Element::F32 => (data.as_chunks::<4>().0.iter())
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        Element::F64 => (data.as_chunks::<8>().0.iter())
            .map(|bytes| f64::from_le_bytes(*bytes) as f32)
            .collect(),
    };
    Ok(Stored { shape, values })
}

#[derive(Clone, Copy)]
enum Element {
    F16,
    F32,
    F64,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

struct Header {
    kind: Element,
    shape: [usize; 3],
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (8, 32, 32), }`
fn parse_header(text: &str) -> Result<Header, String> {
    let after = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}'"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let missing = |key: &str| format!("its header is missing `{key}`");
    let descr = after("descr")
        .and_then(|rest| rest.strip_prefix('\'')?.split_once('\''))
        .ok_or_else(|| missing("descr"))?
        .0;
    let kind = match descr {
        "<f2" => Element::F16,
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        other => return Err(format!("its elements are `{other}`, not floating point")),
    };
    let is_row_major = after("fortran_order").is_some_and(|rest| rest.starts_with("False"));
    if !is_row_major {
        return Err("its elements are in Fortran's order".to_owned());
    }
    let shape = after("shape")
        .and_then(|rest| rest.strip_prefix('(')?.split_once(')'))
        .ok_or_else(|| missing("shape"))?
        .0;
    let sides: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .map(|side| side.parse().map_err(|_| missing("shape")))
        .collect::<Result<_, _>>()?;
    let shape = <[usize; 3]>::try_from(sides)
        .map_err(|sides| format!("it has the shape {sides:?}, not channels, height and width"))?;
    Ok(Header { kind, shape })
}
