//! A data set of pixels as they are, small enough to be held in memory: CIFAR and MNIST.

use std::ops::Range;

use patchwork_core::Digest;

use super::account::Account;
use super::raw::{Entry, Fetched, Payload, PixelFormat, RawImage, Rejection, Source};
use crate::error::DatasetError;

/// Images of one size and their classes.
#[derive(Debug)]
pub(super) struct PixelSource {
    keys: Vec<String>,
    labels: Vec<u32>,
    /// Whether the classes are wanted.
    labelled: bool,
    class_names: Vec<String>,
    side: u32,
    format: PixelFormat,
    /// Image after image, `[side, side, channels]`.
    pixels: Vec<u8>,
    digest: Digest,
    /// Images of splits that are not read.
    of_other_splits: u64,
    account: Account,
}

impl PixelSource {
    pub(super) fn new(
        side: u32,
        format: PixelFormat,
        class_names: Vec<String>,
        labelled: bool,
        digest: Digest,
    ) -> Self {
        Self {
            keys: Vec::new(),
            labels: Vec::new(),
            labelled,
            class_names: if labelled { class_names } else { Vec::new() },
            side,
            format,
            pixels: Vec::new(),
            digest,
            of_other_splits: 0,
            account: Account::default(),
        }
    }

    pub(super) fn with_account(self, account: Account) -> Self {
        Self { account, ..self }
    }

    /// Counts images of splits that are not read.
    pub(super) fn leave_out(&mut self, images: u64) {
        self.of_other_splits += images;
    }

    pub(super) fn of_other_splits(&self) -> u64 {
        self.of_other_splits
    }

    /// Bytes of an image.
    pub(super) fn image_bytes(&self) -> usize {
        (self.side * self.side) as usize * self.format.channels()
    }

    /// Adds an image of exactly [`image_bytes`](Self::image_bytes) bytes.
    pub(super) fn push(&mut self, key: String, label: u32, pixels: &[u8]) {
        self.keys.push(key);
        self.labels.push(label);
        self.pixels.extend_from_slice(pixels);
    }

    /// Keeps the images of the classes for which `keep` is true and numbers those again; `names` are theirs.
    pub(super) fn retain_classes(&mut self, numbers: &[Option<u32>], names: Vec<String>) {
        let bytes = self.image_bytes();
        let mut kept = 0;
        for index in 0..self.keys.len() {
            let Some(Some(label)) = numbers.get(self.labels[index] as usize) else {
                continue;
            };
            self.labels[kept] = *label;
            self.keys.swap(kept, index);
            self.pixels
                .copy_within(index * bytes..(index + 1) * bytes, kept * bytes);
            kept += 1;
        }
        self.labels.truncate(kept);
        self.keys.truncate(kept);
        self.pixels.truncate(kept * bytes);
        if self.labelled {
            self.class_names = names;
        }
    }
}

impl Source for PixelSource {
    fn len(&self) -> usize {
        self.keys.len()
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        Entry {
            key: &self.keys[index],
            label: self.labelled.then(|| self.labels[index]),
        }
    }

    fn stored_bytes(&self, _index: usize) -> u64 {
        self.image_bytes() as u64
    }

    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError> {
        let bytes = self.image_bytes();
        let images = range
            .map(|index| {
                let known = self.labels[index] as usize;
                if self.labelled && known >= self.class_names.len() {
                    return Err(Rejection::new(format!("its class {known} has no name")));
                }
                let pixels = self.pixels[index * bytes..][..bytes].to_vec();
                RawImage::new(self.side, self.side, self.format, pixels).map(Payload::Pixels)
            })
            .collect();
        Ok(images)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn credit(&self) -> Option<&str> {
        None
    }

    fn account(&self) -> &Account {
        &self.account
    }
}
