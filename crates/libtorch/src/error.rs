//! A failure inside libtorch.

use std::ffi::{CStr, c_char, c_int};

#[expect(
    unsafe_code,
    reason = "declares the function of csrc/boundary.cpp, with its very signature"
)]
unsafe extern "C" {
    safe fn pw_last_error() -> *const c_char;
}

/// What libtorch says of a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LibtorchError(String);

impl LibtorchError {
    /// The text of libtorch.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// A failure found on this side.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What the last function that failed on this thread has left.
    #[expect(
        unsafe_code,
        reason = "the pointer is that of a string of this thread, which the next failing call on this thread changes \
                  and no other one; it ends in a zero, and it is copied here"
    )]
    fn last() -> Self {
        let text = unsafe { CStr::from_ptr(pw_last_error()) };
        Self(text.to_string_lossy().trim().to_owned())
    }
}

/// What a function of `csrc/` returned, as a result.
pub(crate) fn check(status: c_int) -> Result<(), LibtorchError> {
    match status {
        0 => Ok(()),
        _ => Err(LibtorchError::last()),
    }
}
