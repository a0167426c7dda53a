//! `soak`: the engine under steady load for any time, and the results: counts, memory, latency.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use expressway::runtime::{Counts, DefinitionError, Engine, Machine, MachineSpec, Profile};
use expressway::task::TaskError;
use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

use super::{Stop, Went, files, print, say};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// File with the definition; without one, a workflow that uses every kind of state
    #[arg(value_name = "DEFINITION")]
    definition: Option<PathBuf>,
    /// How long; fractions are allowed
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// Executions that are started in a second, whether those before are over or not
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// The input of each, a JSON text
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// Threads that run executions; by default one for each processor
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    jobs: Option<u16>,
}

const AFTER_HELP: &str = "\
Tasks are answered with their input, at once or after a few milliseconds; of the workflow that comes with this, some fail \
or panic. For every ten executions one more is begun and aborted at once. How it goes is said on standard error; standard output gets one JSON \
object: counts, the slope of the resident memory over the second half, and the drift of the latency (the median p99 of \
the last third over that of the first third). Latencies count from the moment at which an execution was meant to start.

Examples:
  expressway soak
  expressway soak --minutes 0.5 --rate 2000
  expressway soak orders.asl.json --input '{\"id\": 7}' --minutes 60 > soak.json

Exit codes: 0 every execution is accounted for; 1 some were lost, or ended because of a bug in the engine; 2 the command cannot be \
carried out.";

const DEFINITION: &str = r#"{"StartAt": "Pass", "States": {
    "Pass": {"Type": "Pass", "Parameters": {"n.$": "States.MathRandom(0, 1000)", "items": [1, 2, 3]}, "Next": "Choice"},
    "Choice": {"Type": "Choice", "Default": "Task", "Choices": [
        {"Variable": "$.n", "NumericLessThan": 100, "Next": "Wait"},
        {"Variable": "$.n", "NumericLessThan": 200, "Next": "Map"},
        {"Variable": "$.n", "NumericLessThan": 210, "Next": "Fail"}]},
    "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Parallel"},
    "Map": {"Type": "Map", "ItemsPath": "$.items", "End": true, "ItemProcessor": {"StartAt": "Item", "States": {
        "Item": {"Type": "Task", "Resource": "soak:work", "End": true}}}},
    "Parallel": {"Type": "Parallel", "End": true, "Branches": [
        {"StartAt": "One", "States": {"One": {"Type": "Task", "Resource": "soak:work", "End": true}}},
        {"StartAt": "Two", "States": {"Two": {"Type": "Wait", "Seconds": 1, "End": true}}}]},
    "Task": {"Type": "Task", "Resource": "soak:moody", "TimeoutSeconds": 5, "Next": "Done",
        "Retry": [{"ErrorEquals": ["Soak.Moody"], "IntervalSeconds": 1, "MaxAttempts": 1}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Fail"}]},
    "Fail": {"Type": "Fail", "Error": "Soak.Failed", "Cause": "One of those that are meant to fail."},
    "Done": {"Type": "Succeed"}}}"#;

/// How often progress is reported; the load is made in slices.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const SLICE: Duration = Duration::from_millis(1);
/// How long executions may take to end when the time is over.
const DRAIN: Duration = Duration::from_secs(120);
/// One in so many is aborted right after its start. Most are over by then; waiting ones are not.
const ABORT_EVERY: u64 = 10;

/// Measurements of one interval.
struct Sample {
    minutes: f64,
    resident_bytes: u64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(super) fn soak(arguments: &Arguments) -> Result<Went, Stop> {
    if !(arguments.minutes > 0.0 && arguments.minutes <= 1e6) {
        return Err(Stop::failed("--minutes must be more than 0, and no more than a million"));
    }
    let (engine, machine) = deploy(arguments)?;
    let input = &arguments.input;
    serde_json::from_str::<serde::de::IgnoredAny>(input)
        .map_err(|error| Stop::failed(format!("--input is not JSON: {error}")))?;
    let times = Arc::new(Mutex::new(new_histogram()?));
    let samples = drive(arguments, &engine, &machine, input, &times)?;
    say("waiting for the last executions to end");
    let drained = tokio_runtime()?.block_on(engine.drain(DRAIN));
    let counts = engine.counts();
    print(format!("{}\n", summary(&counts, &drained, &samples)).as_bytes())?;
    let lost = counts.accepted - counts.ended();
    if lost > 0 || counts.bugs > 0 {
        say(&format!(
            "expressway: {lost} executions were lost, {} ended because of a bug in the engine",
            counts.bugs
        ));
        return Ok(Went::PartlyWrong);
    }
    Ok(Went::Well)
}

/// Longer latencies count as an hour.
const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

/// The message with which handlers of the soak test panic at intervals.
const PURPOSE: &str = "a panic of the soak test, on purpose";

/// Hides panics on purpose; all others are shown as before.
fn hide_panics_on_purpose() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<String>().is_none_or(|text| text != PURPOSE) {
            before(panic);
        }
    }));
}

fn deploy(arguments: &Arguments) -> Result<(Engine, Machine), Stop> {
    let text = match &arguments.definition {
        Some(file) => String::from_utf8(files::text(file)?)
            .map_err(|_| Stop::failed(format!("{} is not UTF-8", file.display())))?,
        None => DEFINITION.to_owned(),
    };
    hide_panics_on_purpose();
    let mut builder = Engine::builder()
        .profile(Profile::Open)
        .task_prefix("", |input: Json| async move {
            if fastrand(16) == 0 {
                tokio::time::sleep(Duration::from_millis(1 + fastrand(4))).await;
            }
            Ok::<Json, TaskError>(input)
        })
        .task("soak:moody", |input: Json| async move {
            match fastrand(1_000) {
                0 => panic!("{PURPOSE}"),
                1..=20 => Err(TaskError::new("Soak.Moody", "on purpose")),
                _ => Ok(input),
            }
        });
    if let Some(jobs) = arguments.jobs {
        builder = builder.shards(usize::from(jobs));
    }
    let engine = builder.build().map_err(|error| Stop::failed(error.to_string()))?;
    let machine = engine.create(&MachineSpec::new("soak", &text)).map_err(|error: DefinitionError| {
        let file =
            arguments.definition.as_deref().map_or_else(String::new, |it| format!("{}: ", it.display()));
        Stop::failed(format!("{file}{error}"))
    })?;
    Ok((engine, machine))
}

/// A random number below `n`, of sufficient quality for a soak test.
fn fastrand(n: u64) -> u64 {
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0u8);
    random % n
}

/// Starts executions at an even rate until the time is over.
fn drive(
    arguments: &Arguments,
    engine: &Engine,
    machine: &Machine,
    input: &str,
    times: &Arc<Mutex<Histogram<u64>>>,
) -> Result<Vec<Sample>, Stop> {
    let length = Duration::from_secs_f64(60.0 * arguments.minutes);
    let every = REPORT_EVERY.min(length / 10).max(SLICE);
    let (begun, mut started, mut samples) = (Instant::now(), 0u64, Vec::new());
    let mut report_at = every;
    loop {
        let since = begun.elapsed();
        if since >= report_at || since >= length {
            let sample = take_sample(since, times);
            say(&line(&engine.counts(), &sample));
            samples.push(sample);
            report_at += every;
        }
        if since >= length {
            return Ok(samples);
        }
        let due = (since.as_secs_f64() * f64::from(arguments.rate)) as u64;
        let (wanted, now) = (due.saturating_sub(started), Instant::now());
        for n in started..due {
            if n % ABORT_EVERY == 0
                && let Ok(handle) = engine.start(machine, input)
            {
                handle.abort();
            }
        }
        started = due;
        let times = Arc::clone(times);
        let inputs = std::iter::repeat_n(input, usize::try_from(wanted).unwrap_or(usize::MAX));
        // The batch's handle is not awaited: its executions are counted, and dropping the handle does not stop them.
        drop(engine.start_batch_with(machine, inputs, move |_, _| {
            let took = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);
            times.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(took);
        }));
        std::thread::sleep(SLICE);
    }
}

fn new_histogram() -> Result<Histogram<u64>, Stop> {
    Histogram::new_with_max(LATENCY_MAX_MICROS, 3).map_err(|error| Stop::failed(error.to_string()))
}

fn tokio_runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_current_thread().build();
    built.map_err(|error| Stop::failed(format!("cannot start: {error}")))
}

fn take_sample(since: Duration, times: &Mutex<Histogram<u64>>) -> Sample {
    // The histogram is consistent between any two recordings.
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    let (p50_ms, p99_ms) = (at(0.5), at(0.99));
    times.reset();
    Sample { minutes: since.as_secs_f64() / 60.0, resident_bytes: resident_bytes(), p50_ms, p99_ms }
}

fn line(counts: &Counts, sample: &Sample) -> String {
    format!(
        "{:>7.2} min  {} ended, {} running, {} refused  p50 {:.2} ms  p99 {:.2} ms  {:.1} MB",
        sample.minutes,
        counts.ended(),
        counts.running,
        counts.refused,
        sample.p50_ms,
        sample.p99_ms,
        sample.resident_bytes as f64 / 1e6,
    )
}

/// Resident memory of this process; 0 if unknown.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1_024
}

fn summary(counts: &Counts, drained: &Counts, samples: &[Sample]) -> Json {
    let third = (samples.len() / 3).max(1);
    let p99 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.p99_ms).collect());
    let first = p99(&samples[..third.min(samples.len())]);
    let last = p99(&samples[samples.len().saturating_sub(third)..]);
    json!({
        "accepted": counts.accepted,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "timedOut": counts.timed_out,
        "aborted": counts.aborted,
        "refused": counts.refused,
        "lost": counts.accepted - counts.ended(),
        "bugs": counts.bugs,
        "endedWhileDraining": drained.ended(),
        "residentBytes": samples.last().map_or(0, |sample| sample.resident_bytes),
        "residentBytesPerMinute": slope(&samples[samples.len() / 2..]).round(),
        "p50Milliseconds": median(samples.iter().map(|sample| sample.p50_ms).collect()),
        "p99Milliseconds": p99(samples),
        "p99Drift": if first > 0.0 { last / first } else { 1.0 },
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Growth of resident memory in bytes per minute: the line of least squares through the samples.
fn slope(samples: &[Sample]) -> f64 {
    let n = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (minutes, bytes) = (mean(|sample| sample.minutes), mean(|sample| sample.resident_bytes as f64));
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        above += (sample.minutes - minutes) * (sample.resident_bytes as f64 - bytes);
        below += (sample.minutes - minutes).powi(2);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minutes: f64, resident_bytes: u64) -> Sample {
        Sample { minutes, resident_bytes, p50_ms: 1.0, p99_ms: minutes }
    }

    #[test]
    fn the_slope_is_that_of_the_line_through_the_samples() {
        let samples: Vec<Sample> = (0..10).map(|n| sample(f64::from(n), 1_000 + 50 * n as u64)).collect();
        assert!((slope(&samples) - 50.0).abs() < 1e-6);
        assert_eq!(slope(&samples[..1]), 0.0);
        let told = summary(&Counts::default(), &Counts::default(), &samples);
        assert_eq!((&told["residentBytesPerMinute"], &told["p99Drift"]), (&json!(50.0), &json!(8.0)));
    }
}
