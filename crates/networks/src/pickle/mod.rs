//! Checkpoints of other programs, which are Python pickles, read as data.
//!
//! A pickle is a program for a small stack machine. The machine here builds numbers, text, lists,
//! dictionaries and tensors, and knows a fixed list of names (`globals`) that it maps to such data;
//! every other name is an error that says it. Nothing is ever called, imported or compiled, every length
//! is checked against the file's, and a damaged file is an error. Time and memory are in proportion to the
//! file's length, however it refers to itself (`budget`).
//!
//! Formats:
//! - PyTorch's zip archive (`torch.save` since 1.6): `data.pkl` and one entry a storage (`archive`);
//! - PyTorch's older stream: three header pickles, the object, the storages' keys and bytes (`legacy`);
//! - the snapshots of EDM and Patch Diffusion: one plain pickle, each storage embedded in the older format (`edm`).

mod archive;
mod arena;
mod budget;
mod container;
mod contents;
mod cursor;
mod edm;
mod error;
mod globals;
mod legacy;
mod machine;
mod module;
mod reduce;
mod settings;
mod state_dict;
mod tensor;

pub use contents::{ExternalCheckpoint, PUBLISHED_ENTRY, parse_checkpoint};
pub use edm::{EdmSnapshot, parse_edm_snapshot, read_edm_snapshot};
pub use error::{PickleError, PickleProblem};
pub use state_dict::{parse_state_dict, read_state_dict};

pub(crate) use container::is_pickle;
pub(crate) use state_dict::StateDict;
