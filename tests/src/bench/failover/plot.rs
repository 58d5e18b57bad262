//! The distribution of outages as a picture: how many of them were over after how long.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::bench::Form;
use crate::bench::report::folder;
use crate::bench::series::Series;
use crate::workspace;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;

/// One family of each product has the full line, the other a broken one.
const DASHES: [&str; 2] = ["none", "6 3"];

/// Readable on white and on black: colours of middling lightness, and text that follows the reader's scheme.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #444 }
.grid { stroke: #888; stroke-opacity: .35 }
.bar { stroke: #888; stroke-dasharray: 2 3 }
.line { fill: none; stroke-width: 2 }
.c0 { stroke: #c2571a }
.c1 { stroke: #3b78c4 }
@media (prefers-color-scheme: dark) {
  text { fill: #ccc }
  .c0 { stroke: #f08a4b }
  .c1 { stroke: #7fb0ee }
}
";

/// Draws IPv4 and IPv6 of each, and says where; the full form's picture belongs to the documentation.
#[track_caller]
pub(super) fn write(of: &[(&str, &[Series; 2])], form: Form) -> String {
    let file = form.of(folder().join("failover.svg"), workspace().join("docs/failover.svg"));
    fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).expect("the workspace can be written");
    fs::write(&file, draw(of)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let shown = file.strip_prefix(workspace()).unwrap_or(&file).display();
    format!("The distribution of the outages of a silent cut: {shown}.")
}

fn draw(of: &[(&str, &[Series; 2])]) -> String {
    let all = || of.iter().flat_map(|(_, pair)| pair.iter());
    let largest = all().filter_map(|series| series.percentile(99)).fold(100.0, f64::max);
    let step = step(largest);
    let end = (largest / step).ceil() * step;
    // The one in a hundred that is much longer stands at the edge: it is in the table, and would press the rest together.
    let x = |ms: f64| LEFT + ms.min(end) / end * (WIDTH - LEFT - RIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Outages of a silent cut, cumulative\">\n<style>\n{STYLE}</style>\n"
    );
    axes(&mut svg, end, step);
    for (number, (name, pair)) in of.iter().enumerate() {
        for (series, dash) in pair.iter().zip(DASHES) {
            let points = curve(series).into_iter().map(|(ms, share)| format!("{:.1},{:.1}", x(ms), y(share)));
            let points: Vec<_> = points.collect();
            put(
                &mut svg,
                &format!(
                    "<polyline class=\"line c{number}\" stroke-dasharray=\"{dash}\" points=\"{}\"/>",
                    points.join(" ")
                ),
            );
        }
        legend(&mut svg, number, name);
    }
    svg + "</svg>\n"
}

fn put(svg: &mut String, line: &str) {
    writeln!(svg, "{line}").expect("a string takes everything");
}

fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

/// At most ten lines on the axis, at round numbers.
fn step(largest: f64) -> f64 {
    let steps = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];
    steps.into_iter().find(|step| largest / step <= 10.0).unwrap_or(10_000.0)
}

fn axes(svg: &mut String, end: f64, step: f64) {
    let bottom = y(0.0);
    for percent in [0, 25, 50, 75, 95, 100] {
        let at = y(f64::from(percent) / 100.0);
        put(svg, &format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{}\"/>", WIDTH - RIGHT));
        put(
            svg,
            &format!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
                LEFT - 8.0,
                at + 4.0
            ),
        );
    }
    let mut ms = 0.0;
    while ms <= end {
        let at = LEFT + ms / end * (WIDTH - LEFT - RIGHT);
        put(svg, &format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom:.1}\"/>"));
        put(
            svg,
            &format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{ms}</text>", bottom + 18.0),
        );
        ms += step;
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    put(
        svg,
        &format!(
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">outage after a silent cut of the owner, ms (IPv4; IPv6 broken)</text>",
            HEIGHT - 6.0
        ),
    );
}

fn legend(svg: &mut String, number: usize, name: &str) {
    let at = LEFT + 150.0 * f64::from(u8::try_from(number).unwrap_or(0));
    put(svg, &format!("<path class=\"line c{number}\" d=\"M{at} 16h28\"/>"));
    put(svg, &format!("<text x=\"{}\" y=\"20\">{name}</text>", at + 34.0));
}

/// Steps: at each sample the share of those that are not longer.
fn curve(series: &Series) -> Vec<(f64, f64)> {
    let mut sorted = series.samples.clone();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let mut points = vec![(0.0, 0.0)];
    for (number, ms) in (1_u32..).zip(sorted) {
        points.push((ms, points[points.len() - 1].1));
        points.push((ms, f64::from(number) / count));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_steps_up_at_each_sample() {
        let series = Series { samples: vec![20.0, 10.0], ..Series::milliseconds("x") };
        assert_eq!(curve(&series), [(0.0, 0.0), (10.0, 0.0), (10.0, 0.5), (20.0, 0.5), (20.0, 1.0)]);
    }

    #[test]
    fn the_axis_has_a_few_round_numbers() {
        assert_eq!([100.0, 101.0, 340.0, 30_000.0].map(step), [10.0, 20.0, 50.0, 5000.0]);
    }

    #[test]
    fn a_picture_has_a_line_for_each_series() {
        let pair = [Series::milliseconds("a"), Series { samples: vec![120.0], ..Series::milliseconds("b") }];
        let svg = draw(&[("one", &pair), ("two", &pair)]);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn one_outage_in_a_hundred_does_not_press_the_others_together() {
        let samples: Vec<_> = (0_u8..200).map(|number| if number == 0 { 9000.0 } else { 120.0 }).collect();
        let pair = [Series { samples, ..Series::milliseconds("a") }, Series::milliseconds("b")];
        let svg = draw(&[("one", &pair)]);
        assert!(svg.contains(">120<") && !svg.contains(">500<"), "the axis ends soon after 120: {svg}");
    }
}
