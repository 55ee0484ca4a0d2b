//! The home folder: its registry, reopened when it is replaced, and the folders of its artifacts.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use patchwork_registry::{ArtifactRow, Registry, RegistryError};
use tokio::sync::Mutex;

use crate::error::DashboardError;
use crate::files::is_plain_name;
use crate::listing::Listing;

/// Device and inode: a registry that was rebuilt, restored or deleted is another file.
type Identity = (u64, u64);

/// What the server holds open.
pub(crate) struct Home {
    folder: PathBuf,
    open: Mutex<Option<(Identity, Registry)>>,
    /// Rows of ended runs, which do not change any more.
    pub(crate) listing: Mutex<Listing>,
}

impl Home {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            open: Mutex::new(None),
            listing: Mutex::new(Listing::default()),
        }
    }

    /// The registry as it is now.
    ///
    /// # Errors
    /// [`DashboardError::NoRegistry`] while there is none; where another machine uses it.
    pub(crate) async fn registry(&self) -> Result<Registry, DashboardError> {
        let path = self.folder.join("registry.db");
        let mut open = self.open.lock().await;
        let Ok(metadata) = std::fs::metadata(&path) else {
            *open = None;
            return Err(DashboardError::NoRegistry(self.folder.clone()));
        };
        let identity = (metadata.dev(), metadata.ino());
        if let Some((known, registry)) = &*open
            && *known == identity
        {
            registry.check_machine()?;
            return Ok(registry.clone());
        }
        let registry = Registry::open_read_only(&path)
            .await
            .map_err(|error| match error {
                RegistryError::Missing(_) => DashboardError::NoRegistry(self.folder.clone()),
                error => error.into(),
            })?;
        *self.listing.lock().await = Listing::default();
        *open = Some((identity, registry.clone()));
        Ok(registry)
    }

    /// Reads the list of runs, of which later only what has changed is read.
    pub(crate) async fn read_ahead(&self) {
        if let Ok(registry) = self.registry().await {
            // Whoever asks for the list meets the same error.
            let _ = self.listing.lock().await.refresh(&registry).await;
        }
    }

    /// The folder of an artifact that the registry names.
    ///
    /// # Errors
    /// [`DashboardError::Absent`] for a fingerprint that it does not name, or a path that leads out of the home folder.
    pub(crate) async fn artifact(
        &self,
        fingerprint: &str,
    ) -> Result<(ArtifactRow, PathBuf), DashboardError> {
        let absent = || DashboardError::Absent(format!("artifact `{fingerprint}`"));
        let registry = self.registry().await?;
        let artifact = registry.artifact(fingerprint).await?.ok_or_else(absent)?;
        let below = Path::new(&artifact.path);
        let is_below = below
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_below {
            return Err(absent());
        }
        let folder = self.folder.join(below);
        Ok((artifact, folder))
    }

    /// The folder in which a stage's artifact is being made.
    pub(crate) fn work(&self, fingerprint: &str) -> Option<PathBuf> {
        is_plain_name(fingerprint)
            .then(|| self.folder.join("work").join(fingerprint).join("artifact"))
    }

    /// The log of a stage of a run.
    pub(crate) fn log(&self, run: &str, stage: &str) -> Option<PathBuf> {
        (is_plain_name(run) && is_plain_name(stage)).then(|| {
            self.folder
                .join("logs")
                .join(run)
                .join(format!("{stage}.log"))
        })
    }
}
