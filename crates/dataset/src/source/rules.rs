//! What the settings of a source and what is found of it have to fulfil.

use super::account::{Account, classes_text};
use super::classes::class_counts;
use super::format::{Request, SourceFormat};
use super::raw::Source;
use super::settings::{Labels, SourceSettings, Split};
use crate::error::DatasetError;

/// Refuses labels and splits that a format does not have.
pub(super) fn check(
    settings: &SourceSettings,
    format: &dyn SourceFormat,
) -> Result<(), DatasetError> {
    let name = format.format().name();
    if !format.labels().contains(&settings.labels) {
        let labels = format.labels().iter();
        let names: Vec<String> = labels.map(|labels| format!("`{labels}`")).collect();
        let hint = if settings.format.is_none() && format.is_recognised_by_names() {
            "\nhint: it was recognised by its names; `format = \"images\"` reads it as any folder of images"
        } else {
            ""
        };
        let problem = format!(
            "{} are the labels of the format `{name}`, as which is read `{}`{hint}",
            names.join(", "),
            settings.source
        );
        return Err(DatasetError::wrong_word(
            "labels",
            settings.labels.name(),
            problem,
        ));
    }
    match settings.split {
        Some(split) if !format.splits().contains(&split) => {
            let problem = format!("the format `{name}` has no such split");
            Err(DatasetError::wrong_word("split", split.name(), problem))
        }
        _ => Ok(()),
    }
}

/// Refuses a source without images, or without a single label where there should be some; notes what a person should know.
pub(super) fn check_found(
    request: &Request<'_>,
    source: &dyn Source,
    account: &mut Account,
) -> Result<(), DatasetError> {
    let settings = request.settings;
    if source.is_empty() {
        let problem = if request.split != Split::All || settings.classes.is_some() {
            "no image in it or below it is of the split and the classes that `split` and `classes` name"
        } else {
            "no file in it or below it is an image (.png, .jpg, .webp, ...), by its name or its first bytes"
        };
        let passed_over = match account.passed_over.total() {
            0 => String::new(),
            _ => format!("; passed over: {}", account.passed_over.text()),
        };
        return Err(DatasetError::EmptySource {
            source_name: settings.source.clone(),
            problem: format!("{problem}{passed_over}"),
        });
    }
    if settings.labels == Labels::None {
        return Ok(());
    }
    let counts = class_counts(source);
    let labelled: u64 = counts.iter().sum();
    if labelled == 0 {
        let problem = "nothing gives any of its images a class: no name of theirs is among those that the labels are for, \
                       in";
        return Err(wrong_labels(settings, problem));
    }
    let unlabelled = source.len() as u64 - labelled;
    if unlabelled > 0 {
        account.warnings.push(format!(
            "{unlabelled} of {} images have no class: the labels are for other names",
            source.len()
        ));
    }
    let empty = counts.iter().filter(|images| **images == 0).count();
    if empty > 0 {
        account.warnings.push(format!(
            "{empty} of the {} classes have no images ({})",
            counts.len(),
            classes_text(source.class_names(), &counts)
        ));
    }
    Ok(())
}

pub(super) fn wrong_labels(settings: &SourceSettings, problem: &str) -> DatasetError {
    let problem = format!("{problem} `{}`", settings.source);
    DatasetError::wrong_word("labels", settings.labels.name(), problem)
}
