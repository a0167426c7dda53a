//! Durable executions whose process ends at any of its effects: when a handler is called, before and after an answer is
//! given, when a worker takes a task. The power fails at the same moment, so the disk loses what was not synced. A new
//! process continues from the rest. The executions are compared with a run without a crash: the same ends, the same
//! events at the same times, each call made at least once, and each counted once.
//!
//! The outside world outlives the process: a second call with a known key has the result of the first. Where tasks have
//! `HeartbeatSeconds`, handlers and workers send heartbeats more often than that. The process also ends at each
//! heartbeat; then those that it received are forgotten, and no task may fail for it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use expressway::asl::MachineType;
use expressway::journal::model::Model;
use expressway::observe::LiveHistory;
use expressway::runtime::{
    AnswerError, Durable, Engine, Handle, Machine, MachineSpec, ManualTime, Outcome, Profile, Simulation,
    StartOptions, Status,
};
use expressway::task::{Attempt, TaskError};
use serde_json::{Value as Json, json};

use super::chance::Chance;
use super::handlers::{Course, behaviour};
use super::machines::{ACTIVITY, CALLBACK, FUNCTION, workflow};
use super::reference::Failure;
use super::required::some_of;

const NOW_MS: u64 = 1_700_000_000_000;
/// Between heartbeats; `HeartbeatSeconds` are 1 at least.
const BEAT_MS: u64 = 700;
/// Tasks with heartbeats time out before that.
const BEATS_MAX: u64 = 8;

/// The world outside the process.
struct Outside {
    seed: u64,
    now_ms: u64,
    disk: Model,
    /// Effects so far, the effect at which the process ends, and the disk at that moment.
    effects: u64,
    crash_at: u64,
    image: Option<Model>,
    /// Calls by their keys: how many there were, and when each has its result, if ever.
    calls: BTreeMap<String, (u64, Option<u64>)>,
    wakers: Vec<(u64, Waker)>,
    /// Answers to give, by time and token.
    answers: BTreeMap<(u64, String), Result<Json, Failure>>,
    /// Tokens that were handed out.
    tokens: BTreeSet<String>,
    /// Whether tasks have heartbeats; those to send for tokens, and how many the engine took.
    has_heartbeats: bool,
    beats: BTreeSet<(u64, String)>,
    beats_taken: u64,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Outside>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outside> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Outside {
    /// Counts an effect. Returns whether the process continues.
    fn effect(&mut self) -> bool {
        if self.image.is_some() {
            return false;
        }
        self.effects += 1;
        if self.effects == self.crash_at {
            self.image = Some(self.disk.after_power_loss());
        }
        self.image.is_none()
    }

    /// Receives a token, which will be answered as in the course.
    fn take_on(&mut self, token: String, course: Course) {
        if !self.tokens.insert(token.clone()) {
            return;
        }
        if self.has_heartbeats {
            let after_ms = course.as_ref().map_or(u64::MAX, |(after_ms, _)| *after_ms);
            let beats = (1..=BEATS_MAX).map(|n| n * BEAT_MS).take_while(|beat_ms| *beat_ms < after_ms);
            self.beats.extend(beats.map(|beat_ms| (self.now_ms + beat_ms, token.clone())));
        }
        if let Some((after_ms, result)) = course {
            self.answers.insert((self.now_ms + after_ms, token), result);
        }
    }

    /// The token for which a heartbeat is to be sent now.
    fn due_beat(&mut self) -> Option<String> {
        let is_due = self.beats.first().is_some_and(|(due_ms, _)| *due_ms <= self.now_ms);
        if is_due { self.beats.pop_first().map(|(_, token)| token) } else { None }
    }

    fn next_ms(&self) -> Option<u64> {
        let answers = self.answers.keys().map(|(due_ms, _)| *due_ms);
        let beats = self.beats.first().map(|(due_ms, _)| *due_ms);
        answers.chain(self.wakers.iter().map(|(due_ms, _)| *due_ms)).chain(beats).min()
    }
}

/// Spreads results, so that two events of one execution are rarely in the same millisecond.
fn course(seed: u64, resource: &str, attempt: (&str, u64), input: &Json) -> Course {
    let (after_ms, result) = behaviour(seed, resource, attempt.0, attempt.1, input)?;
    let mut input = input.clone();
    input.sort_all_objects();
    let call = format!("{seed} {resource} {attempt:?} {input}");
    let spread = call.bytes().fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    Some((if after_ms == 0 { 1 + spread % 900 } else { after_ms }, result))
}

struct Until(Shared, Option<u64>);

impl Future for Until {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut outside = self.0.lock();
        let Some(due_ms) = self.1 else { return Poll::Pending };
        if outside.now_ms >= due_ms {
            return Poll::Ready(());
        }
        outside.wakers.push((due_ms, context.waker().clone()));
        Poll::Pending
    }
}

async fn handle(outside: Shared, input: Json, attempt: Attempt) -> Result<Json, TaskError> {
    let key = attempt.idempotency_key().expect("the execution is durable");
    let (due_ms, course) = {
        let mut it = outside.lock();
        let course = course(it.seed, FUNCTION, (attempt.state(), u64::from(attempt.retries())), &input);
        let due_ms = course.as_ref().map(|(after_ms, _)| it.now_ms + after_ms);
        if it.image.is_some() {
            // The process has ended.
            (None, None)
        } else {
            let call = it.calls.entry(key).or_insert((0, due_ms));
            call.0 += 1;
            let due_ms = call.1;
            it.effect();
            (due_ms, course)
        }
    };
    for _ in 0..BEATS_MAX {
        let beat_ms = {
            let it = outside.lock();
            let is_alive = it.has_heartbeats && it.image.is_none();
            Some(it.now_ms + BEAT_MS)
                .filter(|beat_ms| is_alive && due_ms.is_none_or(|due_ms| *beat_ms < due_ms))
        };
        let Some(beat_ms) = beat_ms else { break };
        Until(outside.clone(), Some(beat_ms)).await;
        attempt.heartbeat();
        let mut it = outside.lock();
        it.beats_taken += 1;
        it.effect();
    }
    Until(outside, due_ms).await;
    match course.expect("whoever has no result waits").1 {
        Ok(output) => Ok(output),
        Err(failure) => Err(TaskError::new(failure.error, failure.cause)),
    }
}

async fn hand_over(outside: Shared, message: Json, attempt: Attempt) -> Result<(), TaskError> {
    let mut it = outside.lock();
    if it.image.is_none() {
        let token = message["token"].as_str().unwrap_or_default().to_owned();
        let attempt_at = (attempt.state(), u64::from(attempt.retries()));
        let course = course(it.seed, CALLBACK, attempt_at, &message["input"]);
        it.take_on(token, course);
        it.effect();
    }
    Ok(())
}

/// The result of an execution: its end, and its events by time, in any order within a millisecond.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    status: Status,
    output: String,
    fault: String,
    events: Vec<String>,
}

impl End {
    fn of(outcome: &Outcome, history: &LiveHistory) -> End {
        let mut events: Vec<String> = history.read(|history| {
            let ids = history.events().map(|event| event.id);
            assert!(ids.eq(1..=history.events().len() as u64), "numbers have gaps");
            let line = |event: &expressway::observe::Event| {
                let line = format!("{} {:?} {:?}", event.time_ms, event.event_type, event.details);
                // An execution's token depends on when it was started.
                match line.split_once(r#""token\":\""#) {
                    Some((before, after)) => format!("{before}token{}", &after[32..]),
                    None => line,
                }
            };
            history.events().map(line).collect()
        });
        events.sort_unstable();
        let output = String::from_utf8_lossy(outcome.json()).into_owned();
        End { status: outcome.status, output, fault: format!("{:?}", outcome.fault), events }
    }
}

struct Process {
    engine: Engine,
    simulation: Simulation,
    machines: Vec<Machine>,
    time: ManualTime,
    running: BTreeMap<String, (Handle, LiveHistory)>,
}

struct Play {
    outside: Shared,
    definitions: Vec<Json>,
    ends: BTreeMap<String, End>,
}

impl Play {
    /// Runs the world of a seed to its end; the process ends at an effect. Returns the number of effects as well.
    fn run(seed: u64, crash_at: u64) -> (Play, u64) {
        let mut chance = Chance::new(seed);
        let definitions = (0..1 + chance.below(2)).map(|_| {
            let mut definition = workflow(&mut chance, 0, &mut 0);
            definition["TimeoutSeconds"] = 300.into();
            definition
        });
        let definitions: Vec<Json> = definitions.collect();
        let outside = Outside {
            seed,
            now_ms: NOW_MS,
            disk: Model::new(seed, 1 << 30),
            effects: 0,
            crash_at,
            image: None,
            calls: BTreeMap::new(),
            wakers: Vec::new(),
            answers: BTreeMap::new(),
            tokens: BTreeSet::new(),
            has_heartbeats: format!("{definitions:?}").contains("HeartbeatSeconds"),
            beats: BTreeSet::new(),
            beats_taken: 0,
        };
        let outside = Shared(Arc::new(Mutex::new(outside)));
        let mut play = Play { outside, definitions, ends: BTreeMap::new() };
        let mut process = Some(play.open());
        let started = 2 + chance.below(4);
        for n in 0..started {
            let items: Vec<Json> = (0..chance.below(5)).map(|n| json!({"n": n, "l": []})).collect();
            let input = json!({"n": chance.below(10), "l": items}).to_string();
            let which = chance.below(play.definitions.len() as u64) as usize;
            let it = process.as_mut().expect("there is one");
            play.start(it, &format!("e{n}"), which, &input);
            play.settle(&mut process);
        }
        for step in 0.. {
            play.settle(&mut process);
            let it = process.as_mut().expect("there is one");
            if it.running.is_empty() {
                break;
            }
            assert!(step < 100_000, "executions run without end");
            let next = it.simulation.next_ms().into_iter().chain(play.outside.lock().next_ms()).min();
            let next_ms = next.unwrap_or_else(|| panic!("nothing will ever happen: {:?}", it.running.keys()));
            let mut outside = play.outside.lock();
            it.time.advance(next_ms.saturating_sub(outside.now_ms));
            outside.now_ms = outside.now_ms.max(next_ms);
        }
        assert_eq!(play.ends.len() as u64, started, "nothing acknowledged is lost");
        let effects = play.outside.lock().effects;
        (play, effects)
    }

    fn open(&self) -> Process {
        let (seed, now_ms, disk) = {
            let outside = self.outside.lock();
            (outside.seed, outside.now_ms, outside.disk.clone())
        };
        // No world needs a second segment, which might be created late.
        let (time, functions, callbacks) =
            (ManualTime::at(now_ms), self.outside.clone(), self.outside.clone());
        let (engine, simulation) = Engine::builder()
            .shards(1)
            .seed(seed)
            .time(time.clone())
            .profile(Profile::Open)
            .durable(Durable::disk(Arc::new(disk)).segment_bytes(512 << 10))
            .task_with(FUNCTION, move |input, attempt| handle(functions.clone(), input, attempt))
            .task_with(CALLBACK, move |input, attempt| hand_over(callbacks.clone(), input, attempt))
            .simulate()
            .expect("an engine");
        let machines = self.definitions.iter().enumerate().map(|(n, definition)| {
            let (name, text) = (n.to_string(), definition.to_string());
            let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new(&name, &text) };
            engine.create(&spec).unwrap_or_else(|error| panic!("{error}\n{definition}"))
        });
        let machines = machines.collect();
        Process { engine, simulation, machines, time, running: BTreeMap::new() }
    }

    fn start(&self, process: &mut Process, name: &str, which: usize, input: &str) {
        let history = LiveHistory::new(16 << 20);
        let options = StartOptions {
            name: Some(name.into()),
            execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}").into()),
            durable: Some([which as u8].into()),
            watcher: Some(history.durable_watcher()),
            ..StartOptions::default()
        };
        let handle = process.engine.start_with(&process.machines[which], input.to_owned(), options);
        let handle = handle.expect("it begins");
        pollster::block_on(handle.recorded());
        process.running.insert(name.to_owned(), (handle, history));
    }

    /// Runs until there is nothing to do at this time. A process that ends is followed by another one.
    fn settle(&mut self, process: &mut Option<Process>) {
        loop {
            let it = process.as_mut().expect("there is one");
            let now_ms = self.outside.lock().now_ms;
            it.simulation.settle(now_ms);
            let is_idle = it.simulation.shards().iter().all(|shard| shard.held() == 0);
            let image = self.outside.lock().image.clone();
            if let Some(image) = image {
                *process = None;
                self.crash(image);
                *process = Some(self.reopen());
                continue;
            }
            if !is_idle {
                std::thread::yield_now();
                continue;
            }
            // The disk takes less than a millisecond.
            it.engine.sync_recorded();
            if !self.act(it) {
                break;
            }
        }
        let it = process.as_mut().expect("there is one");
        let (over, running) = std::mem::take(&mut it.running)
            .into_iter()
            .partition(|(_, (handle, _))| handle.status() != Status::Running);
        it.running = running;
        let over: BTreeMap<String, (Handle, LiveHistory)> = over;
        for (name, (handle, history)) in over {
            self.ends.insert(name, End::of(&handle.wait(), &history));
        }
    }

    /// Does what is due in the outside world. Returns whether there was anything.
    fn act(&self, process: &Process) -> bool {
        let mut any = false;
        loop {
            let mut worker = Box::pin(process.engine.get_activity_task(ACTIVITY, None));
            let polled = worker.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(task) = polled else { break };
            any = true;
            let input: Json = serde_json::from_slice(&task.input).expect("JSON");
            let mut outside = self.outside.lock();
            let course = course(outside.seed, ACTIVITY, ("", 0), &input);
            outside.take_on(task.token(), course);
            if !outside.effect() {
                return true;
            }
        }
        let (due, wakers) = {
            let mut outside = self.outside.lock();
            let now_ms = outside.now_ms;
            let due = outside.answers.keys().find(|(due_ms, _)| *due_ms <= now_ms).cloned();
            let (woken, left) =
                std::mem::take(&mut outside.wakers).into_iter().partition(|it| it.0 <= now_ms);
            outside.wakers = left;
            let woken: Vec<(u64, Waker)> = woken;
            (due, woken)
        };
        any |= !wakers.is_empty();
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
        let beat = self.outside.lock().due_beat();
        if let Some(token) = beat {
            if !self.outside.lock().effect() {
                return true;
            }
            let given = process.engine.send_task_heartbeat(&token);
            // Its task may have timed out.
            assert!(matches!(given, Ok(()) | Err(AnswerError::Token(_))), "{given:?}");
            self.outside.lock().beats_taken += u64::from(given.is_ok());
            any = true;
        }
        let Some(due) = due else { return any };
        // One effect before the answer is given, and one when it is acknowledged.
        if !self.outside.lock().effect() {
            return true;
        }
        let answer = self.outside.lock().answers.get(&due).cloned().expect("it is due");
        let given = match answer {
            Ok(output) => process.engine.send_task_success(&due.1, output.to_string().as_bytes()),
            Err(failure) => process.engine.send_task_failure(&due.1, &failure.error, &failure.cause),
        };
        // Its task may have timed out.
        assert!(matches!(given, Ok(()) | Err(AnswerError::Token(_))), "{given:?}");
        let mut outside = self.outside.lock();
        outside.answers.remove(&due);
        outside.effect();
        true
    }

    /// Continues with the disk of a process that has ended.
    fn crash(&mut self, image: Model) {
        let mut outside = self.outside.lock();
        (outside.disk, outside.image, outside.crash_at) = (image, None, 0);
        outside.wakers.clear();
    }

    fn reopen(&mut self) -> Process {
        let (mut process, known) = (self.open(), self.ends.keys().cloned().collect::<BTreeSet<String>>());
        let mut found = BTreeSet::new();
        for execution in process.engine.recovered() {
            let (name, history) = (execution.name.to_string(), LiveHistory::new(16 << 20));
            found.insert(name.clone());
            for chunk in execution.history.values() {
                history.recover(chunk).expect("events");
            }
            if let Some(outcome) = &execution.outcome {
                let end = End::of(outcome, &history);
                // An execution that was over before is unchanged.
                assert!(self.ends.get(&name).is_none_or(|before| *before == end), "{name}");
                self.ends.insert(name, end);
                continue;
            }
            assert!(!self.ends.contains_key(&name), "{name} was over");
            let machine = &process.machines[usize::from(execution.label[0])];
            let watcher = Some(history.durable_watcher());
            let handle = process.engine.resume(machine, execution, watcher).expect("it goes on");
            process.running.insert(name, (handle, history));
        }
        assert!(found.is_superset(&known), "{known:?} were over, and there are {found:?}");
        process
    }
}

/// The differences between two runs.
fn difference(crashed: &BTreeMap<String, End>, calm: &BTreeMap<String, End>) -> String {
    let differ = calm.iter().filter(|(name, end)| crashed.get(*name) != Some(*end));
    let text = differ.map(|(name, calm)| {
        let crashed = &crashed[name];
        let only = |these: &End, those: &End| -> Vec<String> {
            these.events.iter().filter(|it| !those.events.contains(it)).cloned().collect()
        };
        let ends = [crashed, calm].map(|end| format!("{:?} {} {}", end.status, end.output, end.fault));
        format!("{name}: {ends:#?}\n{:#?}\n{:#?}\n", only(crashed, calm), only(calm, crashed))
    });
    text.collect()
}

/// Whether events of one execution are concurrent: then their order within a millisecond is undefined.
fn is_concurrent(definitions: &[Json]) -> bool {
    let text = format!("{definitions:?}");
    text.contains("Parallel") || text.contains("Map")
}

#[test]
fn a_process_that_ends_at_any_effect_changes_nothing() {
    let seeds = std::env::var("CRASH_SEEDS").unwrap_or_else(|_| some_of(40, 4).to_string());
    let range = seeds.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    let (from, to): (u64, u64) = match range {
        Some((from, to)) => (from.expect("a number"), to.expect("a number")),
        None => (0, seeds.parse().expect("a number of seeds")),
    };
    let (mut crashes, mut different, mut doubled, mut beats) = (0u64, 0u64, 0u64, 0u64);
    for seed in from..to {
        let (calm, effects) = Play::run(seed, 0);
        let keys = calm.outside.lock().calls.len();
        assert!(calm.outside.lock().calls.values().all(|(times, _)| *times == 1), "seed {seed}");
        for crash_at in 1..=effects {
            crashes += 1;
            let (crashed, _) = Play::run(seed, crash_at);
            let outside = crashed.outside.lock();
            beats += outside.beats_taken;
            doubled += outside.calls.values().filter(|(times, _)| *times > 1).count() as u64;
            if crashed.ends == calm.ends && outside.calls.len() == keys {
                continue;
            }
            different += 1;
            let what = format!(
                "CRASH_SEEDS={seed}..{} at effect {crash_at}: {} and {keys} calls\n{}",
                seed + 1,
                outside.calls.len(),
                difference(&crashed.ends, &calm.ends)
            );
            assert!(is_concurrent(&calm.definitions), "{what}");
            println!("{what}");
        }
    }
    println!(
        "{crashes} crashes, {doubled} calls made again, {beats} heartbeats, {different} with another order of what is \
         concurrent"
    );
    assert!(to - from < 20 || crashes > 100 && doubled > 20 && beats > 100, "hardly anything is tried");
    assert!(different * 20 <= crashes, "{different} of {crashes} differ");
}
