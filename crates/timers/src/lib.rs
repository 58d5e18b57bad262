//! Remembers named deadlines.
//!
//! A protocol core keeps its deadlines here as data: no task, thread or token per timer, and "not armed" is
//! absence, never zero or a far future. It never looks at a clock; `now` is an argument.
//!
//! ```
//! # use std::time::{Duration, Instant};
//! # use timers::Timers;
//! #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
//! enum Timer { Hold, Keepalive }
//!
//! # #[expect(clippy::disallowed_methods, reason = "an example has to get a time from somewhere")]
//! let now = Instant::now();
//! let mut timers = Timers::default();
//! timers.arm(Timer::Hold, now + Duration::from_secs(90));
//! assert!(timers.pop_due(now).is_none());
//! assert_eq!(timers.next(), Some(now + Duration::from_secs(90)));
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

/// Deadlines by name.
#[derive(Debug, Clone)]
pub struct Timers<K>(BTreeMap<K, Instant>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets a deadline, in place of an earlier one of that name.
    pub fn arm(&mut self, key: K, at: Instant) {
        self.0.insert(key, at);
    }

    /// Forgets a deadline.
    pub fn disarm(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// When this one is due, if it is armed.
    pub fn deadline(&self, key: &K) -> Option<Instant> {
        self.0.get(key).copied()
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes the earliest deadline that has come; equal ones in the order of their names.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (key, _) = self.0.iter().filter(|(_, at)| **at <= now).min_by_key(|(_, at)| **at)?;
        let key = key.clone();
        self.0.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_armed_is_never_due() {
        let now = Instant::now();
        let mut timers = Timers::<u8>::default();
        assert_eq!((timers.next(), timers.pop_due(now)), (None, None));
        timers.arm(1, now);
        timers.disarm(&1);
        assert_eq!((timers.next(), timers.pop_due(now)), (None, None));
    }

    #[test]
    fn rearming_replaces() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.arm(1, now);
        timers.arm(1, now + Duration::from_secs(1));
        assert_eq!(timers.pop_due(now), None);
        assert_eq!(timers.deadline(&1), Some(now + Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn due_ones_come_once_each_and_in_order(delays in prop::collection::vec(0u64..50, 0..20), at in 0u64..50) {
            let start = Instant::now();
            let mut timers = Timers::default();
            for (key, delay) in delays.iter().enumerate() {
                timers.arm(key, start + Duration::from_millis(*delay));
            }
            let now = start + Duration::from_millis(at);
            let mut popped = Vec::new();
            while let Some(key) = timers.pop_due(now) {
                popped.push((delays[key], key));
            }
            let mut expected: Vec<_> = delays.iter().copied().enumerate().map(|(key, delay)| (delay, key)).collect();
            expected.retain(|(delay, _)| *delay <= at);
            expected.sort();
            prop_assert_eq!(popped, expected);
            prop_assert!(timers.next().is_none_or(|next| next > now));
        }
    }
}
