//! `patchwork train`: a prepared data set, or an encoded one, to a network.

use std::process::ExitCode;

use patchwork_config::Override;
use patchwork_recipes::{Stage, load_stage};
use patchwork_terms::Kind;

use super::input::Input;
use super::{Standalone, workplace};
use crate::arguments::{Arguments, TrainArguments};
use crate::console::Console;
use crate::error::CliError;

pub(crate) async fn train(
    arguments: &Arguments,
    train: &TrainArguments,
) -> Result<ExitCode, CliError> {
    let data = Input::open("data", &train.data, &[Kind::Prepare, Kind::Encode])?;
    let above: Vec<Stage> = data.stage().into_iter().collect();
    let ranks = train.ranks.map(|ranks| format!("ranks={ranks}"));
    let set = ranks.iter().chain(&train.set);
    let set: Vec<Override> = set.map(|text| Override::set(text)).collect();
    let single = load_stage(Kind::Train, &train.stage, Some(&train.config), &set, &above)?;
    Standalone {
        arguments,
        inputs: vec![data],
        before: Vec::new(),
        single,
        out: &train.out,
        place: workplace(&train.out, false)?,
        replace: false,
    }
    .carry_out(Console::start())
    .await
}
