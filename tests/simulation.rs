//! Deterministic simulation: the shards' own code on one thread, under virtual time and a seed. Random machines, random
//! handlers, and in every second world whatever else may happen: aborts, jumps of time, full budgets, redeployment,
//! draining. Executions must come to what the naive interpreter in `tests/reference` says, at the moment it says, and in
//! every world nothing may be lost and nothing left behind.
//!
//! `EXPRESSWAY_SEEDS=100000` runs more worlds, `EXPRESSWAY_SEEDS=17..18` replays one.

mod reference;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use expressway::runtime::{Budgets, Engine, Handle, Machine, ManualTime, Outcome, Simulation, Status};
use expressway::task::{Attempt, TaskError};
use reference::{End, Failure, Interpreter};
use serde_json::{Value as Json, json};

const RESOURCE: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

#[test]
fn worlds() {
    let seeds = std::env::var("EXPRESSWAY_SEEDS").unwrap_or_else(|_| "2000".to_owned());
    let range = seeds.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    let (from, to): (u64, u64) = match range {
        Some((from, to)) => (from.expect("a number"), to.expect("a number")),
        None => (0, seeds.parse().expect("a number of seeds")),
    };
    // Handlers panic here on purpose, by the thousand.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"boom") {
            hook(info);
        }
    }));
    let mut tally = Tally::default();
    for seed in from..to {
        let world = std::panic::catch_unwind(|| World::new(seed).play());
        match world {
            Ok(played) => tally.add(&played),
            Err(panic) => {
                eprintln!("the world of seed {seed} fails; EXPRESSWAY_SEEDS={seed}..{} replays it", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
        if seed % 50 == 0 {
            let again = World::new(seed).play();
            assert_eq!(again.log, World::new(seed).play().log, "seed {seed} does not replay");
        }
    }
    println!("{tally:?}");
    println!("simulation: {} passed, 0 failed, {} skipped", tally.compared, tally.ambiguous);
    assert!(to - from < 1_000 || tally.compared > 5 * tally.ambiguous);
}

#[derive(Debug, Default)]
struct Tally {
    worlds: u64,
    compared: u64,
    ambiguous: u64,
    by_status: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, played: &Played) {
        self.worlds += 1;
        self.compared += played.compared;
        self.ambiguous += played.ambiguous;
        for status in &played.statuses {
            *self.by_status.entry(format!("{status:?}")).or_default() += 1;
        }
    }
}

/// SplitMix64.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

// ---- machines ----

/// A workflow whose states lead forwards only. Its data is always an object with a number `n` and a list `l`.
fn workflow(chance: &mut Chance, depth: u32, names: &mut u64) -> Json {
    let count = 1 + chance.below(4);
    let first = *names;
    *names += count;
    let mut states = serde_json::Map::new();
    for n in 0..count {
        let name = |n: u64| format!("S{}", first + n);
        let later = |chance: &mut Chance| name(n + 1 + chance.below(count - n - 1));
        let last = n + 1 == count;
        let kind = chance.below(if depth < 2 { 12 } else { 9 });
        if kind == 0 && !last {
            let (one, other) = (later(chance), later(chance));
            let choice = choice(chance, &one, &other);
            states.insert(name(n), choice);
            continue;
        }
        if kind == 1 && last {
            let state = match chance.one_in(2) {
                true => json!({"Type": "Succeed"}),
                false => json!({"Type": "Fail", "Error": "E1", "Cause": "by design"}),
            };
            states.insert(name(n), state);
            continue;
        }
        let mut state = match kind {
            0 | 1 => pass(chance),
            2 => json!({"Type": "Wait", "Seconds": chance.below(4)}),
            3..=8 => json!({"Type": "Task", "Resource": RESOURCE}),
            9 | 10 => {
                json!({"Type": "Map", "ItemsPath": "$.l", "ResultPath": "$.r", "MaxConcurrency": chance.below(4),
                "ItemProcessor": workflow(chance, depth + 1, names)})
            }
            _ => json!({"Type": "Parallel", "ResultPath": "$.r",
                "Branches": [workflow(chance, depth + 1, names), workflow(chance, depth + 1, names)]}),
        };
        if kind >= 3 {
            let target = (!last).then(|| later(chance));
            guard(chance, &mut state, kind < 9, target);
        }
        match last {
            true => state["End"] = true.into(),
            false => state["Next"] = later(chance).into(),
        }
        states.insert(name(n), state);
    }
    // States that nothing leads to are refused: the one before leads to them, unless it cannot.
    for n in 1..count {
        let wanted = format!("S{}", first + n);
        let reached = states.values().any(|state| leads_to(state, &wanted));
        if !reached && let Some(before) = states.get_mut(&format!("S{}", first + n - 1)) {
            match before.get("Default") {
                Some(_) => before["Default"] = wanted.into(),
                None => before["Next"] = wanted.into(),
            }
        }
    }
    json!({"StartAt": format!("S{first}"), "States": states})
}

fn leads_to(state: &Json, name: &str) -> bool {
    let rows = ["Choices", "Catch"].iter().flat_map(|rows| state[*rows].as_array().into_iter().flatten());
    state["Next"] == name || state["Default"] == name || rows.into_iter().any(|row| row["Next"] == name)
}

fn pass(chance: &mut Chance) -> Json {
    match chance.below(8) {
        0 => {
            json!({"Type": "Pass", "Result": {"n": chance.below(9), "l": [{"n": 1, "l": []}, {"n": 2, "l": []}]}})
        }
        1..=3 => json!({"Type": "Pass", "Parameters": {"n.$": "$.n", "l.$": "$.l", "was": "é\"\\"}}),
        // This one may be missing.
        4 => json!({"Type": "Pass", "Parameters": {"n.$": "$.n", "l.$": "$.l", "r.$": "$.r"}}),
        5 => json!({"Type": "Pass", "Result": [1.5, null, "x"], "ResultPath": "$.p"}),
        6 => json!({"Type": "Pass", "Result": 1, "ResultPath": null}),
        _ => json!({"Type": "Pass"}),
    }
}

fn choice(chance: &mut Chance, one: &str, other: &str) -> Json {
    let rule = match chance.one_in(2) {
        true => json!({"Variable": "$.n", "NumericGreaterThan": chance.below(9), "Next": one}),
        false => json!({"Variable": "$.r", "IsPresent": true, "Next": one}),
    };
    json!({"Type": "Choice", "Choices": [rule], "Default": other})
}

const ERRORS: [&str; 5] = ["E1", "E2", "States.TaskFailed", "States.Timeout", "States.ALL"];

fn guard(chance: &mut Chance, state: &mut Json, is_task: bool, target: Option<String>) {
    if is_task && !chance.one_in(4) {
        state["TimeoutSeconds"] = (1 + chance.below(5)).into();
    }
    if chance.one_in(2) {
        state["Retry"] = json!([{"ErrorEquals": [chance.of(&ERRORS)], "MaxAttempts": chance.below(3),
            "IntervalSeconds": 1 + chance.below(2), "BackoffRate": 1.5}]);
    }
    if let Some(target) = target
        && chance.one_in(2)
    {
        state["Catch"] = json!([{"ErrorEquals": [chance.of(&ERRORS)], "ResultPath": "$.e", "Next": target}]);
    }
}

// ---- handlers ----

/// What a call comes to follows from the call alone, so that the reference can say it as well.
fn behaviour(seed: u64, state: &str, retries: u64, input: &Json) -> Option<(u64, Result<Json, Failure>)> {
    let text = format!("{seed} {state} {retries} {input}");
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let mut chance = Chance(hash);
    // No whole seconds, which is what timers fire at.
    let after_ms = if chance.one_in(3) { 0 } else { 1 + 1_000 * chance.below(5) + chance.below(998) };
    let items: Vec<Json> = (0..chance.below(4)).map(|n| json!({"n": n, "l": []})).collect();
    let result = match chance.below(16) {
        0 | 1 => Err(Failure::new("E1", "first")),
        2 => Err(Failure::new("E2", "second")),
        3 => Err(Failure::new("States.TaskFailed", "The handler panicked: boom")),
        4 if retries == 0 => return None,
        5 => {
            let what = format!("The state/task '{RESOURCE}' returned a result with a size exceeding");
            let cause = format!("{what} the maximum number of bytes service limit.");
            Err(Failure::new("States.DataLimitExceeded", cause))
        }
        _ => Ok(json!({"n": chance.below(10), "l": items, "of": state})),
    };
    Some((after_ms, result))
}

/// Wakes handlers when virtual time has come.
#[derive(Default)]
struct Alarms {
    now_ms: u64,
    count: u64,
    waiting: BTreeMap<(u64, u64), Waker>,
}

type Shared = Arc<Mutex<Alarms>>;

struct Until(Shared, Option<u64>);

impl Future for Until {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarms = self.0.lock().unwrap();
        let Some(at_ms) = self.1 else { return Poll::Pending };
        if alarms.now_ms >= at_ms {
            return Poll::Ready(());
        }
        alarms.count += 1;
        let count = alarms.count;
        alarms.waiting.insert((at_ms, count), context.waker().clone());
        Poll::Pending
    }
}

async fn handle(seed: u64, alarms: Shared, input: Json, attempt: Attempt) -> Result<Json, TaskError> {
    assert!(!attempt.is_cancelled());
    let Some((after_ms, result)) = behaviour(seed, attempt.state(), u64::from(attempt.retries()), &input)
    else {
        Until(alarms, None).await;
        return Ok(Json::Null);
    };
    let at_ms = alarms.lock().unwrap().now_ms + after_ms;
    if after_ms > 0 {
        Until(alarms, Some(at_ms)).await;
    }
    match result {
        Ok(output) => Ok(output),
        Err(failure) if failure.cause.ends_with("boom") => panic!("boom"),
        Err(failure) if failure.error == "States.DataLimitExceeded" => Ok("x".repeat(300_000).into()),
        Err(failure) => Err(TaskError::new(failure.error, failure.cause)),
    }
}

// ---- worlds ----

struct World {
    seed: u64,
    chance: Chance,
    /// Whether more happens than what the reference knows of.
    wild: bool,
    engine: Engine,
    simulation: Simulation,
    time: ManualTime,
    alarms: Shared,
    machines: Vec<(Machine, Json)>,
    executions: Vec<Execution>,
    now_ms: u64,
    log: Vec<String>,
}

struct Execution {
    handle: Handle,
    definition: Json,
    input: Json,
    outcome: Option<Outcome>,
}

struct Played {
    compared: u64,
    ambiguous: u64,
    statuses: Vec<Status>,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let wild = seed % 2 == 1;
        let now_ms = 1_700_000_000_000;
        let (alarms, time) = (Shared::default(), ManualTime::at(now_ms));
        alarms.lock().unwrap().now_ms = now_ms;
        let budgets = match wild {
            true => Budgets {
                executions_max: 4 + chance.below(20) as usize,
                bytes_max: 4_000 + chance.below(20_000) as usize,
                queue_max: 1 + chance.below(8) as usize,
                ..Budgets::default()
            },
            false => Budgets::default(),
        };
        let handlers = alarms.clone();
        let (engine, simulation) = Engine::builder()
            .shards(1 + chance.below(3) as usize)
            .seed(seed)
            .time(time.clone())
            .budgets(budgets)
            .task_with(RESOURCE, move |input, attempt| handle(seed, handlers.clone(), input, attempt))
            .simulate()
            .unwrap();
        let (machines, executions, log) = Default::default();
        World { seed, chance, wild, engine, simulation, time, alarms, machines, executions, now_ms, log }
    }

    fn play(mut self) -> Played {
        for n in 0..1 + self.chance.below(3) {
            let definition = workflow(&mut self.chance, 0, &mut 0);
            match self.engine.create_state_machine(&n.to_string(), &definition.to_string()) {
                Ok(machine) => self.machines.push((machine, definition)),
                Err(error) => panic!("{error}\n{definition}"),
            }
        }
        for _ in 0..5 + self.chance.below(20) {
            self.start();
            match self.wild {
                true => self.something(),
                false => self.settle(),
            }
        }
        self.run_out();
        self.finish()
    }

    fn start(&mut self) {
        let n = self.chance.below(self.machines.len() as u64) as usize;
        let (machine, definition) = self.machines[n].clone();
        let items: Vec<Json> = (0..self.chance.below(5)).map(|n| json!({"n": n, "l": []})).collect();
        let input = json!({"n": self.chance.below(10), "l": items});
        if let Ok(handle) = self.engine.start(&machine, input.to_string()) {
            self.executions.push(Execution { handle, definition, input, outcome: None });
        }
        self.check();
    }

    /// One of the things that may happen at any time.
    fn something(&mut self) {
        match self.chance.below(12) {
            0 if !self.executions.is_empty() => {
                let n = self.chance.below(self.executions.len() as u64) as usize;
                self.executions[n].handle.abort();
            }
            1 => {
                let definition = workflow(&mut self.chance, 0, &mut 0);
                let n = self.chance.below(self.machines.len() as u64) as usize;
                let machine = self.machines[n].0.clone();
                self.engine.update_state_machine(&machine, &definition.to_string()).unwrap();
                self.machines[n].1 = definition;
            }
            2 => {
                let far_ms = self.chance.below(400_000);
                self.pass(far_ms);
            }
            3 => {
                // Time runs backwards, which shards must not follow.
                let now_ms = self.now_ms - self.chance.below(10_000);
                self.turn(now_ms);
            }
            4..=6 => {
                let near_ms = self.chance.below(2_000);
                self.pass(near_ms);
            }
            7 | 8 => self.settle(),
            _ => self.turn(self.now_ms),
        }
        self.check();
    }

    fn turn(&mut self, now_ms: u64) {
        let shards = self.simulation.shards();
        let n = self.chance.below(shards.len() as u64) as usize;
        shards[n].turn(now_ms);
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
        self.time.advance(milliseconds);
        let mut alarms = self.alarms.lock().unwrap();
        alarms.now_ms = self.now_ms;
        let later = alarms.waiting.split_off(&(self.now_ms + 1, 0));
        let due = std::mem::replace(&mut alarms.waiting, later);
        drop(alarms);
        due.into_values().for_each(Waker::wake);
    }

    /// Shards take turns in any order until there is nothing to do at this time.
    fn settle(&mut self) {
        for _ in 0..self.chance.below(6) {
            self.turn(self.now_ms);
        }
        self.simulation.settle(self.now_ms);
        self.check();
    }

    /// Lets time pass from one moment at which something happens to the next, until nothing runs.
    fn run_out(&mut self) {
        let engine = self.engine.clone();
        let mut drain = None;
        for step in 0u64.. {
            self.settle();
            if self.engine.counts().running == 0 {
                break;
            }
            if self.wild && step == 20 && self.chance.one_in(2) {
                drain = Some(Box::pin(engine.drain(Duration::from_secs(self.chance.below(10)))));
            }
            if let Some(drain) = &mut drain {
                let _ = poll(drain.as_mut());
            }
            let alarm = self.alarms.lock().unwrap().waiting.first_key_value().map(|((at_ms, _), _)| *at_ms);
            let next = self.simulation.next_ms().into_iter().chain(alarm).min();
            let next_ms = next.unwrap_or_else(|| panic!("executions run, but nothing will ever happen"));
            assert!(step < 100_000, "executions run without end");
            self.pass(next_ms.saturating_sub(self.now_ms));
        }
        if let Some(mut drain) = drain {
            assert!(poll(drain.as_mut()).is_ready(), "draining goes on when nothing runs");
        }
    }

    /// What must hold at any moment.
    fn check(&mut self) {
        let counts = self.engine.counts();
        assert_eq!(counts.accepted, self.executions.len() as u64);
        assert_eq!(counts.accepted, counts.ended() + counts.running);
        assert_eq!(counts.bugs, 0);
        assert_eq!(self.engine.usage().0 as u64, counts.running);
        let mut running = 0;
        for execution in &mut self.executions {
            let status = execution.handle.status();
            running += u64::from(status == Status::Running);
            match (&execution.outcome, poll(Pin::new(&mut execution.handle))) {
                (None, Poll::Ready(outcome)) => {
                    assert_eq!(outcome.status, status);
                    self.log.push(format!("{} {outcome:?}", execution.handle.arn()));
                    execution.outcome = Some(outcome);
                }
                (None, Poll::Pending) => assert_eq!(status, Status::Running),
                (Some(_), Poll::Ready(_)) => panic!("an execution ended twice"),
                (Some(outcome), Poll::Pending) => assert_eq!(outcome.status, status),
            }
        }
        assert_eq!(running, counts.running);
    }

    fn finish(mut self) -> Played {
        assert_eq!(self.engine.usage(), (0, 0));
        for shard in self.simulation.shards() {
            assert_eq!((shard.executions(), shard.timers(), shard.tasks()), (0, 0, 0));
        }
        let (mut compared, mut ambiguous) = (0, 0);
        let executions = std::mem::take(&mut self.executions);
        let statuses = executions.iter().filter_map(|it| it.outcome.as_ref()).map(|it| it.status).collect();
        for execution in executions.iter().filter(|_| !self.wild) {
            match self.compare(execution) {
                true => compared += 1,
                false => ambiguous += 1,
            }
        }
        Played { compared, ambiguous, statuses, log: self.log }
    }

    fn compare(&self, execution: &Execution) -> bool {
        let outcome = execution.outcome.as_ref().expect("all are over");
        let behaviour = |state: &str, retries: u64, input: &Json| behaviour(self.seed, state, retries, input);
        let mut interpreter = Interpreter { behaviour: &behaviour, ambiguous: false };
        let End { at_ms, result } =
            interpreter.workflow(&execution.definition, execution.input.clone(), outcome.started_ms);
        let deadline_ms = outcome.started_ms + 300_000;
        if interpreter.ambiguous || at_ms == deadline_ms {
            return false;
        }
        let told =
            || format!("{}\n{}\n{outcome:?}\n{at_ms} {result:?}", execution.definition, execution.input);
        if at_ms > deadline_ms {
            assert_eq!((outcome.status, outcome.stopped_ms), (Status::TimedOut, deadline_ms), "{}", told());
            return true;
        }
        assert_eq!(outcome.stopped_ms, at_ms, "{}", told());
        match &result {
            Ok(output) => {
                assert_eq!(outcome.status, Status::Succeeded, "{}", told());
                let found: Json = serde_json::from_slice(outcome.json()).expect("JSON");
                assert_eq!(found, *output, "{}", told());
            }
            Err(failure) => {
                assert_eq!(outcome.status, Status::Failed, "{}", told());
                let fault = outcome.fault.clone().unwrap_or_else(|| panic!("{}", told()));
                assert_eq!(fault.error.as_deref(), Some(&*failure.error), "{}", told());
                if !failure.fatal {
                    assert_eq!(fault.cause.unwrap_or_default(), failure.cause, "{}", told());
                }
            }
        }
        true
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What the generator makes is made of all that it can make.
#[test]
fn the_generator_uses_every_kind_of_state() {
    let mut kinds: HashMap<String, u64> = HashMap::new();
    for seed in 0..200 {
        let text = workflow(&mut Chance(seed), 0, &mut 0).to_string();
        for kind in ["Pass", "Choice", "Wait", "Task", "Map", "Parallel", "Succeed", "Fail", "Retry", "Catch"]
        {
            *kinds.entry(kind.to_owned()).or_default() += text.matches(&format!("\"{kind}\"")).count() as u64;
        }
    }
    assert!(kinds.values().all(|&count| count > 10), "{kinds:?}");
}
