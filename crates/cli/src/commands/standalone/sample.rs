//! `patchwork sample`: a network to images.

use std::process::ExitCode;

use patchwork_recipes::train::start::check_format;
use patchwork_recipes::{Stage, load_stage};
use patchwork_terms::Kind;

use super::given::Given;
use super::{Standalone, workplace};
use crate::arguments::{Arguments, SampleArguments};
use crate::console::Console;
use crate::error::CliError;

pub(crate) async fn sample(
    arguments: &Arguments,
    sample: &SampleArguments,
) -> Result<ExitCode, CliError> {
    const NAME: &str = "network";
    let place = workplace(&sample.out, false)?;
    let network = if sample.network.is_dir() {
        Given::open(NAME, &sample.network, &[Kind::Train])?
    } else {
        check_format(&sample.network)?;
        Given::network(NAME, &sample.network, place.home())?
    };
    let encoded = network.made_from("encode", Kind::Encode)?;
    let above: Vec<Stage> = network.stage().into_iter().collect();
    let mut set = sample.set.clone();
    set.extend(sample.seeds.iter().map(|seeds| format!("seeds={seeds:?}")));
    set.extend(
        sample
            .export
            .iter()
            .map(|format| format!("export={}", format.name())),
    );
    set.extend(sample.steps.iter().map(|steps| format!("steps={steps}")));
    let single = load_stage(
        Kind::Sample,
        &sample.stage,
        sample.config.as_deref(),
        &set,
        &above,
    )?;
    Standalone {
        arguments,
        given: [network].into_iter().chain(encoded).collect(),
        before: Vec::new(),
        single,
        out: &sample.out,
        place,
        replace: false,
    }
    .carry_out(Console::start())
    .await
}
