//! Waiting with a deadline that says what was seen last.

use std::fmt::Display;
use std::thread;
use std::time::Duration;

use crate::clock;

const PAUSE: Duration = Duration::from_millis(10);

/// Polls until `look` gives a value; on the deadline ends the test with what `look` saw last.
///
/// A deadline is there to end a broken test, not to measure: take ten times what is expected.
#[track_caller]
pub fn eventually<T, S: Display>(what: &str, within: Duration, look: impl FnMut() -> Result<T, S>) -> T {
    attempt(within, look).unwrap_or_else(|seen| panic!("not within {within:?}: {what}; last seen: {seen}"))
}

/// [`eventually`] for callers that go on after the deadline.
///
/// # Errors
/// What `look` saw last.
pub fn attempt<T, S>(within: Duration, mut look: impl FnMut() -> Result<T, S>) -> Result<T, S> {
    let deadline = clock::now() + within;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if clock::now() >= deadline => return Err(seen),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
