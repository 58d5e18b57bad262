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
    /// Events of which several things are counted, a row each.
    pub(super) tallies: Vec<Tally>,
    pub(super) notes: Vec<String>,
}

/// Several quantities of one kind of event.
#[derive(Debug, Serialize)]
pub(super) struct Tally {
    pub(super) what: String,
    /// What the project aims at.
    pub(super) aim: &'static str,
    /// The same quantities in each row of a table.
    pub(super) series: Vec<Series>,
}

impl Report {
    pub(super) fn new(name: &'static str, title: &'static str, series: Vec<Series>) -> Self {
        Self { name, title, series, histograms: Vec::new(), tallies: Vec::new(), notes: Vec::new() }
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

    fn rows(&self) -> Vec<Vec<String>> {
        let series = self.series.iter().map(row);
        series.chain(self.histograms.iter().map(Histogram::row)).map(Vec::from).collect()
    }

    /// A table of the tallies: the total of what is counted, and `p50 / p95 / max` of what is measured.
    fn tally_table(&self) -> Vec<Vec<String>> {
        let Some(first) = self.tallies.first() else { return Vec::new() };
        let names = first.series.iter().map(labelled);
        let head = [String::new(), "n".to_owned()].into_iter().chain(names).chain(["aim".to_owned()]);
        let rows = self.tallies.iter().map(|tally| {
            let count = tally.series.first().map_or(0, |series| series.samples.len());
            let cells = tally.series.iter().map(summary);
            [tally.what.clone(), count.to_string()]
                .into_iter()
                .chain(cells)
                .chain([tally.aim.to_owned()])
                .collect()
        });
        [head.collect()].into_iter().chain(rows).collect()
    }
}

fn labelled(series: &Series) -> String {
    if series.unit.is_empty() { series.what.clone() } else { format!("{}, {}", series.what, series.unit) }
}

fn summary(series: &Series) -> String {
    if series.is_count() {
        return whole(series.samples.iter().sum());
    }
    let cells =
        [50, 95, 100].map(|percent| series.percentile(percent).map_or_else(|| "-".to_owned(), number));
    if cells.iter().all(|cell| cell == "0.00") { "0".to_owned() } else { cells.join(" / ") }
}

/// Where results are kept: in `target/` of the workspace.
pub(super) fn folder() -> PathBuf {
    workspace().join("target/bench")
}

const HEAD: [&str; 8] = ["", "n", "min", "p50", "p95", "p99", "max", "aim"];

fn row(series: &Series) -> [String; 8] {
    let number = if series.is_count() { whole } else { number };
    let cell = |percent| series.percentile(percent).map_or_else(|| "-".to_owned(), number);
    [
        labelled(series),
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
        if !rows.is_empty() {
            table(f, &[vec![HEAD.map(str::to_owned).to_vec()], rows].concat())?;
        }
        let tallies = self.tally_table();
        if !tallies.is_empty() {
            writeln!(f)?;
            table(f, &tallies)?;
        }
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

/// A Markdown table whose first row is its head: the first column to the left, the others to the right.
fn table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let (head, body) = rows.split_at(1);
    for row in head.iter().chain([&rule]).chain(body) {
        for (number, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match number {
                0 => write!(f, "| {cell:<width$} |")?,
                _ => write!(f, " {cell:>width$} |")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
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

    #[test]
    fn a_tally_has_the_total_of_what_is_counted_and_three_figures_of_what_is_measured() {
        let mut report = Report::new("x", "X", Vec::new());
        let lost = Series { samples: vec![1.0, 0.0, 2.0], ..Series::new("lost", "") };
        let dark = Series { samples: vec![1.5, 300.0, 20.0], ..Series::milliseconds("dark") };
        let none = Series { samples: vec![0.0, 0.0], ..Series::milliseconds("twice") };
        report.tallies.push(Tally { what: "kill".to_owned(), aim: "0", series: vec![lost, dark, none] });
        let text = report.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[3], "|      | n | lost |         dark, ms | twice, ms | aim |");
        assert_eq!(lines[5], "| kill | 3 |    3 | 20.0 / 300 / 300 |         0 |   0 |");
    }
}
