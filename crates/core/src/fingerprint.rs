//! The name of an artifact: what went into it, hashed.

use serde_json::Value;

use crate::canonical::canonical_json;
use crate::hex::hex_text;

/// What went into an artifact: the first 16 bytes of a BLAKE3 digest over canonical JSON,
/// written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

hex_text!(Fingerprint, 16);

impl Fingerprint {
    /// Hashes a description of an artifact's ingredients.
    pub fn of(ingredients: &Value) -> Self {
        let digest = blake3::hash(canonical_json(ingredients).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        Self(bytes)
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}
