//! Which word was meant where another was typed.

use super::problem::quoted;

/// How alike two words must be (Jaro-Winkler, 0 to 1) for one to be offered for the other, unless they
/// are a single slip apart. Higher misses abbreviations, lower offers words that only share letters.
const LIKENESS: f64 = 0.8;

/// The word that was probably meant.
pub(crate) fn nearest<'a>(typed: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.chars().take(64).flat_map(char::to_lowercase).collect();
    valid
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&typed, word), word))
        .filter(|(likeness, word)| *likeness >= LIKENESS || one_slip(&typed, word))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// One letter missing, added, changed or swapped with its neighbour; in a word of two letters that
/// would be half of it.
fn one_slip(typed: &str, word: &str) -> bool {
    word.len() > 2 && strsim::osa_distance(typed, word) <= 1
}

/// What to say of a word that is not one of the choices.
pub(crate) fn unknown_value<'a>(typed: &str, valid: impl Iterator<Item = &'a str> + Clone) -> String {
    let all: Vec<_> = valid.clone().map(|word| format!("\"{word}\"")).collect();
    let what = format!("{} is none of {}", quoted(typed), all.join(", "));
    match nearest(typed, valid) {
        Some(word) => format!("{what}; did you mean \"{word}\"?"),
        None => what,
    }
}

/// What to say of a key that is not one of these.
pub(super) fn unknown_key(typed: &str, keys: &[&str]) -> String {
    match nearest(typed, keys.iter().copied()) {
        Some(key) => format!("unknown key; did you mean `{key}`?"),
        None => format!("unknown key; the keys are `{}`", keys.join("`, `")),
    }
}

/// What is wrong, with what was probably meant.
pub(super) fn with_nearest(what: String, nearest: Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("{what}; did you mean {nearest}?"),
        None => what,
    }
}
