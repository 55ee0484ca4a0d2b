//! A format of data sets: which settings it takes, how it is recognised, and how it is read.

use std::path::{Path, PathBuf};

use super::any_store::open_store;
use super::cache::SourceCache;
use super::detect::Look;
use super::files::Selection;
use super::pixels::PixelSource;
use super::settings::{Format, Labels, SourceSettings, Split};
use super::store::Store;
use super::store_labels;
use crate::error::DatasetError;

/// A format of data sets. Most are image files in a folder or an archive, of which the format selects some and gives them
/// classes: that is what the default of each method does.
pub(super) trait SourceFormat: Sync {
    /// What pipeline files call it.
    fn format(&self) -> Format;

    /// The labels that it offers.
    fn labels(&self) -> &'static [Labels] {
        &[Labels::None, Labels::Source]
    }

    /// The splits that it can have.
    fn splits(&self) -> &'static [Split] {
        &[Split::All]
    }

    /// The split that its users take where none is set.
    fn usual_split(&self) -> Split {
        Split::All
    }

    /// Whether a path is of this format, from what can be seen without listing it.
    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError>;

    /// Whether the files of a folder or archive are of this format, by their names.
    fn is_in(&self, _place: &Path, _store: &dyn Store) -> bool {
        false
    }

    /// Whether it is recognised by names that other folders of images may have too.
    fn is_recognised_by_names(&self) -> bool {
        false
    }

    /// The folder or archive of the images where the folder of a distribution is named: the first of these in it that exists.
    fn places(&self) -> &'static [&'static str] {
        &[]
    }

    /// Lists what it holds.
    fn open(&self, request: &Request<'_>) -> Result<Content, DatasetError> {
        let store = open_store(&request.place, &request.settings.without)?;
        Ok(Content::Files(store))
    }

    /// Selects the images among files, and gives them classes.
    fn select(&self, request: &Request<'_>, store: &dyn Store) -> Result<Selection, DatasetError> {
        match request.settings.labels {
            Labels::Source => {
                store_labels::select(store).map_err(|problem| request.no_labels(&problem))
            }
            _ => Ok(Selection::all(store)),
        }
    }
}

/// What a format holds.
pub(super) enum Content {
    /// Image files.
    Files(Box<dyn Store>),
    /// Pixels in memory, of the split and with the labels of the request.
    Pixels(Box<PixelSource>),
}

/// What is asked of a format.
pub(super) struct Request<'a> {
    pub(super) settings: &'a SourceSettings,
    pub(super) cache: &'a SourceCache,
    /// Where the images lie.
    pub(super) place: PathBuf,
    /// The split to read: that of the settings, or the usual one.
    pub(super) split: Split,
}

impl Request<'_> {
    /// Whether images are to have classes.
    pub(super) fn is_labelled(&self) -> bool {
        self.settings.labels != Labels::None
    }

    /// The error of a source whose labels cannot be had.
    pub(super) fn no_labels(&self, problem: &str) -> DatasetError {
        DatasetError::wrong_word(
            "labels",
            self.settings.labels.name(),
            format!("{problem} in `{}`", self.settings.source),
        )
    }
}
