//! Who may depend on whom, as docs/architecture.md says.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// For each crate of the workspace, everything that it is built from, directly or not.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(crate::program::workspace().join("Cargo.toml"))
        .other_options(vec!["--offline".to_owned(), "--locked".to_owned()])
        .exec()
        .unwrap();
    let graph = metadata.resolve.as_ref().unwrap();
    let normal: BTreeMap<_, Vec<_>> = graph
        .nodes
        .iter()
        .map(|node| {
            let needs = node
                .deps
                .iter()
                .filter(|dependency| {
                    dependency
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind == DependencyKind::Normal)
                })
                .map(|dependency| dependency.pkg.clone())
                .collect();
            (node.id.clone(), needs)
        })
        .collect();
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let mut found = BTreeSet::new();
            let mut open = vec![package.id.clone()];
            while let Some(next) = open.pop() {
                for need in &normal[&next] {
                    if found.insert(metadata[need].name.to_string()) {
                        open.push(need.clone());
                    }
                }
            }
            (package.name.to_string(), found)
        })
        .collect()
}

#[test]
fn crates_know_only_what_they_may() {
    let dependencies = dependencies();
    let check = |library: &str, allowed: &[&str]| {
        for (name, needs) in &dependencies {
            let may = allowed.contains(&name.as_str());
            assert!(
                may || !needs.contains(library),
                "`{name}` reaches `{library}`"
            );
        }
    };
    let with_program = |allowed: &[&'static str]| [allowed, &["patchwork"]].concat();
    check("clap", &["patchwork"]);
    check(
        "sqlx",
        &with_program(&[
            "patchwork-registry",
            "patchwork-pipeline",
            "patchwork-stages",
        ]),
    );
    check(
        "parquet",
        &with_program(&["patchwork-dataset", "patchwork-stages"]),
    );
    check(
        "polars",
        &with_program(&["patchwork-dataset", "patchwork-stages"]),
    );
    check(
        "tch",
        &with_program(&[
            "patchwork-networks",
            "patchwork-diffusion",
            "patchwork-metrics",
            "patchwork-stages",
        ]),
    );
}
