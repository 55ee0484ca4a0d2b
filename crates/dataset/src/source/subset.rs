//! Some of the images of a source, for a smaller data set of the same kind.

use std::ops::Range;

use patchwork_core::Digest;

use super::account::Account;
use super::raw::{Entry, Fetched, Source};
use crate::error::DatasetError;

/// `images` of the images of a source, or all of them where there are no more, in the source's order.
///
/// Which they are depends on the names alone: those whose digests come first. A smaller number of the same source is a
/// part of a larger one, and images that are added elsewhere change little.
pub fn subset(source: Box<dyn Source>, images: usize) -> Box<dyn Source> {
    let mut account = source.account().clone();
    let count = source.len();
    if count < images {
        account.warnings.push(format!(
            "`sampled_images` = {images} is more than the {count} images of the source: all are taken"
        ));
    } else if count > images {
        let left_out = (count - images) as u64;
        account
            .passed_over
            .add_many("beyond `sampled_images`", left_out);
    }
    let mut ranked: Vec<(Digest, usize)> = (0..count)
        .map(|index| (Digest::of(source.entry(index).key.as_bytes()), index))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(images);
    let mut taken: Vec<usize> = ranked.into_iter().map(|(_, index)| index).collect();
    taken.sort_unstable();
    Box::new(Subset {
        source,
        taken,
        account,
    })
}

struct Subset {
    source: Box<dyn Source>,
    /// Ascending, so that an archive is read from its start once.
    taken: Vec<usize>,
    account: Account,
}

impl Source for Subset {
    fn len(&self) -> usize {
        self.taken.len()
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        self.source.entry(self.taken[index])
    }

    fn stored_bytes(&self, index: usize) -> u64 {
        self.source.stored_bytes(self.taken[index])
    }

    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError> {
        let mut fetched = Vec::with_capacity(range.len());
        // Neighbours are read together.
        for run in self.taken[range].chunk_by(|before, after| before + 1 == *after) {
            fetched.extend(self.source.fetch(run[0]..run[0] + run.len())?);
        }
        Ok(fetched)
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn digest(&self) -> Digest {
        self.source.digest()
    }

    fn credit(&self) -> Option<&str> {
        self.source.credit()
    }

    fn account(&self) -> &Account {
        &self.account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::twemoji::TwemojiSource;
    use crate::source::{EmojiFilter, Labels, Payload};

    fn emoji() -> Box<dyn Source> {
        Box::new(TwemojiSource::open(Labels::Group, &EmojiFilter::default()).unwrap())
    }

    /// Names with the bytes of their files.
    fn contents(source: &dyn Source) -> Vec<(String, Vec<u8>)> {
        let fetched = source.fetch(0..source.len()).unwrap();
        (fetched.into_iter().enumerate())
            .map(|(index, payload)| {
                let Payload::File(bytes) = payload.unwrap() else {
                    panic!("emoji are files")
                };
                (source.entry(index).key.to_owned(), bytes.into_owned())
            })
            .collect()
    }

    #[test]
    fn a_part_is_spread_over_the_source_and_within_every_larger_part() {
        let all = contents(emoji().as_ref());
        let [small, large] = [40, 300].map(|images| subset(emoji(), images));
        let [few, many] = [&small, &large].map(|part| contents(part.as_ref()));
        assert_eq!((few.len(), many.len()), (40, 300));
        assert!(few.iter().all(|image| many.contains(image)));
        // In the source's order, each name with its own file.
        let places: Vec<usize> = many
            .iter()
            .map(|image| all.iter().position(|other| other == image).unwrap())
            .collect();
        assert!(places.is_sorted());
        let in_first_half = places
            .iter()
            .filter(|place| **place < all.len() / 2)
            .count();
        assert!((110..190).contains(&in_first_half), "{in_first_half}");
        assert_eq!(large.class_names(), emoji().class_names());
        let account = large.account();
        let taken = account.entries - account.passed_over.total();
        assert_eq!(taken, 300);
    }

    #[test]
    fn more_than_there_are_is_all_with_a_warning() {
        let count = emoji().len();
        let all = subset(emoji(), count + 1);
        assert_eq!(contents(all.as_ref()), contents(emoji().as_ref()));
        assert!(all.account().warnings[0].contains("all are taken"));
    }
}
