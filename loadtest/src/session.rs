//! One run: sets targets up, starts the workers, and collects the results.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::arrivals::{Curve, Pace};
use crate::lane::{Clock, Loaded, Ready};
use crate::placement::{self, Confined, Placement, Processors};
use crate::plan::{Arrivals, Plan};
use crate::record::{End, Interval};
use crate::screen;
use crate::units::show_count;
use crate::usage::Usage;
use crate::worker::{Delivery, Model, Signals, Way, Worker};

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The plan.
    pub plan: Plan,
    /// What happened to each target.
    pub targets: Vec<Tested>,
    /// What happened to all of them.
    pub total: Interval,
    /// What happened in each second.
    pub seconds: Vec<Second>,
    /// How long was measured, in seconds, without warm-up and drain.
    pub measured_seconds: f64,
    /// Starts that had not ended when the run was over.
    pub unfinished: usize,
    /// The share of the workers' time in which they did not wait for something to be due.
    pub busy: f64,
    /// The share in which they carried starts out themselves, which is the target's.
    pub inside: f64,
    /// Threads that sent.
    pub workers: usize,
    /// Which processors they had, and everything else in the process; none where the system decided.
    pub processors: Option<Processors>,
    /// What held starts back on this side.
    pub congestion: Option<String>,
    /// It was stopped before its planned end.
    pub interrupted: bool,
    /// The rate at which steps broke, and why.
    pub broke_at: Option<(f64, String)>,
    /// What the process took, from the first start on.
    pub usage: Usage,
}

/// The outcome of one target.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What it is called.
    pub title: String,
    /// What ran its executions.
    pub engine: String,
    /// The workload's name and where it came from.
    pub workload: String,
    /// See above.
    pub source: String,
    /// How large the definition is, in bytes.
    pub definition_bytes: usize,
    /// How large inputs are in the mean, in bytes.
    pub input_bytes: f64,
    /// What happened.
    pub interval: Interval,
}

/// One second of a run.
#[derive(Clone, Debug)]
pub struct Second {
    /// Seconds since the measured part began, at its end.
    pub at: f64,
    /// How long it really was.
    pub seconds: f64,
    /// What happened to all targets.
    pub interval: Interval,
    /// Starts under way at its end.
    pub in_flight: usize,
    /// What the plan wanted to be sent, per second.
    pub wanted: Option<f64>,
}

/// The progress of a run, for its observer.
#[derive(Debug)]
pub struct Progress<'r> {
    /// Since the first start, with the warm-up.
    pub elapsed: Duration,
    /// How long it is to take.
    pub planned: Duration,
    /// Whether it still warms up.
    pub warming: bool,
    /// What happened since the last look.
    pub recent: &'r Interval,
    /// How long ago that was, in seconds.
    pub recent_seconds: f64,
    /// All that happened so far.
    pub total: &'r Interval,
    /// Whole seconds so far.
    pub seconds: &'r [Second],
    /// Starts under way.
    pub in_flight: usize,
    /// The rate wanted now.
    pub wanted: Option<f64>,
}

/// The interval between progress reports.
const TICK: Duration = Duration::from_millis(250);
const SECOND: f64 = 1.0;
/// Workers hand over what they have within this, unless something holds them up.
const HAND_OVER_NS: u64 = 20_000_000;
/// A worker that does not stop within this time is abandoned.
const STUCK_NS: u64 = 2_000_000_000;

/// Runs a plan. `watch` is called several times a second with the progress; `stop` ends the run at once, with the
/// results so far.
///
/// # Errors
/// The message when the run cannot begin.
pub fn run(plan: &Plan, stop: &AtomicBool, watch: &mut dyn FnMut(&Progress<'_>)) -> Result<Run, String> {
    plan.check()?;
    let loaded: Vec<Loaded> =
        plan.targets.iter().map(|target| Loaded::new(target, plan)).collect::<Result<_, _>>()?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = if plan.workers == 0 { usual_workers(plan, &loaded, all) } else { plan.workers };
    // In a closed model, or with targets outside this process, the system's own placement is better.
    let apart = plan.placement == Placement::Apart
        && plan.arrivals.is_open()
        && !loaded.iter().all(Loaded::is_remote);
    let divided = if apart { Processors::divide(workers) } else { None };
    // Before any thread is created that inherits it; until the end, as this thread wakes up now and then, too.
    let confined = divided.as_ref().map(|processors| Confined::to(&processors.others)).transpose();
    let _confined =
        confined.map_err(|error| format!("placement: {error}; with \"free\" the system decides"))?;
    let shards = if divided.is_some() { all - workers } else { all };
    let ready: Vec<Ready> =
        loaded.into_iter().map(|target| target.set_up(plan, shards)).collect::<Result<_, _>>()?;
    let clock = Clock::begin();
    let curve = plan.arrivals.curve(plan.duration).map(|curve| curve.after(plan.warmup.as_secs_f64()));
    let crew = Arc::new(Crew {
        plan: plan.clone(),
        ready,
        clock,
        curve: curve.map(Arc::new),
        workers,
        processors: divided,
        signals: Arc::default(),
        gate: Barrier::new(workers + 1),
        begin: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    });
    let (sender, receiver) = mpsc::channel();
    let (mut threads, mut backs) = (Vec::new(), Vec::new());
    let no_thread = |error| format!("the system has no thread for a worker: {error}");
    for number in 0..workers {
        let (crew, sender, (back, cleared)) = (Arc::clone(&crew), sender.clone(), mpsc::channel());
        backs.push(back);
        let named = std::thread::Builder::new().name(format!("sender-{number}"));
        threads.push(named.spawn(move || crew.member(number, sender, cleared)).map_err(no_thread)?);
    }
    drop(sender);
    let post = Post { deliveries: receiver, backs };
    crew.gate.wait();
    let failed = crew.failed.load(Ordering::SeqCst);
    crew.begin.store(clock.now() + 1_000_000, Ordering::SeqCst);
    let usage = Usage::now();
    crew.gate.wait();
    let run = if !failed {
        Ok(gather(&crew, &post, stop, watch, usage))
    } else {
        let errors = threads.into_iter().filter_map(|thread| thread.join().ok()?.err());
        Err(errors.take(1).next().unwrap_or_else(|| "a worker failed".to_owned()))
    };
    for ready in &crew.ready {
        if let Err(error) = ready.close() {
            screen::note(&format!("loadtest: target {}: {error}", ready.title));
        }
    }
    run
}

/// The number of sending threads if the plan does not set one.
fn usual_workers(plan: &Plan, targets: &[Loaded], processors: usize) -> usize {
    let in_place = targets.iter().all(Loaded::is_in_place);
    let remote = targets.iter().any(Loaded::is_remote);
    let workers = match () {
        // One processor is for everything else in this process.
        () if in_place && plan.arrivals.is_open() => processors - 1,
        () if in_place => processors,
        () if remote => processors / 2,
        // Handing a start over takes a fraction of what carrying it out does.
        () => processors / 4,
    };
    workers.max(1)
}

/// What the session's threads share.
struct Crew {
    plan: Plan,
    ready: Vec<Ready>,
    clock: Clock,
    curve: Option<Arc<Curve>>,
    workers: usize,
    processors: Option<Processors>,
    signals: Arc<Signals>,
    gate: Barrier,
    begin: AtomicU64,
    failed: AtomicBool,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

impl Crew {
    /// Runs one worker.
    fn member(
        &self,
        number: usize,
        deliveries: Sender<Delivery>,
        cleared: Receiver<Vec<Interval>>,
    ) -> Result<(), String> {
        let plan = &self.plan;
        let own = self.processors.as_ref().map(|processors| processors.workers[number]);
        let pinned = own.map_or(Ok(()), placement::pin);
        let window = match plan.arrivals {
            Arrivals::Closed { in_flight: 0 } => {
                self.ready.iter().map(|ready| ready.window(self.workers)).max().unwrap_or(1)
            }
            Arrivals::Closed { in_flight } => in_flight,
            _ => 0,
        };
        let lane = |ready: &Ready| ready.lane(number, self.workers, self.clock, window);
        let lanes: Result<Vec<_>, String> = pinned
            .map_err(|error| format!("placement: {error}"))
            .and_then(|()| self.ready.iter().map(lane).collect());
        if lanes.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        self.gate.wait();
        // Between the two, the session checks that all are ready and sets the start time.
        self.gate.wait();
        let lanes = lanes?;
        if self.failed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let begin = self.begin.load(Ordering::SeqCst);
        let from = begin + nanoseconds(plan.warmup);
        let weights: f64 = self.ready.iter().map(Ready::weight).sum();
        let way = |(lane, ready): (_, &Ready)| Way {
            lane,
            interval: Interval::new(nanoseconds(plan.late_after), from),
            in_flight_max: ready.in_flight_max(),
            in_place: ready.is_in_place(),
            weight: ready.weight() / weights,
            debt: 0.0,
        };
        let ways = lanes.into_iter().zip(&self.ready).map(way).collect();
        let poisson = plan.arrivals.is_poisson().then_some(plan.seed);
        let model = match &self.curve {
            Some(curve) => Model::Open(Pace::new(curve, number, self.workers, poisson)),
            None => Model::Closed(window),
        };
        let worker = Worker {
            ways,
            model,
            clock: self.clock,
            begin,
            from,
            end: from + nanoseconds(plan.duration),
            drain: nanoseconds(plan.drain),
            number: number as u64,
            workers: self.workers as u64,
            signals: Arc::clone(&self.signals),
            deliveries,
            cleared,
        };
        worker.work();
        Ok(())
    }
}

/// Between the session and its workers.
struct Post {
    deliveries: Receiver<Delivery>,
    /// To each worker, what it delivered, cleared.
    backs: Vec<Sender<Vec<Interval>>>,
}

/// What was gathered so far.
struct Gathered {
    run: Run,
    second: Interval,
    /// In seconds since the measured part began.
    second_began: f64,
    /// Of each worker.
    in_flight: Vec<usize>,
    elapsed_ns: u64,
    idle_ns: u64,
    inside_ns: u64,
    /// Processor time that senders took to wait.
    waiting_ns: u64,
    left: usize,
}

fn gather(
    crew: &Crew,
    post: &Post,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Progress<'_>),
    before: Usage,
) -> Run {
    let plan = &crew.plan;
    let begin = crew.begin.load(Ordering::SeqCst);
    let from = begin + nanoseconds(plan.warmup);
    let blank = Interval::new(nanoseconds(plan.late_after), 0);
    let mut gathered = Gathered::new(crew, &blank);
    let planned = plan.warmup + plan.duration;
    let mut judge = Judge::new(plan);
    let (mut tick_began, mut stopped_at) = (begin, None);
    while gathered.left > 0 {
        let next = tick_began + nanoseconds(TICK);
        let mut recent = blank.clone();
        gathered.receive(crew.clock, next, usize::MAX, post, &mut recent);
        // Deliveries up to now count for this tick; those of a slow worker count for the next.
        let now = crew.clock.now();
        crew.signals.epoch.fetch_add(1, Ordering::SeqCst);
        gathered.receive(crew.clock, now + HAND_OVER_NS, gathered.left, post, &mut recent);
        if stop.load(Ordering::SeqCst) {
            gathered.run.interrupted |= now < from + nanoseconds(plan.duration);
            crew.signals.stop.store(true, Ordering::SeqCst);
            if now > *stopped_at.get_or_insert(now) + STUCK_NS {
                gathered.left = 0;
            }
        }
        let at = (now as f64 - from as f64) / 1e9;
        let wanted = crew.curve.as_ref().map(|curve| curve.rate_at((now.saturating_sub(begin)) as f64 / 1e9));
        let seconds = (now - tick_began) as f64 / 1e9;
        tick_began = now;
        gathered.tick(recent.clone(), at, wanted);
        let progress = Progress {
            elapsed: Duration::from_nanos(now.saturating_sub(begin)),
            planned,
            warming: now < from,
            recent: &recent,
            recent_seconds: seconds,
            total: &gathered.run.total,
            seconds: &gathered.run.seconds,
            in_flight: gathered.in_flight(),
            wanted,
        };
        watch(&progress);
        if let Some((middle_s, reason)) = judge.broken(at, &gathered.run.total) {
            let rate = crew.curve.as_ref().map(|curve| curve.rate_at(plan.warmup.as_secs_f64() + middle_s));
            gathered.run.broke_at = Some((rate.unwrap_or(0.0), reason));
            crew.signals.finish.store(true, Ordering::SeqCst);
        }
    }
    let ended = crew.clock.now().min(from + nanoseconds(plan.duration));
    let ended = judge.ended_at.map_or(ended, |at| from + (at * 1e9) as u64);
    let waiting_seconds = gathered.waiting_ns as f64 / 1e9;
    let mut run = gathered.finish();
    run.measured_seconds = ended.saturating_sub(from) as f64 / 1e9;
    run.usage = Usage { waiting_seconds, ..Usage::now().since(&before) };
    run
}

impl Gathered {
    fn new(crew: &Crew, blank: &Interval) -> Gathered {
        let tested = |ready: &Ready| Tested {
            title: ready.title.clone(),
            engine: ready.engine.clone(),
            workload: ready.workload.name.clone(),
            source: ready.workload.source.clone(),
            definition_bytes: ready.workload.definition.len(),
            input_bytes: ready.workload.inputs.mean_bytes(),
            interval: blank.clone(),
        };
        let run = Run {
            plan: crew.plan.clone(),
            targets: crew.ready.iter().map(tested).collect(),
            total: blank.clone(),
            seconds: Vec::new(),
            measured_seconds: 0.0,
            unfinished: 0,
            busy: 0.0,
            inside: 0.0,
            workers: crew.workers,
            processors: crew.processors.clone(),
            congestion: None,
            interrupted: false,
            broke_at: None,
            usage: Usage::default(),
        };
        Gathered {
            run,
            second: blank.clone(),
            second_began: 0.0,
            in_flight: vec![0; crew.workers],
            elapsed_ns: 0,
            idle_ns: 0,
            inside_ns: 0,
            waiting_ns: 0,
            left: crew.workers,
        }
    }

    /// Takes so many deliveries in, and no more after `until`.
    fn receive(&mut self, clock: Clock, until: u64, count: usize, post: &Post, recent: &mut Interval) {
        for _ in 0..count {
            if self.left == 0 {
                break;
            }
            let wait = until.saturating_sub(clock.now());
            match post.deliveries.recv_timeout(Duration::from_nanos(wait)) {
                Ok(mut delivery) => {
                    for (tested, interval) in self.run.targets.iter_mut().zip(&mut delivery.intervals) {
                        tested.interval.add(interval);
                        recent.add(interval);
                        interval.clear();
                    }
                    // Fails if the worker has ended.
                    let _ = post.backs[delivery.worker].send(delivery.intervals);
                    // Time spent neither sending nor asleep, taken as low as possible if other threads used the
                    // processor.
                    let sending = delivery.elapsed.saturating_sub(delivery.idle);
                    self.waiting_ns += delivery.cpu.saturating_sub(sending);
                    self.elapsed_ns += delivery.elapsed;
                    self.idle_ns += delivery.idle;
                    self.inside_ns += delivery.inside;
                    self.in_flight[delivery.worker] = delivery.in_flight;
                    self.run.congestion = self.run.congestion.take().or(delivery.congestion);
                    if delivery.last {
                        self.left -= 1;
                        self.run.unfinished += delivery.in_flight;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                // Workers ended without a delivery: their data is lost.
                Err(RecvTimeoutError::Disconnected) => self.left = 0,
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.in_flight.iter().sum()
    }

    fn tick(&mut self, recent: Interval, at: f64, wanted: Option<f64>) {
        self.run.total.add(&recent);
        self.second.add(&recent);
        // The first second begins with the measured part.
        let seconds = at - self.second_began;
        let half_a_tick = TICK.as_secs_f64() / 2.0;
        let is_over = seconds > SECOND - half_a_tick || self.left == 0;
        if at <= 0.0 || seconds <= 0.0 || !is_over {
            return;
        }
        let in_flight = self.in_flight();
        match self.run.seconds.last_mut() {
            // A rate over a very short time means nothing.
            Some(last) if seconds < half_a_tick => {
                last.interval.add(&self.second);
                (last.at, last.seconds, last.in_flight) = (at, last.seconds + seconds, in_flight);
            }
            _ => {
                let interval = self.second.take();
                self.run.seconds.push(Second { at, seconds, interval, in_flight, wanted });
            }
        }
        self.second_began = at;
    }

    fn finish(mut self) -> Run {
        let elapsed = self.elapsed_ns.max(1) as f64;
        self.run.busy = 1.0 - self.idle_ns as f64 / elapsed;
        self.run.inside = self.inside_ns as f64 / elapsed;
        self.run
    }
}

/// Detects steps whose rate is more than the target can serve.
struct Judge {
    step_s: Option<f64>,
    next_s: f64,
    before: (u64, u64, u64),
    ended_at: Option<f64>,
}

/// A share of what was due that a target may fail to bear before it counts as broken.
const BROKEN_SHARE: f64 = 0.01;

impl Judge {
    fn new(plan: &Plan) -> Judge {
        let step_s = plan.arrivals.step().map(|step| step.as_secs_f64());
        Judge { step_s, next_s: step_s.unwrap_or(f64::INFINITY), before: (0, 0, 0), ended_at: None }
    }

    /// Checks a step when it is over; returns its middle, in seconds, and why it was too much.
    fn broken(&mut self, at: f64, total: &Interval) -> Option<(f64, String)> {
        let step_s = self.step_s?;
        if self.ended_at.is_some() || at < self.next_s {
            return None;
        }
        let middle_s = self.next_s - step_s / 2.0;
        self.next_s += step_s;
        let bad = total.count(End::Refused) + total.count(End::Broken) + total.dropped;
        let (sent, late, wrong) =
            (total.sent - self.before.0, total.late - self.before.1, bad - self.before.2);
        self.before = (total.sent, total.late, bad);
        let due = (sent + total.dropped).max(1) as f64;
        let reason = match () {
            () if wrong as f64 / due > BROKEN_SHARE => {
                format!("{} of {} were dropped, refused or broken", show_count(wrong as f64), show_count(due))
            }
            () if late as f64 / due > BROKEN_SHARE => {
                format!("{} of {} were sent late", show_count(late as f64), show_count(due))
            }
            () => return None,
        };
        self.ended_at = Some(at);
        Some((middle_s, reason))
    }
}
