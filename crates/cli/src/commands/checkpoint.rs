//! `patchwork checkpoint`: networks from and for other programs. The worker does it; this asks and prints.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::arguments::{CheckpointCommand, Format, InspectArguments};
use crate::error::{CliError, refuse_to_overwrite};
use crate::output::{Rows, exact_line, line};
use crate::worker_program;

/// What the worker answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Done(Value),
    Error {
        message: String,
        hint: Option<String>,
        is_input: bool,
    },
}

/// What the worker reports of a checkpoint.
#[derive(Debug, Deserialize)]
struct Summary {
    description: String,
    settings: Option<Map<String, Value>>,
    parameters: u64,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<u64>,
    dtype: String,
}

pub(crate) fn checkpoint(command: &CheckpointCommand) -> Result<(), CliError> {
    match command {
        CheckpointCommand::Import(arguments) => {
            let request = json!({
                "action": "import", "file": arguments.file, "out": arguments.out,
                "config": arguments.config, "entry": arguments.entry
            });
            write(&arguments.out, arguments.force, &request)
        }
        CheckpointCommand::Export(arguments) => {
            let request = json!({
                "action": "export", "file": arguments.file, "out": arguments.out,
                "dtype": arguments.dtype.name(), "entry": arguments.entry
            });
            write(&arguments.out, arguments.force, &request)
        }
        CheckpointCommand::Inspect(arguments) => inspect(arguments),
    }
}

fn write(out: &Path, force: bool, request: &Value) -> Result<(), CliError> {
    refuse_to_overwrite(out, force)?;
    ask(request)?;
    line(&out.display().to_string())
}

fn ask(request: &Value) -> Result<Value, CliError> {
    let worker = worker_program::path()?;
    let request = request.to_string();
    match worker_program::ask(&worker, "checkpoint", &request)? {
        Answer::Done(result) => Ok(result),
        Answer::Error {
            message,
            hint,
            is_input,
        } => Err(CliError::Checkpoint {
            message,
            hint,
            is_input,
        }),
    }
}

fn inspect(arguments: &InspectArguments) -> Result<(), CliError> {
    let answer = ask(&json!({
        "action": "inspect", "file": arguments.file, "entry": arguments.entry
    }))?;
    if arguments.format == Format::Json {
        return exact_line(&serde_json::to_string_pretty(&answer).expect("it is plain data"));
    }
    let summary: Summary = worker_program::understood(answer)?;
    if arguments.format == Format::Table {
        line(&format!("format      {}", summary.description))?;
        line(&format!("parameters  {}", grouped(summary.parameters)))?;
        match &summary.settings {
            Some(settings) => {
                let mut rows = Rows::new(&["setting", "value"]);
                for (key, value) in settings {
                    rows.push(vec![json!(key), value.clone()]);
                }
                rows.print(Format::Table)?;
            }
            None => line("settings    none in the file")?,
        }
    }
    let mut rows = Rows::new(&["tensor", "shape", "dtype"]);
    for tensor in &summary.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        rows.push(vec![
            json!(tensor.name),
            json!(shape.join("×")),
            json!(tensor.dtype),
        ]);
    }
    rows.print(arguments.format)
}

/// A count with a comma between each three digits.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}
