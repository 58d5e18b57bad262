//! The one clock.

use std::time::Instant;

/// The time, for handing to cores.
#[expect(clippy::disallowed_methods, reason = "the one place that looks at the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for a deadline; for ever where there is none.
pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
