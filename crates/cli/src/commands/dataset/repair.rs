//! Damaged files of a data set, made again from its source.
//!
//! The stage that made the set is done again in a home folder beside it, as after a crash that lost the damaged shards:
//! the sound ones are present already, and what is made must be what the manifest records.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_artifacts::{Manifest, PipelineSpec, Store};
use patchwork_core::{FileError, durable};
use patchwork_recipes::{
    Execution, PrepareSettings, SpecifyOptions, Stage, StageSettings, specify_stage,
};
use patchwork_supervisor::Scope;
use patchwork_terms::Kind;
use patchwork_weights::weights_folder;
use serde::Deserialize;
use serde_json::json;

use crate::arguments::Arguments;
use crate::commands::request::{Planned, check_worker, exit_code};
use crate::commands::workplace::Workplace;
use crate::console::Console;
use crate::error::CliError;
use crate::output::remark;

/// The source that a set of emoji is made from, which needs no name.
const BUILTIN_SOURCE: &str = "builtin:twemoji";

/// Makes `files` of a prepared data set again. Success means that each is what the manifest records.
pub(super) async fn repair(
    arguments: &Arguments,
    folder: &Path,
    source: Option<&str>,
    files: &[String],
) -> Result<ExitCode, CliError> {
    let refuse = |problem: String| CliError::NotRepairable {
        folder: folder.to_owned(),
        problem,
    };
    let manifest = Manifest::read(folder).map_err(|error| {
        refuse(format!(
            "its source is not known without its manifest ({error})"
        ))
    })?;
    if manifest.kind != Kind::Prepare.name() {
        return Err(refuse(format!(
            "it is the artifact of a `{}` stage; `patchwork run --force` does that stage again",
            manifest.kind
        )));
    }
    let folder = folder
        .canonicalize()
        .map_err(|error| FileError::new("read", folder, error))?;
    let stage = stage(&manifest, source).map_err(refuse)?;
    let mut place = Workplace::open(&home(&folder))?;
    let store = Store::open(place.home())?;
    let options = SpecifyOptions {
        cache: &store.cache(),
        weights: &weights_folder(arguments.weights.clone()),
        rehash: true,
    };
    let spec = PipelineSpec {
        name: "repair".to_owned(),
        definition: json!({ "stage": stage }),
        stages: vec![specify_stage(&stage, 0, &options)?],
    };
    let planned = Planned::new(store.clone(), spec, Scope::All)?;
    let planned_stage = planned
        .plan
        .stage(&stage.name)
        .expect("the plan has the stage that it is made for");
    if planned_stage.fingerprint != manifest.fingerprint {
        let problem = if planned_stage.spec.source == manifest.source {
            "this version of patchwork writes different shards from the same source; prepare the data set again"
        } else {
            "the source is not what the data set was made from: names or contents of its images differ"
        };
        leave(place)?;
        return Err(refuse(problem.to_owned()));
    }
    place.begin();
    let work = store.work(manifest.fingerprint).join("artifact");
    give_sound_shards(&manifest, &folder, files, &work)?;
    let made = store.artifact(&manifest.kind, manifest.fingerprint);
    let mut console = Console::start();
    check_worker(&planned.plan)?;
    let outcome = planned.carry_out(None, &mut console).await?;
    console.finish()?;
    if !outcome.is_success() {
        remark(&format!(
            "the same command resumes from there; unfinished work is in `{}`",
            place.home().display()
        ));
        return Ok(exit_code(&outcome));
    }
    if Manifest::read(&made)?.files != manifest.files {
        let problem = "the source differs from what `manifest.json` records".to_owned();
        leave(place)?;
        return Err(refuse(problem));
    }
    for file in files {
        durable::rename_file(&made.join(file), &folder.join(file))?;
    }
    leave(place)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the home folder of the work, and says what stays of it.
fn leave(place: Workplace) -> Result<(), CliError> {
    if let Some(text) = place.remove()? {
        remark(&text);
    }
    Ok(())
}

/// The home folder of the work: beside the set, and so on the same disk; hidden, so that it is not an artifact.
fn home(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.repair"))
}

/// The stage that made the set, with the place of its source.
fn stage(manifest: &Manifest, source: Option<&str>) -> Result<Stage, String> {
    let mut settings = PrepareSettings::deserialize(&manifest.settings)
        .map_err(|error| format!("its manifest is of another version of patchwork ({error})"))?;
    settings.source = match source {
        Some(source) => source.to_owned(),
        None if settings.emoji.is_some() => BUILTIN_SOURCE.to_owned(),
        None => return Err("its source is not known: name it with `--source`".to_owned()),
    };
    Ok(Stage {
        name: Kind::Prepare.name().to_owned(),
        needs: Vec::new(),
        settings: StageSettings::Prepare(settings),
        execution: Execution::default(),
    })
}

/// Puts the files that are sound where the stage finds them, as if it had just made them.
fn give_sound_shards(
    manifest: &Manifest,
    folder: &Path,
    damaged: &[String],
    work: &Path,
) -> Result<(), CliError> {
    durable::create_dir_all(work)?;
    for file in &manifest.files {
        let (from, to) = (folder.join(&file.path), work.join(&file.path));
        if damaged.contains(&file.path) || to.exists() {
            continue;
        }
        // Files are never changed in place, so that two names for one are as good as a copy.
        std::fs::hard_link(&from, &to)
            .or_else(|_| std::fs::copy(&from, &to).map(|_| ()))
            .map_err(|error| FileError::new("link", &from, error))?;
    }
    Ok(())
}
