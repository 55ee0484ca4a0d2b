//! Which ways through a step are taken that are meant to be faster on a GPU.

pub use patchwork_terms::FastPath;

/// A set of fast paths; empty by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastPaths(u8);

impl FastPaths {
    /// No fast path.
    pub const NONE: Self = Self(0);

    /// Whether a fast path is taken.
    pub const fn has(self, path: FastPath) -> bool {
        self.0 & (1 << path as u8) != 0
    }
}

impl FromIterator<FastPath> for FastPaths {
    fn from_iter<I: IntoIterator<Item = FastPath>>(paths: I) -> Self {
        let bits = paths.into_iter().map(|path| 1 << path as u8);
        Self(bits.fold(0, std::ops::BitOr::bitor))
    }
}
