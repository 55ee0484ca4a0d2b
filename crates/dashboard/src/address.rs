//! Addresses of the server: pages, files and series.

use std::fmt::Write;

/// Text as a component of an address.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The page of a run.
pub(crate) fn run(name: &str) -> String {
    format!("/runs/{}", encode(name))
}

/// The page of a prepared data set or a set of samples.
pub(crate) fn data(fingerprint: &str) -> String {
    format!("/data/{}", encode(fingerprint))
}

/// A file of an artifact.
pub(crate) fn file(fingerprint: &str, name: &str) -> String {
    format!("/files/{fingerprint}/{}", encode(name))
}

/// The points of a series.
pub(crate) fn series(run: &str, stage: &str, name: &str) -> String {
    format!(
        "/api/runs/{}/series?stage={}&name={}",
        encode(run),
        encode(stage),
        encode(name)
    )
}

/// The log of a stage.
pub(crate) fn log(run: &str, stage: &str) -> String {
    format!("/api/runs/{}/log?stage={}", encode(run), encode(stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_any_name() {
        assert_eq!(encode("demo-1_x.~"), "demo-1_x.~");
        assert_eq!(encode("a/b?c=<é>"), "a%2Fb%3Fc%3D%3C%C3%A9%3E");
        assert_eq!(
            series("a-1", "train", "loss_by_side/16"),
            "/api/runs/a-1/series?stage=train&name=loss_by_side%2F16"
        );
    }
}
