use std::fmt;

/// A field that cannot be honoured, and why. It becomes the message of a condition on the object that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// The field's path, such as `spec.addresses[2]`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl Invalid {
    /// Blames a field.
    pub fn new(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { field: field.into(), why: why.to_string() }
    }
}
