//! `patchwork evaluate`: how far one set of images is from another.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use patchwork_artifacts::{Manifest, Store};
use patchwork_config::Override;
use patchwork_core::{Fingerprint, durable};
use patchwork_dataset::decode::first_readable;
use patchwork_dataset::inspect::sizes_in_source;
use patchwork_recipes::prepare::source::{Places, open_source};
use patchwork_recipes::{SingleStage, SpecifyError, StageSettings, load_stage};
use patchwork_terms::Kind;
use serde_json::json;

use super::input::Input;
use super::{Standalone, option, workplace};
use crate::arguments::{Arguments, EvaluateArguments};
use crate::commands::workplace::Workplace;
use crate::console::Console;
use crate::error::CliError;

const REAL: &str = "real";
const MEASURED: &str = "measured";
const REFERENCE: &str = "reference";
const EVALUATE: &str = "evaluate";

/// A resolution for settings that are read before the true one is known.
const ANY_RESOLUTION: u32 = 32;

/// What may be compared as it is.
const IMAGES: &[Kind] = &[Kind::Prepare, Kind::Sample];

/// A set of images on its way to the evaluation.
enum Images {
    /// Shards, or the statistics of a reference stage.
    Made(Box<Input>),
    /// Raw images, which are prepared first.
    Raw(Box<SingleStage>),
    /// A file of statistics of another program, for the real images.
    Statistics,
}

pub(crate) async fn evaluate(
    arguments: &Arguments,
    evaluate: &EvaluateArguments,
) -> Result<ExitCode, CliError> {
    let out = match &evaluate.out {
        Some(out) => out.clone(),
        None => default_out(arguments, evaluate)?,
    };
    let mut place = workplace(&out, evaluate.out.is_none())?;
    let store = Store::open(place.home())?;
    let or_statistics = [IMAGES, &[Kind::Reference]].concat();
    let real = if is_statistics(&evaluate.reference) {
        Images::Statistics
    } else {
        images(REAL, &evaluate.reference, evaluate, &or_statistics, &store)?
    };
    let measured = images(MEASURED, &evaluate.images, evaluate, IMAGES, &store)?;
    let is_measured_already =
        matches!(&real, Images::Made(made) if made.kind() == Some(Kind::Reference));
    let is_external = matches!(&real, Images::Statistics);
    let (mut inputs, mut before) = (Vec::new(), Vec::new());
    for images in [real, measured] {
        match images {
            Images::Made(made) => inputs.push(*made),
            Images::Raw(prepare) => before.push(*prepare),
            Images::Statistics => {}
        }
    }
    // All settings are read before anything is done.
    let mut single = stage(Kind::Evaluate, EVALUATE, evaluate)?;
    single.stage.needs = vec![REAL.to_owned(), MEASURED.to_owned()];
    let mut reference = stage(Kind::Reference, REFERENCE, evaluate)?;
    if !is_external {
        reference.stage.needs = vec![REAL.to_owned()];
    }
    let mut console = Console::start();
    if let Some(code) =
        prepare_first(arguments, evaluate, &before, &mut place, &mut console).await?
    {
        return console.conclude(Ok(code));
    }
    if !is_measured_already {
        before.push(reference);
        REFERENCE.clone_into(&mut single.stage.needs[0]);
    }
    Standalone {
        arguments,
        inputs,
        before,
        single,
        out: &out,
        place,
        replace: evaluate.out.is_none(),
    }
    .carry_out(console)
    .await
}

/// Whether a path is a file of statistics rather than an archive of images, by its name; other kinds than `.npz` are
/// refused with the way to it when they are read.
fn is_statistics(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    path.is_file() && matches!(ending, Some("npz" | "npy" | "pkl"))
}

/// The folder of an evaluation that nobody asked to keep: the same for the same two sets.
fn default_out(arguments: &Arguments, evaluate: &EvaluateArguments) -> Result<PathBuf, CliError> {
    let folder = arguments.home.join("evaluations");
    durable::create_dir_all(&folder)?;
    let key = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        path.to_string_lossy().into_owned()
    };
    let compared = json!([key(&evaluate.reference), key(&evaluate.images)]);
    let name = Fingerprint::of(&compared).to_string();
    Ok(folder.join(&name[..16]))
}

/// Shards as they are, anything else as a source of raw images.
fn images(
    name: &str,
    path: &Path,
    evaluate: &EvaluateArguments,
    kinds: &[Kind],
    store: &Store,
) -> Result<Images, CliError> {
    if Manifest::read(path).is_ok() {
        return Ok(Images::Made(Box::new(Input::open(name, path, kinds)?)));
    }
    let prepare = |(width, height): (u32, u32)| {
        // A JSON string is a TOML string too. Every image counts: none may be left out.
        let source = format!("source={}", json!(path));
        let by_size = match evaluate.resolution {
            Some(side) => format!("--resolution {side}"),
            None => path.display().to_string(),
        };
        let sized =
            |key: &str, pixels: u32| Override::option(format!("{key}={pixels}"), by_size.clone());
        let mut set = vec![
            Override::set("kind=prepare"),
            Override::option(source, path.display().to_string()),
            sized("resolution", width),
            Override::set("max_rejected=0"),
        ];
        if height != width {
            set.push(sized("height", height));
        }
        load_stage(Kind::Prepare, name, None, &set, &[])
    };
    let size = match evaluate.resolution {
        Some(side) => (side, side),
        None => size_of_first(path, &prepare((ANY_RESOLUTION, ANY_RESOLUTION))?, store)?,
    };
    Ok(Images::Raw(Box::new(prepare(size)?)))
}

/// Width and height of the first image that can be read, which all must have.
fn size_of_first(
    path: &Path,
    prepare: &SingleStage,
    store: &Store,
) -> Result<(u32, u32), CliError> {
    let StageSettings::Prepare(settings) = &prepare.stage.settings else {
        unreachable!("it was read as the settings of a prepare stage")
    };
    let failed = |source| SpecifyError::Source {
        stage: prepare.stage.name.clone(),
        source: Box::new(source),
    };
    let source = open_source(settings, &Places::of_home(store.home()), false).map_err(failed)?;
    let first = first_readable(source.as_ref()).map_err(failed)?;
    let refuse = |problem: String| CliError::Sizes {
        path: path.to_owned(),
        problem,
    };
    match first {
        Some(image) => Ok((image.width(), image.height())),
        None => Err(refuse("has no image that can be read".to_owned())),
    }
}

/// Prepares the raw images; gives the exit code where that fails.
///
/// Without a stated resolution all images must have one size: scaling would change what is measured.
async fn prepare_first(
    arguments: &Arguments,
    evaluate: &EvaluateArguments,
    stages: &[SingleStage],
    place: &mut Workplace,
    console: &mut Console,
) -> Result<Option<ExitCode>, CliError> {
    if stages.is_empty() {
        return Ok(None);
    }
    let prepared = super::make_first(arguments, stages, place, console).await?;
    let folders = match prepared {
        Ok(folders) => folders,
        Err(code) => return Ok(Some(code)),
    };
    if evaluate.resolution.is_some() {
        return Ok(None);
    }
    for (single, folder) in stages.iter().zip(folders) {
        let sizes = sizes_in_source(&folder)?;
        if let [first, second, ..] = sizes.keys().collect::<Vec<_>>()[..] {
            let path = if single.stage.name == REAL {
                &evaluate.reference
            } else {
                &evaluate.images
            };
            return Err(CliError::Sizes {
                path: path.clone(),
                problem: format!(
                    "has images of {} sizes, such as {} x {} and {} x {} pixels",
                    sizes.len(),
                    first.0,
                    first.1,
                    second.0,
                    second.1
                ),
            });
        }
    }
    Ok(None)
}

/// The settings of the reference or of the evaluation: those of `--set` that are meant for it.
fn stage(kind: Kind, name: &str, evaluate: &EvaluateArguments) -> Result<SingleStage, CliError> {
    let mut set: Vec<Override> = Vec::new();
    for text in &evaluate.set {
        match text.split_once('.') {
            Some((REFERENCE | EVALUATE, _)) => {}
            _ => {
                return Err(CliError::NoStageNamed {
                    setting: text.clone(),
                });
            }
        }
        if let Some(own) = text.strip_prefix(&format!("{name}.")) {
            set.push(Override::option(own.to_owned(), format!("--set {text}")));
        }
    }
    if kind == Kind::Reference {
        let extractor = evaluate.extractor.iter();
        set.extend(extractor.map(|name| {
            Override::option(
                format!("extractor={}", json!(name)),
                format!("--extractor {name}"),
            )
        }));
        if is_statistics(&evaluate.reference) {
            let statistics = format!("statistics={}", json!(evaluate.reference));
            set.push(Override::option(
                statistics,
                evaluate.reference.display().to_string(),
            ));
        }
    } else {
        set.extend(option("neighbours", evaluate.neighbours));
    }
    Ok(load_stage(kind, name, None, &set, &[])?)
}
