//! The settings of one stage that runs outside of a pipeline.

use std::path::Path;
use std::sync::Arc;

use patchwork_terms::Kind;

use crate::error::{ConfigError, Location, Problem};
use crate::pipeline::Stage;
use crate::resolve::{CPU, device, draft, execution};
use crate::section::Section;
use crate::settings::StageSettings;
use crate::tree::{Data, Entry, Node, Table};
use crate::{file, overrides, rules};

/// The settings of one stage, and the root of its randomness.
#[derive(Clone, Debug, PartialEq)]
pub struct SingleStage {
    /// The root of all randomness.
    pub seed: u64,
    /// The stage; it needs every stage that was given, in that order.
    pub stage: Stage,
}

/// Reads the settings of one stage of `kind`: the table `[stages.<name>]` of a pipeline file or preset, where one is
/// given, and the `overrides` (each `KEY=VALUE`, the key within the stage, or dotted from the top) over that.
///
/// `given` are the stages whose artifacts it reads, with the settings that made them as far as they are known:
/// what must hold between stages is checked as in a pipeline.
///
/// # Errors
/// As those of [`crate::load`]; a file without that table.
pub fn load_stage(
    kind: Kind,
    name: &str,
    file: Option<&Path>,
    overrides: &[String],
    given: &[Stage],
) -> Result<SingleStage, ConfigError> {
    let start = file.map_or_else(
        || Location::Command(Arc::from(kind.name())),
        |path| Location::File {
            path: Arc::from(path),
            line: 1,
            column: 1,
        },
    );
    let mut table = match file {
        Some(path) => file::read(path)?,
        None => with_empty_stage(name, &start),
    };
    for text in overrides {
        overrides::apply(&mut table, &dotted(text, name))?;
    }
    let Some(entry) = stage_table(&table, name) else {
        let problem = Problem::NoStage {
            stage: name.to_owned(),
            kind: kind.name(),
            known: stage_names(&table),
        };
        return Err(ConfigError::at(&start, problem));
    };
    let (seed, device) = above_the_stages(&table, start)?;
    let draft = draft(entry)?;
    if draft.kind != kind {
        let problem = format!("is of kind `{}`; here it must be `{kind}`", draft.kind);
        return Err(draft.section.invalid("kind", problem));
    }
    let mut stages = given.to_vec();
    stages.push(Stage {
        name: name.to_owned(),
        needs: given.iter().map(|stage| stage.name.clone()).collect(),
        settings: StageSettings::read(kind, &draft.section)?,
        execution: execution(&draft, &device)?,
    });
    let place = given.len();
    rules::fit_stage(&draft, place, &mut stages)?;
    rules::check_stage(&draft, &stages[place], &stages)?;
    Ok(SingleStage {
        seed,
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

/// What a file says of all its stages and holds for one alone too: the seed and the device.
fn above_the_stages(table: &Table, start: Location) -> Result<(u64, String), ConfigError> {
    const KEYS: [&str; 2] = ["seed", "device"];
    let entries = KEYS.iter().filter_map(|key| table.get(key)).cloned();
    let table = Table {
        entries: entries.collect(),
    };
    let section = Section::new(String::new(), &table, start, &KEYS)?;
    Ok((section.or("seed", 0)?, device(&section, CPU)?))
}

fn stages(table: &Table) -> &[Entry] {
    match table.get("stages").map(|entry| &entry.value.data) {
        Some(Data::Table(stages)) => &stages.entries,
        _ => &[],
    }
}

fn stage_table<'a>(table: &'a Table, name: &str) -> Option<&'a Entry> {
    stages(table).iter().find(|entry| entry.key == name)
}

fn stage_names(table: &Table) -> Vec<String> {
    stages(table)
        .iter()
        .map(|entry| entry.key.clone())
        .collect()
}

fn with_empty_stage(name: &str, location: &Location) -> Table {
    let entry = |key: &str, entries: Vec<Entry>| Entry {
        key: key.to_owned(),
        location: location.clone(),
        value: Node {
            data: Data::Table(Table { entries }),
            location: location.clone(),
        },
    };
    Table {
        entries: vec![entry("stages", vec![entry(name, Vec::new())])],
    }
}
