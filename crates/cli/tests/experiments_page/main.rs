//! docs/experiments.md is made of the scores in docs/experiments: its tables and plots are current.
//!
//! `just experiments` writes them again. A folder has the export of one experiment, a file a metric.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod plots;
mod scores;
mod tables;

use std::path::{Path, PathBuf};

/// The distance that a table is ordered by, and that is plotted.
const DISTANCE: &str = "fd_efficientnet_lite0";

/// The files of an experiment's plots.
const PLOTS: [&str; 2] = ["by-images.png", "by-time.png"];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The folder of each experiment that has scores, by name.
fn measured() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(docs().join("experiments")).unwrap();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The page with each generated part in its place, between `<!-- NAME -->` and `<!-- end of NAME -->`.
fn renewed(page: &str) -> String {
    let mut renewed = page.to_owned();
    for folder in measured() {
        let name = folder.file_name().unwrap().to_string_lossy();
        let place = |mark: &str| {
            let found = renewed.find(mark);
            found.unwrap_or_else(|| panic!("docs/experiments.md has no `{mark}`"))
        };
        let start = format!("<!-- {name} -->\n");
        let (from, to) = (
            place(&start) + start.len(),
            place(&format!("<!-- end of {name} -->")),
        );
        let links = PLOTS.map(|file| format!("![distance of {name}](experiments/{name}/{file})\n"));
        let part = format!("{}\n{}", tables::tables(&folder), links.concat());
        renewed.replace_range(from..to, &part);
    }
    renewed
}

/// Each plot with its file.
fn plots() -> Vec<(PathBuf, Vec<u8>)> {
    let of = |folder: PathBuf| {
        let files = PLOTS.map(|file| folder.join(file));
        files.into_iter().zip(plots::plots(&folder))
    };
    measured().into_iter().flat_map(of).collect()
}

#[test]
fn the_page_of_experiments_is_current() {
    let path = docs().join("experiments.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let renewed = renewed(&page);
    let plots = plots();
    if std::env::var_os("PATCHWORK_WRITE_EXPERIMENTS").is_some() {
        std::fs::write(&path, &renewed).unwrap();
        for (path, plot) in &plots {
            std::fs::write(path, plot).unwrap();
        }
    }
    let current = std::fs::read_to_string(&path).unwrap();
    assert!(
        current == renewed,
        "docs/experiments.md is stale; `just experiments` writes it"
    );
    for (path, plot) in plots {
        let current = std::fs::read(&path).unwrap_or_default();
        assert!(
            current == plot,
            "{} is stale; `just experiments` writes it",
            path.display()
        );
    }
}

/// Every experiment that ships is on the page, measured or said to be unmeasured with its command.
#[test]
fn every_experiment_is_on_the_page() {
    let page = std::fs::read_to_string(docs().join("experiments.md")).unwrap();
    let experiments = docs().join("../pipelines/experiments");
    for entry in std::fs::read_dir(experiments).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        let command = format!("./justw pipeline experiments/{name}");
        assert!(
            page.contains(&command),
            "`{command}` is missing in docs/experiments.md"
        );
    }
}
