//! `patchwork serve` and `patchwork report`: runs in a browser.

use std::path::Path;
use std::process::{Command, Stdio};

use patchwork_core::durable;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{ReportArguments, ServeArguments};
use crate::error::CliError;
use crate::output::{line, remark};

/// Answers until Ctrl-C or SIGTERM.
pub(crate) async fn serve(home: &Path, arguments: &ServeArguments) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let server = patchwork_dashboard::bind(home, &arguments.host, arguments.port).await?;
    let url = server.url();
    line(&url)?;
    remark("Ctrl-C stops the server");
    if arguments.open && !open(&url) {
        remark("warning: no browser could be started; open the address above");
    }
    let stop = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(server.run(stop).await?)
}

/// Whether a program that opens addresses was started.
fn open(url: &str) -> bool {
    ["xdg-open", "open"].iter().any(|program| {
        let quiet = Stdio::null;
        let mut command = Command::new(program);
        command
            .arg(url)
            .stdin(quiet())
            .stdout(quiet())
            .stderr(quiet());
        command.spawn().is_ok()
    })
}

/// Writes the page of a run, or of several, as one file.
pub(crate) async fn report(home: &Path, arguments: &ReportArguments) -> Result<(), CliError> {
    let path = &arguments.out;
    if path.exists() && !arguments.force {
        return Err(CliError::WouldOverwrite { path: path.clone() });
    }
    let html = patchwork_dashboard::report(home, &arguments.runs).await?;
    durable::write(path, html.as_bytes())?;
    line(&format!("report: {}", path.display()))
}
