//! Which pictures are meant.

use std::path::Path;

use patchwork_core::durable;

use crate::error::CliError;

/// Where data sets lie that nobody has named.
const DATA: &str = "data";

/// The source that was named, or the only one in the folder `data`.
pub(super) fn chosen(named: Option<&str>) -> Result<String, CliError> {
    if let Some(source) = named {
        return Ok(source.to_owned());
    }
    let folder = Path::new(DATA);
    let mut entries = if folder.is_dir() {
        durable::list(folder)?
    } else {
        Vec::new()
    };
    entries.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.')
    });
    let names: Vec<String> = (entries.iter())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    match &names[..] {
        [only] => Ok(only.clone()),
        _ => Err(CliError::WhichSource { found: names }),
    }
}

/// The name of a pipeline for a source: the last part of its path without the endings of archives, in the letters that
/// names of pipelines have.
pub(super) fn pipeline_name(source: &str) -> String {
    const ENDINGS: [&str; 10] = [
        ".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".parquet", ".lmdb", ".gz", ".zst",
    ];
    /// The most characters of a name, less room for the numbers of runs.
    const MOST: usize = 48;
    let absolute = Path::new(source).canonicalize();
    let path = absolute.as_deref().unwrap_or(Path::new(source));
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut stem = file.to_lowercase();
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)) {
        stem = shorter.to_owned();
    }
    // `builtin:twemoji`
    let stem = stem.rsplit(':').next().unwrap_or_default();
    let mut name = String::new();
    for character in stem.chars() {
        if character.is_ascii_alphanumeric() || character == '_' {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == MOST {
            break;
        }
    }
    let name = name.trim_matches(['-', '_']);
    if name.is_empty() {
        "pictures".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use patchwork_core::name::is_plain;

    use super::*;

    #[test]
    fn names_are_made_of_whatever_a_source_is_called() {
        for (source, expected) in [
            ("data/Pets", "pets"),
            ("data/2024_01/", "2024_01"),
            ("my cats & dogs.tar.gz", "my-cats-dogs"),
            ("-x.zip", "x"),
            ("__MACOSX", "macosx"),
            ("Ünïcödé Bilder", "n-c-d-bilder"),
            ("花", "pictures"),
            ("builtin:twemoji", "twemoji"),
            (".", ""),
        ] {
            let name = pipeline_name(source);
            assert!(is_plain(&name), "{name}");
            assert!(expected.is_empty() || name == expected, "{source}: {name}");
        }
        assert!(is_plain(&pipeline_name(&"long ".repeat(40))));
    }
}
