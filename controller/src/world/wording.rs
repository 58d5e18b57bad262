//! How conditions are worded.

use std::fmt::Display;

use api::Condition;

use crate::seen::SeenObject;

/// Such as `1 Service` or `2 Services`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Such as `2 Services are`.
pub(super) fn be(count: usize) -> String {
    format!("{} {}", counted(count, "Service"), if count == 1 { "is" } else { "are" })
}

/// Such as `2 Services keep`.
pub(super) fn keep(count: usize) -> String {
    format!("{} {}", counted(count, "Service"), if count == 1 { "keeps" } else { "keep" })
}

pub(super) fn joined(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// `Ready`, of an object as it was seen; if it means nothing, what goes on instead.
pub(super) fn ready<V, S>(seen: &SeenObject<V, S>, goes_on: &str) -> Condition {
    let ready = Condition::ready(seen.meaning.as_ref().map(drop)).at(seen.generation);
    match &seen.meaning {
        Ok(_) => ready,
        Err(_) => Condition { message: format!("{}; {goes_on}", ready.message), ..ready },
    }
}
