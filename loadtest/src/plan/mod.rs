//! What is to be run: one value, made of a workload file or of the command's arguments, checked before anything starts.

mod arrivals;
mod faults;
mod file;
mod threshold;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use arrivals::Arrivals;
pub use faults::{Fail, Faults, Share, Slow, Stall};
pub use file::read;
pub use threshold::{Metric, Threshold};

use crate::placement::Placement;
use crate::units::as_duration;
use crate::workloads::InputPlan;

/// A run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// What it is called in reports.
    pub name: String,
    /// How long starts are measured.
    #[serde(with = "as_duration")]
    pub duration: Duration,
    /// The duration of the warm-up, which is not measured.
    #[serde(with = "as_duration")]
    pub warmup: Duration,
    /// How long to wait at the end for what is still under way.
    #[serde(with = "as_duration")]
    pub drain: Duration,
    /// Threads that send; 0 for one on each processor that the target leaves.
    pub workers: usize,
    /// Whether they have processors of their own.
    pub placement: Placement,
    /// Makes inputs, Poisson arrivals and the choice of faults.
    pub seed: u64,
    /// A start sent later than this after it was due is counted as late.
    #[serde(with = "as_duration")]
    pub late_after: Duration,
    /// When starts are due.
    pub arrivals: Arrivals,
    /// What is started.
    #[serde(rename = "target")]
    pub targets: Vec<Target>,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// What has to hold: `p99.9 <= 1ms`, `errors <= 0.1%`, `rate >= 100k`.
    pub thresholds: Vec<Threshold>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            name: String::new(),
            duration: Duration::from_secs(10),
            warmup: Duration::from_millis(500),
            drain: Duration::from_secs(5),
            workers: 0,
            placement: Placement::default(),
            seed: 1,
            late_after: Duration::from_millis(1),
            arrivals: Arrivals::default(),
            targets: Vec::new(),
            faults: Faults::default(),
            thresholds: Vec::new(),
        }
    }
}

/// Something to start executions of.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Its name in reports; by default the workload's name.
    pub name: Option<String>,
    /// What runs the executions.
    pub kind: Kind,
    /// Its share of the starts, against those of the others.
    pub weight: f64,
    /// One of the workloads that come with the program.
    pub workload: Option<String>,
    /// A definition of one's own.
    pub definition: Option<PathBuf>,
    /// What executions begin with.
    pub input: Option<InputPlan>,
    /// How the runtime is called.
    pub call: Call,
    /// Threads of the runtime; 0 for one on each processor that it may use.
    pub shards: usize,
    /// Starts under way at a time; what is due beyond is dropped.
    pub in_flight_max: usize,
    /// The default duration of a task.
    #[serde(with = "as_duration")]
    pub task_time: Duration,
    /// Where the target listens, for [`Kind::Http`].
    pub http: Http,
}

impl Default for Target {
    fn default() -> Target {
        Target {
            name: None,
            kind: Kind::default(),
            weight: 1.0,
            workload: None,
            definition: None,
            input: None,
            call: Call::default(),
            shards: 0,
            in_flight_max: 1_000_000,
            task_time: Duration::ZERO,
            http: Http::default(),
        }
    }
}

/// What runs the executions.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing: what the generator itself costs.
    Empty,
    /// The in-line driver, on the sender's own thread.
    Inline,
    /// The sharded runtime.
    #[default]
    Runtime,
    /// A Step Functions endpoint.
    Http,
}

/// How the runtime is called.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// `run` for workflows that neither wait nor call, `batch` for all others.
    #[default]
    Auto,
    /// One at a time, on the sender's own thread.
    Run,
    /// Handed to the shards, as many at once as are due.
    Batch,
}

/// A Step Functions endpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `http://127.0.0.1:8083`, `https://states.eu-west-1.amazonaws.com`.
    pub endpoint: String,
    /// Certificates of authorities, in PEM, to believe instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// `StartSyncExecution`, `StartExecution`, or the path of a plain POST that begins with `/`.
    pub operation: String,
    /// Connections, of all workers together.
    pub connections: usize,
    /// The state machine to start; without it one is created, and deleted afterwards.
    pub state_machine_arn: Option<String>,
    /// The role that a state machine is created with.
    pub role_arn: String,
    /// How long an answer may take.
    #[serde(with = "as_duration")]
    pub timeout: Duration,
    /// Whether requests are signed, with the keys in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    pub sign: bool,
    /// The region that is signed for.
    pub region: String,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            endpoint: String::new(),
            ca: None,
            operation: "StartSyncExecution".to_owned(),
            connections: 64,
            state_machine_arn: None,
            role_arn: "arn:aws:iam::123456789012:role/loadtest".to_owned(),
            timeout: Duration::from_secs(30),
            sign: false,
            region: "us-east-1".to_owned(),
        }
    }
}

/// More starts a second than any machine sends: a rate above it is a slip of the pen.
const RATE_MAX: f64 = 1e9;
const TARGETS_MAX: usize = 64;
const WORKERS_MAX: usize = 256;
const CONNECTIONS_MAX: usize = 60_000;
const DAY: Duration = Duration::from_secs(86_400);

impl Plan {
    /// Reports what is invalid, before anything is started.
    ///
    /// # Errors
    /// The first thing found, with the field's name.
    pub fn check(&self) -> Result<(), String> {
        if self.duration.is_zero() || self.duration > DAY || self.warmup > DAY || self.drain > DAY {
            return Err("duration: a run takes more than nothing and less than a day".to_owned());
        }
        if self.targets.is_empty() || self.targets.len() > TARGETS_MAX {
            return Err(format!("target: there must be 1 to {TARGETS_MAX} of them"));
        }
        if self.workers > WORKERS_MAX {
            return Err(format!("workers: there can be {WORKERS_MAX} at most"));
        }
        let rate = self.arrivals.rate_max();
        if rate > RATE_MAX {
            return Err(format!(
                "arrivals: {rate:e} starts a second are impossible; {RATE_MAX:e} is the most"
            ));
        }
        self.arrivals.check()?;
        self.faults.check()?;
        for target in &self.targets {
            target.check().map_err(|error| format!("target {}: {error}", target.title()))?;
        }
        Ok(())
    }
}

impl Target {
    /// What it is called in reports.
    pub fn title(&self) -> String {
        let file = self.definition.as_deref().and_then(|path| path.file_name());
        let named = self.name.clone().or_else(|| self.workload.clone());
        named
            .or_else(|| file.map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "w2".to_owned())
    }

    fn check(&self) -> Result<(), String> {
        if !(self.weight > 0.0 && self.weight.is_finite()) {
            return Err("weight: it is more than 0".to_owned());
        }
        if self.in_flight_max == 0 || self.shards > 1_024 {
            return Err("in_flight_max is more than 0, shards at most 1,024".to_owned());
        }
        if self.kind != Kind::Http {
            return Ok(());
        }
        let http = &self.http;
        if http.endpoint.is_empty() {
            return Err("http.endpoint: where does it listen? Like http://127.0.0.1:8083".to_owned());
        }
        if http.connections == 0 || http.connections > CONNECTIONS_MAX {
            return Err(format!("http.connections: there are 1 to {CONNECTIONS_MAX}"));
        }
        if http.timeout.is_zero() {
            return Err("http.timeout: an answer takes time".to_owned());
        }
        match &*http.operation {
            "StartSyncExecution" | "StartExecution" => Ok(()),
            path if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
            other => {
                Err(format!("http.operation: '{other}' is none of StartSyncExecution, StartExecution, /path"))
            }
        }
    }
}
