//! `patchwork weights`: the published files of weights, and fetching them.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use patchwork_weights::{Fetched, Progress, WeightsError, WeightsFile, fetch, weights_folder};
use serde_json::json;

use crate::arguments::{Arguments, WeightsCommand};
use crate::error::CliError;
use crate::output::{Rows, line, remark};

pub(crate) fn weights(arguments: &Arguments, command: &WeightsCommand) -> Result<(), CliError> {
    let folder = weights_folder(arguments.weights.clone());
    match command {
        WeightsCommand::Get { name, from } => {
            let file = WeightsFile::named(name)?;
            let mut watch = Watch::new();
            let fetched = fetch(file, from.as_deref(), &folder, &mut |progress| {
                watch.report(progress);
            });
            watch.end();
            match fetched? {
                Fetched::AlreadyThere(found) => {
                    line(&format!("{} is installed already", found.path.display()))
                }
                Fetched::Placed { found, from } => line(&format!(
                    "{} is installed, from {from}",
                    found.path.display()
                )),
            }
        }
        WeightsCommand::List { format } => {
            let mut rows = Rows::new(&["name", "for", "file", "state"]);
            for file in WeightsFile::all() {
                let state = match file.check(&folder) {
                    Ok(_) => "installed".to_owned(),
                    Err(WeightsError::Missing { remedy, .. }) => format!("missing: {remedy}"),
                    Err(error) => error.to_string(),
                };
                rows.push(vec![
                    json!(file.name),
                    json!(file.network),
                    json!(folder.join(file.file_name)),
                    json!(state),
                ]);
            }
            rows.print(*format)
        }
    }
}

/// A transfer as it is watched: a bar on a terminal, a line now and then elsewhere.
struct Watch {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Watch {
    /// Between two lines.
    const PAUSE: Duration = Duration::from_secs(5);

    fn new() -> Self {
        let style = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        let bar = std::io::stderr().is_terminal().then(|| {
            ProgressBar::new(0).with_style(
                ProgressStyle::with_template(style).expect("the template names fields that exist"),
            )
        });
        Self {
            bar,
            last: Instant::now(),
        }
    }

    fn report(&mut self, Progress { done, total }: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
        } else if self.last.elapsed() >= Self::PAUSE {
            self.last = Instant::now();
            let of = total.map_or_else(String::new, |total| format!(" of {}", total >> 20));
            remark(&format!("{}{of} MiB", done >> 20));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
