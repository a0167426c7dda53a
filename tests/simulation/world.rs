//! A world: an engine without threads, its executions, and the invariants.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use expressway::observe::history::Event;
use expressway::observe::log::Level;
use expressway::observe::{Retention, Setup};
use expressway::runtime::{
    Alias, Batch, Budgets, Counts, Engine, Handle, Machine, ManualTime, Outcome, Profile, Published,
    Simulation, StartError, Status,
};
use serde_json::{Value as Json, json};

use super::chance::Chance;
use super::handlers::{Alarms, Answer, Shared, behaviour, hand_over, handle};
use super::machines::{ACTIVITY, CALLBACK, FUNCTION, workflow};
use super::reference::{End, Interpreter, Shown};

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) chance: Chance,
    /// Whether more happens than the reference supports.
    pub(crate) wild: bool,
    /// When observations are collected, if they are.
    carrier: Option<Chance>,
    pub(crate) engine: Engine,
    pub(crate) simulation: Simulation,
    time: ManualTime,
    pub(crate) alarms: Shared,
    pub(crate) machines: Vec<Deployed>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) batches: Vec<(Pin<Box<Batch>>, Option<Counts>)>,
    pub(crate) runs: Vec<Run>,
    /// Runs that were accepted, and those of them whose futures were dropped.
    pub(crate) ran: u64,
    pub(crate) dropped: u64,
    pub(crate) drains: Vec<Pin<Box<dyn Future<Output = Counts>>>>,
    /// Tokens that were used, and are invalid now.
    pub(crate) spent: Vec<String>,
    pub(crate) now_ms: u64,
    log: Vec<String>,
}

pub(crate) type Run = Pin<Box<dyn Future<Output = Result<Outcome, StartError>>>>;

/// A machine with its definition, the versions it had, and an alias for them.
pub(crate) struct Deployed {
    pub(crate) machine: Machine,
    pub(crate) definition: Json,
    pub(crate) published: Vec<Published>,
    pub(crate) alias: Alias,
}

pub(crate) struct Execution {
    pub(crate) handle: Handle,
    definition: Json,
    input: Json,
    outcome: Option<Outcome>,
}

pub(crate) struct Played {
    pub(crate) compared: u64,
    pub(crate) ambiguous: u64,
    /// Histories that were compared.
    pub(crate) histories: u64,
    pub(crate) statuses: Vec<Status>,
    pub(crate) log: Vec<String>,
}

/// Executions may take five minutes.
const SECONDS_MAX: u64 = 300;

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World::shown(seed, None)
    }

    /// The same world, in which everything is logged and kept, by a sink that is sometimes slow or fails.
    pub(crate) fn watched(seed: u64) -> World {
        let mut chance = Chance::new(!seed);
        let (level, mut sink) =
            (chance.pick(&[Level::All, Level::Error, Level::Fatal]), Chance::new(seed >> 1));
        let sink = move |_: &[u8]| match sink.below(8) {
            0 => Err(std::io::Error::other("no room on the device")),
            1 => panic!("boom"),
            _ => Ok(()),
        };
        let mut tail = Retention::default();
        (tail.bytes_max, tail.one_in) = (chance.pick(&[2_000, 1 << 20]), 2);
        let setup = Setup::default()
            .log(sink, level, chance.one_in(2))
            .log_bytes_max(chance.pick(&[1_000, 1 << 20]))
            .history(tail)
            .metrics();
        World::shown(seed, Some((setup, chance)))
    }

    /// The same world, of which all histories are kept, to be compared.
    pub(crate) fn kept(seed: u64) -> World {
        let mut tail = Retention::default();
        (tail.bytes_max, tail.execution_bytes_max, tail.one_in) = (1 << 30, 64 << 20, 1);
        World::shown(seed, Some((Setup::default().history(tail), Chance::new(!seed))))
    }

    fn shown(seed: u64, watched: Option<(Setup, Chance)>) -> World {
        let mut chance = Chance::new(seed);
        let wild = seed % 2 == 1;
        let now_ms = 1_700_000_000_000;
        let (alarms, time) = (Shared::default(), ManualTime::at(now_ms));
        alarms.lock().unwrap().now_ms = now_ms;
        let budgets = if wild {
            Budgets {
                executions_max: 4 + chance.below(20) as usize,
                bytes_max: 4_000 + chance.below(20_000) as usize,
                queue_max: 1 + chance.below(8) as usize,
                ..Budgets::default()
            }
        } else {
            Budgets::default()
        };
        let (functions, callbacks) = (alarms.clone(), alarms.clone());
        let (setup, carrier) = watched.unzip();
        let (engine, simulation) = Engine::builder()
            .observe(setup.unwrap_or_default())
            .shards(1 + chance.below(3) as usize)
            .seed(seed)
            .time(time.clone())
            .budgets(budgets)
            .profile(Profile::Open)
            .task_with(FUNCTION, move |input, attempt| handle(seed, functions.clone(), input, attempt))
            .task_with(CALLBACK, move |input, attempt| hand_over(seed, callbacks.clone(), input, attempt))
            .simulate()
            .unwrap();
        let (machines, executions, batches, runs, ran, dropped) = Default::default();
        let (drains, spent, log) = Default::default();
        World {
            seed,
            chance,
            wild,
            carrier,
            engine,
            simulation,
            time,
            alarms,
            machines,
            executions,
            batches,
            runs,
            ran,
            dropped,
            drains,
            spent,
            now_ms,
            log,
        }
    }

    pub(crate) fn play(mut self) -> Played {
        for n in 0..1 + self.chance.below(3) {
            let definition = self.definition();
            let machine = self.engine.create_state_machine(&n.to_string(), &definition.to_string());
            let machine = machine.unwrap_or_else(|error| panic!("{error}\n{definition}"));
            let published = machine.publish();
            let alias = Alias::new(&[(&published, 1)]).unwrap();
            self.machines.push(Deployed { machine, definition, published: vec![published], alias });
        }
        for _ in 0..5 + self.chance.below(20) {
            self.start();
            if self.wild {
                self.something()
            } else {
                if self.chance.one_in(6) {
                    self.redeploy();
                }
                self.settle();
            }
        }
        if self.wild && self.chance.one_in(8) {
            return self.drop_engine();
        }
        self.run_out();
        self.finish()
    }

    /// A workflow that may take five minutes.
    pub(crate) fn definition(&mut self) -> Json {
        let mut definition = workflow(&mut self.chance, 0, &mut 0);
        definition["TimeoutSeconds"] = SECONDS_MAX.into();
        definition
    }

    pub(crate) fn input(&mut self) -> Json {
        let items: Vec<Json> = (0..self.chance.below(5)).map(|n| json!({"n": n, "l": []})).collect();
        json!({"n": self.chance.below(10), "l": items})
    }

    fn start(&mut self) {
        let n = self.chance.below(self.machines.len() as u64) as usize;
        let (machine, definition) = (self.machines[n].machine.clone(), self.machines[n].definition.clone());
        let input = self.input();
        if let Ok(handle) = self.engine.start(&machine, input.to_string()) {
            self.executions.push(Execution { handle, definition, input, outcome: None });
        }
        self.check();
    }

    /// Another definition for one of the machines.
    pub(crate) fn redeploy(&mut self) {
        let definition = self.definition();
        let n = self.chance.below(self.machines.len() as u64) as usize;
        let deployed = &mut self.machines[n];
        self.engine.update_state_machine(&deployed.machine, &definition.to_string()).unwrap();
        deployed.definition = definition;
        deployed.published.push(deployed.machine.publish());
    }

    pub(crate) fn turn(&mut self, now_ms: u64) {
        let shards = self.simulation.shards();
        let n = self.chance.below(shards.len() as u64) as usize;
        shards[n].turn(now_ms);
        if self.carrier.as_mut().is_some_and(|chance| chance.one_in(8)) {
            self.simulation.carry();
        }
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
        self.time.advance(milliseconds);
        self.alarms.lock().unwrap().now_ms = self.now_ms;
        self.fire();
    }

    /// Wakes handlers, gives answers, and lets workers take tasks. Returns whether there was anything to do.
    fn fire(&mut self) -> bool {
        let answers = Alarms::fire(&self.alarms);
        let mut any = !answers.is_empty();
        answers.into_iter().for_each(|answer| self.answer(answer));
        loop {
            let mut worker = Box::pin(self.engine.get_activity_task(ACTIVITY, None));
            let Poll::Ready(task) = poll(worker.as_mut()) else { break };
            let input: Json = serde_json::from_slice(&task.input).expect("JSON");
            let course = behaviour(self.seed, ACTIVITY, "", 0, &input);
            self.alarms.lock().unwrap().take_on(task.token(), course);
            any = true;
        }
        any
    }

    /// An answer, and now and then another one, which must be refused.
    pub(crate) fn answer(&mut self, (token, result): Answer) {
        let send = |result: &Result<Json, super::reference::Failure>| match result {
            Ok(output) => self.engine.send_task_success(&token, output.to_string().as_bytes()),
            Err(failure) => self.engine.send_task_failure(&token, &failure.error, &failure.cause),
        };
        let first = send(&result);
        if self.chance.one_in(4) || first.is_ok() {
            assert!(send(&result).is_err(), "a token was good for two answers");
        }
        self.spent.push(token);
    }

    /// Shards take turns in any order until there is nothing to do at this time.
    pub(crate) fn settle(&mut self) {
        for _ in 0..self.chance.below(6) {
            self.turn(self.now_ms);
        }
        loop {
            self.simulation.settle(self.now_ms);
            if !self.fire() {
                break;
            }
        }
        self.check();
    }

    /// Advances time from one event to the next, until nothing runs.
    fn run_out(&mut self) {
        for step in 0u64.. {
            self.settle();
            if self.engine.counts().running == 0 {
                break;
            }
            if self.wild && step == 20 && self.chance.one_in(2) {
                self.drain();
            }
            let alarm = self.alarms.lock().unwrap().next_ms();
            let next = self.simulation.next_ms().into_iter().chain(alarm).min();
            let next_ms = next.unwrap_or_else(|| panic!("executions run, but nothing will ever happen"));
            assert!(step < 100_000, "executions run without end");
            self.pass(next_ms.saturating_sub(self.now_ms));
        }
        self.check();
        for mut drain in std::mem::take(&mut self.drains) {
            assert!(poll(drain.as_mut()).is_ready(), "draining goes on when nothing runs");
        }
    }

    pub(crate) fn drain(&mut self) {
        let (engine, within) = (self.engine.clone(), Duration::from_secs(self.chance.below(10)));
        self.drains.push(Box::pin(async move { engine.drain(within).await }));
        self.check();
    }

    /// The invariants that hold at any moment.
    pub(crate) fn check(&mut self) {
        self.drains.retain_mut(|drain| poll(drain.as_mut()).is_pending());
        let mut runs = std::mem::take(&mut self.runs);
        runs.retain_mut(|run| match poll(run.as_mut()) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                self.log.push(format!("{outcome:?}"));
                false
            }
        });
        self.runs = runs;
        let counts = self.engine.counts();
        let mut accepted = self.executions.len() as u64 + self.ran;
        let (mut running, mut ended) = (self.runs.len() as u64, 0);
        for (batch, end) in &mut self.batches {
            let counts = batch.counts();
            accepted += counts.accepted;
            running += counts.running;
            ended += counts.ended();
            if end.is_none()
                && let Poll::Ready(counts) = poll(batch.as_mut())
            {
                assert_eq!((counts.ended(), counts.running), (counts.accepted, 0));
                *end = Some(counts);
            }
            assert_eq!(end.is_some(), counts.running == 0);
        }
        assert!(ended <= counts.ended());
        assert_eq!(counts.accepted, accepted);
        assert_eq!(counts.accepted, counts.ended() + counts.running);
        assert_eq!(counts.bugs, 0);
        assert_eq!(self.engine.usage().0 as u64, counts.running);
        for execution in &mut self.executions {
            let status = execution.handle.status();
            running += u64::from(status == Status::Running);
            execution.look(status, &mut self.log);
        }
        // Runs whose futures were dropped may not have been notified yet.
        assert!((running..=running + self.dropped).contains(&counts.running));
    }

    /// Nothing is left behind.
    pub(crate) fn finish(mut self) -> Played {
        assert_eq!(self.engine.usage(), (0, 0));
        for shard in self.simulation.shards() {
            assert_eq!((shard.executions(), shard.timers(), shard.tasks()), (0, 0, 0));
        }
        // Tasks that were not answered in time are gone, and so are those that were answered.
        let silent = std::mem::take(&mut self.alarms.lock().unwrap().silent);
        for token in silent.iter().chain(&self.spent) {
            assert!(self.engine.send_task_success(token, b"1").is_err(), "a task outlives its execution");
            assert!(self.engine.send_task_heartbeat(token).is_err());
        }
        let (mut compared, mut ambiguous, mut histories) = (0, 0, 0);
        self.simulation.carry();
        let executions = std::mem::take(&mut self.executions);
        let statuses = executions.iter().filter_map(|it| it.outcome.as_ref()).map(|it| it.status).collect();
        for execution in executions.iter().filter(|_| !self.wild) {
            match self.compare(execution) {
                None => ambiguous += 1,
                Some(with_history) => {
                    compared += 1;
                    histories += u64::from(with_history);
                }
            }
        }
        Played { compared, ambiguous, histories, statuses, log: self.log }
    }

    /// Whether its history was compared as well; `None` if another outcome was possible, too.
    fn compare(&self, execution: &Execution) -> Option<bool> {
        let outcome = execution.outcome.as_ref().expect("all are over");
        let behaviour = |resource: &str, state: &str, retries: u64, input: &Json| {
            behaviour(self.seed, resource, state, retries, input)
        };
        let mut interpreter = Interpreter::new(&behaviour);
        let end = interpreter.machine(&execution.definition, execution.input.clone(), outcome.started_ms);
        let (at_ms, result) = (end.at_ms, &end.result);
        let deadline_ms = outcome.started_ms + SECONDS_MAX * 1_000;
        if interpreter.ambiguous || at_ms == deadline_ms {
            return None;
        }
        let told =
            || format!("{}\n{}\n{outcome:?}\n{at_ms} {result:?}", execution.definition, execution.input);
        if at_ms > deadline_ms {
            assert_eq!((outcome.status, outcome.stopped_ms), (Status::TimedOut, deadline_ms), "{}", told());
            return Some(self.compare_history(execution, &mut interpreter, &end, deadline_ms));
        }
        assert_eq!(outcome.stopped_ms, at_ms, "{}", told());
        match result {
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
        Some(self.compare_history(execution, &mut interpreter, &end, deadline_ms))
    }

    /// Whether there was something to compare.
    fn compare_history(
        &self,
        execution: &Execution,
        interpreter: &mut Interpreter<'_>,
        end: &End,
        deadline_ms: u64,
    ) -> bool {
        let mut wanted = interpreter.history(end, deadline_ms);
        let Some(kept) = self.engine.observed().history(&execution.handle.arn()) else { return false };
        if interpreter.is_unsure || kept.dropped > 0 {
            return false;
        }
        let show = |event: &Event| {
            let name = event.detail("name").and_then(|name| name.as_str()).unwrap_or_default();
            (event.time_ms, event.event_type.name().to_owned(), name.to_owned())
        };
        let by_id = |id: u64| kept.events.iter().find(|event| event.id == id).map(show);
        let mut found: Vec<Shown> = (kept.events.iter())
            .map(|event| {
                let (at_ms, kind, name) = show(event);
                (at_ms, kind, name, by_id(event.previous))
            })
            .collect();
        wanted.sort_unstable();
        found.sort_unstable();
        let differs = |one: &[Shown], other: &[Shown]| -> Vec<Shown> {
            one.iter().filter(|event| !other.contains(event)).cloned().collect()
        };
        let (missing, more) = (differs(&wanted, &found), differs(&found, &wanted));
        let (definition, input) = (&execution.definition, &execution.input);
        assert!(wanted == found, "{definition}\n{input}\nmissing {missing:?}\nmore {more:?}");
        true
    }
}

impl Execution {
    /// An execution ends once, and keeps its outcome.
    pub(crate) fn look(&mut self, status: Status, log: &mut Vec<String>) {
        match (&self.outcome, poll(Pin::new(&mut self.handle))) {
            (None, Poll::Ready(outcome)) => {
                assert_eq!(outcome.status, status);
                log.push(format!("{} {outcome:?}", self.handle.arn()));
                self.outcome = Some(outcome);
            }
            (None, Poll::Pending) => assert_eq!(status, Status::Running),
            (Some(_), Poll::Ready(_)) => panic!("an execution ended twice"),
            (Some(outcome), Poll::Pending) => assert_eq!(outcome.status, status),
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.outcome.as_ref().map(|outcome| outcome.status)
    }
}

pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
