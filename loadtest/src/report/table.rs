//! The summary that people read.

use std::fmt::Write as _;

use super::{Figures, Generator, Report, Times};
use crate::units::{show_count, show_nanoseconds};

/// The summary of a run, in some twenty lines.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let machine = &report.machine;
    writeln!(
        out,
        "{}: {}, {:.1} s measured{}",
        report.name,
        report.arrivals,
        report.seconds,
        if report.interrupted { " (interrupted)" } else { "" }
    )?;
    writeln!(
        out,
        "{} × {}, {}, commit {}, {}",
        machine.processors, machine.cpu, machine.kernel, machine.commit, machine.flags
    )?;
    for target in &report.targets {
        writeln!(
            out,
            "  {:<16} {:>14}/s  {} ({}; input {:.0} bytes)",
            target.name,
            show_count(target.rate),
            target.engine,
            target.source,
            target.input_bytes_mean,
        )?;
    }
    let Figures { latency, service, lateness, .. } = &report.total;
    writeln!(
        out,
        "\n{:<26} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    if report.open_model {
        times("latency (from when due)", latency, out)?;
        times("service (from when sent)", service, out)?;
        times("send lateness", lateness, out)?;
    } else {
        times("service (closed model)", service, out)?;
    }
    counts(report, out)
}

fn times(name: &str, times: &Times, out: &mut String) -> std::fmt::Result {
    write!(out, "{name:<26}")?;
    for value in [times.p50, times.p90, times.p99, times.p999, times.p9999, times.max] {
        write!(
            out,
            " {:>9}",
            if times.count == 0 { "-".to_owned() } else { show_nanoseconds(value as f64) }
        )?;
    }
    writeln!(out)
}

fn counts(report: &Report, out: &mut String) -> std::fmt::Result {
    let total = &report.total;
    let counted = [
        ("sent", total.sent),
        ("succeeded", total.succeeded),
        ("failed", total.failed),
        ("timed out", total.timed_out),
        ("aborted", total.aborted),
        ("refused", total.refused),
        ("broken", total.broken),
        ("unfinished", report.unfinished),
        ("late", total.late),
        ("dropped", total.dropped),
    ];
    let shown = |&(name, count): &(&str, u64)| count > 0 || ["sent", "succeeded"].contains(&name);
    let counted: Vec<String> = counted
        .iter()
        .filter(|it| shown(it))
        .map(|(name, count)| format!("{} {name}", show_count(*count as f64)))
        .collect();
    writeln!(out, "\n{}", counted.join(", "))?;
    for (problem, count) in &total.problems {
        writeln!(out, "  {:>12} × {problem}", show_count(*count as f64))?;
    }
    if let Some((rate, reason)) = &report.broke_at {
        writeln!(out, "it broke at {}/s: {reason}", show_count(*rate))?;
    }
    let usage = &report.generator.usage;
    let executions = total.succeeded + total.failed + total.timed_out + total.aborted;
    let cost = match executions {
        0 => format!("{:.2} s of processor time", usage.work_seconds()),
        _ => format!(
            "{} of processor time per start",
            show_nanoseconds(usage.work_seconds() * 1e9 / executions as f64)
        ),
    };
    let Generator { workers, processors, busy, .. } = &report.generator;
    writeln!(
        out,
        "{workers} {}{}, busy {:.0} % of {} time; this process: {cost} beside waiting, {:.0} MiB at most",
        if *workers == 1 { "worker" } else { "workers" },
        processors.as_ref().map_or(String::new(), |it| format!(" on {it}")),
        busy * 100.0,
        if *workers == 1 { "its" } else { "their" },
        usage.resident_bytes_max as f64 / 1_048_576.0,
    )?;
    let bill = &report.bill;
    writeln!(
        out,
        "AWS would ask about ${:.4} for this (${:.4} for requests, ${:.4} for {:.1} GB-s), ${} for thirty days of it",
        bill.requests_dollars + bill.duration_dollars,
        bill.requests_dollars,
        bill.duration_dollars,
        bill.gigabyte_seconds,
        show_count(bill.month_dollars),
    )?;
    for line in &report.generator.verdict {
        writeln!(out, "! {line}")?;
    }
    for checked in &report.thresholds {
        let sign = if checked.met { "met" } else { "BREACHED" };
        writeln!(out, "threshold {}: {} ({sign})", checked.threshold, checked.measured)?;
    }
    Ok(())
}
