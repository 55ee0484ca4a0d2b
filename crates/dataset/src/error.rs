//! The crate's one error: which file, row or setting, what is wrong, and what to do.

use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use patchwork_core::FileError;

/// Anything that stops the work on a data set.
///
/// A single bad image is not an error: it is a rejection, listed in `rejected.parquet`.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A Parquet file could not be read or written.
    #[error("cannot {action} the Parquet file `{}`: {source}", path.display())]
    Parquet {
        /// What was attempted: "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ParquetError,
    },
    /// A table could not be computed from a Parquet file.
    #[error("cannot make a table from `{}`: {source}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: polars::error::PolarsError,
    },
    /// A file of a prepared data set does not hold what it must.
    #[error(
        "`{}` is a corrupt shard set: {problem}\nhint: prepare the data set again",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the row where there is one.
        problem: String,
    },
    /// A set of another kind than is wanted: latents for pixels, or the other way.
    #[error("`{}` belongs to a set of the format `{format}`, and one of `{wanted}` is wanted", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: String,
        /// The format that is wanted.
        wanted: String,
    },
    /// Values that cannot be stored as latents.
    #[error("the latents of `{key}` cannot be stored: {problem}")]
    Latents {
        /// Name of the image.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A file that data sets are distributed in does not hold what it must.
    #[error("`{}` cannot be used: {problem}\nhint: fetch it again", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file holds something that is not read.
    #[error("`{}` cannot be used: {problem}\nhint: {hint}", path.display())]
    NotSupported {
        /// The file.
        path: PathBuf,
        /// What it holds.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// Nothing is where the source should be.
    #[error("source `{}` is missing: no file or folder has that path", path.display())]
    MissingSource {
        /// The path as it was typed.
        path: PathBuf,
    },
    /// A folder without shards and index.
    #[error(
        "`{}` holds no prepared data set: neither shards nor an index\n\
         hint: name the folder of a finished `prepare` or `sample` stage, or of `patchwork dataset build`",
        folder.display()
    )]
    EmptySet {
        /// The folder.
        folder: PathBuf,
    },
    /// The source does not exist or is of no known kind.
    #[error("source `{source_name}` is missing or unusable: {problem}")]
    NoSuchSource {
        /// The source as it was typed.
        source_name: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Nothing is left of the source.
    #[error("the source `{source_name}` holds no images: {problem}")]
    EmptySource {
        /// The source as it was typed.
        source_name: String,
        /// Where images were looked for.
        problem: String,
    },
    /// A name in the settings that does not exist.
    #[error("`{name}` is no {what}{suggestion}")]
    UnknownName {
        /// What kind of name it should be.
        what: &'static str,
        /// The name as it was typed.
        name: String,
        /// "; did you mean ..." or the valid names.
        suggestion: String,
    },
    /// A setting that cannot be met.
    #[error("`{setting}` cannot be {value}: {problem}")]
    Setting {
        /// The key in the pipeline file.
        setting: &'static str,
        /// The value as it was typed.
        value: String,
        /// Why not, and what would be right.
        problem: String,
    },
    /// More images were rejected than `max_rejected` allows.
    #[error(
        "{rejected} of {total} images were rejected, more than `max_rejected` = {max_rejected} allows; \
         first {first}\nhint: all are listed with their causes in `{}`; repair or remove them, or raise \
         `max_rejected`",
        list.display()
    )]
    TooManyRejected {
        /// How many so far.
        rejected: u64,
        /// How many images the source holds.
        total: u64,
        /// The limit, a fraction of the source.
        max_rejected: f64,
        /// Name and cause of the first.
        first: String,
        /// `rejected.parquet`.
        list: PathBuf,
    },
    /// A request for pixels outside an image or an image outside the set.
    #[error("{request} lies outside a set of {images} images of {width} x {height} pixels")]
    OutOfBounds {
        /// What was asked for.
        request: String,
        /// Images in the set.
        images: usize,
        /// Width of an image in pixels.
        width: usize,
        /// Height of an image in pixels.
        height: usize,
    },
    /// A buffer or image of the wrong length was handed in.
    #[error("{what} has {actual} elements instead of {expected}")]
    Length {
        /// The buffer.
        what: String,
        /// Its length.
        actual: usize,
        /// The length that it must have.
        expected: usize,
    },
    /// A label without a class name.
    #[error("the image `{key}` has the label {label}, and there are {classes} class names")]
    OutOfClasses {
        /// Name of the image.
        key: String,
        /// Its label.
        label: u32,
        /// How many class names the set has.
        classes: usize,
    },
    /// The output exists.
    #[error(
        "`{}` exists already\nhint: give another name to `--out`, or remove it",
        path.display()
    )]
    OutputThere {
        /// The file or folder.
        path: PathBuf,
    },
    /// The folder to work in is not this program's.
    #[error(transparent)]
    Claim(#[from] patchwork_core::ClaimError),
    /// Some images have a class and some have not, and the format has no way to say so.
    #[error(
        "{labelled} of {images} images have a class, and an EDM archive holds a label for every image or for none\n\
         hint: export to a folder of PNG files or to Hugging Face Parquet"
    )]
    PartlyLabelled {
        /// Images with a class.
        labelled: usize,
        /// Images.
        images: usize,
    },
    /// A picture could not be encoded.
    #[error("cannot encode the picture as PNG: {0}")]
    Encode(#[source] image::ImageError),
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {source}\nhint: set `threads` lower")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The caller asked to stop; the finished shards remain and are used by the next attempt.
    #[error("interrupted")]
    Interrupted,
}

impl DatasetError {
    pub(crate) fn malformed(path: &Path, problem: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn parquet(
        action: &'static str,
        path: &Path,
        source: impl Into<ParquetError>,
    ) -> Self {
        Self::Parquet {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// A setting whose word cannot be met.
    pub(crate) fn wrong_word(setting: &'static str, word: &str, problem: String) -> Self {
        Self::Setting {
            setting,
            value: format!("\"{word}\""),
            problem,
        }
    }

    /// An unknown name, with the nearest valid one or, where none is near, the way to a valid one.
    pub(crate) fn unknown_name<'a>(
        what: &'static str,
        name: &str,
        valid: impl Iterator<Item = &'a str>,
        otherwise: &str,
    ) -> Self {
        let nearest = valid
            .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
            .filter(|(similarity, _)| *similarity > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let suggestion = match nearest {
            Some((_, candidate)) => format!("; did you mean `{candidate}`?"),
            None => format!("; {otherwise}"),
        };
        Self::UnknownName {
            what,
            name: name.to_owned(),
            suggestion,
        }
    }
}
