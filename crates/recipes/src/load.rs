//! From a document to a resolved pipeline.

use std::path::Path;

use patchwork_config::schema::shape;
use patchwork_config::{Combination, ConfigError, Document, OverPreset, Section, nearest};
use patchwork_core::name::{PLAIN as PLAIN_NAME, is_plain as is_plain_name};
use patchwork_terms::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use crate::execution::{self, check_device};
use crate::graph::{Draft, resolve_needs};
use crate::inputs::Inputs;
use crate::kinds::{self, StageSettings};
use crate::pipeline::{Pipeline, Stage, Variant};

/// What a pipeline is called. `name` is required of a pipeline, and not of a preset.
#[derive(Clone, Debug, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["name"]))]
pub struct Title {
    /// Lower-case letters, digits, `-` and `_`, at most 64; runs are named after it.
    pub name: String,
    /// One sentence for listings.
    pub description: String,
}

/// What holds for all stages.
#[derive(Clone, Debug, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Common {
    /// The root of all randomness.
    pub seed: u64,
    /// Where stages compute that name no device: `cpu`, `cuda` or `cuda:N`.
    #[default = "cpu"]
    pub device: String,
}

/// What holds for a stage of any kind, besides how it is run.
#[derive(Clone, Debug, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Place {
    /// What the stage does; where it is left out, the table's name says it.
    pub kind: Option<Kind>,
    /// The stages that it reads; where it is left out, those of the kinds that it reads.
    pub needs: Option<Vec<String>>,
}

/// Keys at the top level that are tables of their own, or read before the others.
const TOP_TABLES: [&str; 3] = ["extends", "stages", "matrix"];

/// Reads the pipeline file at `path`, lays it over the presets that it extends and the
/// `overrides` (each `KEY=VALUE` with a dotted key) over that, and checks everything.
///
/// A pipeline with a `[matrix]` is as many pipelines as there are combinations of its values, the last key varying
/// fastest; every other is one.
///
/// # Errors
/// The first thing that is wrong, with its place, in whichever combination. Nothing but these files is read:
/// whether the source of images exists is for the stage that reads it.
pub fn load(path: &Path, overrides: &[String]) -> Result<Vec<Variant>, ConfigError> {
    let mut document = Document::read(path)?;
    for text in overrides {
        document.set(text)?;
    }
    document
        .combinations()?
        .into_iter()
        .map(|Combination { values, document }| {
            let pipeline = resolve(&document)?;
            Ok(Variant { values, pipeline })
        })
        .collect()
}

fn resolve(document: &Document) -> Result<Pipeline, ConfigError> {
    let top = document.root();
    let (title, common) = (shape::<Title>().keys, shape::<Common>().keys);
    top.check_keys(&[title, common, &TOP_TABLES[..]].concat())?;
    let Title { name, description } = top.read()?;
    if !is_plain_name(&name) {
        return Err(top.invalid("name", format!("is `{name}`; {PLAIN_NAME}")));
    }
    let common: Common = top.read()?;
    let tables = top.table("stages")?;
    let names: Vec<&str> = tables.iter().flat_map(Section::keys).collect();
    let Some(tables) = tables.filter(|_| !names.is_empty()) else {
        let problem = "must have at least one table such as [stages.prepare]";
        return Err(top.invalid("stages", problem));
    };
    check_device(&top, &common.device)?;
    let drafts = (names.iter())
        .map(|name| draft(&tables, name))
        .collect::<Result<Vec<_>, _>>()?;
    let settings = drafts
        .iter()
        .map(|draft| {
            Ok((
                StageSettings::read(draft.kind, &draft.section)?,
                execution::read(draft.kind, &draft.section, &common.device)?,
            ))
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    let reads: Vec<_> = (settings.iter())
        .map(|(settings, _)| settings.recipe().reads())
        .collect();
    let needs = resolve_needs(&drafts, &reads)?;
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
    for (place, draft) in drafts.iter().enumerate() {
        fit(&draft.section, place, &mut stages)?;
    }
    for (draft, stage) in drafts.iter().zip(&stages) {
        check(&draft.section, stage, &stages)?;
    }
    Ok(Pipeline {
        name,
        description,
        seed: common.seed,
        stages,
        over_preset: document.over_preset().map(without_title),
    })
}

/// A pipeline is always called otherwise than its preset.
fn without_title(mut over: OverPreset) -> OverPreset {
    over.changed
        .retain(|key, _| !shape::<Title>().keys.contains(&key.as_str()));
    over
}

/// Fits the stage at `place` to those of `stages` that it reads, where its defaults depend on them.
pub(crate) fn fit(
    section: &Section<'_>,
    place: usize,
    stages: &mut [Stage],
) -> Result<(), ConfigError> {
    let mut settings = stages[place].settings.clone();
    let inputs = Inputs::of(&stages[place], stages);
    settings.recipe_mut().fit(section, &inputs)?;
    stages[place].settings = settings;
    Ok(())
}

/// Checks a stage against those of `stages` that it reads.
pub(crate) fn check(
    section: &Section<'_>,
    stage: &Stage,
    stages: &[Stage],
) -> Result<(), ConfigError> {
    stage
        .settings
        .recipe()
        .check(section, &Inputs::of(stage, stages))
}

/// A stage's table with its kind; its keys are all known.
pub(crate) fn draft<'a>(tables: &Section<'a>, name: &str) -> Result<Draft<'a>, ConfigError> {
    if !is_plain_name(name) {
        return Err(tables.refused(name, format!("is not a name for a stage; {PLAIN_NAME}")));
    }
    let Some(section) = tables.table(name)? else {
        return Err(tables.refused(name, "is not a table"));
    };
    let Place { kind, needs } = section.read()?;
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    let kind = kind.or(Kind::from_name(name)).ok_or_else(|| {
        let meant = nearest(name, names())
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let kinds = names().collect::<Vec<_>>().join(", ");
        tables.refused(
            name,
            format!("is not a kind of stage, so it needs a `kind`: {kinds}{meant}"),
        )
    })?;
    let own = kinds::shape(kind).keys;
    section.check_keys(&[own, shape::<Place>().keys, &execution::keys(kind)].concat())?;
    Ok(Draft {
        name: name.to_owned(),
        kind,
        section,
        needs,
    })
}
