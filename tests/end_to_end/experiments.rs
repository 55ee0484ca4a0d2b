//! The sweeps of the method's own settings that ship.

use crate::program::{Program, workspace};

#[test]
fn experiments_are_planned_from_their_folder() {
    let program = Program::new();
    let folder = workspace().join("pipelines/experiments");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let file = format!("pipelines/experiments/{name}");
        let output = program.run(&["run", &file, "--dry-run"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains("combination 1 of "), "{name}: {said}");
    }
}
