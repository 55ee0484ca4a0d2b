//! Runs in a browser.

use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArguments {
    /// The port; 0 for any that is free.
    #[arg(long, default_value_t = 7860)]
    pub(crate) port: u16,
    /// The address to listen on; on any but a loopback address, pages ask for the token that is printed.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) host: String,
    /// Open the page in the browser.
    #[arg(long)]
    pub(crate) open: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArguments {
    /// One run, or several to compare.
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<String>,
    /// The HTML file to write.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) out: PathBuf,
    /// Overwrite an existing file.
    #[arg(long)]
    pub(crate) force: bool,
}
