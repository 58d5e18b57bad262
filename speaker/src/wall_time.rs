//! The time of day, as the API writes it, of what the speaker knows by its own clock.

use std::time::Instant;

use jiff::Timestamp;
use netio::clock;

/// The time of day at an instant of the past, to the second.
pub(crate) fn wall_time(at: Instant) -> Timestamp {
    let ago = clock::now().saturating_duration_since(at);
    let then = Timestamp::now().checked_sub(ago).unwrap_or_else(|_| Timestamp::now());
    Timestamp::from_second(then.as_second()).unwrap_or(then)
}
