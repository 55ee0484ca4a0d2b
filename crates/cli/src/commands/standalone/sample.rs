//! `patchwork sample`: a network to images.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_config::{Override, nearest};
use patchwork_core::{Fingerprint, durable};
use patchwork_recipes::train::start::check_format;
use patchwork_recipes::{Stage, load_stage};
use patchwork_registry::{Registry, RunDetail};
use patchwork_terms::{Kind, SampleLabels};
use serde_json::json;

use super::input::Input;
use super::{Standalone, option, workplace};
use crate::arguments::{Arguments, PngFormat, SampleArguments};
use crate::console::Console;
use crate::error::CliError;

/// What the stage calls the training whose network is sampled.
const NAME: &str = "network";

/// Classes that a message names at most.
const CLASSES_SHOWN: usize = 20;

pub(crate) async fn sample(
    arguments: &Arguments,
    sample: &SampleArguments,
) -> Result<ExitCode, CliError> {
    let network = network_of(&arguments.home, &sample.network).await?;
    let out = match &sample.out {
        Some(out) => out.clone(),
        None => default_out(&arguments.home, &network, sample)?,
    };
    let place = workplace(&out, sample.out.is_none())?;
    let input = if network.is_dir() {
        Input::open(NAME, &network, &[Kind::Train])?
    } else {
        check_format(&network)?;
        Input::network(NAME, &network, place.home())?
    };
    let encoded = input.made_from("encode", Kind::Encode)?;
    let above: Vec<Stage> = input.stage().into_iter().collect();
    let single = load_stage(
        Kind::Sample,
        &sample.stage,
        sample.config.as_deref(),
        &overrides(sample, input.class_names().as_deref())?,
        &above,
    )?;
    Standalone {
        arguments,
        inputs: [input].into_iter().chain(encoded).collect(),
        before: Vec::new(),
        single,
        out: &out,
        place,
        replace: sample.out.is_none(),
    }
    .carry_out(Console::start())
    .await
}

/// What lies at a path, or the training of a run of that name.
async fn network_of(home: &Path, named: &Path) -> Result<PathBuf, CliError> {
    if named.symlink_metadata().is_ok() {
        return Ok(named.to_owned());
    }
    let text = named.to_string_lossy();
    let (run, stage) = match text.split_once('/') {
        Some((run, stage)) => (run, Some(stage)),
        None => (&*text, None),
    };
    let no_network = |error: &dyn std::fmt::Display| CliError::NoNetwork {
        network: text.to_string(),
        cause: error.to_string(),
    };
    let registry = Registry::open_read_only(&home.join("registry.db"))
        .await
        .map_err(|error| no_network(&error))?;
    let detail = registry.run(run).await;
    registry.close().await;
    let detail = detail.map_err(|error| no_network(&error))?;
    Ok(home.join(training_of(&detail, stage)?))
}

/// The folder of the one finished training of a run, or of that stage of it, below the home folder.
fn training_of(run: &RunDetail, stage: Option<&str>) -> Result<PathBuf, CliError> {
    let trainings: Vec<(&str, &str)> = (run.stages.iter())
        .filter(|found| found.kind == Kind::Train.name())
        .filter(|found| stage.is_none_or(|stage| found.name == stage))
        .filter_map(|found| Some((found.name.as_str(), found.path.as_deref()?)))
        .collect();
    match trainings[..] {
        [(_, path)] => Ok(PathBuf::from(path)),
        _ => Err(CliError::WhichTraining {
            run: run.run.name.clone(),
            stages: (trainings.iter())
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        }),
    }
}

/// The folder of samples that nobody named: the same for the same network and settings.
fn default_out(home: &Path, network: &Path, sample: &SampleArguments) -> Result<PathBuf, CliError> {
    let folder = home.join("samples");
    durable::create_dir_all(&folder)?;
    let settings = json!([
        network
            .canonicalize()
            .unwrap_or_else(|_| network.to_owned()),
        sample.config,
        sample.stage,
        sample.seeds,
        sample.labels,
        sample.region.as_ref().map(|region| &region.typed),
        sample.interpolate,
        sample.steps,
        sample.export.map(PngFormat::name),
        sample.set,
    ]);
    let digest = Fingerprint::of(&settings).to_string();
    let named = sample.network.to_string_lossy().replace('/', "-");
    let named = named.trim_matches(['-', '.']);
    Ok(folder.join(format!("{named}-{}", &digest[..8])))
}

/// The settings that the command line names, each with the option that was typed.
fn overrides(
    sample: &SampleArguments,
    classes: Option<&[String]>,
) -> Result<Vec<Override>, CliError> {
    let mut set: Vec<Override> = sample.set.iter().map(|text| Override::set(text)).collect();
    set.extend(sample.seeds.iter().map(|seeds| {
        Override::option(
            format!("seeds={}", json!(seeds)),
            format!("--seeds {seeds}"),
        )
    }));
    set.extend(option("export", sample.export.map(PngFormat::name)));
    set.extend(option("steps", sample.steps));
    set.extend(option("interpolate", sample.interpolate));
    set.extend(sample.region.iter().map(|region| {
        let height = if region.height == region.width {
            String::new()
        } else {
            format!(", height = {}", region.height)
        };
        let text = format!(
            "region={{ row = {}, column = {}, side = {}{height} }}",
            region.row, region.column, region.width
        );
        Override::option(text, format!("--region {}", region.typed))
    }));
    set.extend(labels(&sample.labels, classes)?);
    Ok(set)
}

/// One of the words for all classes, or classes by name or number.
fn labels(typed: &[String], classes: Option<&[String]>) -> Result<Vec<Override>, CliError> {
    let shown = format!("--labels {}", typed.join(","));
    let is_class =
        |text: &str| classes.is_some_and(|classes| classes.iter().any(|class| class == text));
    match typed {
        [] => return Ok(Vec::new()),
        [word] if SampleLabels::from_name(word).is_some() && !is_class(word) => {
            let labels = Override::option(format!("labels={}", json!(word)), shown.clone());
            return Ok(vec![
                labels,
                Override::option("classes=[]".to_owned(), shown),
            ]);
        }
        _ => {}
    }
    // A class whose own name has a comma is one class.
    let wanted = typed.iter().flat_map(|text| {
        if is_class(text) {
            vec![text.as_str()]
        } else {
            text.split(',').map(str::trim).collect()
        }
    });
    let wanted: Vec<&str> = wanted.collect();
    if let Some(classes) = classes {
        for &label in &wanted {
            let is_number = (label.parse()).is_ok_and(|number: usize| number < classes.len());
            if !is_class(label) && !is_number {
                return Err(no_such_class(label, classes));
            }
        }
    }
    let classes = format!("classes={}", json!(wanted));
    Ok(vec![
        Override::option("labels=\"none\"".to_owned(), shown.clone()),
        Override::option(classes, shown),
    ])
}

fn no_such_class(label: &str, classes: &[String]) -> CliError {
    let shown: Vec<&str> = classes
        .iter()
        .take(CLASSES_SHOWN)
        .map(String::as_str)
        .collect();
    let more = match classes.len().saturating_sub(CLASSES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let suggestion = nearest(label, classes.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    CliError::NoSuchClass {
        label: label.to_owned(),
        known: match classes {
            [] => "it was trained without classes".to_owned(),
            _ => format!("its classes are {}{more}", shown.join(", ")),
        },
        suggestion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_by_word_name_or_number() {
        let names = ["cat", "dog", "a, b", "balanced"].map(str::to_owned);
        let texts = |typed: &[&str]| -> Result<Vec<String>, CliError> {
            let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
            let laid = labels(&typed, Some(&names))?;
            Ok(laid.into_iter().map(|laid| laid.text).collect())
        };
        for (typed, expected) in [
            (&["dataset"][..], ["labels=\"dataset\"", "classes=[]"]),
            (&["cat"], ["labels=\"none\"", "classes=[\"cat\"]"]),
            (&["cat,1"], ["labels=\"none\"", "classes=[\"cat\",\"1\"]"]),
            (
                &["a, b", "dog"],
                ["labels=\"none\"", "classes=[\"a, b\",\"dog\"]"],
            ),
            // A class of that name is meant before the word.
            (&["balanced"], ["labels=\"none\"", "classes=[\"balanced\"]"]),
        ] {
            assert_eq!(texts(typed).unwrap(), expected, "{typed:?}");
        }
        let message = texts(&["cat,dgo"]).unwrap_err().to_string();
        assert!(
            message.contains("--labels dgo") && message.contains("`dog`"),
            "{message}"
        );
        assert!(texts(&["4"]).is_err());
        assert!(texts(&[]).unwrap().is_empty());
    }
}
