//! A group's results: a table for the eye, JSON for later.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::Form;
use super::histogram::Histogram;
use super::machine::{Machine, load};
use super::series::Series;
use crate::workspace;

/// What one group measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) series: Vec<Series>,
    pub(super) histograms: Vec<Histogram>,
    pub(super) notes: Vec<String>,
}

impl Report {
    pub(super) fn new(name: &'static str, title: &'static str, series: Vec<Series>) -> Self {
        Self { name, title, series, histograms: Vec::new(), notes: Vec::new() }
    }

    /// Writes everything, raw, under `target/bench/`.
    #[track_caller]
    pub(super) fn write(&self, machine: &Machine, form: Form) -> PathBuf {
        let folder = folder();
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let file = folder.join(format!("{}-{}.json", self.name, machine.stamp()));
        let form = form.of("short", "full");
        let all = json!({ "form": form, "machine": machine, "load_after": load(), "report": self });
        let text = serde_json::to_string_pretty(&all).expect("a report is JSON");
        fs::write(&file, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        file
    }

    fn rows(&self) -> Vec<[String; 8]> {
        let series = self.series.iter().map(row);
        series.chain(self.histograms.iter().map(Histogram::row)).collect()
    }
}

/// Where results are kept: in `target/` of the workspace.
pub(super) fn folder() -> PathBuf {
    workspace().join("target/bench")
}

const HEAD: [&str; 8] = ["", "n", "min", "p50", "p95", "p99", "max", "aim"];

fn row(series: &Series) -> [String; 8] {
    let number = if series.is_count() { whole } else { number };
    let cell = |percent| series.percentile(percent).map_or_else(|| "-".to_owned(), number);
    let unit = if series.unit.is_empty() { String::new() } else { format!(", {}", series.unit) };
    [
        format!("{}{unit}", series.what),
        series.samples.len().to_string(),
        cell(0),
        cell(50),
        cell(95),
        cell(99),
        cell(100),
        series.aim.unwrap_or_default().to_owned(),
    ]
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// Three digits are as many as a sample is worth.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        let rows = self.rows();
        let all = || rows.iter().map(|row| row.each_ref().map(String::as_str)).chain([HEAD]);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        line(f, &HEAD, &widths)?;
        line(f, &widths.map(|width| "-".repeat(width)).each_ref().map(String::as_str), &widths)?;
        for row in &rows {
            line(f, &row.each_ref().map(String::as_str), &widths)?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

/// A row of a Markdown table: the first column to the left, the others to the right.
fn line(f: &mut fmt::Formatter<'_>, cells: &[&str; 8], widths: &[usize; 8]) -> fmt::Result {
    let [first, others @ ..] = cells;
    write!(f, "| {first:<width$} |", width = widths[0])?;
    for (cell, width) in others.iter().zip(&widths[1..]) {
        write!(f, " {cell:>width$} |")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_column_for_each_figure() {
        let mut times = Series::milliseconds("from here to there").aim("p99 < 20");
        times.samples = vec![1.0, 250.0, 12.34];
        let mut report = Report::new("x", "X", vec![times, Series::milliseconds("nothing")]);
        let mut count = Series::new("lost", "");
        count.count(12);
        report.series.push(count);
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[4], "| from here to there, ms | 3 | 1.00 | 12.3 | 250 | 250 | 250 | p99 < 20 |");
        assert_eq!(lines[5], "| nothing, ms            | 0 |    - |    - |   - |   - |   - |          |");
        assert_eq!(lines[6], "| lost                   | 1 |   12 |   12 |  12 |  12 |  12 |          |");
    }
}
