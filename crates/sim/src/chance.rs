use std::time::Duration;

/// SplitMix64: equal seeds give equal runs.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The run of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.any() % end).unwrap_or_default()
    }

    /// So many in a thousand, below this.
    pub fn permille(&mut self, end: u16) -> u16 {
        u16::try_from(self.below(usize::from(end))).unwrap_or(end)
    }

    /// Whether something happens that happens so often in a thousand.
    pub fn happens(&mut self, permille: u16) -> bool {
        self.any() % 1000 < u64::from(permille)
    }

    /// A time between these.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let width = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX).max(1);
        least + Duration::from_micros(self.any() % width)
    }

    /// 128 bits for a life.
    pub fn incarnation(&mut self) -> liveness::Incarnation {
        let mut octets = [0; 16];
        let drawn = [self.any().to_be_bytes(), self.any().to_be_bytes()];
        for (octet, of) in octets.iter_mut().zip(drawn.as_flattened()) {
            *octet = *of;
        }
        liveness::Incarnation(octets)
    }
}
