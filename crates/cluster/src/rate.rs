use std::time::{Duration, Instant};

/// So many at once, and then one each interval.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again.
    full: Option<Instant>,
}

impl Rate {
    pub(crate) fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full: None }
    }

    /// When the next one may go: now or later.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let spare = self.interval.saturating_mul(self.burst.saturating_sub(1));
        self.full.and_then(|full| full.checked_sub(spare)).map_or(now, |next| next.max(now))
    }

    /// Takes one if it may go now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let may = self.next(now) <= now;
        if may {
            self.full = Some(self.full.map_or(now, |full| full.max(now)) + self.interval);
        }
        may
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_interval() {
        let start = Instant::now();
        let mut rate = Rate::new(10 * MS, 3);
        let taken = |rate: &mut Rate, at: u32| (0..9).take_while(|_| rate.take(start + MS * at)).count();
        assert_eq!(taken(&mut rate, 0), 3);
        assert_eq!(rate.next(start), start + 10 * MS);
        assert_eq!(taken(&mut rate, 9), 0);
        assert_eq!(taken(&mut rate, 10), 1);
        assert_eq!(taken(&mut rate, 35), 2);
        assert_eq!(taken(&mut rate, 1000), 3);
    }
}
