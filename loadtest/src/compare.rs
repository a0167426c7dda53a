//! The differences of two reports, and whether they are significant.

use std::fmt::Write as _;
use std::path::Path;

use crate::report::{Report, SCHEMA, SecondReport};
use crate::units::{show_count, show_nanoseconds};

/// Reads a report that a run wrote.
///
/// # Errors
/// When it cannot be read, or is not a report.
pub fn read(path: &Path) -> Result<Report, String> {
    let path = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|error| named(&error))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| named(&error))?;
    match value["schema"].as_u64() {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => return Err(named(&format!("its form is {schema}, this program knows {SCHEMA}"))),
        None => return Err(named(&"it is no report of a load test")),
    }
    serde_json::from_value(value).map_err(|error| named(&error))
}

/// The comparison of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What was measured.
    pub what: &'static str,
    /// Its median over the seconds of the first report, and of the second.
    pub medians: (f64, f64),
    /// How likely two runs of the same would differ as much, from 0 to 1; none when there are too few seconds.
    pub chance: Option<f64>,
    /// What to think of it.
    pub verdict: Verdict,
    is_rate: bool,
}

/// Whether a change is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Better, and more than noise.
    Better,
    /// Worse, and more than noise.
    Worse,
    /// No more than noise.
    Noise,
    /// Too few seconds for a conclusion.
    Unknown,
}

/// Fewer seconds than this allow no conclusion.
const SECONDS_MIN: usize = 4;
/// A change must be unlikelier than this by chance, and larger than this share: seconds of one run are not independent, so
/// chance alone is too easily convinced.
const CHANCE_MAX: f64 = 0.01;
const SHARE_MIN: f64 = 0.02;

/// Compares the seconds of two reports.
pub fn compare(before: &Report, after: &Report) -> Vec<Change> {
    type Measure = fn(&SecondReport) -> f64;
    let measures: [(&'static str, bool, Measure); 5] = [
        ("rate", true, |second| second.rate),
        ("p50", false, |second| second.p50 as f64),
        ("p99", false, |second| second.p99 as f64),
        ("p99.9", false, |second| second.p999 as f64),
        ("max", false, |second| second.max as f64),
    ];
    let compared = measures.map(|(what, is_rate, measure)| {
        let values = |report: &Report| whole_seconds(report).map(measure).collect::<Vec<f64>>();
        change(what, is_rate, values(before), values(after))
    });
    compared.into()
}

/// Seconds that are about one long: the last one may be a piece.
fn whole_seconds(report: &Report) -> impl Iterator<Item = &SecondReport> {
    let mut before = 0.0;
    report.per_second.iter().filter(move |second| {
        let lasted = second.at - before;
        before = second.at;
        (0.8..1.5).contains(&lasted)
    })
}

fn change(what: &'static str, is_rate: bool, before: Vec<f64>, after: Vec<f64>) -> Change {
    let medians = (median(before.clone()), median(after.clone()));
    let enough = before.len() >= SECONDS_MIN && after.len() >= SECONDS_MIN;
    let chance = enough.then(|| mann_whitney(&before, &after));
    let share = (medians.1 - medians.0).abs() / medians.0.abs().max(f64::MIN_POSITIVE);
    let verdict = match chance {
        None => Verdict::Unknown,
        Some(chance) if chance > CHANCE_MAX || share < SHARE_MIN => Verdict::Noise,
        Some(_) if (medians.1 > medians.0) == is_rate => Verdict::Better,
        Some(_) => Verdict::Worse,
    };
    Change { what, medians, chance, verdict, is_rate }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The two-sided p-value of the Mann–Whitney test, by its normal approximation with ties and continuity: it asks whether
/// values of one sample tend to be larger, and does not care how they are spread.
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|&value| (value, true)).chain(b.iter().map(|&value| (value, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut ranks, mut ties, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let same = all[at..].iter().take_while(|it| it.0 == all[at].0).count();
        let rank = at as f64 + (same as f64 + 1.0) / 2.0;
        ranks += rank * all[at..at + same].iter().filter(|it| it.1).count() as f64;
        ties += (same as f64).powi(3) - same as f64;
        at += same;
    }
    let total = n + m;
    let u = ranks - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    erfc(z / std::f64::consts::SQRT_2)
}

/// The complementary error function, to seven digits (Abramowitz and Stegun 7.1.26), for arguments from 0 on.
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    (sum * (-x * x).exp()).clamp(0.0, 1.0)
}

/// What people read: differences between the two set-ups first, then what changed.
pub fn table(before: &Report, after: &Report, changes: &[Change]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(before, after, changes, &mut text);
    text
}

fn write(before: &Report, after: &Report, changes: &[Change], out: &mut String) -> std::fmt::Result {
    let workload = |report: &Report| {
        let each = report.targets.iter().map(|target| format!("{} on {}", target.workload, target.engine));
        each.collect::<Vec<_>>().join(", ")
    };
    let set_ups = [
        ("processor", before.machine.cpu.clone(), after.machine.cpu.clone(), true),
        ("processors", before.machine.processors.to_string(), after.machine.processors.to_string(), true),
        ("kernel", before.machine.kernel.clone(), after.machine.kernel.clone(), true),
        ("workload", workload(before), workload(after), true),
        ("arrivals", before.arrivals.clone(), after.arrivals.clone(), true),
        ("flags", before.machine.flags.clone(), after.machine.flags.clone(), true),
        ("compiler", before.machine.rustc.clone(), after.machine.rustc.clone(), false),
        ("commit", before.machine.commit.clone(), after.machine.commit.clone(), false),
    ];
    for (what, one, other, matters) in set_ups.iter().filter(|it| it.1 != it.2) {
        let warning = if *matters { "  (so this compares more than the program)" } else { "" };
        writeln!(out, "{what}: {one} -> {other}{warning}")?;
    }
    writeln!(out, "{:<8} {:>14} {:>14} {:>9} {:>10}", "", "before", "after", "change", "by chance")?;
    for it in changes {
        let show = |value: f64| {
            if it.is_rate { format!("{}/s", show_count(value)) } else { show_nanoseconds(value) }
        };
        let share = if it.medians.0 == 0.0 {
            "-".to_owned()
        } else {
            format!("{:+.1} %", (it.medians.1 / it.medians.0 - 1.0) * 100.0)
        };
        let chance = it.chance.map_or("-".to_owned(), |chance| format!("{:.2} %", chance * 100.0));
        let verdict = match it.verdict {
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
            Verdict::Noise => "no more than noise",
            Verdict::Unknown => "too few seconds to say",
        };
        let (one, other) = (show(it.medians.0), show(it.medians.1));
        writeln!(out, "{:<8} {one:>14} {other:>14} {share:>9} {chance:>10}  {verdict}", it.what)?;
    }
    for (name, report) in [("before", before), ("after", after)] {
        let total = &report.total;
        let wrong = total.failed + total.timed_out + total.aborted + total.refused + total.broken;
        if wrong + total.dropped + total.late > 0 {
            writeln!(out, "{name}: {wrong} without success, {} dropped, {} late", total.dropped, total.late)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_a_change() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut around =
            |middle: f64| (0..30).map(|_| middle * (0.9 + 0.2 * random.f64())).collect::<Vec<f64>>();
        let (one, same, more) = (around(100.0), around(100.0), around(110.0));
        assert_eq!(change("rate", true, one.clone(), same).verdict, Verdict::Noise);
        assert_eq!(change("rate", true, one.clone(), more.clone()).verdict, Verdict::Better);
        assert_eq!(change("p50", false, one.clone(), more).verdict, Verdict::Worse);
        assert_eq!(change("p50", false, one, vec![1.0, 2.0]).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_tiny_change_is_noise_however_certain() {
        let before = vec![100.0; 10];
        assert_eq!(change("rate", true, before.clone(), vec![101.0; 10]).verdict, Verdict::Noise);
        assert_eq!(change("rate", true, before.clone(), before).chance, Some(1.0));
    }

    /// Values worked out by other means: wholly apart samples of ten each, z = 3.742.
    #[test]
    fn the_test_says_what_the_tables_say() {
        let (low, high): (Vec<f64>, Vec<f64>) =
            ((0..10).map(f64::from).collect(), (10..20).map(f64::from).collect());
        let chance = mann_whitney(&low, &high);
        assert!((chance - 0.000_182_7).abs() < 2e-6, "{chance}");
        assert!((erfc(1.0) - 0.157_299_2).abs() < 1e-6);
    }
}
