//! A program's own histogram, read from its metrics.

use std::collections::BTreeMap;

use serde::Serialize;

/// How often a value was at most so large; what a bucket counts, the ones after it count as well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Histogram {
    what: String,
    /// Upper bound as the metrics have it, in seconds; and the count.
    buckets: Vec<(String, u64)>,
    aim: Option<&'static str>,
}

impl Histogram {
    /// Of the metric `name` (without `_bucket`) with that label, summed over several pages of metrics.
    pub(super) fn read(what: &str, pages: &[String], name: &str, label: &str) -> Self {
        let prefix = format!("{name}_bucket{{");
        let mut sums: BTreeMap<u64, (String, u64)> = BTreeMap::new();
        let lines = pages.iter().flat_map(|page| page.lines());
        for line in lines.filter(|line| line.starts_with(&prefix) && line.contains(label)) {
            let Some((bound, count)) = bucket(line) else { continue };
            // Positive numbers are in the order of their bits, and infinity is the last.
            let order = bound.parse::<f64>().unwrap_or(f64::INFINITY).to_bits();
            sums.entry(order).or_insert_with(|| (bound.to_owned(), 0)).1 += count;
        }
        Self { what: what.to_owned(), buckets: sums.into_values().collect(), aim: None }
    }

    pub(super) fn aim(mut self, aim: &'static str) -> Self {
        self.aim = Some(aim);
        self
    }

    /// What came after `earlier`.
    pub(super) fn since(mut self, earlier: &Self) -> Self {
        for (bound, count) in &mut self.buckets {
            let before = earlier.buckets.iter().find(|(other, _)| other == bound);
            *count -= before.map_or(0, |(_, count)| *count);
        }
        self
    }

    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// The bound of the bucket in which the percentile lies.
    fn bound(&self, percent: u64) -> Option<&str> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let found = self.buckets.iter().find(|(_, count)| *count >= rank);
        found.map(|(bound, _)| bound.as_str())
    }

    /// As a row of a table, in milliseconds; of each percentile is known what it does not exceed.
    pub(super) fn row(&self) -> [String; 8] {
        let cell = |percent| self.bound(percent).map_or_else(|| "-".to_owned(), at_most);
        let aim = self.aim.unwrap_or_default().to_owned();
        let count = self.count().to_string();
        [format!("{}, ms", self.what), count, cell(0), cell(50), cell(95), cell(99), cell(100), aim]
    }
}

fn at_most(bound: &str) -> String {
    match bound.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => format!("≤ {}", (seconds * 1e5).round() / 100.0),
        _ => "beyond".to_owned(),
    }
}

fn bucket(line: &str) -> Option<(&str, u64)> {
    let (_, rest) = line.split_once("le=\"")?;
    let (bound, rest) = rest.split_once('"')?;
    let (_, count) = rest.split_once("} ")?;
    let count = count.split(' ').next()?;
    Some((bound, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u64; 3]) -> String {
        let [low, high, all] = counts;
        format!(
            "# TYPE x_seconds histogram\nx_seconds_sum{{protocol=\"l2\"}} 1.5\n\
             x_seconds_bucket{{le=\"0.0002\",protocol=\"l2\"}} {low}\n\
             x_seconds_bucket{{le=\"0.0016\",protocol=\"l2\"}} {high}\n\
             x_seconds_bucket{{le=\"+Inf\",protocol=\"l2\"}} {all}\n\
             x_seconds_bucket{{le=\"+Inf\",protocol=\"bgp\"}} 99\n"
        )
    }

    fn read(pages: &[String]) -> Histogram {
        Histogram::read("x", pages, "x_seconds", "protocol=\"l2\"")
    }

    #[test]
    fn a_percentile_is_known_to_its_bucket() {
        let histogram = read(&[page([5, 9, 10]), page([1, 10, 10])]);
        assert_eq!(histogram.row(), ["x, ms", "20", "≤ 0.2", "≤ 1.6", "≤ 1.6", "beyond", "beyond", ""]);
    }

    #[test]
    fn what_was_counted_before_is_taken_away() {
        let histogram = read(&[page([5, 9, 10])]).since(&read(&[page([4, 4, 4])]));
        assert_eq!(histogram.row(), ["x, ms", "6", "≤ 0.2", "≤ 1.6", "beyond", "beyond", "beyond", ""]);
        assert_eq!(read(&[]).count(), 0);
    }
}
