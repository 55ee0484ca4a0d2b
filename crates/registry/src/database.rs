//! Opening the database: settings of each connection, migrations, versions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use patchwork_core::lock::FileLock;
use patchwork_core::{FileError, durable};
use sqlx::migrate::Migrator;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, Transaction};

use crate::error::RegistryError;
use crate::machine::{Mark, is_alone, seen_lately, wait_for_silence};
use crate::older;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// How long a statement waits for another process's write.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open registry. Cheap to clone; all clones share one connection.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) path: PathBuf,
    pub(crate) pool: SqlitePool,
    /// Shows other machines that it is open for writing.
    mark: Option<Arc<Mark>>,
}

impl Registry {
    /// Opens the registry for writing; makes it, or brings its schema up to date, where needed.
    ///
    /// # Errors
    /// [`RegistryError::NewerSchema`] leaves the database as it is.
    pub async fn open(path: &Path) -> Result<Self, RegistryError> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            durable::create_dir_all(folder)?;
        }
        let path = &check_place(path)?;
        let (_alone, mark) = loop {
            let silent = wait_for_silence(path).await?;
            // Neither the change to WAL nor a migration can wait for another process inside of SQLite.
            let alone = FileLock::acquire(&path.with_extension("db.lock"))?;
            if is_alone(path, &silent) {
                break (alone, Mark::set(path)?);
            }
            // Another machine was faster.
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut registry = Self::connect(path, options).await?;
        registry.mark = Some(Arc::new(mark));
        if registry.schema_version().await? > 0 {
            registry.back_up_older_schema().await?;
        }
        MIGRATIONS
            .run(&registry.pool)
            .await
            .map_err(|source| RegistryError::Migrate {
                path: path.to_owned(),
                source,
            })?;
        Ok(registry)
    }

    /// Opens the registry for questions; nothing can be written through it.
    ///
    /// # Errors
    /// [`RegistryError::Missing`] where there is none, [`RegistryError::Empty`] for one without tables.
    pub async fn open_read_only(path: &Path) -> Result<Self, RegistryError> {
        if matches!(path.try_exists(), Ok(false)) {
            return Err(RegistryError::Missing(path.to_owned()));
        }
        let path = &check_place(path)?;
        wait_for_silence(path).await?;
        let registry = Self::connect(path, read_only(path)).await?;
        match registry.schema_version().await? {
            0 => Err(RegistryError::Empty(path.to_owned())),
            older::WITHOUT_QUANTITY => {
                registry.close().await;
                let pool = pool()
                    .after_connect(|connection, _| Box::pin(older::show_quantities(connection)));
                Self::connect_by(pool, path, read_only(path)).await
            }
            _ => Ok(registry),
        }
    }

    /// Refuses to continue where another machine has opened the database for writing since this one was opened for questions.
    pub fn check_machine(&self) -> Result<(), RegistryError> {
        match seen_lately(&self.path) {
            Some(machine) if self.mark.is_none() => Err(RegistryError::OtherMachine {
                path: self.path.clone(),
                machine,
            }),
            _ => Ok(()),
        }
    }

    /// Closes the connection and folds the write-ahead log into the file. Optional: whatever was
    /// written is safe without it.
    pub async fn close(self) {
        self.pool.close().await;
    }

    async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<Self, RegistryError> {
        Self::connect_by(pool(), path, options).await
    }

    async fn connect_by(
        pool: SqlitePoolOptions,
        path: &Path,
        options: SqliteConnectOptions,
    ) -> Result<Self, RegistryError> {
        let pool = pool
            .connect_with(options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT))
            .await
            .map_err(|source| RegistryError::Open {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            pool,
            mark: None,
        })
    }

    /// The schema's version, 0 for a database that has none yet.
    ///
    /// # Errors
    /// [`RegistryError::NewerSchema`] for one that this program does not know.
    async fn schema_version(&self) -> Result<i64, RegistryError> {
        let open_error = |source| RegistryError::Open {
            path: self.path.clone(),
            source,
        };
        let table: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations'")
                .fetch_optional(&self.pool)
                .await
                .map_err(open_error)?;
        if table.is_none() {
            return Ok(0);
        }
        let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&self.pool)
            .await
            .map_err(open_error)?;
        let (found, known) = (found.unwrap_or(0), newest_schema());
        if found > known {
            return Err(RegistryError::NewerSchema {
                path: self.path.clone(),
                found,
                known,
            });
        }
        Ok(found)
    }

    /// Copies a database of an older schema to `registry-schema-N.db` beside it, before it is migrated.
    async fn back_up_older_schema(&self) -> Result<(), RegistryError> {
        const ACTION: &str = "copy the older schema";
        let version = self.schema_version().await?;
        if version == newest_schema() {
            return Ok(());
        }
        let name = format!("registry-schema-{version}.db");
        let (copy, partial) = (
            self.path.with_file_name(&name),
            self.path.with_file_name(format!(".{name}.partial")),
        );
        durable::remove_file(&partial)?;
        sqlx::query("VACUUM INTO ?")
            .bind(partial.to_string_lossy().into_owned())
            .execute(&self.pool)
            .await
            .map_err(RegistryError::during(ACTION))?;
        durable::rename_file(&partial, &copy)?;
        Ok(())
    }

    /// Begins a write: waits for other writers before its first read, so that what it reads stays
    /// true until it commits.
    pub(crate) async fn begin(
        &self,
        action: &'static str,
    ) -> Result<Transaction<'static, Sqlite>, RegistryError> {
        self.pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(RegistryError::during(action))
    }

    /// Carries out one statement, in a write transaction of its own.
    pub(crate) async fn write(
        &self,
        action: &'static str,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<(), RegistryError> {
        let mut transaction = self.begin(action).await?;
        statement
            .execute(&mut *transaction)
            .await
            .map_err(RegistryError::during(action))?;
        commit(transaction, action).await
    }
}

/// The database's path from the root, which cannot be taken for a URI.
///
/// # Errors
/// What lies there is no file: opening a pipe waits, and a device may have no end.
fn check_place(path: &Path) -> Result<PathBuf, RegistryError> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(RegistryError::NotAFile(path.to_owned()));
    }
    std::path::absolute(path)
        .map_err(|source| FileError::new("find the place of", path, source).into())
}

/// Makes what a transaction wrote permanent.
pub(crate) async fn commit(
    transaction: Transaction<'static, Sqlite>,
    action: &'static str,
) -> Result<(), RegistryError> {
    transaction
        .commit()
        .await
        .map_err(RegistryError::during(action))
}

/// Whether nobody writes to a database because its folder cannot be written, so that SQLite may do without the files that
/// it keeps beside one. A log of writes that are not in the database yet needs them, and is not passed over.
pub(crate) fn is_immutable(path: &Path) -> bool {
    let Some(folder) = path.parent() else {
        return false;
    };
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|log| log.len() > 0);
    let is_writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok();
    !is_writable && !has_log
}

/// The highest version that this program knows.
fn newest_schema() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// One connection at a time.
fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(1)
        // SQLite ends a transaction by itself when the disk is full; sqlx takes it for open from then on, and begins no
        // other on that connection.
        .before_acquire(|connection, _| {
            let is_free = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_free) })
        })
}

/// The way in for readers.
fn read_only(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(is_immutable(path))
        .pragma("query_only", "ON")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fill(registry: &Registry) -> Result<(), RegistryError> {
        const ACTION: &str = "fill";
        let statement = sqlx::query("INSERT INTO filler VALUES (zeroblob(1000000))");
        registry.write(ACTION, statement).await
    }

    #[tokio::test]
    async fn a_disk_that_was_full_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("registry.db"))
            .await
            .unwrap();
        // A limit on the file is to SQLite what a full disk is.
        for statement in [
            "CREATE TABLE filler (bytes BLOB)",
            "PRAGMA max_page_count = 1",
        ] {
            sqlx::query(statement)
                .execute(&registry.pool)
                .await
                .unwrap();
        }
        let error = fill(&registry).await.unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        assert!(!error.is_refusal(), "there may be room later");
        sqlx::query("PRAGMA max_page_count = 1000000")
            .execute(&registry.pool)
            .await
            .unwrap();
        fill(&registry).await.unwrap();
    }
}
