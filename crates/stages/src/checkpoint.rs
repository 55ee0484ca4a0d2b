//! `patchwork checkpoint`, asked and answered as JSON: the program that parses the command line knows no tensors.

use std::path::PathBuf;

use patchwork_core::{FileError, durable};
use patchwork_networks::NetworkError;
use patchwork_networks::conversion::{self, ElementType};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    /// A checkpoint of ours at `out` from any one.
    Import {
        file: PathBuf,
        out: PathBuf,
        config: Option<PathBuf>,
        entry: Option<String>,
    },
    /// A checkpoint for others at `out`.
    Export {
        file: PathBuf,
        out: PathBuf,
        dtype: ElementType,
        entry: Option<String>,
    },
    /// A checkpoint's summary.
    Inspect {
        file: PathBuf,
        entry: Option<String>,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("the request is not understood: {0}")]
    Request(#[from] serde_json::Error),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Write(#[from] FileError),
}

impl RequestError {
    /// Whether another file or other arguments would help.
    fn is_input(&self) -> bool {
        match self {
            Self::Network(error) => !matches!(error, NetworkError::Torch(_)),
            Self::Request(_) | Self::Write(_) => false,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Network(NetworkError::SettingsMissing { .. }) => Some(
                "give them as JSON with `patchwork checkpoint import FILE --config JSON --out OUT`; docs/reference/checkpoints.md \
                 lists the keys",
            ),
            Self::Network(NetworkError::SettingsTwice { .. }) => Some("leave out `--config`"),
            Self::Network(NetworkError::NoEntry { .. }) => Some(
                "leave out `--entry`: a training's checkpoint has `ema`, the default, and `network`; other safetensors files \
                 have none",
            ),
            _ => None,
        }
    }
}

/// Does what a request says, an object with the key `action` (`import`, `export`, `inspect`).
///
/// The answer is `{"done": …}`, with the summary if one was asked for, or
/// `{"error": {"message": …, "hint": …, "is_input": …}}`.
pub fn answer(request: &str) -> Value {
    match act(request) {
        Ok(result) => json!({ "done": result }),
        Err(error) => json!({
            "error": {"message": error.to_string(), "hint": error.hint(), "is_input": error.is_input()}
        }),
    }
}

fn act(request: &str) -> Result<Value, RequestError> {
    match serde_json::from_str(request)? {
        Request::Import {
            file,
            out,
            config,
            entry,
        } => {
            let config = config.as_deref().map(conversion::read_config).transpose()?;
            durable::write(&out, &conversion::import(&file, entry.as_deref(), config)?)?;
            Ok(Value::Null)
        }
        Request::Export {
            file,
            out,
            dtype,
            entry,
        } => {
            durable::write(&out, &conversion::export(&file, entry.as_deref(), dtype)?)?;
            Ok(Value::Null)
        }
        Request::Inspect { file, entry } => {
            let summary = conversion::inspect(&file, entry.as_deref())?;
            Ok(serde_json::to_value(summary)?)
        }
    }
}
