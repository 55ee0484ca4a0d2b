//! docs/reference/command-line.md is kept to: each command prints the fields that the page names, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::program::{Program, text, workspace};

const SMOKE: &str = "pipelines/smoke.toml";

type Fields = BTreeSet<String>;

/// The words between backticks, but for remarks in parentheses and on CSV.
fn quoted(text: &str) -> Fields {
    let text = text.split("CSV:").next().unwrap();
    let outside: String = text
        .split('(')
        .map(|part| part.rsplit(')').next().unwrap())
        .collect();
    outside
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The page's table: command to fields.
fn documented(page: &str) -> BTreeMap<String, Fields> {
    let (_, table) = page.split_once("| Command | Fields of a row |").unwrap();
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            let fields = quoted(cells[2]);
            quoted(cells[1])
                .into_iter()
                .map(move |command| (command, fields.clone()))
        })
        .collect()
}

fn keys(object: &Value) -> Fields {
    object.as_object().unwrap().keys().cloned().collect()
}

/// The first row of a command's JSON; some commands end with exit code 1 when they find something.
fn row(program: &Program, arguments: &[&str]) -> Fields {
    let output = program.run(&[arguments, &["--format", "json"]].concat());
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{arguments:?}: {error}\n{said}")
    });
    keys(
        rows.first()
            .unwrap_or_else(|| panic!("{arguments:?}: no row")),
    )
}

#[test]
fn commands_print_the_fields_that_are_documented() {
    let page = fs::read_to_string(workspace().join("docs/reference/command-line.md")).unwrap();
    let mut expected = documented(&page);
    // The columns of the question; and what `run` prints, by the same function.
    expected.remove("query \"SQL\"").unwrap();
    assert_eq!(expected.remove("retry").as_ref(), expected.get("run"));

    let program = Program::new();
    program.succeed(&["run", SMOKE]);
    let shards = program.artifact("prepare");
    let grey = "stages.prepare.background=\"#eeeeee\"";
    program.succeed(&["run", SMOKE, "--until", "prepare", "--set", grey]);
    let shards = text(&shards);
    let commands: [(&str, &[&str]); 9] = [
        ("run", &["run", SMOKE]),
        ("run --dry-run", &["run", SMOKE, "--dry-run"]),
        ("explain", &["explain", SMOKE]),
        ("runs", &["runs"]),
        ("status", &["status", "smoke-1"]),
        (
            "compare --metric NAME",
            &["compare", "--metric", "fd_efficientnet_lite0"],
        ),
        (
            "compare --metric NAME --over seed",
            &[
                "compare",
                "--metric",
                "fd_efficientnet_lite0",
                "--over",
                "seed",
            ],
        ),
        ("gc", &["gc", "--keep", "1"]),
        ("weights list", &["weights", "list"]),
    ];
    for (name, arguments) in commands {
        assert_eq!(
            Some(row(&program, arguments)),
            expected.remove(name),
            "{name}"
        );
    }
    let object = |arguments: &[&str]| -> Value {
        let text = program.succeed(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    };
    let paragraph = |start: &str| {
        let (_, rest) = page.split_once(start).unwrap();
        quoted(rest.split("\n\n").next().unwrap())
    };
    assert_eq!(
        keys(&object(&["show", "smoke-1"])),
        paragraph("`show` is one object with everything that the registry holds about a run:")
    );
    let compared = object(&["compare", "smoke-1", "smoke-2"]);
    let tables = paragraph("is one object of the tables").into_iter();
    let tables: Fields = tables
        .filter(|word| !["what", "table"].contains(&word.as_str()))
        .collect();
    assert_eq!(keys(&compared), tables);
    let fields = ["smoke-1", "smoke-2", "what"].map(str::to_owned);
    assert_eq!(keys(&compared["settings"][0]), BTreeSet::from(fields));

    // A shard of which a byte is another: something to list.
    let shard = fs::read_dir(shards)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("shard")
        })
        .unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&shard, bytes).unwrap();
    assert_eq!(
        Some(row(&program, &["dataset", "verify", shards])),
        expected.remove("dataset verify")
    );
    assert!(expected.is_empty(), "not tried: {expected:?}");
}
