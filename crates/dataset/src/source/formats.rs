//! The formats, in the order in which they are recognised.

use std::path::Path;

use super::any_store::unknown_kind;
use super::detect::{Look, PathKind};
use super::format::SourceFormat;
use super::settings::{Format, SourceSettings};
use super::store::Store;
use super::{afhq, celeba, cifar, flowers, images, lmdb, mnist, tables, webdataset};
use crate::error::DatasetError;

/// Every format; `images`, which any files are, stands last.
const FORMATS: &[&dyn SourceFormat] = &[
    &lmdb::Lmdb,
    &mnist::Mnist,
    &cifar::TEN,
    &cifar::HUNDRED,
    &tables::Parquet,
    &celeba::CelebA,
    &afhq::AfhqV2,
    &flowers::Flowers102,
    &webdataset::WebDataset,
    &images::Images,
];

/// The format of that name.
pub(super) fn of(format: Format) -> &'static dyn SourceFormat {
    FORMATS
        .iter()
        .copied()
        .find(|known| known.format() == format)
        .expect("a test finds each format in the table")
}

/// The format of a path; none for a folder or an archive of files, which are recognised by their names.
pub(super) fn detect(
    path: &Path,
    settings: &SourceSettings,
) -> Result<Option<&'static dyn SourceFormat>, DatasetError> {
    let look = Look::at(path, settings)?;
    for format in FORMATS {
        if format.is_at(&look)? {
            return Ok(Some(*format));
        }
    }
    match look.kind {
        PathKind::File => Err(unknown_kind(path)),
        PathKind::Folder | PathKind::Zip | PathKind::Tar(_) => Ok(None),
    }
}

/// The format of the files of a folder or an archive, by their names.
pub(super) fn recognise(place: &Path, store: &dyn Store) -> &'static dyn SourceFormat {
    let found = FORMATS.iter().find(|format| format.is_in(place, store));
    found.copied().expect("`images` takes any files")
}

#[cfg(test)]
mod tests {
    use super::super::settings::Labels;
    use super::*;

    #[test]
    fn each_format_stands_in_the_table_once_with_what_it_takes() {
        assert_eq!(FORMATS.len(), Format::ALL.len());
        for &format in Format::ALL {
            let known = of(format);
            assert_eq!(known.format(), format);
            assert!(known.labels().contains(&Labels::None), "{format}");
            assert!(known.splits().contains(&known.usual_split()), "{format}");
        }
    }
}
