use std::time::Instant;

/// The runtime's clock, which the timers go by.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
