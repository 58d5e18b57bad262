//! The one clock.

use std::time::Instant;

/// The time, for handing to cores.
#[expect(clippy::disallowed_methods, reason = "the one place that looks at the clock")]
pub fn now() -> Instant {
    Instant::now()
}
