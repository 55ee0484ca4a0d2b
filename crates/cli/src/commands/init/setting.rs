//! A setting of the pipeline file, and where it stands.

/// A table of a pipeline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Top,
    Prepare,
    Reference,
    Train,
    Network,
    Sample,
    Evaluate,
}

impl Table {
    pub(super) const ALL: [Self; 7] = [
        Self::Top,
        Self::Prepare,
        Self::Reference,
        Self::Train,
        Self::Network,
        Self::Sample,
        Self::Evaluate,
    ];

    /// Its name in the file; none at the top.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Top => None,
            Self::Prepare => Some("stages.prepare"),
            Self::Reference => Some("stages.reference"),
            Self::Train => Some("stages.train"),
            Self::Network => Some("stages.train.network"),
            Self::Sample => Some("stages.sample"),
            Self::Evaluate => Some("stages.evaluate"),
        }
    }
}

/// A setting as it is written.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) table: Table,
    pub(super) key: &'static str,
    /// As TOML.
    pub(super) value: String,
    /// Why; may be empty.
    pub(super) reason: String,
}
