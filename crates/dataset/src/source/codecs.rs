//! The encodings of a source's files that lose something.

use std::collections::BTreeSet;

use super::raw::Source;

/// What images were encoded in, where that changes their pixels, by the endings of their names: `jpeg`, or
/// `jpeg, webp`; none if no codec is known.
///
/// Whoever compares sets of images has to know: JPEG alone moves a Fréchet distance.
pub fn codecs(source: &dyn Source) -> Option<String> {
    let mut found = BTreeSet::new();
    for index in 0..source.len() {
        let key = source.entry(index).key;
        let ending = key.rsplit('.').next().unwrap_or_default();
        let codec = match ending.to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" | "jpe" | "jfif" | "jfi" | "jif" | "pjpeg" | "pjp" => "jpeg",
            "webp" => "webp",
            "gif" => "gif",
            _ => continue,
        };
        found.insert(codec);
    }
    let found: Vec<&str> = found.into_iter().collect();
    (!found.is_empty()).then(|| found.join(", "))
}
