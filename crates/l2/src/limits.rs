//! How much is answered in a second, so that a storm costs no more than it must.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Mac;

const WINDOW: Duration = Duration::from_secs(1);

/// Answers to one station: enough for a router that has lost its table and asks for two thousand addresses at once.
const MOST_ANSWERS: u32 = 2000;
/// Stations that are told apart; all others share one allowance.
const MOST_STATIONS: usize = 1024;
/// Echo replies to all stations together.
const MOST_ECHOES: u32 = 1000;

/// What was answered in the current second.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    since: Option<Instant>,
    answers: BTreeMap<Mac, u32>,
    other_answers: u32,
    echoes: u32,
}

impl Limits {
    /// Whether the station gets one more answer.
    pub(crate) fn take_answer(&mut self, now: Instant, station: Mac) -> bool {
        self.turn(now);
        let is_known = self.answers.contains_key(&station);
        let used = if is_known || self.answers.len() < MOST_STATIONS {
            self.answers.entry(station).or_default()
        } else {
            &mut self.other_answers
        };
        take(used, MOST_ANSWERS)
    }

    /// Whether there is one more echo reply.
    pub(crate) fn take_echo(&mut self, now: Instant) -> bool {
        self.turn(now);
        take(&mut self.echoes, MOST_ECHOES)
    }

    fn turn(&mut self, now: Instant) {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            *self = Self { since: Some(now), ..Self::default() };
        }
    }
}

fn take(used: &mut u32, most: u32) -> bool {
    let left = *used < most;
    *used += u32::from(left);
    left
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

    use super::*;

    fn station(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac::new([2, 0, a, b, c, d])
    }

    #[test]
    fn a_station_gets_its_allowance_each_second_and_takes_none_from_others() {
        let start = Instant::now();
        let mut limits = Limits::default();
        let mut granted = |now, station| (0..3000).filter(|_| limits.take_answer(now, station)).count();
        assert_eq!(granted(start, station(1)), 2000);
        assert_eq!(granted(start + Duration::from_millis(999), station(1)), 0);
        assert_eq!(granted(start + Duration::from_millis(999), station(2)), 2000);
        assert_eq!(granted(start + Duration::from_secs(1), station(1)), 2000);
    }

    #[test]
    fn stations_beyond_those_that_are_told_apart_share_one_allowance() {
        let start = Instant::now();
        let mut limits = Limits::default();
        let granted = (0..10_000).filter(|number| limits.take_answer(start, station(*number))).count();
        assert_eq!(granted, 1024 + 2000);
        assert_eq!(limits.answers.len(), 1024);
        assert!(limits.take_answer(start, station(5)));
    }

    #[test]
    fn echoes_have_one_allowance() {
        let start = Instant::now();
        let mut limits = Limits::default();
        assert_eq!((0..3000).filter(|_| limits.take_echo(start)).count(), 1000);
        assert!(limits.take_answer(start, station(1)));
        assert!(limits.take_echo(start + Duration::from_secs(1)));
    }
}
