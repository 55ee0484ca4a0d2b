//! What can be wrong with a pipeline file, and where it stands.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use patchwork_core::FileError;

/// Where a key or value was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a file.
    File {
        /// The file, as it was named.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// On the command line: the option with its value.
    Override(Arc<str>),
    /// Not typed: the command that wants it.
    Command(Arc<str>),
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => {
                write!(formatter, "{}:{line}:{column}", path.display())
            }
            Self::Override(typed) => formatter.write_str(typed),
            Self::Command(command) => write!(formatter, "patchwork {command}"),
        }
    }
}

/// A refused pipeline: something for its author to fix.
///
/// Reads `pipelines/demo.toml:12:3: unknown key …`; [`ConfigError::hint`] says what to do.
#[derive(Debug)]
pub struct ConfigError {
    /// Where; none where no place in a file can be named.
    pub location: Option<Location>,
    /// What.
    pub problem: Box<Problem>,
}

impl ConfigError {
    pub(crate) fn at(location: &Location, problem: Problem) -> Self {
        Self {
            location: Some(location.clone()),
            problem: Box::new(problem),
        }
    }

    /// The next step, for a line of its own.
    pub fn hint(&self) -> Option<String> {
        match &*self.problem {
            Problem::UnknownKey { known, .. } => Some(format!("known here: {}", known.join(", "))),
            Problem::Missing { key, section, .. } if section.is_empty() => {
                Some(format!("add `{key} = …` above the first table"))
            }
            Problem::Missing { key, section, .. } => {
                Some(format!("add `{key} = …` to [{section}]"))
            }
            Problem::Override(_) => Some("write `--set stages.train.batch_size=64`".to_owned()),
            Problem::File(cause) if cause.is_not_found() => {
                Some("`extends` is relative to the file it stands in".to_owned())
                    .filter(|_| self.location.is_some())
            }
            _ => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(formatter, "{location}: ")?;
        }
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.problem)
    }
}

/// What is wrong. Sections are dotted paths such as `stages.train`, empty at the top level.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file cannot be read.
    #[error(transparent)]
    File(FileError),
    /// Not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A file extends itself.
    #[error("`extends` comes back to a file that it started from: {}", .0.join(" → "))]
    ExtendsCycle(
        /// The files, in order.
        Vec<String>,
    ),
    /// An override that is no `KEY=VALUE`.
    #[error("{0}")]
    Override(String),
    /// A key that nothing reads.
    #[error("unknown key `{key}`{}{}", in_section(section), did_you_mean(nearest.as_ref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        section: String,
        /// The known key that is spelt most like it.
        nearest: Option<String>,
        /// Every known key.
        known: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("`{key}`{} is missing: {expected}", in_section(section))]
    Missing {
        /// The key.
        key: String,
        /// Where it belongs.
        section: String,
        /// What kind of value.
        expected: String,
    },
    /// A file without the stage whose settings are wanted.
    #[error(
        "there is no [stages.{stage}] with the settings of a stage of kind `{kind}`{}",
        known_stages(known)
    )]
    NoStage {
        /// The name of its table.
        stage: String,
        /// What it should do.
        kind: &'static str,
        /// The stages that are there.
        known: Vec<String>,
    },
    /// A value of a wrong type.
    #[error("`{key}`{} must be {expected}, not {found}{}", in_section(section), did_you_mean(nearest.as_ref()))]
    WrongType {
        /// The key.
        key: String,
        /// Where it stands.
        section: String,
        /// What kind of value it takes.
        expected: String,
        /// The value.
        found: String,
        /// The allowed word that is spelt most like it.
        nearest: Option<String>,
    },
    /// A value that is out of range or contradicts another.
    #[error("`{key}`{} {problem}", in_section(section))]
    Invalid {
        /// The key.
        key: String,
        /// Where it stands, or would.
        section: String,
        /// What is wrong, with the values that clash.
        problem: String,
    },
}

fn in_section(section: &str) -> String {
    if section.is_empty() {
        String::new()
    } else {
        format!(" in [{section}]")
    }
}

fn known_stages(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!("; the file has {}", known.join(", "))
    }
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean `{nearest}`?")
    })
}
