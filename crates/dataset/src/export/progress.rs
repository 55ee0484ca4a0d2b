//! How far an export has come.

use std::ops::ControlFlow;

/// How far an export has come: images done, of how many; it may be broken off.
pub type ExportProgress<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;
