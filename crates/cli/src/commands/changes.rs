//! Differences between a planned stage and what an earlier one was, for people.

use std::path::{Path, PathBuf};

use patchwork_artifacts::Store;
use patchwork_core::{FileError, durable};
use patchwork_supervisor::Plan;
use patchwork_supervisor::explain::{Change, unfinished_beside};
use patchwork_terms::Kind;

use crate::console::Console;

/// Reports unfinished trainings that trainings of a plan might be expected to resume, and do not: nobody is to learn
/// in the morning that the night was spent on what was finished already.
pub(crate) fn report_unfinished(
    plan: &Plan,
    store: &Store,
    varied: &[&str],
    console: &Console,
) -> Result<(), FileError> {
    let train = Kind::Train.to_string();
    for planned in plan.stages.iter().filter(|stage| stage.spec.kind == train) {
        let Some(work) = unfinished_beside(planned, store, varied)? else {
            continue;
        };
        let stage = &planned.spec.name;
        let resume = newest_checkpoint(&work.folder).map_or(String::new(), |path| {
            format!(
                "; from its last checkpoint with the new ones: --set stages.{stage}.resume_from={}",
                path.display()
            )
        });
        console.remark(format!(
            "stage `{stage}` starts from scratch: the unfinished work in `{}` has other settings:\n{}\n\
             hint: with its own settings it resumes{resume}",
            work.folder.display(),
            sentences(&work.changes)
        ));
    }
    Ok(())
}

/// The newest of a training's checkpoints; they are named by their steps.
fn newest_checkpoint(work: &Path) -> Option<PathBuf> {
    let mut files = durable::list(&work.join("state")).unwrap_or_default();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_whole = path.with_extension("json").is_file();
        name.starts_with("checkpoint-") && name.ends_with(".safetensors") && is_whole
    });
    files.pop()
}

/// A line for each difference.
pub(super) fn sentences(changes: &[Change]) -> String {
    let sentences: Vec<String> = changes.iter().map(sentence).collect();
    sentences.join("\n")
}

fn sentence(change: &Change) -> String {
    let Change { what, was, is } = change;
    match (was, is) {
        (Some(was), Some(is)) if what.starts_with("input ") || what == "raw data" => {
            const SHOWN: usize = 12;
            let short = |text: &str| text.chars().take(SHOWN).collect::<String>();
            format!("{what} is {}, was {}", short(is), short(was))
        }
        (Some(was), Some(is)) => format!("{what} is {is}, was {was}"),
        (None, Some(is)) => format!("{what} is {is}, was not set"),
        (Some(was), None) => format!("{what} is not set, was {was}"),
        (None, None) => what.clone(),
    }
}
