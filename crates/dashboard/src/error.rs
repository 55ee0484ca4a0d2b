//! What can go wrong, and which answer reports it.

use std::path::PathBuf;

use axum::http::StatusCode;
use patchwork_dataset::DatasetError;
use patchwork_registry::RegistryError;

/// Why a page or a server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// Host and port.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the server stopped")]
    Serve(#[source] std::io::Error),
    /// The system gave no random numbers for a token.
    #[error("cannot make a token: {0}")]
    Token(getrandom::Error),
    /// There is nothing recorded in the home folder yet.
    #[error("there is no registry in `{}`", .0.display())]
    NoRegistry(PathBuf),
    /// The registry cannot answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A data set cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// What was asked for does not exist.
    #[error("there is no {0}")]
    Absent(String),
    /// A request that makes no sense.
    #[error("{0}")]
    Request(String),
    /// A file of an artifact cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A task of the server ended early.
    #[error("the request was not finished")]
    Unfinished,
}

impl DashboardError {
    /// The status code that says so.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Absent(_) | Self::Registry(RegistryError::NoRun(_)) => StatusCode::NOT_FOUND,
            Self::NoRegistry(_) | Self::Registry(RegistryError::Missing(_)) => StatusCode::OK,
            Self::Request(_) | Self::Registry(RegistryError::AmbiguousRun { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::Registry(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Bind { .. } => {
                Some("choose another `--port`, or `--port 0` for any that is free")
            }
            Self::NoRegistry(_) => {
                Some("run a pipeline first, or name its home folder with `--home`")
            }
            _ => None,
        }
    }

    /// The error and its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
