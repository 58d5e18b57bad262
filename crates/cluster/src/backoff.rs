use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(50);

/// A seed that differs between processes, so that many nodes do not come back at the same instant.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Waits that double up to a limit; each is shortened by up to a half at random.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// How long to wait after this many failures in a row.
    pub(crate) fn wait(&mut self, failures: u32, limit: Duration) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let full = FIRST.saturating_mul(1 << doublings).min(limit);
        full - full.mul_f64(self.fraction() / 2.0)
    }

    /// From 0 to 1 (splitmix64, of which 16 bits are enough here).
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [high, low, ..] = mixed.to_be_bytes();
        f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_lose_at_most_a_half() {
        let limit = Duration::from_secs(2);
        let mut jitter = Jitter::new(7);
        for (failures, full) in [(1, 50), (2, 100), (3, 200), (6, 1600), (7, 2000), (u32::MAX, 2000)] {
            let full = Duration::from_millis(full);
            for _ in 0..100 {
                let wait = jitter.wait(failures, limit);
                assert!(wait <= full && wait >= full / 2, "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn two_processes_do_not_wait_alike() {
        let waits = |seed| {
            let mut jitter = Jitter::new(seed);
            [(); 4].map(|()| jitter.wait(9, Duration::from_secs(2)))
        };
        assert_ne!(waits(1), waits(2));
    }
}
