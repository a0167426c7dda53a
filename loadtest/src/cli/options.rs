//! Options, and the plan they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::placement::Placement;
use crate::plan::{self, Arrivals, Call, Fail, Http, Kind, Plan, Share, Slow, Stall, Target, Threshold};
use crate::units;
use crate::workloads::InputPlan;

/// What can be said on the command line.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// A workload file (TOML or JSON), which says all of this and more
    pub(super) file: Option<PathBuf>,

    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    arrivals: ArrivalOptions,

    /// How long to measure [default: 10s; for --steps until it breaks, an hour at most]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// How long the same goes on before, unmeasured [default: 500ms]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    warmup: Option<Duration>,
    /// How long to wait at the end for what is under way [default: 5s]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    drain: Option<Duration>,
    /// Threads that send
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Whether they have processors of their own, and targets in this process the rest [default: apart in an open model]
    #[arg(long, value_enum)]
    placement: Option<PlacementKind>,
    /// What inputs, Poisson arrivals and faults are made from
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// What has to hold, as `p99.9 <= 1ms`, `errors <= 0.1%`, `rate >= 100k`; may be repeated
    #[arg(long, value_name = "BOUND")]
    threshold: Vec<Threshold>,
    /// Search for the highest rate at which all of --slo holds
    #[arg(long)]
    pub(super) find_max: bool,
    /// What has to hold for --find-max [default: p99.9=1ms]
    #[arg(long, value_name = "BOUND", requires = "find_max")]
    pub(super) slo: Vec<Threshold>,

    /// Tasks that are slow, as 1%:50ms
    #[arg(long, value_parser = share_and_time, value_name = "SHARE:TIME", help_heading = "Faults")]
    slow: Option<(f64, Duration)>,
    /// Tasks that fail, as 5%
    #[arg(long, value_parser = units::share, value_name = "SHARE", help_heading = "Faults")]
    fail: Option<f64>,
    /// Tasks that block their thread, as 0.1%:20ms
    #[arg(long, value_parser = share_and_time, value_name = "SHARE:TIME", help_heading = "Faults")]
    stall: Option<(f64, Duration)>,
    /// Executions that are aborted after a while, as 1%:10ms (runtime)
    #[arg(long, value_parser = share_and_time, value_name = "SHARE:TIME", help_heading = "Faults")]
    abort: Option<(f64, Duration)>,
    /// Connections that are closed with a request on its way, as 1% (HTTP)
    #[arg(long, value_parser = units::share, value_name = "SHARE", help_heading = "Faults")]
    kill: Option<f64>,

    /// Write all reports into this folder: JSON, HTML, CSV, NDJSON, .hgrm, JUnit
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    pub(super) out: Option<PathBuf>,
    /// Show nothing while it runs
    #[arg(long, short, help_heading = "Output")]
    pub(super) quiet: bool,
    /// A line every second instead of the live view
    #[arg(long, help_heading = "Output")]
    pub(super) plain: bool,
}

/// What is started.
#[derive(Args, Debug)]
#[command(next_help_heading = "What is started")]
struct TargetOptions {
    /// A workload that comes with the program (`loadtest workloads` lists them)
    #[arg(long, value_name = "NAME", conflicts_with = "definition")]
    workload: Option<String>,
    /// A definition of your own
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    /// Inputs: one JSON text, or one on each line
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Make inputs of this size, 200 to 256KiB
    #[arg(long, value_parser = units::bytes, value_name = "BYTES", conflicts_with = "input")]
    input_bytes: Option<usize>,
    /// Make inputs that are lists of so many items
    #[arg(long, value_name = "N", conflicts_with_all = ["input", "input_bytes"])]
    input_items: Option<usize>,
    /// What runs the executions [default: runtime, or http with --endpoint]
    #[arg(long, value_enum)]
    target: Option<TargetKind>,
    /// How the runtime is called [default: run in place where it can]
    #[arg(long, value_enum)]
    call: Option<CallKind>,
    /// Threads of the runtime
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// How long each task takes
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    task_time: Option<Duration>,
    /// A Step Functions endpoint, as http://127.0.0.1:8083 or https://states.eu-west-1.amazonaws.com
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Certificates of authorities, in PEM, to believe instead of the system's
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca: Option<PathBuf>,
    /// StartSyncExecution, StartExecution, or the path of a plain POST [default: StartSyncExecution]
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    operation: Option<String>,
    /// A state machine that is there already; else one is created, and deleted afterwards
    #[arg(long, value_name = "ARN", requires = "endpoint")]
    state_machine_arn: Option<String>,
    /// Connections, of all workers together [default: 64]
    #[arg(long, value_name = "N", requires = "endpoint")]
    connections: Option<usize>,
    /// How long an answer may take [default: 30s]
    #[arg(long, value_parser = units::duration, value_name = "TIME", requires = "endpoint")]
    timeout: Option<Duration>,
    /// Sign requests with the AWS keys of the environment
    #[arg(long, requires = "endpoint")]
    sign: bool,
    /// The region that is signed for [default: us-east-1]
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    region: Option<String>,
}

/// When starts are due.
#[derive(Args, Debug)]
#[command(next_help_heading = "When starts are due (one of them)")]
struct ArrivalOptions {
    /// Always so many a second, as 100k
    #[arg(long, value_parser = units::count, value_name = "RATE", group = "arrival", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// From one rate to another, as 1k..100k
    #[arg(long, value_parser = range, value_name = "FROM..TO", group = "arrival")]
    ramp: Option<(f64, f64)>,
    /// A rate with a higher one in its middle third, as 10k..200k
    #[arg(long, value_parser = range, value_name = "BASE..PEAK", group = "arrival")]
    spike: Option<(f64, f64)>,
    /// Higher and higher, until it breaks, as 10k+10k
    #[arg(long, value_parser = steps, value_name = "FROM+BY", group = "arrival")]
    steps: Option<(f64, f64)>,
    /// How long each of --steps lasts
    #[arg(long, value_parser = units::duration, value_name = "TIME", default_value = "2s")]
    every: Duration,
    /// Closed model: so many in flight for each worker, 0 for what suits the target
    #[arg(long, value_name = "N", group = "arrival")]
    closed: Option<usize>,
    /// Gaps as those of independent users, instead of even
    #[arg(long)]
    poisson: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TargetKind {
    Empty,
    Inline,
    Runtime,
    Http,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlacementKind {
    Apart,
    Free,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CallKind {
    Auto,
    Run,
    Batch,
}

fn share_and_time(text: &str) -> Result<(f64, Duration), String> {
    let (share, time) = text.split_once(':').ok_or("write it like 1%:50ms")?;
    Ok((units::share(share)?, units::duration(time)?))
}

fn range(text: &str) -> Result<(f64, f64), String> {
    let (from, to) = text.split_once("..").ok_or("write it like 1k..100k")?;
    Ok((units::count(from)?, units::count(to)?))
}

fn steps(text: &str) -> Result<(f64, f64), String> {
    let (from, by) = text.split_once('+').ok_or("write it like 10k+10k")?;
    Ok((units::count(from)?, units::count(by)?))
}

/// Steps that nothing breaks end after this.
const STEPS_MAX: Duration = Duration::from_secs(3_600);

impl Options {
    /// The plan, and whether it has the times of starts.
    pub(super) fn plan(&self) -> Result<(Plan, bool), String> {
        let mut plan = match &self.file {
            Some(_) if self.target.says_something() => {
                return Err(
                    "what is started is said in the workload file; leave those options out".to_owned()
                );
            }
            Some(path) => plan::read(path)?,
            None => Plan { targets: vec![self.target.target()], ..Plan::default() },
        };
        if plan.name.is_empty() {
            plan.name = plan.targets.iter().map(Target::title).collect::<Vec<_>>().join("+");
        }
        plan.duration = self.duration.unwrap_or(plan.duration);
        plan.warmup = self.warmup.unwrap_or(plan.warmup);
        plan.drain = self.drain.unwrap_or(plan.drain);
        plan.workers = self.workers.unwrap_or(plan.workers);
        plan.placement = match self.placement {
            Some(PlacementKind::Apart) => Placement::Apart,
            Some(PlacementKind::Free) => Placement::Free,
            None => plan.placement,
        };
        plan.seed = self.seed.unwrap_or(plan.seed);
        plan.thresholds.extend(&self.threshold);
        self.faults(&mut plan);
        if self.arrivals.steps.is_some() && self.duration.is_none() {
            // It continues until the target is overloaded.
            plan.duration = STEPS_MAX;
        }
        let arrivals = self.arrivals.arrivals(plan.duration);
        let said = arrivals.is_some() || self.file.is_some();
        plan.arrivals = arrivals.unwrap_or(plan.arrivals);
        plan.check()?;
        Ok((plan, said))
    }

    fn faults(&self, plan: &mut Plan) {
        let slow = |given: Option<(f64, Duration)>| given.map(|(share, after)| Slow { share, after });
        let faults = &mut plan.faults;
        faults.slow = slow(self.slow).or(faults.slow.take());
        faults.abort = slow(self.abort).or(faults.abort.take());
        faults.stall = self.stall.map(|(share, lasts)| Stall { share, lasts }).or(faults.stall.take());
        let error = "Loadtest.Broken".to_owned();
        faults.fail = self.fail.map(|share| Fail { share, error }).or(faults.fail.take());
        faults.kill = self.kill.map(|share| Share { share }).or(faults.kill.take());
    }
}

impl TargetOptions {
    fn says_something(&self) -> bool {
        let TargetOptions { workload, definition, input, input_bytes, input_items, target, .. } = self;
        let named = workload.is_some() || definition.is_some() || input.is_some() || target.is_some();
        let how = self.call.is_some() || self.shards.is_some() || self.task_time.is_some();
        named || how || input_bytes.is_some() || input_items.is_some() || self.endpoint.is_some()
    }

    fn target(&self) -> Target {
        let given = self.input.is_some() || self.input_bytes.is_some() || self.input_items.is_some();
        let input = given.then(|| InputPlan {
            file: self.input.clone(),
            shape: None,
            bytes: self.input_bytes,
            items: self.input_items,
        });
        let usual = if self.endpoint.is_some() { TargetKind::Http } else { TargetKind::Runtime };
        let kind = match self.target.unwrap_or(usual) {
            TargetKind::Empty => Kind::Empty,
            TargetKind::Inline => Kind::Inline,
            TargetKind::Runtime => Kind::Runtime,
            TargetKind::Http => Kind::Http,
        };
        let call = match self.call {
            Some(CallKind::Run) => Call::Run,
            Some(CallKind::Batch) => Call::Batch,
            _ => Call::Auto,
        };
        let usual = Http::default();
        let http = Http {
            endpoint: self.endpoint.clone().unwrap_or_default(),
            ca: self.ca.clone(),
            operation: self.operation.clone().unwrap_or(usual.operation),
            connections: self.connections.unwrap_or(usual.connections),
            state_machine_arn: self.state_machine_arn.clone(),
            role_arn: usual.role_arn,
            timeout: self.timeout.unwrap_or(usual.timeout),
            sign: self.sign,
            region: self.region.clone().unwrap_or(usual.region),
        };
        Target {
            kind,
            workload: self.workload.clone(),
            definition: self.definition.clone(),
            input,
            call,
            shards: self.shards.unwrap_or(0),
            task_time: self.task_time.unwrap_or_default(),
            http,
            ..Target::default()
        }
    }
}

impl ArrivalOptions {
    fn arrivals(&self, duration: Duration) -> Option<Arrivals> {
        let poisson = self.poisson;
        if let Some(rate) = self.rate {
            return Some(Arrivals::Constant { rate, poisson });
        }
        if let Some((from, to)) = self.ramp {
            return Some(Arrivals::Ramp { from, to, poisson });
        }
        if let Some((base, peak)) = self.spike {
            let third = duration / 3;
            return Some(Arrivals::Spike { base, peak, at: third, lasts: third, poisson });
        }
        if let Some((from, by)) = self.steps {
            return Some(Arrivals::Steps { from, by, every: self.every, poisson });
        }
        self.closed.map(|in_flight| Arrivals::Closed { in_flight })
    }
}
