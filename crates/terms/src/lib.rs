//! The vocabulary: every word that a pipeline file, an artifact, the registry or the command line uses for a choice,
//! once.
//!
//! Each choice is an enum whose values have one spelling and one sentence of documentation. It reads and writes
//! itself as that spelling, in text and in serde's formats, and lists its values ([`Word`]). A crate that computes
//! with a choice uses the enum from here, so that a new value is one line here and one place where it is computed.
//!
//! Must not know: what is computed with a choice, files, tensors, SQL, the command line. It depends on serde alone.

mod evaluation;
mod images;
mod latents;
mod network;
mod sampling;
mod stage;
mod training;
mod word;

pub use evaluation::{Baseline, Crop, Metric, Quantity, Resize};
pub use images::{
    Channels, EmojiGroup, Export, Format, Labels, SkinTones, Split, Transform, UnknownChannels,
};
pub use latents::{LatentScaling, PixelRange, Spread};
pub use network::{Architecture, Precision, Preconditioning};
pub use sampling::{Discretization, NoiseSchedule, SampleLabels, Scaling, Solver};
pub use stage::Kind;
pub use training::{
    AugmentOperation, EmaKind, FastPath, OnDivergence, PatchPart, PatchSchedule, PatchShare,
    latent_patch_shares, patch_shares,
};
pub use word::{UnknownWord, Word};
