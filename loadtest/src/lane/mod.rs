//! Lanes: they send a worker's starts to a target, and return their ends.

mod http;
mod inline;
mod runtime;
mod simulated;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use http::{Endpoint, Http};
pub use inline::{Empty, InLine};
pub use runtime::{Batches, Runs, Served};
pub use simulated::Simulated;

use crate::plan::{Call, Faults, Kind, Plan, Target};
use crate::record::{Interval, Stamp};
use crate::workloads::{self, Workload};
use expressway::program::Program;
use expressway::{asl, compile};

/// Nanoseconds since the beginning of a session.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows 0.
    pub fn begin() -> Clock {
        Clock(Instant::now())
    }

    /// The time.
    pub fn now(&self) -> u64 {
        // 584 years.
        self.0.elapsed().as_nanos() as u64
    }
}

/// A worker's way to a target.
pub trait Lane {
    /// The session begins; what is recorded elsewhere begins with copies of `blank`.
    fn begin(&mut self, _blank: &Interval) {}

    /// Sends the n-th start. What ends at once is recorded; what does not, later. Gives the time after it.
    fn send(&mut self, n: u64, stamp: Stamp, interval: &mut Interval) -> u64;

    /// Hands over what was gathered, and takes in what ended. Called when everything that is due was sent.
    fn turn(&mut self, _now: u64, _interval: &mut Interval) {}

    /// Adds ends that were recorded elsewhere.
    fn collect(&mut self, _interval: &mut Interval) {}

    /// Starts that have not ended.
    fn in_flight(&self) -> usize {
        0
    }

    /// Waits until something ends, at most `nanoseconds`, if it can wait itself.
    fn wait(&mut self, _nanoseconds: u64) -> bool {
        false
    }

    /// What holds starts back on this side, in words.
    fn congestion(&self) -> Option<String> {
        None
    }

    /// Gives up what has not ended.
    fn abandon(&mut self, _interval: &mut Interval) {}
}

/// A target that is read and compiled, but does not run yet.
pub struct Loaded {
    workload: Workload,
    title: String,
    target: Target,
    road: Road,
}

/// What brings starts to a target.
enum Road {
    Empty,
    Inline(Arc<Program>),
    Run(Arc<Program>),
    Batch(Arc<Program>),
    Http,
}

impl Loaded {
    /// Loads and compiles what a target starts.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense, in words.
    pub fn new(target: &Target, plan: &Plan) -> Result<Loaded, String> {
        let title = target.title();
        let named = |error: String| format!("target {title}: {error}");
        let workload = workloads::load(
            target.workload.as_deref(),
            target.definition.as_deref(),
            target.input.as_ref(),
            plan.seed,
        )
        .map_err(named)?;
        let road = match target.kind {
            Kind::Empty => Road::Empty,
            Kind::Inline => Road::Inline(program(&workload.definition).map_err(named)?),
            Kind::Runtime => {
                let program = program(&workload.definition).map_err(named)?;
                let is_pure = runtime::is_pure(&program);
                match target.call {
                    Call::Auto if is_pure && plan.faults.abort.is_none() => Road::Run(program),
                    Call::Auto | Call::Batch => Road::Batch(program),
                    Call::Run if is_pure => Road::Run(program),
                    Call::Run => {
                        return Err(named("a workflow that waits or calls is started by batch".to_owned()));
                    }
                }
            }
            Kind::Http => Road::Http,
        };
        Ok(Loaded { workload, title, target: target.clone(), road })
    }

    /// Whether workers carry starts out themselves.
    pub fn is_in_place(&self) -> bool {
        !matches!(self.road, Road::Batch(_) | Road::Http)
    }

    /// Whether executions run in another process.
    pub fn is_remote(&self) -> bool {
        matches!(self.road, Road::Http)
    }

    /// Sets the target up: makes an engine, connects. By default an engine has so many shards; its threads inherit this
    /// one's processors.
    ///
    /// # Errors
    /// When something of that fails, in words.
    pub fn set_up(self, plan: &Plan, shards: usize) -> Result<Ready, String> {
        let in_place = self.is_in_place();
        let Loaded { workload, title, target, road } = self;
        let named = |error: String| format!("target {title}: {error}");
        let shards = if target.shards > 0 { target.shards } else { shards };
        let serve = |program: &Program| {
            Served::new(&workload, program, &target, shards, &plan.faults, plan.seed).map_err(named)
        };
        let (set_up, engine) = match road {
            Road::Empty => (SetUp::Empty, "nothing: the generator alone".to_owned()),
            Road::Inline(program) => (SetUp::Inline(program), "in-line driver".to_owned()),
            Road::Run(program) => (SetUp::Run(serve(&program)?), "sharded runtime, run in place".to_owned()),
            Road::Batch(program) => {
                let of = if shards == 1 { "1 shard".to_owned() } else { format!("{shards} shards") };
                (SetUp::Batch(serve(&program)?), format!("sharded runtime, batches to {of}"))
            }
            Road::Http => {
                let endpoint = Endpoint::new(&target.http, &workload).map_err(named)?;
                (SetUp::Http(endpoint), format!("{} at {}", target.http.operation, target.http.endpoint))
            }
        };
        let (faults, seed) = (plan.faults.clone(), plan.seed);
        Ok(Ready { workload, title, engine, target, in_place, faults, seed, set_up })
    }
}

/// A target that is set up, from which workers get their lanes.
pub struct Ready {
    /// The definition and the inputs.
    pub workload: Workload,
    /// What it is called in reports.
    pub title: String,
    /// What runs the executions, in words.
    pub engine: String,
    target: Target,
    in_place: bool,
    faults: Faults,
    seed: u64,
    set_up: SetUp,
}

enum SetUp {
    Empty,
    Inline(Arc<Program>),
    Run(Served),
    Batch(Served),
    Http(Endpoint),
}

impl Ready {
    /// Whether workers carry starts out themselves.
    pub fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Its share of the starts.
    pub fn weight(&self) -> f64 {
        self.target.weight
    }

    /// Starts under way at a time, at most.
    pub fn in_flight_max(&self) -> usize {
        self.target.in_flight_max
    }

    /// A lane for a worker, on whose thread this is called.
    ///
    /// # Errors
    /// When a connection fails, in words.
    pub fn lane(
        &self,
        worker: usize,
        workers: usize,
        clock: Clock,
        window: usize,
    ) -> Result<Box<dyn Lane>, String> {
        let inputs = self.workload.inputs.clone();
        Ok(match &self.set_up {
            SetUp::Empty => Box::new(Empty::new(inputs, clock)),
            SetUp::Inline(program) => {
                let seed = self.seed.wrapping_add(worker as u64);
                let tasks = Simulated::new(self.target.task_time, &self.faults, seed);
                Box::new(InLine::new(Arc::clone(program), inputs, tasks, clock))
            }
            SetUp::Run(served) => Box::new(Runs::new(served.clone(), inputs, clock)),
            SetUp::Batch(served) => {
                let abort = self.faults.abort.clone();
                Box::new(Batches::new(served.clone(), inputs, clock, window, abort, self.seed))
            }
            SetUp::Http(endpoint) => {
                let killed = self.faults.kill.as_ref().map(|kill| kill.share);
                Box::new(Http::new(endpoint.clone(), workers, killed, window > 0, clock)?)
            }
        })
    }

    /// Default starts in flight of a closed model, for each of `workers` workers.
    pub fn window(&self, workers: usize) -> usize {
        match &self.set_up {
            SetUp::Empty | SetUp::Inline(_) | SetUp::Run(_) => 1,
            SetUp::Batch(_) => 1_024,
            SetUp::Http(endpoint) => endpoint.connections().div_ceil(workers).max(1),
        }
    }

    /// Closes the target.
    ///
    /// # Errors
    /// When what was made there cannot be deleted.
    pub fn close(&self) -> Result<(), String> {
        match &self.set_up {
            SetUp::Http(endpoint) => endpoint.close(),
            _ => Ok(()),
        }
    }
}

/// Compiles a definition.
fn program(definition: &str) -> Result<Arc<Program>, String> {
    let options = asl::Options {
        machine_type: asl::MachineType::Express,
        resources: asl::Resources::Any,
        express_maps: false,
    };
    let (read, problems) = asl::read(definition.as_bytes(), &options);
    let read = read.ok_or_else(|| asl::invalid_definition(&problems))?;
    let program = compile::compile(&read).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    })?;
    Ok(Arc::new(program))
}

/// Waits with the processor's help where there is time, else by looking again and again: a thread that sleeps wakes up
/// some ten microseconds late.
pub fn wait(clock: Clock, until: u64, spin: u64) {
    let now = clock.now();
    if until > now + spin {
        std::thread::park_timeout(Duration::from_nanos(until - now - spin));
        return;
    }
    while clock.now() < until {
        std::hint::spin_loop();
    }
}
