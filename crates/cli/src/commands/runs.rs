//! `patchwork runs`: the recorded runs.

use std::path::Path;

use patchwork_registry::Registry;
use serde_json::json;

use crate::arguments::{Format, ListArguments};
use crate::error::CliError;
use crate::output::{Rows, duration, moment, score_text};

pub(crate) async fn runs(home: &Path, arguments: &ListArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let is_table = arguments.format == Format::Table;
    let mut columns = vec![
        "run", "status", "started", "time", "stages", "cached", "metric", "value",
    ];
    if !is_table {
        columns.push("samples");
    }
    let mut rows = Rows::new(&columns);
    for run in registry.runs(arguments.limit as usize).await? {
        let mut row = vec![
            json!(run.name),
            json!(run.status),
            moment(&run.started, arguments.format),
            duration(run.seconds, arguments.format),
            json!(run.stages),
            json!(run.cached),
            json!(run.metric),
        ];
        if is_table {
            // A score says little without the number of samples behind it.
            let score = run.value.zip(run.samples);
            row.push(json!(score.map(|(value, samples)| {
                format!("{} ({samples})", score_text(value, 3))
            })));
        } else {
            row.extend([json!(run.value), json!(run.samples)]);
        }
        rows.push(row);
    }
    rows.print(arguments.format)
}
