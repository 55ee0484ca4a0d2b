//! Questions in SQL, of anybody, within bounds.
//!
//! They are asked by rusqlite, which has what sqlx has not: an authoriser, limits, and a look at a statement before it
//! runs. One statement that only reads, of this database alone; rows are handed on as they come; time, memory and the
//! length of values end.

use std::fmt::{self, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, OpenFlags, Statement};
use serde::Serialize;

use crate::database::Registry;
use crate::error::RegistryError;

/// The default time limit of a query.
pub const USUAL_QUERY_TIME: Duration = Duration::from_mins(1);

/// What all of SQLite may take in memory while it answers.
pub(crate) const MOST_MEMORY_BYTES: u64 = 1 << 30;

/// The longest text or blob, also of those between.
const MOST_VALUE_BYTES: i32 = 64 << 20;

const MOST_SQL_BYTES: i32 = 1 << 20;

/// Matching takes up to the square of it, and is not interrupted.
const MOST_PATTERN_BYTES: i32 = 1000;

/// Operations of SQLite's machine between two looks at the clock: well under a millisecond.
const OPERATIONS: i32 = 10_000;

/// The pragmas that only read, though with an argument.
const TELLING_PRAGMAS: [&str; 10] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// The pragmas that do something though they have no argument.
const ACTING_PRAGMAS: [&str; 4] = [
    "incremental_vacuum",
    "optimize",
    "shrink_memory",
    "wal_checkpoint",
];

/// The answer to a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueryTable {
    /// The columns' names.
    pub columns: Vec<String>,
    /// Rows of as many values.
    pub rows: Vec<Vec<SqlValue>>,
}

/// A part of an answer: the columns come first, once.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The columns' names.
    Columns(Vec<String>),
    /// As many values.
    Row(Vec<SqlValue>),
}

/// A value as SQLite holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SqlValue {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl fmt::Display for SqlValue {
    /// Null as nothing, bytes as hexadecimal digits, everything else as it is.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Integer(number) => number.fmt(formatter),
            Self::Real(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
            Self::Blob(bytes) => bytes
                .iter()
                .try_for_each(|byte| write!(formatter, "{byte:02x}")),
        }
    }
}

impl Registry {
    /// Answers one statement, `SELECT`, `WITH`, `EXPLAIN` or a `PRAGMA` that reads, through a connection of its own that
    /// cannot write, however the registry itself was opened. `take` is given the answer part by part, and may end it.
    ///
    /// `time` is what SQLite may take for it, not counting what `take` takes.
    ///
    /// # Errors
    /// [`RegistryError::Query`] for a wrong statement and [`RegistryError::QueryBounds`] for one that goes beyond the
    /// bounds, possibly after the first rows.
    pub fn ask(
        &self,
        sql: &str,
        time: Duration,
        take: &mut dyn FnMut(Answer) -> ControlFlow<()>,
    ) -> Result<(), RegistryError> {
        let clock = Arc::new(Clock::start(time));
        answer(&self.path, sql, &clock, take).map_err(|error| match error {
            Refusal::Bounds(problem) => RegistryError::QueryBounds(problem),
            Refusal::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::OperationInterrupted) => RegistryError::QueryTime(time),
                Some(ErrorCode::OutOfMemory) => RegistryError::QueryBounds(format!(
                    "it takes more than {} MiB of memory",
                    MOST_MEMORY_BYTES >> 20
                )),
                Some(ErrorCode::TooBig) => RegistryError::QueryBounds(format!(
                    "it makes a value of more than {} MiB",
                    MOST_VALUE_BYTES >> 20
                )),
                _ => RegistryError::Query(error),
            },
        })
    }

    /// The whole answer at once, within [`USUAL_QUERY_TIME`].
    pub fn query(&self, sql: &str) -> Result<QueryTable, RegistryError> {
        let mut table = QueryTable::default();
        self.ask(sql, USUAL_QUERY_TIME, &mut |part| {
            match part {
                Answer::Columns(columns) => table.columns = columns,
                Answer::Row(row) => table.rows.push(row),
            }
            ControlFlow::Continue(())
        })?;
        Ok(table)
    }
}

/// Why a question has no answer.
enum Refusal {
    /// It goes beyond what may be asked.
    Bounds(String),
    /// SQLite does not understand it, or cannot answer it.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// How long SQLite has computed.
struct Clock {
    start: Instant,
    limit: Duration,
    /// Nanoseconds that the taker of the rows has taken.
    taken: AtomicU64,
}

impl Clock {
    fn start(limit: Duration) -> Self {
        Self {
            start: Instant::now(),
            limit,
            taken: AtomicU64::new(0),
        }
    }

    /// Does something that does not count.
    fn pause<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.taken.fetch_add(nanoseconds, Ordering::Relaxed);
        done
    }

    fn is_over(&self) -> bool {
        let taken = Duration::from_nanos(self.taken.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(taken) > self.limit
    }
}

fn answer(
    path: &Path,
    sql: &str,
    clock: &Arc<Clock>,
    take: &mut dyn FnMut(Answer) -> ControlFlow<()>,
) -> Result<(), Refusal> {
    let connection = connect(path, clock)?;
    let mut statements = Batch::new(&connection, sql);
    let Some(mut statement) = statements.next()? else {
        return Err(Refusal::Bounds("it is empty".to_owned()));
    };
    if statements.next()?.is_some() {
        let problem = "it is more than one statement, and one is answered at a time";
        return Err(Refusal::Bounds(problem.to_owned()));
    }
    // One that gives rows and writes, such as `DELETE … RETURNING`, fails at its first step; a pragma may be taken for one.
    if !statement.readonly() && statement.column_count() == 0 {
        let problem = "it would write, and the registry is open readonly";
        return Err(Refusal::Bounds(problem.to_owned()));
    }
    let columns: Vec<String> = (statement.column_names().into_iter())
        .map(str::to_owned)
        .collect();
    let width = columns.len();
    if clock.pause(|| take(Answer::Columns(columns))).is_break() {
        return Ok(());
    }
    hand_on(&mut statement, width, clock, take)
}

fn hand_on(
    statement: &mut Statement<'_>,
    width: usize,
    clock: &Clock,
    take: &mut dyn FnMut(Answer) -> ControlFlow<()>,
) -> Result<(), Refusal> {
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = (0..width)
            .map(|index| Ok(value(row.get_ref(index)?)))
            .collect::<Result<Vec<_>, rusqlite::Error>>()?;
        if clock.pause(|| take(Answer::Row(values))).is_break() {
            break;
        }
    }
    Ok(())
}

/// A connection that answers within the bounds, and nothing else.
fn connect(path: &Path, clock: &Arc<Clock>) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if crate::database::is_immutable(path) {
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(immutable_address(path), flags)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    connection.busy_timeout(crate::database::BUSY_TIMEOUT)?;
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;
         PRAGMA hard_heap_limit = {MOST_MEMORY_BYTES};"
    ))?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MOST_VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MOST_SQL_BYTES),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MOST_PATTERN_BYTES),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.authorizer(Some(authorize))?;
    let clock = Arc::clone(clock);
    connection.progress_handler(OPERATIONS, Some(move || clock.is_over()))?;
    Ok(connection)
}

/// The address of a database to which nobody writes (sqlite.org/uri.html).
fn immutable_address(path: &Path) -> String {
    let mut address = String::from("file:");
    for character in path.to_string_lossy().chars() {
        match character {
            '%' | '?' | '#' => {
                let _ = write!(address, "%{:02x}", u32::from(character));
            }
            _ => address.push(character),
        }
    }
    address.push_str("?immutable=1");
    address
}

/// What a statement may do: what writes is found out by other means, with a better message.
fn authorize(context: AuthContext<'_>) -> Authorization {
    let is_allowed = match context.action {
        AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. } => false,
        AuthAction::Function { function_name } => {
            !function_name.eq_ignore_ascii_case("load_extension")
        }
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let is_in =
                |names: &[&str]| (names.iter()).any(|name| name.eq_ignore_ascii_case(pragma_name));
            match pragma_value {
                Some(_) => is_in(&TELLING_PRAGMAS),
                None => !is_in(&ACTING_PRAGMAS),
            }
        }
        _ => true,
    };
    if is_allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

/// A value's own type decides, whatever its column's declared type promises.
fn value(value: ValueRef<'_>) -> SqlValue {
    match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(number) => SqlValue::Integer(number),
        ValueRef::Real(number) => SqlValue::Real(number),
        // What is not UTF-8 is shown as far as it is.
        ValueRef::Text(bytes) => SqlValue::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => SqlValue::Blob(bytes.to_vec()),
    }
}
