//! Reading a pipeline's file and the presets that it extends.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use patchwork_core::{FileError, file_error};
use toml::de::DeTable;

use crate::error::{ConfigError, Problem};
use crate::tree::{Data, Node, Places, Table};

/// A file with all that it extends.
pub(crate) struct Layers {
    /// The file laid over the preset that its `extends` names, and so on; without `extends` itself.
    pub(crate) merged: Table,
    /// What `extends` says, and the preset with all that it extends in turn.
    pub(crate) preset: Option<(String, Table)>,
}

/// Reads a file and all that it extends.
pub(crate) fn read(path: &Path) -> Result<Layers, ConfigError> {
    read_below(path, &mut Vec::new()).map_err(|error| match error {
        ReadError::File(cause) => ConfigError {
            location: None,
            problem: Box::new(Problem::File(cause)),
        },
        ReadError::Config(error) => error,
    })
}

/// A file's own failure is reported where it was named, which only the caller knows.
enum ReadError {
    File(FileError),
    Config(ConfigError),
}

impl From<ConfigError> for ReadError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// `chain` holds the true paths of the files that led here.
fn read_below(path: &Path, chain: &mut Vec<PathBuf>) -> Result<Layers, ReadError> {
    let true_path = path
        .canonicalize()
        .map_err(|cause| ReadError::File(FileError::new("read", path, cause)))?;
    let text = file_error::read_to_string(path).map_err(ReadError::File)?;
    let places = Places::of_file(Arc::from(without_detours(path)), &text);
    let parsed = DeTable::parse(&text).map_err(|error| places.syntax_error(&error))?;
    let mut table = places.table(parsed.get_ref())?;
    let Some(extends) = table.remove("extends") else {
        return Ok(Layers {
            merged: table,
            preset: None,
        });
    };

    let named = base_name(&extends.value)?;
    let base = path.parent().unwrap_or(Path::new("")).join(named);
    let returns = base
        .canonicalize()
        .is_ok_and(|base| base == true_path || chain.contains(&base));
    chain.push(true_path);
    if returns {
        let mut files: Vec<_> = chain.iter().map(|file| file_name(file)).collect();
        files.push(file_name(&base));
        return Err(ConfigError::at(&extends.value.location, Problem::ExtendsCycle(files)).into());
    }
    let below = read_below(&base, chain).map_err(|error| match error {
        ReadError::File(cause) => ReadError::Config(ConfigError::at(
            &extends.value.location,
            Problem::File(cause),
        )),
        ReadError::Config(error) => ReadError::Config(error),
    })?;
    let mut merged = below.merged.clone();
    merged.merge(table);
    Ok(Layers {
        merged,
        preset: Some((named.to_owned(), below.merged)),
    })
}

/// The preset's path, relative to the file.
fn base_name(extends: &Node) -> Result<&str, ConfigError> {
    let Data::Text(base) = &extends.data else {
        let problem = Problem::WrongType {
            key: "extends".to_owned(),
            section: String::new(),
            expected: "a string".to_owned(),
            found: extends.data.to_string(),
            nearest: None,
        };
        return Err(ConfigError::at(&extends.location, problem));
    };
    Ok(base)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// `pipelines/../configs/x.toml` as `configs/x.toml`, for messages; never for opening, since a
/// link in the path could make these two files.
fn without_detours(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        let ends_in_name = matches!(plain.components().next_back(), Some(Component::Normal(_)));
        if component == Component::ParentDir && ends_in_name {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}
