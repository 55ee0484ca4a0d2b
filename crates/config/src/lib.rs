//! Files of settings in TOML: layers, overrides, a matrix, and errors that say where a value was typed.
//!
//! A [`Document`] is a file laid over the presets that it extends, with `--set` overrides over both; a `[matrix]` makes
//! several of it. A [`Section`] of it is read as any type that derives serde's `Deserialize` and schemars' `JsonSchema`:
//! what is unknown, missing, of a wrong type or out of range is refused with its place, also when it stands in a preset,
//! and with the nearest known word. Ranges and required keys are those of the type's schema ([`schema`]), of which
//! the reference of all settings is made as well.
//!
//! The way of a value: `file` (TOML to a tree that remembers places, `extends`) → `overrides` and `matrix` → `section`
//! (one table) → `typed` and `read` (typed reading, ranges by `schema`).
//!
//! Must not know: any stage or setting, libtorch, the data, the registry. It opens no file but those of settings.

mod document;
mod error;
mod file;
mod matrix;
mod nearest;
mod overrides;
mod preset;
mod read;
pub mod schema;
mod section;
mod tree;
mod typed;

pub use document::{Combination, Document};
pub use error::{ConfigError, Location, Problem};
pub use nearest::nearest;
pub use overrides::Override;
pub use preset::{Changed, OverPreset};
pub use section::Section;
