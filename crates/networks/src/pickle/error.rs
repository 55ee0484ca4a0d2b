//! Why a checkpoint of another program cannot be read.

use std::error::Error;
use std::path::PathBuf;

use patchwork_core::FileError;

/// A checkpoint of another program that cannot be read, with its path.
#[derive(Debug, thiserror::Error)]
pub enum PickleError {
    /// The file itself cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content is not what was expected.
    #[error("cannot read the checkpoint `{}`: {problem}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: PickleProblem,
    },
}

/// What is wrong with the bytes of a checkpoint of another program.
#[derive(Debug, thiserror::Error)]
pub enum PickleProblem {
    /// The bytes end too early.
    #[error(
        "the file is truncated: {needed} bytes are needed at byte {offset}, {available} are left"
    )]
    Truncated {
        /// Where.
        offset: usize,
        /// Bytes wanted.
        needed: u64,
        /// Bytes there.
        available: usize,
    },
    /// An instruction that data does not need.
    #[error("pickle instruction 0x{opcode:02x} at byte {offset} is not one that data needs")]
    Opcode {
        /// Where.
        offset: usize,
        /// The instruction.
        opcode: u8,
    },
    /// A name outside the list of names that stand for data.
    #[error(
        "it refers to `{module}.{name}`, which is not on the list of names that stand for plain data; nothing was run"
    )]
    Global {
        /// Python module.
        module: String,
        /// Name in it.
        name: String,
    },
    /// Instructions that contradict each other.
    #[error("the pickle is damaged at byte {offset}: {problem}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What.
        problem: &'static str,
    },
    /// More of something than any checkpoint has.
    #[error("it has more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Readable data of another shape than expected.
    #[error("{0}")]
    Structure(String),
    /// A stored tensor that does not fit its storage.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The network's constructor arguments are not possible ones.
    #[error(transparent)]
    Settings(Box<dyn Error + Send + Sync>),
}

impl PickleProblem {
    pub(crate) fn structure(text: impl Into<String>) -> Self {
        Self::Structure(text.into())
    }
}

/// A text of the file as it stands in a message: its beginning, where it is long.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first of several texts of the file, as they stand in a message.
pub(crate) fn listed<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> String {
    const LISTED: usize = 12;
    let total = texts.len();
    let mut list: Vec<String> = texts.take(LISTED).map(shortened).collect();
    if total > LISTED {
        list.push(format!("and {} more", total - LISTED));
    }
    list.join(", ")
}
