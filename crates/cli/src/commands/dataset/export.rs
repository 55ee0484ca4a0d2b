//! `patchwork dataset export`: a data set for other programs.

use patchwork_dataset::export::{self, ExportFormat, ExportOptions};

use crate::arguments::{ExportAs, ExportDatasetArguments};
use crate::error::CliError;
use crate::output::{line, remark};
use crate::progress::bar;

pub(super) fn export(arguments: &ExportDatasetArguments) -> Result<(), CliError> {
    let options = ExportOptions {
        folder: &arguments.folder,
        out: &arguments.out,
        format: match arguments.format {
            ExportAs::Edm => ExportFormat::EdmZip,
            ExportAs::Png => ExportFormat::PngFolder,
            ExportAs::HuggingFace => ExportFormat::HuggingFace,
        },
        drop_duplicates: arguments.drop_duplicates,
    };
    let mut bar = bar("images");
    let exported = export::export(&options, &mut |done, total| bar.show(done, total))?;
    bar.clear();
    let left_out = match exported.duplicates {
        0 => String::new(),
        duplicates => format!("; {duplicates} skipped: duplicates of earlier ones"),
    };
    remark(&format!("{} images{left_out}", exported.images));
    line(&arguments.out.display().to_string())
}
