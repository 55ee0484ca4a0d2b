//! TensorBoard's files of a training. They are a view: where they cannot be written, training continues without them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use patchwork_artifacts::worker::Context;
use patchwork_core::FileError;
use patchwork_tensorboard::EventWriter;

/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_mins(1);

/// Where curves and pictures go.
pub(super) struct Events {
    folder: PathBuf,
    /// Opened with the first thing that goes there.
    writer: Option<EventWriter>,
    failed: Option<Instant>,
}

impl Events {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            writer: None,
            failed: None,
        }
    }

    /// Says that what was written so far of steps from `first_step` on no longer holds.
    pub(super) fn resume_from(&mut self, context: &Context, first_step: u64) {
        let is_open = self.writer.is_some();
        // A new file says so by itself.
        self.write(context, first_step, |writer| {
            if is_open {
                writer.restart(first_step)
            } else {
                Ok(())
            }
        });
    }

    /// Adds one value each to some curves.
    pub(super) fn scalars(&mut self, context: &Context, step: u64, values: &[(&str, f64)]) {
        self.write(context, step, |writer| writer.scalars(step, values));
    }

    /// Adds an RGB picture, given as PNG, to a series of pictures.
    pub(super) fn image(&mut self, context: &Context, step: u64, name: &str, png: &[u8]) {
        self.write(context, step, |writer| writer.image(step, name, png));
    }

    fn write(
        &mut self,
        context: &Context,
        step: u64,
        write: impl FnOnce(&mut EventWriter) -> Result<(), FileError>,
    ) {
        let is_paused = self.failed.is_some_and(|since| since.elapsed() < PAUSE);
        if self.writer.is_none() && is_paused {
            return;
        }
        let opened = match self.writer.take() {
            Some(writer) => Ok(writer),
            None => EventWriter::open(&self.folder, step),
        };
        let written = opened.and_then(|mut writer| write(&mut writer).map(|()| writer));
        match written {
            Ok(writer) => {
                self.writer = Some(writer);
                self.failed = None;
            }
            Err(error) => {
                if self.failed.is_none() {
                    context.warn(format!(
                        "TensorBoard's files cannot be written ({error}); training continues, and the registry has all \
                         numbers"
                    ));
                }
                self.failed = Some(Instant::now());
            }
        }
    }
}
