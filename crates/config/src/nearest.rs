//! The known word that a typed one was probably meant to be.

/// Below this similarity (1 = equal) a suggestion would be a guess.
const CLOSE_ENOUGH: f64 = 0.6;

/// The candidate spelt most like `typed`, if one is close.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(typed, candidate),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= CLOSE_ENOUGH)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate.to_owned())
}
