use std::time::Duration;

/// SplitMix64: equal seeds give equal times.
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `middle ± spread`, to the microsecond.
    pub(crate) fn around(&mut self, middle: Duration, spread: Duration) -> Duration {
        let width = u64::try_from(2 * spread.as_micros()).unwrap_or(u64::MAX);
        middle.saturating_sub(spread) + Duration::from_micros(self.next() % width.max(1))
    }

    /// Uniform from one to the other, to the microsecond.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let width = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.next() % width.max(1))
    }
}
