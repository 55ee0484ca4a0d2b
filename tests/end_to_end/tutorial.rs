//! docs/tutorial.md works from top to bottom: its code blocks are run as they stand, for shorter times.

use std::path::Path;
use std::process::Command;

use crate::program::{Program, workspace};

/// The commands of the page, in their order; those of set-up, which are done already, are left out.
fn commands(page: &str) -> String {
    let blocks = page.split("\n```sh\n").skip(1);
    let blocks: Vec<&str> = blocks
        .map(|block| block.split("\n```").next().unwrap())
        .filter(|block| !block.contains("./justw build"))
        .collect();
    assert!(blocks.len() >= 8, "the page has its blocks");
    blocks.join("\n")
}

/// The same with less to do: seconds of training, and a few coarse samples.
fn shortened(commands: &str) -> String {
    let mut short = String::new();
    for line in commands.lines() {
        let (before, minutes) = line.split_once("--minutes ").unwrap_or((line, ""));
        short.push_str(before);
        if !minutes.is_empty() {
            assert!(minutes.parse::<f64>().is_ok(), "{line}");
            short.push_str("--minutes 0.05");
        }
        if line.starts_with("patchwork run ") {
            short.push_str(" --set stages.sample.seeds=0-31 --set stages.sample.steps=3");
        }
        short.push('\n');
    }
    short
}

#[test]
fn every_command_of_the_tutorial_works() {
    let page = std::fs::read_to_string(workspace().join("docs/tutorial.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = Program::new();
    let programs = Path::new(env!("CARGO_BIN_EXE_patchwork")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    for (name, value) in program.command(&[]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = command
        .args(["-euxo", "pipefail", "-c", &shortened(&commands(&page))])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", programs.display()))
        // The page's home is the usual one, `runs`.
        .env_remove("PATCHWORK_HOME")
        .env("PATCHWORK_WEIGHTS", workspace().join("weights"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 classes"), "{said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    for words in [
        "train.full_image_ratio",
        "pictures-2",
        "picture: way/animation.gif",
    ] {
        assert!(
            printed.contains(words),
            "`{words}` is missing in: {printed}"
        );
    }
    for file in [
        "pictures-1.html",
        "curves.png",
        "curves-hours.png",
        "food/grid.png",
        "way/strip.png",
        "pictures.safetensors",
        "food-png/food-and-drink",
    ] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}
