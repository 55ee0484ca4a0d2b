//! From files and overrides to a resolved pipeline.

use std::path::Path;
use std::sync::Arc;

use patchwork_core::name::{PLAIN as PLAIN_NAME, is_plain as is_plain_name};
use patchwork_terms::Kind;

use crate::error::{ConfigError, Location, Problem};
use crate::graph::{Draft, resolve_needs};
use crate::nearest::nearest;
use crate::pipeline::{Execution, Pipeline, Stage, Variant};
use crate::section::Section;
use crate::settings::train::kimg;
use crate::settings::{self, StageSettings};
use crate::tree::{Data, Entry, Table};
use crate::{file, matrix, overrides, rules};

const TOP_KEYS: &[&str] = &[
    "name",
    "description",
    "seed",
    "device",
    "extends",
    "stages",
    "matrix",
];
const STAGE_KEYS: &[&str] = &[
    "kind",
    "needs",
    "threads",
    "device",
    "tf32",
    "cudnn_benchmark",
    "cpus",
    "memory_gib",
    "retries",
    "timeout_minutes",
];
const TRAIN_KEYS: &[&str] = &[
    "ranks",
    "collective_timeout_minutes",
    "checkpoint_minutes",
    "checkpoint_kimg",
    "log_every_seconds",
    "max_minutes",
    "max_kimg",
    "on_divergence",
    "stall_minutes",
];

/// Where a stage computes that names no device.
pub(crate) const CPU: &str = "cpu";

/// Reads the pipeline file at `path`, lays it over the presets that it extends and the
/// `overrides` (each `KEY=VALUE` with a dotted key) over that, and checks everything.
///
/// A pipeline with a `[matrix]` is as many pipelines as there are combinations of its values, the last key varying
/// fastest; every other is one.
///
/// # Errors
/// The first thing that is wrong, with its place, in whichever combination. Nothing but these files is looked at:
/// whether the source of images exists is for the stage that reads it.
pub fn load(path: &Path, overrides: &[String]) -> Result<Vec<Variant>, ConfigError> {
    let mut table = file::read(path)?;
    for text in overrides {
        overrides::apply(&mut table, text)?;
    }
    let start = Location::File {
        path: Arc::from(path),
        line: 1,
        column: 1,
    };
    matrix::combinations(table, overrides)?
        .into_iter()
        .map(|(values, table)| {
            let pipeline = resolve(&table, start.clone())?;
            Ok(Variant { values, pipeline })
        })
        .collect()
}

fn resolve(table: &Table, start: Location) -> Result<Pipeline, ConfigError> {
    let top = Section::new(String::new(), table, start, TOP_KEYS)?;
    let name: String = top.required("name")?;
    if !is_plain_name(&name) {
        return Err(top.invalid("name", format!("is `{name}`; {PLAIN_NAME}")));
    }
    let entries = match table.get("stages").map(|entry| &entry.value.data) {
        Some(Data::Table(stages)) => stages.entries.as_slice(),
        Some(other) => {
            return Err(top.invalid("stages", format!("must be a table, not {other}")));
        }
        None => &[],
    };
    if entries.is_empty() {
        return Err(top.invalid(
            "stages",
            "must have at least one table such as [stages.prepare]",
        ));
    }
    let device = device(&top, CPU)?;
    let drafts = entries.iter().map(draft).collect::<Result<Vec<_>, _>>()?;
    let settings = drafts
        .iter()
        .map(|draft| {
            Ok((
                StageSettings::read(draft.kind, &draft.section)?,
                execution(draft, &device)?,
            ))
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    let needs = resolve_needs(&drafts)?;
    let mut stages: Vec<Stage> = drafts
        .iter()
        .zip(settings)
        .zip(needs)
        .map(|((draft, (settings, execution)), needs)| Stage {
            name: draft.name.clone(),
            needs,
            settings,
            execution,
        })
        .collect();
    rules::fit(&drafts, &mut stages)?;
    rules::check(&drafts, &stages)?;
    Ok(Pipeline {
        name,
        description: top.or("description", String::new())?,
        seed: top.or("seed", 0)?,
        stages,
    })
}

/// A stage's table with its kind; its keys are all known.
pub(crate) fn draft(entry: &Entry) -> Result<Draft<'_>, ConfigError> {
    let refuse = |problem: String| {
        let (key, section) = (entry.key.clone(), "stages".to_owned());
        ConfigError::at(
            &entry.location,
            Problem::Invalid {
                key,
                section,
                problem,
            },
        )
    };
    if !is_plain_name(&entry.key) {
        return Err(refuse(format!("is no name for a stage; {PLAIN_NAME}")));
    }
    let Data::Table(table) = &entry.value.data else {
        return Err(refuse(format!("must be a table, not {}", entry.value.data)));
    };
    let kind_names = || Kind::ALL.iter().map(|kind| kind.name());
    let section_name = format!("stages.{}", entry.key);
    let kind = if table.get("kind").is_some() {
        // Only the kind says which other keys are known, so it is read before they are checked.
        let every: Vec<&str> = table
            .entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        Section::new(section_name.clone(), table, entry.location.clone(), &every)?
            .required("kind")?
    } else {
        let named = Kind::ALL.iter().find(|kind| kind.name() == entry.key);
        *named.ok_or_else(|| {
            let meant = nearest(&entry.key, kind_names())
                .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            let kinds = kind_names().collect::<Vec<_>>().join(", ");
            refuse(format!(
                "is no kind of stage, so it needs a `kind`: {kinds}{meant}"
            ))
        })?
    };
    let mut keys = [settings::keys(kind), STAGE_KEYS].concat();
    if kind == Kind::Train {
        keys.extend(TRAIN_KEYS);
    }
    let section = Section::new(section_name, table, entry.location.clone(), &keys)?;
    let needs = section.optional("needs")?;
    Ok(Draft {
        name: entry.key.clone(),
        kind,
        section,
        needs,
    })
}

/// The device that a table names, or the default.
pub(crate) fn device(section: &Section<'_>, default: &str) -> Result<String, ConfigError> {
    let device = section.or("device", default.to_owned())?;
    let number = device.strip_prefix("cuda:").map(str::parse::<u16>);
    if !(device == CPU || device == "cuda" || matches!(number, Some(Ok(_)))) {
        let problem = format!("is `{device}`; a device is `cpu`, `cuda` or `cuda:0`");
        return Err(section.invalid("device", problem));
    }
    Ok(device)
}

/// How a stage is run; `pipeline_device` is that of the stages that compute and name none. Preparing computes nothing that
/// a device could do.
pub(crate) fn execution(
    draft: &Draft<'_>,
    pipeline_device: &str,
) -> Result<Execution, ConfigError> {
    let section = &draft.section;
    let default = Execution::default();
    let cores = |key: &str| -> Result<Option<usize>, ConfigError> {
        let count: Option<u32> = section.optional(key)?;
        match count {
            Some(count) if !(1..=4096).contains(&count) => {
                Err(section.invalid(key, format!("is {count}, not between 1 and 4096")))
            }
            count => Ok(count.map(|count| count as usize)),
        }
    };
    let device = match draft.kind {
        Kind::Prepare => device(section, CPU)?,
        _ => device(section, pipeline_device)?,
    };
    let tf32 = section.or("tf32", default.tf32)?;
    if tf32 && device == CPU {
        return Err(section.invalid(
            "tf32",
            "is for `device = \"cuda\"`, and the device is `cpu`",
        ));
    }
    Ok(Execution {
        threads: cores("threads")?,
        ranks: section.integer("ranks", Some(default.ranks), 1..=4096)?,
        collective_timeout_minutes: section.number(
            "collective_timeout_minutes",
            Some(default.collective_timeout_minutes),
            0.01..=1e6,
        )?,
        cpus: cores("cpus")?,
        memory_gib: section.optional_positive("memory_gib")?,
        device,
        tf32,
        cudnn_benchmark: section.or("cudnn_benchmark", default.cudnn_benchmark)?,
        retries: section.integer("retries", Some(default.retries), 0..=1000)?,
        timeout_minutes: section.optional_positive("timeout_minutes")?,
        checkpoint_minutes: section.number(
            "checkpoint_minutes",
            Some(default.checkpoint_minutes),
            0.0..=1e6,
        )?,
        checkpoint_kimg: kimg(section, "checkpoint_kimg")?,
        max_minutes: section.optional_positive("max_minutes")?,
        max_kimg: kimg(section, "max_kimg")?,
        on_divergence: section.or("on_divergence", default.on_divergence)?,
        stall_minutes: section.optional_positive("stall_minutes")?,
        log_every_seconds: section.number(
            "log_every_seconds",
            Some(default.log_every_seconds),
            0.0..=1e6,
        )?,
    })
}
