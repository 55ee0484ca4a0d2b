//! What has to be equal on all ranks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::CollectiveError;

/// What a rank started from: names of parts and their digests or values, such as `settings`, `data set`, `checkpoint`,
/// `program`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(BTreeMap<String, String>);

impl Identity {
    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: &str, value: impl Into<String>) -> Self {
        self.0.insert(part.to_owned(), value.into());
        self
    }

    /// Refuses ranks that differ from rank 0; `all` are the identities of all ranks in their order.
    pub(crate) fn check(all: &[Self]) -> Result<(), CollectiveError> {
        const NOTHING: &str = "none";
        let Some((first, others)) = all.split_first() else {
            return Ok(());
        };
        for (rank, other) in (1..).zip(others) {
            let parts = first.0.keys().chain(other.0.keys());
            let differing = parts
                .map(|part| (part, first.0.get(part), other.0.get(part)))
                .find(|(_, reference, theirs)| reference != theirs);
            if let Some((part, reference, theirs)) = differing {
                let quoted = |value: Option<&String>| {
                    value.map_or_else(|| NOTHING.to_owned(), |value| format!("`{value}`"))
                };
                return Err(CollectiveError::Differs {
                    rank,
                    part: part.clone(),
                    reference: quoted(reference),
                    theirs: quoted(theirs),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        let rank_0 = Identity::default()
            .with("settings", "abc")
            .with("data set", "7");
        let other = rank_0.clone().with("data set", "8");
        let short = Identity::default().with("settings", "abc");
        assert!(Identity::check(&[rank_0.clone(), rank_0.clone()]).is_ok());
        for (other, words) in [
            (
                other,
                "rank 2 has another data set than rank 0: `8` instead of `7`",
            ),
            (
                short,
                "rank 2 has another data set than rank 0: none instead of `7`",
            ),
        ] {
            let error = Identity::check(&[rank_0.clone(), rank_0.clone(), other]).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
