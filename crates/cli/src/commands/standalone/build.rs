//! `patchwork dataset build`: raw images to a prepared data set.

use std::process::ExitCode;

use patchwork_config::Override;
use patchwork_recipes::load_stage;
use patchwork_terms::Kind;
use serde_json::json;

use super::{Standalone, option, workplace};
use crate::arguments::{Arguments, BuildArguments};
use crate::console::Console;
use crate::error::CliError;

pub(crate) async fn build(
    arguments: &Arguments,
    build: &BuildArguments,
) -> Result<ExitCode, CliError> {
    // A JSON string is a TOML string too.
    let source = format!("source={}", json!(build.source));
    let mut set = vec![Override::option(source, build.source.clone())];
    set.extend(option("resolution", build.resolution));
    set.extend(option("channels", build.channels));
    set.extend(build.set.iter().map(|text| Override::set(text)));
    let single = load_stage(
        Kind::Prepare,
        &build.stage,
        build.config.as_deref(),
        &set,
        &[],
    )?;
    Standalone {
        arguments,
        inputs: Vec::new(),
        before: Vec::new(),
        single,
        out: &build.out,
        place: workplace(&build.out, false)?,
        replace: false,
    }
    .carry_out(Console::start())
    .await
}
