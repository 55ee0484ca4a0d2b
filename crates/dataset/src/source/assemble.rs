//! From what a format holds to a source: selected images, chosen classes, the digest, and the account of all entries.

use patchwork_core::Digest;

use super::account::Account;
use super::cache::SourceCache;
use super::classes::chosen;
use super::files::{FileSource, Selection};
use super::format::{Content, Request, SourceFormat};
use super::listing::digest_listing;
use super::pixels::PixelSource;
use super::raw::Source;
use super::rules::check_found;
use super::settings::{Labels, Split};
use super::store::Store;
use crate::error::DatasetError;

/// The reason of images that `classes` leaves out.
const OTHER_CLASSES: &str = "of classes that are not chosen";

/// The source that a request gets of what its format holds.
pub(super) fn source(
    format: &dyn SourceFormat,
    request: &Request<'_>,
    content: Content,
) -> Result<Box<dyn Source>, DatasetError> {
    let has_splits = format.splits() != [Split::All];
    let account = Account {
        format: format.format().name().to_owned(),
        recognised: request.settings.format.is_none(),
        split: has_splits.then(|| request.split.name().to_owned()),
        ..Account::default()
    };
    match content {
        Content::Files(store) => {
            let selection = format.select(request, &*store)?;
            of_files(request, store, selection, account)
        }
        Content::Pixels(source) => of_pixels(request, source, account),
    }
}

fn of_pixels(
    request: &Request<'_>,
    mut source: Box<PixelSource>,
    mut account: Account,
) -> Result<Box<dyn Source>, DatasetError> {
    (account.passed_over).add_many("of another split", source.of_other_splits());
    if let Some(classes) = chosen(request.settings, source.class_names())? {
        let all = source.len();
        source.retain_classes(&classes.numbers, classes.names);
        let left_out = (all - source.len()) as u64;
        (account.passed_over).add_many(OTHER_CLASSES, left_out);
    }
    if request.is_labelled() {
        account.classes_by = Some("the data set's labels".to_owned());
    }
    account.entries = source.len() as u64 + account.passed_over.total();
    check_found(request, &*source, &mut account)?;
    Ok(Box::new(source.with_account(account)))
}

fn of_files(
    request: &Request<'_>,
    store: Box<dyn Store>,
    mut selection: Selection,
    mut account: Account,
) -> Result<Box<dyn Source>, DatasetError> {
    keep_classes(request, &mut selection)?;
    if request.settings.labels == Labels::None {
        selection = selection.unlabelled();
    }
    let digest = digest(request, &*store, &selection)?;
    account.passed_over.merge(store.passed_over());
    account.passed_over.merge(&selection.left_out);
    account.entries = selection.members.len() as u64 + account.passed_over.total();
    account.classes_by = selection.classes_by.take();
    account.warnings = store.warnings();
    account.warnings.append(&mut selection.warnings);
    let source = FileSource::new(store, selection, digest);
    check_found(request, &source, &mut account)?;
    Ok(Box::new(source.with_account(account)))
}

/// Keeps the images of the classes that are chosen, and numbers those again.
fn keep_classes(request: &Request<'_>, selection: &mut Selection) -> Result<(), DatasetError> {
    let Some(classes) = chosen(request.settings, &selection.class_names)? else {
        return Ok(());
    };
    let number = |label: i32| {
        usize::try_from(label)
            .ok()
            .and_then(|label| classes.numbers.get(label).copied().flatten())
    };
    selection.retain("without a class", |member| member.label >= 0);
    selection.retain(OTHER_CLASSES, |member| number(member.label).is_some());
    for member in &mut selection.members {
        member.label = number(member.label).map_or(member.label, |number| number as i32);
    }
    selection.class_names = classes.names;
    Ok(())
}

/// The digest of a store and the lists beside it. An archive's covers them as files of one listing; that of a folder is
/// joined with theirs.
fn digest(
    request: &Request<'_>,
    store: &dyn Store,
    selection: &Selection,
) -> Result<Digest, DatasetError> {
    let (place, cache) = (request.place.as_path(), request.cache);
    let mut hashed = store.hashed();
    let lists = &selection.lists;
    let digest = if place.is_dir() {
        let folder = cache.digest(place, &hashed)?;
        if lists.is_empty() {
            folder
        } else {
            let uncached = SourceCache {
                folder: None,
                rehash: cache.rehash,
            };
            let lists = uncached.digest(place, lists)?;
            digest_listing([("images", 0, folder), ("lists", 0, lists)].into_iter())
        }
    } else {
        hashed.extend(lists.iter().cloned());
        cache.digest(place, &hashed)?
    };
    if store.reads_more() || selection.reads_more {
        return Ok(digest_as_read(digest, store, selection));
    }
    Ok(digest)
}

/// The digest of a source of which an earlier version of this program would have read something else: what is read is part
/// of it, so that nothing that was made then is taken for what would be made now.
fn digest_as_read(source: Digest, store: &dyn Store, selection: &Selection) -> Digest {
    let class = |label: i32| {
        let name = usize::try_from(label)
            .ok()
            .and_then(|label| selection.class_names.get(label));
        Digest::of(name.map_or(&b""[..], |name| name.as_bytes()))
    };
    let images = selection.members.iter().map(|member| {
        let name = store.name(member.file as usize);
        (name, i64::from(member.label) as u64, class(member.label))
    });
    let read = digest_listing(images);
    digest_listing([("source", 0, source), ("read", 0, read)].into_iter())
}
