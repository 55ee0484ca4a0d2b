//! `patchwork dataset grid`: many images of a data set in one picture.

use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_dataset::grid::{Choice, images_png};

use crate::arguments::GridArguments;
use crate::error::{CliError, refuse_to_overwrite};
use crate::output::line;

pub(super) fn grid(arguments: &GridArguments) -> Result<(), CliError> {
    refuse_to_overwrite(&arguments.output, arguments.force)?;
    let set = ShardSet::open(&arguments.folder)?;
    let choice = Choice {
        count: arguments.count as usize,
        class: arguments.class.as_deref(),
        seed: arguments.seed,
    };
    let png = images_png(&set, &choice.images(&set)?, arguments.columns as usize)?;
    durable::write(&arguments.output, &png)?;
    line(&arguments.output.display().to_string())
}
