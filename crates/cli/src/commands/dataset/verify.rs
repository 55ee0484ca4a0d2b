//! `patchwork dataset verify`: what is damaged in a data set, and its repair.

use std::path::Path;
use std::process::ExitCode;

use patchwork_artifacts::Manifest;
use patchwork_artifacts::manifest::{MANIFEST_FILE, list_files};
use patchwork_dataset::{Fault, Verified};
use serde_json::json;

use super::repair::repair;
use crate::arguments::{Arguments, Format, VerifyArguments};
use crate::error::{CliError, EXIT_FAILED};
use crate::output::{Rows, line, remark};
use crate::progress::bar;

pub(super) async fn verify(
    arguments: &Arguments,
    verify: &VerifyArguments,
) -> Result<ExitCode, CliError> {
    let found = check(&verify.folder)?;
    print(&found, verify.format)?;
    if found.faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !verify.repair {
        return Err(CliError::Damaged {
            folder: verify.folder.clone(),
            faults: found.faults.len(),
            files: found.bad_files().join("`, `"),
        });
    }
    let files: Vec<String> = found.bad_files().into_iter().map(str::to_owned).collect();
    let code = repair(arguments, &verify.folder, verify.source.as_deref(), &files).await?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    let left = check(&verify.folder)?;
    if left.faults.is_empty() {
        remark(&format!("repaired: `{}`", files.join("`, `")));
        return Ok(ExitCode::SUCCESS);
    }
    print(&left, verify.format)?;
    remark("error: these are not repaired");
    Ok(ExitCode::from(EXIT_FAILED))
}

/// Checks the images, and the files against the manifest where there is one.
fn check(folder: &Path) -> Result<Verified, CliError> {
    let mut bar = bar("shards");
    let mut found = patchwork_dataset::verify(folder, &mut |done, total| bar.show(done, total))?;
    bar.clear();
    if folder.join(MANIFEST_FILE).exists() {
        match Manifest::read(folder) {
            Ok(manifest) => compare_files(folder, &manifest, &mut found)?,
            Err(error) => found.faults.push(fault(MANIFEST_FILE, &error.to_string())),
        }
    }
    Ok(found)
}

/// What only the manifest shows: a changed byte outside of the images, a file that is missing or does not belong.
fn compare_files(folder: &Path, manifest: &Manifest, found: &mut Verified) -> Result<(), CliError> {
    let known: Vec<String> = found.bad_files().into_iter().map(str::to_owned).collect();
    let present = list_files(folder)?;
    for file in &manifest.files {
        if known.contains(&file.path) {
            continue;
        }
        match present.iter().find(|other| other.path == file.path) {
            None => found.faults.push(fault(&file.path, "it is missing")),
            Some(other) if other != file => {
                let problem = "its bytes differ from those that `manifest.json` records";
                found.faults.push(fault(&file.path, problem));
            }
            Some(_) => {}
        }
    }
    for file in present {
        if manifest.files.iter().all(|own| own.path != file.path) && !known.contains(&file.path) {
            remark(&format!("`{}` is not a file of the data set", file.path));
        }
    }
    Ok(())
}

fn fault(file: &str, problem: &str) -> Fault {
    Fault {
        file: file.to_owned(),
        image: None,
        key: None,
        problem: problem.to_owned(),
    }
}

fn print(found: &Verified, format: Format) -> Result<(), CliError> {
    if found.faults.is_empty() && format == Format::Table {
        return line(&format!(
            "{} images in {} shards: no damage found",
            found.images, found.shards
        ));
    }
    let mut rows = Rows::new(&["file", "image", "key", "problem"]);
    for fault in &found.faults {
        rows.push(vec![
            json!(fault.file),
            json!(fault.image),
            json!(fault.key),
            json!(fault.problem),
        ]);
    }
    rows.print(format)
}
