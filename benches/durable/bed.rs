//! An engine with a machine, and the loop that keeps so many executions of it in flight.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use expressway::asl::MachineType;
use expressway::engine::{EventBuffer, EventMask, Listener, Outcome, Record, Step};
use expressway::json::Arena;
use expressway::observe::{LiveHistory, Spill, Watcher};
use expressway::program::Program;
use expressway::runtime::{
    Budgets, Durable, Engine, Handle, Json, Machine, MachineSpec, StartError, StartOptions,
};
use expressway::task::TaskError;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Seven states in four turns: the start, and the answers of three tasks.
pub(crate) const ORDER: &str = r#"{"StartAt": "Check", "States": {
    "Check": {"Type": "Choice", "Choices": [{"Variable": "$.total", "NumericGreaterThan": 0, "Next": "Reserve"}], "Default": "Rejected"},
    "Reserve": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:step", "ResultPath": "$.reserved", "Next": "Price"},
    "Price": {"Type": "Pass", "Result": 3, "ResultPath": "$.price", "Next": "Charge"},
    "Charge": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:step", "ResultPath": "$.charged", "Next": "Paid"},
    "Paid": {"Type": "Choice", "Choices": [{"Variable": "$.charged.ok", "BooleanEquals": true, "Next": "Ship"}], "Default": "Rejected"},
    "Ship": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:step", "ResultPath": "$.shipped", "Next": "Done"},
    "Done": {"Type": "Succeed"},
    "Rejected": {"Type": "Fail", "Error": "Rejected"}}}"#;
pub(crate) const TRANSITIONS: u64 = 7;

/// Nanoseconds since the bench began.
pub(crate) fn now(begin: Instant) -> u64 {
    begin.elapsed().as_nanos() as u64
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("three digits are allowed")
}

/// Text of so many bytes that does not repeat.
pub(crate) fn filler(seed: u64, bytes: usize) -> String {
    let (mut text, mut random) = (String::new(), 2 * seed + 1);
    while text.len() < bytes {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(text, "{:08x}", random >> 32);
    }
    text.truncate(bytes);
    text
}

pub(crate) struct Bed {
    pub(crate) engine: Engine,
    pub(crate) machine: Machine,
    is_durable: bool,
    /// From the answer of a task, or the start, to the start of the next task: a turn until it is durable.
    turns: Arc<Mutex<Histogram<u64>>>,
    /// From a turn's record to the start of the task behind it: until it is durable, without waiting for a turn.
    held: Arc<Mutex<Histogram<u64>>>,
    recorded: Arc<Recorded>,
    started: AtomicU64,
    refused: AtomicU64,
    begin: Instant,
}

impl Bed {
    /// In memory, where `durable` is nothing.
    pub(crate) fn new(durable: impl Fn() -> Option<Durable>, definition: &str) -> Arc<Bed> {
        let (begin, turns) = (Instant::now(), Arc::new(Mutex::new(histogram())));
        let (held, recorded) = (Arc::new(Mutex::new(histogram())), Arc::<Recorded>::default());
        let builder = || {
            let (told, kept, recorded) = (Arc::clone(&turns), Arc::clone(&held), Arc::clone(&recorded));
            let step = move |input: Value| {
                let last =
                    ["shipped", "charged", "reserved"].iter().find_map(|name| input[name]["at"].as_u64());
                let (at, last) = (now(begin), last.or(input["at"].as_u64()));
                told.lock().expect("nobody panics").saturating_record(at - last.unwrap_or(at));
                if let Some(since) = input["order"].as_u64().and_then(|order| recorded.of(order)) {
                    kept.lock().expect("nobody panics").saturating_record(at.saturating_sub(since));
                }
                // The time as late as can be: what the handler takes is not the turn's.
                let answer = json!({"ok": true, "text": filler(at, 560), "at": now(begin)});
                async move { Ok::<Value, TaskError>(answer) }
            };
            let large =
                |n: u64| async move { Ok::<Value, TaskError>(json!({"n": n, "text": filler(n, 1_000)})) };
            let budgets = Budgets { executions_max: 2_000_000, bytes_max: 8 << 30, ..Budgets::default() };
            let builder = Engine::builder()
                .shards(1)
                .budgets(budgets)
                .task("arn:aws:lambda:us-east-1:123456789012:function:step", step)
                .task("arn:aws:lambda:us-east-1:123456789012:function:large", large);
            match durable() {
                Some(durable) => builder.durable(durable),
                None => builder,
            }
        };
        let engine = loop {
            match builder().build() {
                Ok(engine) => break engine,
                // An earlier process's threads are about to end, or servers have not found each other yet.
                Err(error)
                    if begin.elapsed() < Duration::from_secs(60)
                        && ["in use", "did not answer"].iter().any(|it| error.to_string().contains(it)) =>
                {
                    std::thread::sleep(Duration::from_millis(1))
                }
                Err(error) => panic!("{error}"),
            }
        };
        let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", definition) };
        let machine = engine.create(&spec).expect("the definition is valid");
        let is_durable = durable().is_some();
        let (started, refused) = Default::default();
        Arc::new(Bed { engine, machine, is_durable, turns, held, recorded, started, refused, begin })
    }

    pub(crate) fn start(&self, input: &Value) -> Handle {
        let n = self.started.fetch_add(1, Ordering::Relaxed);
        loop {
            let name = format!("{n:08x}-0000-4000-8000-0123456789ab");
            let history = LiveHistory::new(1 << 20);
            let watcher: Box<dyn Watcher> = match input["order"].as_u64() {
                _ if !self.is_durable => history.watcher(),
                // Of an order it is noted when its records were made.
                Some(order) => {
                    let (watcher, recorded) = (history.durable_watcher(), Arc::clone(&self.recorded));
                    Box::new(Noted { watcher, order, recorded, begin: self.begin })
                }
                None => history.durable_watcher(),
            };
            let arn = format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}");
            let options = StartOptions {
                execution_arn: Some(arn.into()),
                name: Some(name.into()),
                durable: self.is_durable.then(|| LABEL.into()),
                watcher: Some(watcher),
                ..StartOptions::default()
            };
            match self.engine.start_with(&self.machine, Json(input), options) {
                Ok(handle) => return handle,
                // The disk is behind: a client would be asked to retry.
                Err(StartError::NotDurable(_) | StartError::Throttled(_)) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn order(&self, n: u64) -> Value {
        json!({"order": n, "total": 17, "text": filler(n, 200), "at": now(self.begin)})
    }
}

/// When the last turn of each order was recorded, in nanoseconds since the bench began.
struct Recorded(Box<[AtomicU64]>);

impl Default for Recorded {
    fn default() -> Recorded {
        Recorded((0..4_096).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Recorded {
    fn place(&self, order: u64) -> &AtomicU64 {
        &self.0[order as usize % self.0.len()]
    }

    fn of(&self, order: u64) -> Option<u64> {
        Some(self.place(order).load(Ordering::Relaxed)).filter(|since| *since > 0)
    }
}

/// Notes when a turn is recorded. Orders are numbered by the loops of a bench, each of which has one at a time.
struct Noted {
    watcher: Box<dyn Watcher>,
    order: u64,
    recorded: Arc<Recorded>,
    begin: Instant,
}

impl Listener for Noted {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        self.watcher.record(program, arena, record);
    }

    fn step(&mut self, arena: &Arena, step: Step<'_>) {
        self.watcher.step(arena, step);
    }

    fn moving(&mut self, program: &Program, arena: &Arena) {
        self.watcher.moving(program, arena);
    }

    fn events_due(&mut self, program: &Program, arena: &Arena, events: &EventBuffer) {
        self.watcher.events_due(program, arena, events);
    }
}

impl Watcher for Noted {
    fn event_mask(&self) -> EventMask {
        self.watcher.event_mask()
    }

    fn kept_bytes(&self) -> usize {
        self.watcher.kept_bytes()
    }

    fn unrecorded(&mut self, out: &mut Vec<u8>) {
        self.recorded.place(self.order).store(now(self.begin), Ordering::Relaxed);
        self.watcher.unrecorded(out);
    }

    fn parked(&mut self, spill: &dyn Spill) {
        self.watcher.parked(spill);
    }

    fn ended(&mut self, arena: &Arena, outcome: &Outcome, now_ms: u64) {
        self.watcher.ended(arena, outcome, now_ms);
    }
}

/// As long as what the service writes of a start.
const LABEL: &[u8] = &[b'l'; 200];

/// The result of a closed loop.
pub(crate) struct Loop {
    pub(crate) executions: u64,
    cpu: Duration,
    pub(crate) whole: Duration,
    pub(crate) turns: Histogram<u64>,
    pub(crate) held: Histogram<u64>,
    /// From any moment until what was recorded by then is durable, as a thread of its own sees it.
    pub(crate) synced: Histogram<u64>,
}

impl Loop {
    pub(crate) fn transitions(&self) -> f64 {
        (self.executions * TRANSITIONS) as f64 / self.whole.as_secs_f64()
    }

    /// Of all threads, the driver's too.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.executions * TRANSITIONS) as f64
    }

    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.turns.value_at_quantile(quantile) as f64 / 1e6
    }

    pub(crate) fn synced_ms(&self, quantile: f64) -> f64 {
        self.synced.value_at_quantile(quantile) as f64 / 1e6
    }

    pub(crate) fn held_ms(&self, quantile: f64) -> f64 {
        self.held.value_at_quantile(quantile) as f64 / 1e6
    }
}

/// Keeps so many executions in flight; each that is over is forgotten.
pub(crate) fn closed_loop(bed: &Arc<Bed>, in_flight: usize, budget: Duration) -> Loop {
    bed.turns.lock().expect("nobody panics").reset();
    bed.held.lock().expect("nobody panics").reset();
    let (begin, cpu, executions) = (Instant::now(), cpu(), Arc::new(AtomicU64::new(0)));
    let is_over = Arc::<AtomicBool>::default();
    let syncing = bed.is_durable.then(|| {
        let (bed, is_over) = (Arc::clone(bed), Arc::clone(&is_over));
        std::thread::spawn(move || sync_times(&bed, &is_over))
    });
    tokio(async {
        let mut loops = tokio::task::JoinSet::new();
        for n in 0..in_flight as u64 {
            let (bed, executions) = (Arc::clone(bed), Arc::clone(&executions));
            loops.spawn(async move {
                while begin.elapsed() < budget || executions.load(Ordering::Relaxed) == 0 {
                    let handle = bed.start(&bed.order(n));
                    let id = handle.recorded_id();
                    assert!(handle.await.output::<Value>().is_ok());
                    executions.fetch_add(1, Ordering::Relaxed);
                    if let Some(id) = id {
                        bed.engine.forget_recorded(id);
                    }
                }
            });
        }
        loops.join_all().await;
    });
    let whole = begin.elapsed();
    let turns = bed.turns.lock().expect("nobody panics").clone();
    let held = bed.held.lock().expect("nobody panics").clone();
    let cpu = self::cpu() - cpu;
    is_over.store(true, Ordering::Relaxed);
    let synced = syncing.map_or_else(histogram, |thread| thread.join().expect("it measures"));
    Loop { executions: executions.load(Ordering::Relaxed), cpu, whole, turns, held, synced }
}

fn sync_times(bed: &Bed, is_over: &AtomicBool) -> Histogram<u64> {
    let mut times = histogram();
    while !is_over.load(Ordering::Relaxed) {
        let since = Instant::now();
        bed.engine.sync_recorded();
        times.saturating_record(since.elapsed().as_nanos() as u64);
        std::thread::sleep(Duration::from_millis(1));
    }
    times
}

/// Processor time of this process, in steps of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(10 * (ticks(12) + ticks(13)))
}

pub(crate) fn tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}
