use std::borrow::Cow;
use std::io;

/// What the kernel refused, and while doing what.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    /// The attempt, as in "bind 192.0.2.1:179".
    pub doing: Cow<'static, str>,
    /// The kernel's answer.
    pub source: io::Error,
}

impl Error {
    /// The kind of the kernel's answer: `AddrInUse` and `PermissionDenied` of a listener, for instance.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Puts the attempt to an answer.
    pub(crate) fn doing<D: Into<Cow<'static, str>>>(
        attempt: impl FnOnce() -> D,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { doing: attempt().into(), source }
    }
}
