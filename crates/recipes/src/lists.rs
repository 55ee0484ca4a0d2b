//! Lists of words.

use patchwork_terms::Word;

/// The words of a list, each once, in the order of their declaration: the same words in another order are the same
/// settings.
pub(crate) fn in_order<T: Word>(chosen: &[T]) -> Vec<T> {
    let all = T::ALL.iter().copied();
    all.filter(|word| chosen.contains(word)).collect()
}
