//! The first images of a source.

use std::ops::Range;

use patchwork_core::Digest;

use super::account::Account;
use super::raw::{Entry, Fetched, Source};
use crate::error::DatasetError;

/// A source of which the first so many images are taken, in its order.
struct Limited {
    whole: Box<dyn Source>,
    images: usize,
    account: Account,
}

/// The first `most` images of a source; the others are passed over.
pub fn limited(source: Box<dyn Source>, most: usize) -> Box<dyn Source> {
    let beyond = source.len().saturating_sub(most);
    if beyond == 0 {
        return source;
    }
    let mut account = source.account().clone();
    account
        .passed_over
        .add_many("beyond `max_images`", beyond as u64);
    Box::new(Limited {
        images: most,
        account,
        whole: source,
    })
}

impl Source for Limited {
    fn len(&self) -> usize {
        self.images
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        self.whole.entry(index)
    }

    fn stored_bytes(&self, index: usize) -> u64 {
        self.whole.stored_bytes(index)
    }

    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError> {
        self.whole.fetch(range)
    }

    fn class_names(&self) -> &[String] {
        self.whole.class_names()
    }

    fn digest(&self) -> Digest {
        self.whole.digest()
    }

    fn credit(&self) -> Option<&str> {
        self.whole.credit()
    }

    fn account(&self) -> &Account {
        &self.account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{SourceCache, SourceSettings, open};

    #[test]
    fn the_first_images_are_taken_and_the_others_counted() {
        let settings = SourceSettings {
            source: "builtin:twemoji".to_owned(),
            ..SourceSettings::default()
        };
        let whole = open(&settings, &SourceCache::default()).unwrap();
        let (all, entries) = (whole.len(), whole.account().entries);
        let first: Vec<String> = (0..5)
            .map(|index| whole.entry(index).key.to_owned())
            .collect();
        let digest = whole.digest();
        let few = limited(whole, 5);
        assert_eq!((few.len(), few.digest()), (5, digest));
        for (index, key) in first.iter().enumerate() {
            assert_eq!(few.entry(index).key, key);
        }
        assert_eq!(few.fetch(3..5).unwrap().len(), 2);
        let account = few.account();
        assert_eq!(account.entries, entries);
        assert!(account.passed_over.total() >= (all - 5) as u64);
        assert_eq!(limited(few, 9).len(), 5);
    }
}
