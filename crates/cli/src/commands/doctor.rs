//! `patchwork doctor`: checks the installation and suggests fixes.

use std::path::Path;
use std::process::ExitCode;

use patchwork_artifacts::Store;
use patchwork_core::durable;
use patchwork_recipes::precision::automatic;
use patchwork_registry::Registry;
use patchwork_supervisor::run_folder::has_records;
use patchwork_supervisor::run_folders::RunFolders;
use patchwork_terms::Kind;
use patchwork_weights::{
    EFFICIENTNET_LITE0, INCEPTION_V3, INCEPTION_V3_TORCHSCRIPT, WeightsFile, weights_folder,
};
use serde_json::json;

use super::ranks;
use crate::arguments::{Arguments, DoctorArguments, Format};
use crate::error::{CliError, EXIT_FAILED};
use crate::output::Rows;
use crate::worker_program::{self, LIBTORCH_VERSION, Probe};

/// Free space below which a run may fail: artifacts of the demo and its checkpoints take about 200 MiB.
const LEAST_FREE_BYTES: u64 = 1 << 30;

/// What CelebA at 64x64 takes at most, by the arithmetic in docs/reference/data-sets.md.
const CELEBA_BYTES: u64 = 8_000_000_000;

struct Finding {
    what: &'static str,
    /// What was found, or what is wrong and how to fix it.
    state: Result<String, String>,
    needed: bool,
}

pub(crate) async fn doctor(
    arguments: &Arguments,
    asked: &DoctorArguments,
) -> Result<ExitCode, CliError> {
    let probe = worker_program::path()
        .and_then(|worker| worker_program::probe(&worker))
        .map_err(|error| match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        });
    let mut findings = vec![
        Finding {
            what: "libtorch",
            state: probe.as_ref().map(libtorch).map_err(String::clone),
            needed: true,
        },
        Finding {
            what: "processor",
            state: Ok(processor()),
            needed: true,
        },
        Finding {
            what: "GPU",
            state: probe
                .as_ref()
                .map_err(|_| "unknown while libtorch is missing".to_owned())
                .and_then(gpu),
            needed: false,
        },
        Finding {
            what: "extractor weights",
            state: weights(arguments, &EFFICIENTNET_LITE0),
            needed: true,
        },
        Finding {
            what: "weights for FID",
            state: weights(arguments, &INCEPTION_V3).or_else(|missing| {
                weights(arguments, &INCEPTION_V3_TORCHSCRIPT).map_err(|_| missing)
            }),
            needed: false,
        },
        Finding {
            what: "home folder",
            state: home(&arguments.home),
            needed: true,
        },
        Finding {
            what: "registry",
            state: registry(&arguments.home).await,
            needed: true,
        },
        Finding {
            what: "disk space",
            state: space(&arguments.home),
            needed: true,
        },
    ];
    if asked.ranks.is_some() || asked.launch.is_some() {
        findings.push(Finding {
            what: "ranks",
            state: ranks::check(&arguments.home, asked).await,
            needed: true,
        });
    }
    let mut rows = Rows::new(&["", "what", "state"]);
    for finding in &findings {
        let (mark, state) = match &finding.state {
            Ok(state) => ("ok", state),
            Err(state) if finding.needed => ("missing", state),
            Err(state) => ("-", state),
        };
        rows.push(vec![json!(mark), json!(finding.what), json!(state)]);
    }
    rows.print(Format::Table)?;
    let healthy = findings
        .iter()
        .all(|finding| finding.state.is_ok() || !finding.needed);
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

fn libtorch(probe: &Probe) -> String {
    format!(
        "{LIBTORCH_VERSION}, {} threads, computes 1 + 1 + 1 + 1 = {}",
        probe.threads, probe.sum_of_four_ones
    )
}

fn processor() -> String {
    let precision = automatic("cpu").name();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{threads} threads; `precision = \"auto\"` means {precision}")
}

fn gpu(probe: &Probe) -> Result<String, String> {
    match probe.cuda_devices {
        0 if probe.has_cuda_runtime => Err(
            "libtorch's CUDA build sees none; `nvidia-smi` should list one, with a driver for CUDA 13 (580 or newer)"
                .to_owned(),
        ),
        0 => Err(
            "none that libtorch can use; with an NVIDIA GPU: PATCHWORK_CUDA=1 ./justw setup, then ./justw build"
                .to_owned(),
        ),
        count => Ok(format!(
            "{count} CUDA devices; choose one with `--device cuda:0`, or `device` in the pipeline's file"
        )),
    }
}

fn weights(arguments: &Arguments, file: &WeightsFile) -> Result<String, String> {
    let folder = weights_folder(arguments.weights.clone());
    match file.check(&folder) {
        Ok(found) => Ok(format!(
            "{} in {}, BLAKE3 {}",
            file.network,
            folder.display(),
            found.digest
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn home(home: &Path) -> Result<String, String> {
    let probe = home.join(".patchwork-doctor.txt");
    let store = Store::open(home)
        .and_then(|store| durable::write(&probe, b"written by `patchwork doctor`").map(|()| store))
        .and_then(|store| durable::remove_file(&probe).map(|()| store))
        .map_err(|error| format!("{error}; choose another with --home or PATCHWORK_HOME"))?;
    let mut kinds = Kind::ALL.iter();
    match kinds.find_map(|kind| store.other_disk(kind.name())) {
        Some(folder) => Err(format!(
            "`{}` lies on another disk than `{}`, so that finished stages could not be published; put the whole home \
             folder there, by --home or PATCHWORK_HOME",
            folder.display(),
            home.join("work").display()
        )),
        None => Ok(format!("{} can be written to", home.display())),
    }
}

async fn registry(home: &Path) -> Result<String, String> {
    let path = home.join("registry.db");
    if !path.exists() {
        let logs = durable::list(&home.join("logs")).unwrap_or_default();
        if logs.iter().any(|run| has_records(run)) {
            return Err(
                "missing; `patchwork registry rebuild` rebuilds it from `logs/`".to_owned(),
            );
        }
        return Ok("none yet: the first run creates it".to_owned());
    }
    let registry = Registry::open_read_only(&path)
        .await
        .map_err(|error| error.to_string())?;
    let check = registry
        .query("PRAGMA integrity_check")
        .map_err(|error| error.to_string())?;
    match check
        .rows
        .first()
        .and_then(|row| row.first())
        .map(ToString::to_string)
        .as_deref()
    {
        Some("ok") => {
            let count = registry
                .query("SELECT COUNT(*) FROM runs")
                .map_err(|error| error.to_string())?;
            let count = count
                .rows
                .first()
                .and_then(|row| row.first())
                .map(ToString::to_string);
            unknown_runs(home, &registry).await?;
            Ok(format!("{} runs, intact", count.unwrap_or_default()))
        }
        found => Err(format!(
            "`{}` is damaged: {}",
            path.display(),
            found.unwrap_or("no answer")
        )),
    }
}

/// What is wrong where runs have a folder and no place in the registry.
async fn unknown_runs(home: &Path, registry: &Registry) -> Result<(), String> {
    let store = Store::open(home).map_err(|error| error.to_string())?;
    let known = registry
        .run_names()
        .await
        .map_err(|error| error.to_string())?;
    let folders = RunFolders::read(&store, &known).map_err(|error| error.to_string())?;
    match folders.readable.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(format!(
            "{} runs in `logs/` are missing from it, such as {}; `patchwork registry rebuild` adds them",
            folders.readable.len(),
            first.run.start.run
        )),
    }
}

fn space(home: &Path) -> Result<String, String> {
    const CELEBA: &str = "one of CelebA at 64x64 takes about 8 GB (docs/reference/data-sets.md)";
    let path = if home.exists() { home } else { Path::new(".") };
    let stat = rustix::fs::statvfs(path).map_err(|error| error.to_string())?;
    let free = stat.f_bavail * stat.f_frsize;
    let text = format!(
        "{:.1} GiB free for {}",
        free as f64 / f64::from(1 << 30),
        home.display()
    );
    if free >= CELEBA_BYTES {
        Ok(text)
    } else if free >= LEAST_FREE_BYTES {
        Ok(format!("{text}; enough for a small run; {CELEBA}"))
    } else {
        Err(format!("{text}; a small run takes about 1 GiB, {CELEBA}"))
    }
}
