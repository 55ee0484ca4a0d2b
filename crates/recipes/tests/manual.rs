//! What is generated from the settings' types is current: the reference page and the schema of pipeline files.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::{Path, PathBuf};

use patchwork_recipes::manual::{pipeline_schema, settings_page};

/// Set, the files are written rather than compared: `just settings`.
const WRITE: &str = "PATCHWORK_WRITE_SETTINGS";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(path: &str, current: &str) {
    let path = workspace().join(path);
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "`{}` is not what the settings' types say: `just settings` renews it",
        path.display()
    );
}

#[test]
fn the_reference_of_settings_is_current() {
    check("docs/reference/settings.md", &settings_page());
}

#[test]
fn the_schema_of_pipeline_files_is_current() {
    let schema = serde_json::to_string_pretty(&pipeline_schema()).unwrap();
    check("schemas/pipeline.json", &format!("{schema}\n"));
}

/// A first line by which editors find the schema, in every file that ships.
#[test]
fn files_that_ship_name_the_schema() {
    let mut files = 0;
    for (folder, schema) in [
        ("pipelines", "../schemas/pipeline.json"),
        ("pipelines/experiments", "../../schemas/pipeline.json"),
        ("configs", "../schemas/pipeline.json"),
    ] {
        for entry in std::fs::read_dir(workspace().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let first = format!("#:schema {schema}\n");
            assert!(text.starts_with(&first), "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 28, "{files}");
}

/// Every key has its meaning, in the page and in the editor.
#[test]
fn every_setting_is_documented() {
    let page = settings_page();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(rows.len() > 100, "{}", rows.len());
    for row in rows {
        let meaning = row
            .trim_end_matches('|')
            .rsplit(" | ")
            .next()
            .unwrap_or_default();
        assert!(
            meaning.trim().ends_with(['.', '`']) || meaning.contains("<br>"),
            "{row}"
        );
    }
}
