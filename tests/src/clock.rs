//! The lab's clocks. Tests measure real time, so unlike the cores they may read it; they read it here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one line of the lab that reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock since the epoch: the clock of the kernel's packet timestamps.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one line of the lab that reads the clock")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970")
}
