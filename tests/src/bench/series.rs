//! Samples of one quantity.

use std::time::Duration;

use serde::Serialize;

/// One quantity, in the order in which it was sampled.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Series {
    /// What was measured.
    pub(super) what: String,
    /// Of each sample.
    pub(super) unit: &'static str,
    /// What the project aims at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aim: Option<&'static str>,
    /// Raw.
    pub(super) samples: Vec<f64>,
}

impl Series {
    pub(super) fn new(what: impl Into<String>, unit: &'static str) -> Self {
        Self { what: what.into(), unit, aim: None, samples: Vec::new() }
    }

    pub(super) fn milliseconds(what: impl Into<String>) -> Self {
        Self::new(what, "ms")
    }

    pub(super) fn seconds(what: impl Into<String>, times: impl IntoIterator<Item = Duration>) -> Self {
        let mut series = Self::new(what, "s");
        series.samples.extend(times.into_iter().map(|time| time.as_secs_f64()));
        series
    }

    /// How often the second goes into the first; none when there is nothing to divide.
    pub(super) fn ratio(what: impl Into<String>, of: Option<f64>, to: Option<f64>) -> Self {
        let mut series = Self::new(what, "×");
        series.samples.extend(of.zip(to).map(|(of, to)| of / to).filter(|ratio| ratio.is_finite()));
        series
    }

    pub(super) fn mebibytes(what: impl Into<String>, sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut series = Self::new(what, "MiB");
        series.samples.extend(sizes.into_iter().map(|size| float(size) / f64::from(1 << 20)));
        series
    }

    pub(super) fn megabytes(what: impl Into<String>, size: u64) -> Self {
        let mut series = Self::new(what, "MB");
        series.samples.push(float(size) / 1e6);
        series
    }

    pub(super) fn aim(mut self, aim: &'static str) -> Self {
        self.aim = Some(aim);
        self
    }

    /// Whether every sample is a number of things.
    pub(super) fn is_count(&self) -> bool {
        self.unit.is_empty() && self.samples.iter().all(|sample| sample.fract() == 0.0)
    }

    /// Adds a number of things.
    pub(super) fn count(&mut self, count: u64) {
        self.samples.push(float(count));
    }

    /// Adds the time between two moments of one clock; negative when `to` came first.
    pub(super) fn between(&mut self, from: Duration, to: Duration) {
        let (size, sign) = if to < from { (from - to, -1.0) } else { (to - from, 1.0) };
        self.samples.push(sign * size.as_secs_f64() * 1e3);
    }

    /// By nearest rank: with fewer than 100 samples the 99th percentile is the largest. None without samples.
    pub(super) fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

/// Exact: no size and no count is near 2^52.
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: impl IntoIterator<Item = f64>) -> Series {
        Series { samples: samples.into_iter().collect(), ..Series::milliseconds("x") }
    }

    #[test]
    fn a_percentile_is_a_sample_that_so_many_do_not_exceed() {
        let hundred = series((1..=100).rev().map(f64::from));
        assert_eq!([0, 50, 99, 100].map(|p| hundred.percentile(p)), [1.0, 50.0, 99.0, 100.0].map(Some));
        assert_eq!(series([3.0, 1.0, 2.0]).percentile(50), Some(2.0));
        assert_eq!(series([3.0, 1.0, 2.0]).percentile(99), Some(3.0));
        assert_eq!(series([]).percentile(50), None);
    }

    #[test]
    fn what_came_before_is_negative() {
        let mut times = series([]);
        times.between(Duration::from_millis(5), Duration::from_millis(7));
        times.between(Duration::from_millis(7), Duration::from_millis(5));
        assert_eq!(times.samples, [2.0, -2.0]);
    }

    #[test]
    fn a_ratio_of_nothing_is_no_sample() {
        assert_eq!(Series::ratio("x", Some(3.0), Some(2.0)).samples, [1.5]);
        assert_eq!(Series::ratio("x", None, Some(2.0)).samples, [0.0; 0]);
        assert_eq!(Series::ratio("x", Some(3.0), Some(0.0)).samples, [0.0; 0]);
    }

    #[test]
    fn memory_is_in_mebibytes_and_files_in_megabytes() {
        assert_eq!(Series::mebibytes("x", [3 << 20, 1 << 19]).samples, [3.0, 0.5]);
        assert_eq!(Series::megabytes("x", 1_500_000).samples, [1.5]);
    }
}
