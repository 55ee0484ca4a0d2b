//! Runs that have a folder in `logs/` and that the registry does not know: it was lost, or an older copy was put in its
//! place. They are entered before a run begins, so that names are given once and artifacts are known to be needed.

use std::path::Path;

use patchwork_artifacts::Store;
use patchwork_registry::Registry;
use patchwork_supervisor::rebuild::{Entered, enter_unknown_runs};

use crate::error::CliError;
use crate::output::remark;

/// So many runs are named at most.
const MOST_NAMED: usize = 5;

/// Enters such runs of a home folder, if it has any.
pub(super) async fn enter_unknown(home: &Path) -> Result<(), CliError> {
    if !home.join("logs").is_dir() {
        return Ok(());
    }
    let store = Store::open(home)?;
    let _planning = store.lock_planning()?;
    let registry = Registry::open(&store.registry()).await?;
    let mut entered = enter_unknown_runs(&store, &registry).await?;
    registry.close().await;
    // What could not be entered is reported when the run begins.
    entered.left_out.clear();
    report_entered(&entered, |text| remark(&text));
    Ok(())
}

/// Says which runs were entered, and which could not be.
pub(super) fn report_entered(entered: &Entered, report: impl Fn(String)) {
    let count = entered.runs.len();
    if count > 0 {
        let more = if count > MOST_NAMED { ", …" } else { "" };
        let named = &entered.runs[..usize::min(count, MOST_NAMED)];
        report(format!(
            "warning: {count} runs whose folders are in `logs/` were missing from the registry ({}{more}); they are \
             added again",
            named.join(", ")
        ));
    }
    for left_out in &entered.left_out {
        report(format!(
            "warning: the run of `{}` is not in the registry: {}",
            left_out.path.display(),
            left_out.problem
        ));
    }
}
