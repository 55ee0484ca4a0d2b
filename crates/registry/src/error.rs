//! What can go wrong with the registry.

use std::path::PathBuf;

use patchwork_core::FileError;

/// A failure of the registry, or a question that it cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no database to read.
    #[error("there is no registry at `{}`; the first `patchwork run` creates it", .0.display())]
    Missing(PathBuf),
    /// The database has no tables.
    #[error("the registry `{}` is empty; the next `patchwork run` creates its tables", .0.display())]
    Empty(PathBuf),
    /// The folder or the lock beside the database cannot be had.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another machine has the database open.
    #[error(
        "the registry `{}` is in use on `{machine}`, and SQLite serves one machine at a time; run this there, or wait until \
         what runs there has ended",
        path.display()
    )]
    OtherMachine {
        /// The database.
        path: PathBuf,
        /// The machine's name.
        machine: String,
    },
    /// What lies in the database's place is not a file.
    #[error("cannot open the registry `{}`: it is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The file cannot be opened as a database.
    #[error("cannot open the registry `{}`: {source}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the registry `{}` up to date: {source}", path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// What sqlx says.
        source: sqlx::migrate::MigrateError,
    },
    /// A newer program wrote this database.
    #[error(
        "the registry `{}` has schema version {found}, but this program knows versions up to \
         {known}; use the program that wrote it, or a newer one",
        path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The version in the database.
        found: i64,
        /// The highest version that this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("cannot {action} in the registry: {source}")]
    Database {
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// SQLite's words.
        source: sqlx::Error,
    },
    /// A query of the user failed.
    #[error("the query failed: {0}")]
    Query(
        /// SQLite's words.
        rusqlite::Error,
    ),
    /// A query of the user is refused, or goes beyond what is allowed.
    #[error("the query failed: {0}")]
    QueryBounds(
        /// What is wrong with it.
        String,
    ),
    /// A query of the user takes too long.
    #[error("the query failed: it takes more than {} s", .0.as_secs_f64())]
    QueryTime(
        /// What it was allowed.
        std::time::Duration,
    ),
    /// No run is called so.
    #[error("no run is called `{0}` or starts so; `patchwork runs` lists them")]
    NoRun(
        /// What was asked for.
        String,
    ),
    /// Several runs start so.
    #[error("`{selector}` could be {}; write more of the name", named(candidates, *more))]
    AmbiguousRun {
        /// What was asked for.
        selector: String,
        /// The names, newest first, ten at most.
        candidates: Vec<String>,
        /// How many more there are.
        more: i64,
    },
    /// A run of the past has a name that no run can have.
    #[error("`{0}` is not a name of a run: runs are called `PIPELINE-NUMBER`")]
    RunName(
        /// The name.
        String,
    ),
    /// A stage that the run does not have.
    #[error("the run has no stage `{stage}`")]
    NoStage {
        /// The stage.
        stage: String,
    },
}

/// SQLite's codes for what a table does not take: too big a value, a broken constraint, a wrong type.
const REFUSALS: [i32; 3] = [18, 19, 20];

impl RegistryError {
    /// Whether the same write fails whenever it is tried: the names are wrong, or the tables do not take it.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoStage { .. } | Self::NoRun(_) | Self::RunName(_) => true,
            Self::Database { source, .. } => {
                sqlite_code(source).is_some_and(|code| REFUSALS.contains(&code))
            }
            _ => false,
        }
    }

    /// For `map_err`: a statement's failure with what was attempted.
    pub(crate) fn during(action: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { action, source }
    }
}

/// The kind of an error, which is the lowest byte of SQLite's extended codes.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Names, and how many are not among them.
fn named(names: &[String], more: i64) -> String {
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
