//! The settings of one stage that runs outside of a pipeline.

use std::path::Path;

use patchwork_config::{ConfigError, Document, Override, Problem, Section};
use patchwork_terms::Kind;

use crate::execution::{self, check_device};
use crate::kinds::StageSettings;
use crate::load::{self, Common};
use crate::pipeline::Stage;

/// The settings of one stage, and the root of its randomness.
#[derive(Clone, Debug, PartialEq)]
pub struct SingleStage {
    /// The root of all randomness.
    pub seed: u64,
    /// The stage; it needs every stage that was given, in that order.
    pub stage: Stage,
}

/// Reads the settings of one stage of `kind`: the table `[stages.<name>]` of a pipeline file or preset, where one is
/// named, and the `overrides` (the key within the stage, or dotted from the top) over that.
///
/// `inputs` are the stages whose artifacts it reads, with the settings that made them as far as they are known:
/// what must hold between stages is checked as in a pipeline.
///
/// # Errors
/// As those of [`crate::load()`]; a file without that table.
pub fn load_stage(
    kind: Kind,
    name: &str,
    file: Option<&Path>,
    overrides: &[Override],
    inputs: &[Stage],
) -> Result<SingleStage, ConfigError> {
    let mut document = match file {
        Some(path) => Document::read(path)?,
        None => Document::of_command(kind.name(), &["stages", name]),
    };
    for laid in overrides {
        document.lay(&Override {
            text: dotted(&laid.text, name),
            typed: laid.typed.clone(),
        })?;
    }
    let top = document.root();
    let tables = top.table("stages")?;
    let Some(tables) = tables.as_ref().filter(|tables| tables.has(name)) else {
        return Err(top.error(Problem::NoStage {
            stage: name.to_owned(),
            kind: kind.name(),
            known: (tables.iter().flat_map(Section::keys))
                .map(str::to_owned)
                .collect(),
        }));
    };
    // What a file says of all its stages holds for one alone too.
    let common: Common = top.read()?;
    check_device(&top, &common.device)?;
    let draft = load::draft(tables, name)?;
    if draft.kind != kind {
        let problem = format!("is of kind `{}`; here it must be `{kind}`", draft.kind);
        return Err(draft.section.invalid("kind", problem));
    }
    let mut stages = inputs.to_vec();
    stages.push(Stage {
        name: name.to_owned(),
        needs: inputs.iter().map(|stage| stage.name.clone()).collect(),
        settings: StageSettings::read(kind, &draft.section)?,
        execution: execution::read(kind, &draft.section, &common.device)?,
    });
    let place = inputs.len();
    load::fit(&draft.section, place, &mut stages)?;
    load::check(&draft.section, &stages[place], &stages)?;
    Ok(SingleStage {
        seed: common.seed,
        stage: stages.pop().expect("it was pushed above"),
    })
}

/// `batch_size=64` as `stages.train.batch_size=64`; what is dotted from the top already stays as it is.
fn dotted(text: &str, name: &str) -> String {
    if text.starts_with("stages.") || text.starts_with("seed=") {
        text.to_owned()
    } else {
        format!("stages.{name}.{text}")
    }
}
