//! Lines over two axes, as SVG.

use std::fmt::Write as _;

use crate::units::{show_count, show_nanoseconds};

/// A line.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) colour: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// What an axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Seconds, even.
    Seconds,
    /// Percentiles by how many nines they have.
    Nines,
    /// Nanoseconds, each ten times as far.
    Time,
    /// A count, even, from 0.
    Count,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 80.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 24.0;
const RIGHT: f64 = 20.0;

/// The part of an axis that is shown, and how it is.
struct Scale {
    axis: Axis,
    from: f64,
    to: f64,
}

impl Scale {
    fn new(axis: Axis, values: impl Iterator<Item = f64>) -> Scale {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.map(|value| along(axis, value)) {
            (least, most) = (least.min(value), most.max(value));
        }
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        let (from, to) = match axis {
            Axis::Time => (least.floor(), most.ceil()),
            Axis::Count => (0.0, most * 1.1),
            Axis::Seconds | Axis::Nines => (least.min(0.0), most),
        };
        Scale { axis, from, to: if to > from { to } else { from + 1.0 } }
    }

    /// Where a value stands, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        (along(self.axis, value) - self.from) / (self.to - self.from)
    }

    fn marks(&self) -> Vec<(f64, String)> {
        let steps = |step: f64| {
            let first = (self.from / step).ceil() as i64;
            (first..).map(move |n| n as f64 * step).take_while(|value| *value <= self.to + 1e-9)
        };
        match self.axis {
            Axis::Time => {
                steps(1.0).map(|log| (10f64.powf(log), show_nanoseconds(10f64.powf(log)))).collect()
            }
            Axis::Nines => steps(1.0)
                .map(|nines| (nines, format!("{}%", (100.0 - 100.0 * 10f64.powf(-nines)) as f32)))
                .collect(),
            Axis::Seconds => {
                steps(nice((self.to - self.from) / 8.0)).map(|it| (it, format!("{it} s"))).collect()
            }
            Axis::Count => steps(nice(self.to / 5.0)).map(|it| (it, show_count(it))).collect(),
        }
    }
}

fn along(axis: Axis, value: f64) -> f64 {
    match axis {
        Axis::Time => value.max(1.0).log10(),
        _ => value,
    }
}

/// The next step that people like to count in.
fn nice(step: f64) -> f64 {
    let ten = 10f64.powf(step.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * ten).into_iter().find(|nice| *nice >= step).unwrap_or(step)
}

/// The plot.
pub(super) fn plot(lines: &[Line], x: Axis, y: Axis) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    if points().next().is_none() {
        return "<p class=\"quiet\">nothing was measured</p>".to_owned();
    }
    let across = Scale::new(x, points().map(|point| point.0));
    let up = Scale::new(y, points().map(|point| point.1));
    let left = |value: f64| LEFT + across.at(value) * (WIDTH - LEFT - RIGHT);
    let top = |value: f64| HEIGHT - BOTTOM - up.at(value) * (HEIGHT - BOTTOM - TOP);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-size=\"12\" fill=\"#57606a\">");
    // Writing to a string does not fail.
    for (value, mark) in up.marks() {
        let at = top(value);
        let _ = write!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#e4e8ec\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (value, mark) in across.marks() {
        let at = left(value);
        let _ = write!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{:.1}\" stroke=\"#eef1f4\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for (n, line) in lines.iter().enumerate() {
        let path: Vec<String> =
            line.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", left(x), top(y))).collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/><text x=\"{}\" y=\"16\" fill=\"{colour}\">{}</text>",
            path.join(" "),
            LEFT + 90.0 * n as f64,
            line.name,
            colour = line.colour,
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_inside_and_every_axis_has_marks() {
        let line = |points: &[(f64, f64)]| [Line { name: "it", colour: "red", points: points.to_vec() }];
        for points in [&[(0.0, 1.0), (10.0, 5e9)][..], &[(3.0, 0.0)], &[(-0.5, 7.0), (0.0, 7.0)]] {
            for y in [Axis::Time, Axis::Count] {
                let svg = plot(&line(points), Axis::Seconds, y);
                assert!(svg.contains("polyline") && svg.contains("text-anchor=\"middle\""), "{svg}");
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        assert!(plot(&line(&[]), Axis::Nines, Axis::Time).contains("nothing"));
    }

    #[test]
    fn steps_are_nice() {
        assert_eq!([0.7, 1.2, 30.0, 99.0, 5_000.0].map(nice), [1.0, 2.0, 50.0, 100.0, 5_000.0]);
    }
}
