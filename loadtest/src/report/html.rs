//! One page that needs nothing else: figures, and plots drawn as SVG.

use std::fmt::Write as _;

use super::files::escape;
use super::plot::{self, Line};
use super::{Figures, Report, Times};
use crate::units::{show_count, show_nanoseconds};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}\
.big{display:flex;gap:3rem;margin:1.2rem 0}.big b{display:block;font-size:1.9rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #d8dde3;text-align:right}\
td:first-child,th:first-child{text-align:left}.bad{color:#b3261e}.good{color:#1a7f37}.quiet{color:#57606a}\
svg{width:100%;height:auto;background:#fbfcfd;border:1px solid #d8dde3}pre{white-space:pre-wrap;background:#f6f8fa;padding:.8rem}";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let name = escape(&report.name);
    let mut body = format!(
        "<h1>{name}</h1><p class=\"quiet\">{}, {:.1} s measured",
        escape(&report.arrivals),
        report.seconds
    );
    body.push_str(if report.interrupted { ", <b class=\"bad\">interrupted</b></p>" } else { "</p>" });
    let latency = &report.total.latency;
    // Writing to a string does not fail.
    let _ = write!(
        body,
        "<div class=\"big\"><div><b>{}</b>starts per second</div><div><b>{}</b>p99.9 latency</div><div><b>{}</b>sent</div></div>",
        show_count(report.rate),
        show_nanoseconds(latency.p999 as f64),
        show_count(report.total.sent as f64),
    );
    for line in &report.generator.verdict {
        let _ = write!(body, "<p class=\"bad\">{}</p>", escape(line));
    }
    thresholds(report, &mut body);
    body.push_str("<h2>Latency by percentile</h2>");
    let points = report.curve.iter().map(|&(percent, value)| (nines(percent), value as f64));
    let line = Line { name: "latency", colour: "#0969da", points: points.collect() };
    body.push_str(&plot::plot(&[line], plot::Axis::Nines, plot::Axis::Time));
    over_time(report, &mut body);
    body.push_str("<h2>Times</h2><table><tr><th></th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>p99.99</th><th>max</th></tr>");
    let Figures { service, lateness, .. } = &report.total;
    for (name, times) in [
        ("latency, from when due", latency),
        ("service, from when sent", service),
        ("send lateness", lateness),
    ] {
        row(name, times, &mut body);
    }
    body.push_str("</table>");
    targets(report, &mut body);
    let machine = &report.machine;
    let _ = write!(
        body,
        "<h2>Where</h2><p>{} × {}, {:.0} GiB, {}; {}, {}, built for {}; commit {}</p>",
        machine.processors,
        escape(&machine.cpu),
        machine.memory_bytes as f64 / f64::from(1 << 30),
        escape(&machine.kernel),
        escape(&machine.rustc),
        escape(&machine.flags),
        escape(&machine.target),
        escape(&machine.commit),
    );
    let _ = write!(body, "<h2>Summary</h2><pre>{}</pre>", escape(&super::table(report)));
    let plan = serde_json::to_string_pretty(&report.plan).unwrap_or_default();
    let _ = write!(body, "<h2>Plan</h2><pre>{}</pre>", escape(&plan));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

/// How many nines a percentile has: 90 is 1, 99 is 2. All of them is as far as the plot goes.
fn nines(percent: f64) -> f64 {
    (-(1.0 - percent / 100.0).max(1e-7).log10()).max(0.0)
}

fn row(name: &str, times: &Times, body: &mut String) {
    let _ = write!(body, "<tr><td>{name}</td>");
    for value in [times.p50, times.p90, times.p99, times.p999, times.p9999, times.max] {
        let _ = write!(body, "<td>{}</td>", show_nanoseconds(value as f64));
    }
    body.push_str("</tr>");
}

fn thresholds(report: &Report, body: &mut String) {
    if report.thresholds.is_empty() {
        return;
    }
    body.push_str("<h2>Thresholds</h2><table><tr><th>wanted</th><th>measured</th><th></th></tr>");
    for checked in &report.thresholds {
        let (class, word) = if checked.met { ("good", "met") } else { ("bad", "breached") };
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
            escape(&checked.threshold),
            escape(&checked.measured)
        );
    }
    body.push_str("</table>");
}

fn over_time(report: &Report, body: &mut String) {
    let line = |name, colour, value: &dyn Fn(&super::SecondReport) -> Option<f64>| Line {
        name,
        colour,
        points: report.per_second.iter().filter_map(|second| Some((second.at, value(second)?))).collect(),
    };
    let rates = [
        line("wanted", "#8c959f", &|second| second.wanted),
        line("sent", "#bf8700", &|second| Some(second.sent)),
        line("ended", "#0969da", &|second| Some(second.rate)),
    ];
    body.push_str("<h2>Rate over time</h2>");
    body.push_str(&plot::plot(&rates, plot::Axis::Seconds, plot::Axis::Count));
    let latencies = [
        line("p50", "#1a7f37", &|second| Some(second.p50 as f64)),
        line("p99", "#bf8700", &|second| Some(second.p99 as f64)),
        line("p99.9", "#cf222e", &|second| Some(second.p999 as f64)),
    ];
    body.push_str("<h2>Latency over time</h2>");
    body.push_str(&plot::plot(&latencies, plot::Axis::Seconds, plot::Axis::Time));
}

fn targets(report: &Report, body: &mut String) {
    body.push_str("<h2>Targets</h2><table><tr><th>target</th><th>runs on</th><th>per second</th><th>p50</th><th>p99.9</th><th>no success</th></tr>");
    for target in &report.targets {
        let figures = &target.figures;
        let wrong = figures.failed + figures.timed_out + figures.aborted + figures.refused + figures.broken;
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&target.name),
            escape(&target.engine),
            show_count(target.rate),
            show_nanoseconds(figures.latency.p50 as f64),
            show_nanoseconds(figures.latency.p999 as f64),
            show_count(wrong as f64),
        );
    }
    body.push_str("</table>");
}
