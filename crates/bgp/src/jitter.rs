use std::time::Duration;

/// Random numbers from a seed (SplitMix64): they spread load and are no secret.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn per_mille(&mut self, most: u64) -> u32 {
        u32::try_from(self.next() % (most + 1)).unwrap_or_default()
    }

    /// 75 to 100 % of `span` (RFC 4271 §10).
    pub(crate) fn shorten(&mut self, span: Duration) -> Duration {
        span * (750 + self.per_mille(250)) / 1000
    }

    /// 0 to 100 % of `span`.
    pub(crate) fn within(&mut self, span: Duration) -> Duration {
        span * self.per_mille(1000) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_takes_away_up_to_a_quarter_and_uses_all_of_that_range() {
        let mut jitter = Jitter::new(7);
        let spans: Vec<_> = (0..1000).map(|_| jitter.shorten(Duration::from_secs(4)).as_millis()).collect();
        assert!(spans.iter().all(|span| (3000..=4000).contains(span)));
        assert!(spans.iter().any(|span| *span < 3050) && spans.iter().any(|span| *span > 3950));
        let starts: Vec<_> = (0..1000).map(|_| jitter.within(Duration::from_secs(4)).as_millis()).collect();
        assert!(starts.iter().any(|start| *start < 50) && starts.iter().any(|start| *start > 3950));
    }
}
