//! `patchwork runs`: the recorded runs.

use std::path::Path;

use patchwork_registry::Registry;
use serde_json::json;

use crate::arguments::{Format, ListArguments};
use crate::error::CliError;
use crate::output::{Rows, duration};

pub(crate) async fn runs(home: &Path, arguments: &ListArguments) -> Result<(), CliError> {
    let registry = Registry::open_read_only(&home.join("registry.db")).await?;
    let mut rows = Rows::new(&[
        "run", "status", "started", "time", "stages", "cached", "metric", "value",
    ]);
    for run in registry.runs(arguments.limit as usize).await? {
        let table = arguments.format == Format::Table;
        rows.push(vec![
            json!(run.name),
            json!(run.status),
            json!(if table {
                run.started.replace('T', " ").chars().take(16).collect()
            } else {
                run.started
            }),
            duration(run.seconds, arguments.format),
            json!(run.stages),
            json!(run.cached),
            json!(run.metric),
            match run.value {
                Some(value) if table => json!(format!("{value:.3}")),
                value => json!(value),
            },
        ]);
    }
    rows.print(arguments.format)
}
