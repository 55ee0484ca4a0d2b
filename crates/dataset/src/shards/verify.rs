//! The integrity check of a set: every image against its digest, the shards against the index.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use patchwork_core::durable;
use rayon::prelude::*;
use serde::Serialize;

use super::digest::image_digest;
use super::file::{Record, ShardFile, read_keys};
use super::index::{Index, read_index};
use super::metadata::{check_format, read_metadata};
use super::record::SetSpec;
use super::spec::{INDEX_FILE, REJECTED_FILE, ShardSpec, read_spec, shard_file_name, shard_number};
use crate::error::DatasetError;
use crate::latents::LatentSpec;

/// The maximum number of missing files that are listed one by one: a stray file's name must not make an endless list.
const MOST_MISSING: usize = 10_000;

/// Something that is wrong with a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file's name in the set's folder.
    pub file: String,
    /// The image, where one is concerned.
    pub image: Option<u64>,
    /// Its name in the source, where that can be read.
    pub key: Option<String>,
    /// What is wrong, a lower-case fragment.
    pub problem: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images that were read and found sound.
    pub images: u64,
    /// Shards that the set has, sound or not.
    pub shards: usize,
    /// What is wrong; empty for a sound set.
    pub faults: Vec<Fault>,
}

impl Verified {
    /// The files that something is wrong with, each once.
    pub fn bad_files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = self
            .faults
            .iter()
            .map(|fault| fault.file.as_str())
            .collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    fn add(&mut self, file: &str, problem: impl Into<String>) {
        self.faults.push(Fault {
            file: file.to_owned(),
            image: None,
            key: None,
            problem: problem.into(),
        });
    }
}

/// Reads every byte of a set's images and says what is wrong, shard by shard and image by image.
///
/// Each image's pixels must have the digest that its shard and the index record, and the index must say of it what
/// its shard does. `progress` gets the number of checked shards and of all, and may stop the check.
///
/// # Errors
/// [`DatasetError::EmptySet`] if the folder holds nothing of a set; [`DatasetError::Interrupted`]. What is wrong with
/// a set is not an error but a [`Fault`].
pub fn verify(
    folder: &Path,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Verified, DatasetError> {
    // Without an index the first shard says what kind of set it is.
    let is_of_latents = [INDEX_FILE.to_owned(), shard_file_name(0)]
        .iter()
        .find_map(|name| read_metadata(&folder.join(name)).ok())
        .is_some_and(|metadata| check_format(folder, &metadata, LatentSpec::FORMAT).is_ok());
    if is_of_latents {
        verify_as::<LatentSpec>(folder, progress)
    } else {
        verify_as::<ShardSpec>(folder, progress)
    }
}

fn verify_as<S: SetSpec>(
    folder: &Path,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Verified, DatasetError> {
    let mut verified = Verified::default();
    let index = match read_index::<S>(&folder.join(INDEX_FILE)) {
        Ok(index) => Some(index),
        Err(error) => {
            verified.add(INDEX_FILE, problem_of(&error));
            None
        }
    };
    if let Err(error) = read_keys(&folder.join(REJECTED_FILE)) {
        verified.add(REJECTED_FILE, problem_of(&error));
    }
    let ranges = index.as_ref().map(shard_ranges).unwrap_or_default();
    let present: Vec<usize> = durable::list(folder)?
        .iter()
        .filter_map(|path| shard_number(path.file_name()?.to_str()?))
        .collect();
    let last = present
        .iter()
        .max()
        .copied()
        .max(ranges.keys().max().copied());
    let Some(last) = last else {
        return Err(DatasetError::EmptySet {
            folder: folder.to_owned(),
        });
    };
    if last > present.len() + MOST_MISSING {
        verified.add(&shard_file_name(last), "its number is not of this set");
        return Ok(verified);
    }
    verified.shards = last + 1;
    let mut spec = index.as_ref().map(|index| index.spec.clone());
    for number in 0..=last {
        if progress(number, last + 1).is_break() {
            return Err(DatasetError::Interrupted);
        }
        let range = ranges.get(&number).cloned();
        let name = shard_file_name(number);
        if index.is_some() && range.is_none() && !present.contains(&number) {
            continue;
        }
        let checked = ShardCheck {
            folder,
            name: &name,
            range: range.clone(),
            index: index.as_ref(),
        }
        .run(&mut spec);
        match checked {
            Ok((sound, faults)) => {
                verified.images += sound;
                verified.faults.extend(faults);
            }
            Err(error) => {
                let lost = range.map_or_else(String::new, |range| {
                    format!("; it holds images {} to {}", range.start, range.end - 1)
                });
                verified.add(&name, format!("{}{lost}", problem_of(&error)));
            }
        }
    }
    Ok(verified)
}

/// The images of each shard, by the index.
fn shard_ranges<S>(index: &Index<S>) -> BTreeMap<usize, Range<usize>> {
    let mut ranges: BTreeMap<usize, Range<usize>> = BTreeMap::new();
    for (image, (shard, _)) in index.places.iter().enumerate() {
        let range = ranges.entry(*shard as usize).or_insert(image..image);
        range.end = image + 1;
    }
    ranges
}

/// One shard under check.
struct ShardCheck<'a, S> {
    folder: &'a Path,
    name: &'a str,
    /// Its images by the index.
    range: Option<Range<usize>>,
    index: Option<&'a Index<S>>,
}

impl<S: SetSpec> ShardCheck<'_, S> {
    /// The number of sound images, and what is wrong with the others; an error if the shard cannot be read at all.
    fn run(&self, spec: &mut Option<S>) -> Result<(u64, Vec<Fault>), DatasetError> {
        let path = self.folder.join(self.name);
        let known = match spec {
            Some(known) => known.clone(),
            None => read_spec(&path)?,
        };
        let own: S = read_spec(&path)?;
        if own != known {
            let problem = "its metadata is not that of the set's other files";
            return Err(DatasetError::malformed(&path, problem));
        }
        *spec = Some(known);
        let shard = ShardFile::open_unchecked(&path, Record::of(&own))?;
        if let (Some(_), None) = (self.index, &self.range) {
            if shard.ids.is_empty() {
                return Ok((0, Vec::new()));
            }
            return Err(DatasetError::malformed(
                &path,
                "the index names none of its images",
            ));
        }
        if let Some(range) = &self.range
            && range.len() != shard.ids.len()
        {
            let problem = format!(
                "it has {} images, the index {}",
                shard.ids.len(),
                range.len()
            );
            return Err(DatasetError::malformed(&path, problem));
        }
        let mut faults: Vec<(usize, Fault)> = (0..shard.ids.len())
            .into_par_iter()
            .filter_map(|row| Some((row, self.fault(&shard, row)?)))
            .collect();
        let sound = (shard.ids.len() - faults.len()) as u64;
        if !faults.is_empty() {
            let keys = read_keys(&path)?;
            for (row, fault) in &mut faults {
                fault.key = keys.get(*row).cloned();
            }
        }
        Ok((sound, faults.into_iter().map(|(_, fault)| fault).collect()))
    }

    fn fault(&self, shard: &ShardFile, row: usize) -> Option<Fault> {
        let found = image_digest(shard.pixels(row));
        let recorded = shard.digests[row];
        let indexed = self.index.zip(self.range.as_ref()).map(|(index, range)| {
            let image = range.start + row;
            (
                image,
                index.digests[image],
                index.places[image].1,
                index.labels[image],
            )
        });
        let problem = match indexed {
            None if found != recorded => "its pixels do not have the digest recorded for them",
            None => return None,
            Some((image, digest, offset, label)) => {
                if found != recorded && found == digest {
                    "the shard records another digest for it than its pixels and the index have"
                } else if found != recorded {
                    "its pixels do not have the digest recorded for them"
                } else if found != digest {
                    "the index records another digest for it than its shard does"
                } else if offset != shard.offset(row) {
                    "the index records another place for its pixels than its shard does"
                } else if shard.ids[row] != image as u64 {
                    "the shard records another id for it than the index does"
                } else if shard.labels[row] != label.map(|label| label as i32) {
                    "the shard records another label for it than the index does"
                } else {
                    return None;
                }
            }
        };
        Some(Fault {
            file: self.name.to_owned(),
            image: Some(indexed.map_or(shard.ids[row], |(image, ..)| image as u64)),
            key: None,
            problem: problem.to_owned(),
        })
    }
}

/// An error as a fragment after the file's name.
fn problem_of(error: &DatasetError) -> String {
    match error {
        DatasetError::Malformed { problem, .. } => problem.clone(),
        DatasetError::Parquet { source, .. } => format!("it cannot be read as Parquet: {source}"),
        DatasetError::File(error) if error.is_not_found() => "it is missing".to_owned(),
        other => other.to_string(),
    }
}
