//! A snapshot of a server's metrics, and what follows from it and the one before.

use expressway::os;
use std::collections::BTreeMap;
use std::time::Instant;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use prometheus_parse::{HistogramCount, Sample, Scrape, Value};

/// The metrics at one moment.
pub(super) struct Snapshot {
    at: Instant,
    samples: Vec<Sample>,
}

/// Fetches the metrics.
pub(super) async fn fetch(url: &str) -> Result<Snapshot, String> {
    let within = std::time::Duration::from_secs(10);
    let text = tokio::time::timeout(within, get(url)).await;
    let text = text.map_err(|_| format!("{url}: no answer in 10 seconds"))?;
    Snapshot::parse(&text.map_err(|error| format!("{url}: {}", os::without_number(&error.to_string())))?)
}

async fn get(url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let uri: Uri = url.parse()?;
    if uri.scheme_str() != Some("http") {
        return Err("only http:// is understood".into());
    }
    let host = uri.host().ok_or("there is no host in it")?;
    if uri.port_u16().is_none() && uri.authority().is_some_and(|authority| authority.as_str() != host) {
        return Err("its port is no number up to 65535".into());
    }
    let stream = tokio::net::TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let reply = sender.send_request(request).await?;
    if !reply.status().is_success() {
        return Err(format!("the server answers {}", reply.status()).into());
    }
    let body = reply.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

impl Snapshot {
    /// From Prometheus's text.
    pub(super) fn parse(text: &str) -> Result<Snapshot, String> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))
            .map_err(|error| format!("the response is not in Prometheus's format: {error}"))?;
        Ok(Snapshot { at: Instant::now(), samples: scrape.samples })
    }

    /// The sum of all samples of this name, with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        (self.samples.iter().filter(|sample| is(sample, name, labels)))
            .map(|sample| match &sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
                Value::Histogram(classes) => classes.last().map_or(0.0, |class| class.count),
                Value::Summary(_) => 0.0,
            })
            // The sum of no floats is -0.
            .fold(0.0, |sum, value| sum + value)
    }

    fn classes(&self, name: &str, labels: &[(&str, &str)]) -> Option<&[HistogramCount]> {
        self.samples.iter().find(|sample| is(sample, name, labels)).and_then(|sample| match &sample.value {
            Value::Histogram(classes) => Some(&**classes),
            _ => None,
        })
    }
}

fn is(sample: &Sample, name: &str, labels: &[(&str, &str)]) -> bool {
    sample.metric == name && labels.iter().all(|(name, value)| sample.labels.get(name) == Some(value))
}

/// The displayed data. Rates are per second.
#[derive(Debug, Default)]
pub(super) struct Overview {
    pub(super) started: f64,
    pub(super) succeeded: f64,
    pub(super) failed: f64,
    pub(super) refused: f64,
    pub(super) live: f64,
    pub(super) queued: f64,
    pub(super) parked: f64,
    pub(super) bytes: f64,
    pub(super) lag_ms: f64,
    pub(super) dropped: f64,
    pub(super) machines: Vec<Machine>,
    pub(super) states: Vec<State>,
    /// If the metrics are those of `expressway pipe`.
    pub(super) pipeline: Option<Pipeline>,
    /// Why there is no newer snapshot.
    pub(super) trouble: Option<String>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) started: f64,
    pub(super) ended: f64,
    pub(super) failed: f64,
    pub(super) throttled: f64,
    pub(super) live: f64,
    /// In seconds.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) machine: String,
    pub(super) exits: f64,
    pub(super) retries: f64,
    pub(super) catches: f64,
    pub(super) mean: f64,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// The counters of a pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) in_flight: f64,
    /// Events that wait at the source, where that is known.
    pub(super) lag: Option<f64>,
    /// The source and sinks that fail at present.
    pub(super) down: Vec<String>,
    /// The name of each counter, its rate per second, and its total.
    pub(super) counts: Vec<(&'static str, f64, f64)>,
}

/// The counters of a pipeline, and their displayed names.
const PIPELINE: [(&str, &str); 9] = [
    ("expressway_pipe_received_total", "received"),
    ("expressway_pipe_redelivered_total", "redelivered"),
    ("expressway_pipe_succeeded_total", "succeeded"),
    ("expressway_pipe_published_total", "published"),
    ("expressway_pipe_retried_total", "retried"),
    ("expressway_pipe_failed_total", "failed"),
    ("expressway_pipe_duplicates_total", "duplicates dropped"),
    ("expressway_pipe_unsettled_total", "not acknowledged"),
    ("expressway_pipe_end_failures_total", "source or sink away"),
];

/// States that are shown.
const STATES_MAX: usize = 50;

impl Overview {
    /// Rates are those since `before`; without it they are 0.
    pub(super) fn new(now: &Snapshot, before: Option<&Snapshot>) -> Overview {
        let seconds = before.map_or(f64::INFINITY, |before| (now.at - before.at).as_secs_f64().max(1e-3));
        let rate = |name: &str, labels: &[(&str, &str)]| {
            let was = before.map_or(0.0, |before| before.sum(name, labels));
            // A counter that fell was restarted.
            let is = now.sum(name, labels);
            (if is >= was { is - was } else { is }) / seconds
        };
        let status = |status| rate("expressway_executions_total", &[("status", status)]);
        let mut overview = Overview {
            started: rate("expressway_executions_accepted_total", &[]),
            succeeded: status("SUCCEEDED"),
            failed: status("FAILED") + status("TIMED_OUT") + status("ABORTED"),
            refused: rate("expressway_executions_refused_total", &[]),
            live: now.sum("expressway_executions_live", &[]),
            queued: now.sum("expressway_queue_depth", &[]),
            parked: now.sum("expressway_shard_parked", &[]),
            bytes: now.sum("expressway_bytes", &[]),
            lag_ms: now.sum("expressway_timer_lag_ms", &[]),
            dropped: now.sum("expressway_dropped_total", &[]),
            ..Overview::default()
        };
        let named = |name: &'static str| now.samples.iter().filter(move |sample| sample.metric == name);
        for sample in named("aws_states_executions_started_total") {
            let Some(arn) = sample.labels.get("state_machine_arn") else { continue };
            overview.machines.push(machine(now, before, arn, &rate));
        }
        overview.machines.sort_by(|a, b| b.ended.total_cmp(&a.ended).then_with(|| a.name.cmp(&b.name)));
        for sample in named("expressway_state_duration_seconds") {
            let (arn, name) = (sample.labels.get("state_machine_arn"), sample.labels.get("state"));
            let (Some(arn), Some(name)) = (arn, name) else { continue };
            let labels = [("state_machine_arn", arn), ("state", name)];
            let count = now.sum("expressway_state_duration_seconds", &labels).max(1.0);
            let classes = recent("expressway_state_duration_seconds", &labels, now, before);
            overview.states.push(State {
                name: name.to_owned(),
                machine: last(arn),
                exits: rate("expressway_state_duration_seconds", &labels),
                retries: rate("expressway_state_retries_total", &labels),
                catches: rate("expressway_state_catches_total", &labels),
                mean: now.sum("expressway_state_duration_seconds_sum", &labels) / count,
                p50: percentile(&classes, 0.5),
                p99: percentile(&classes, 0.99),
            });
        }
        if named("expressway_pipe_in_flight").next().is_some() {
            overview.pipeline = Some(Pipeline {
                in_flight: now.sum("expressway_pipe_in_flight", &[]),
                lag: named("expressway_pipe_lag").next().map(|_| now.sum("expressway_pipe_lag", &[])),
                down: named("expressway_pipe_end_up")
                    .filter(|sample| sample.value == Value::Gauge(0.0))
                    .filter_map(|sample| sample.labels.get("end").map(|end| end.replace('_', " ")))
                    .collect(),
                counts: PIPELINE.map(|(name, shown)| (shown, rate(name, &[]), now.sum(name, &[]))).to_vec(),
            });
        }
        overview.states.sort_by(|a, b| b.mean.total_cmp(&a.mean).then_with(|| a.name.cmp(&b.name)));
        overview.states.truncate(STATES_MAX);
        overview
    }
}

/// The rate per second of a metric, by its name and labels.
type Rate<'r> = &'r dyn Fn(&str, &[(&str, &str)]) -> f64;

fn machine(now: &Snapshot, before: Option<&Snapshot>, arn: &str, rate: Rate<'_>) -> Machine {
    let labels = [("state_machine_arn", arn)];
    let ended = |name: &str| format!("aws_states_executions_{name}_total");
    let [succeeded, failed, timed_out, aborted] = ["succeeded", "failed", "timed_out", "aborted"].map(ended);
    let not_succeeded: f64 = [&failed, &timed_out, &aborted].map(|name| rate(name, &labels)).iter().sum();
    let over: f64 =
        [&succeeded, &failed, &timed_out, &aborted].map(|name| now.sum(name, &labels)).iter().sum();
    let classes = recent("aws_states_execution_time_seconds", &labels, now, before);
    Machine {
        name: last(arn),
        started: rate("aws_states_executions_started_total", &labels),
        ended: rate(&succeeded, &labels) + not_succeeded,
        failed: not_succeeded,
        throttled: rate("aws_states_execution_throttled_total", &labels),
        live: (now.sum("aws_states_executions_started_total", &labels) - over).max(0.0),
        p50: percentile(&classes, 0.5),
        p99: percentile(&classes, 0.99),
    }
}

/// The counts since the last snapshot, by upper bound; since the beginning, if these are zero.
fn recent(name: &str, labels: &[(&str, &str)], now: &Snapshot, before: Option<&Snapshot>) -> Vec<(f64, f64)> {
    let all = now.classes(name, labels).unwrap_or_default();
    let was: BTreeMap<u64, f64> =
        (before.and_then(|before| before.classes(name, labels)).unwrap_or_default())
            .iter()
            .map(|class| (class.less_than.to_bits(), class.count))
            .collect();
    let since = |class: &HistogramCount| {
        class.count - was.get(&class.less_than.to_bits()).copied().unwrap_or_default()
    };
    let any = all.last().is_some_and(|class| since(class) > 0.0);
    all.iter().map(|class| (class.less_than, if any { since(class) } else { class.count })).collect()
}

/// The upper bound of the class in which this share is reached; counts are cumulative.
fn percentile(classes: &[(f64, f64)], part: f64) -> Option<f64> {
    let all = classes.last().map_or(0.0, |(_, count)| *count);
    if all <= 0.0 {
        return None;
    }
    classes.iter().find(|(_, count)| *count >= part * all).map(|(bound, _)| *bound)
}

fn last(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or_default().to_owned()
}
