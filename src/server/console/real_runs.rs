//! Runs of drafts for real: executions of the service's engine that a page asked for, and follows.
//!
//! They run on the engine's threads. One thread ends those that take too long or reach a limit, even if no page
//! asks for them any more, and forgets them some time after their end.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::answer::{Answer, Members, Wrong, invalid};
use crate::draft::{self, RealRun};
use crate::runtime::{Handle, StartOptions};
use crate::service::Service;
use crate::task::Tasks;
use crate::{random, uuid};

/// Events a run of a draft may have.
pub(super) const RUN_EVENTS_MAX: usize = 20_000;
/// Bytes of payloads that are returned of a run.
pub(super) const RUN_BYTES_MAX: usize = 6 << 20;
/// How long a run for real may take.
const WITHIN: Duration = Duration::from_secs(300);
/// How long one that is over can be read.
const KEPT: Duration = Duration::from_secs(600);
/// Runs of all pages: under way, or over and kept.
const RUNS_MAX: usize = 8;
/// The time between two looks at runs under way, and at those that are over.
const EVERY: Duration = Duration::from_millis(100);
const EVERY_OVER: Duration = Duration::from_secs(10);

const STOPPED: &str = "The run was stopped.";
const TOO_LONG: &str = "The run took longer than 5 minutes, which is the most a run for real may take.";
const ENDS: &str = "The run was ended, because the server ends.";

/// The runs of a server's console.
#[derive(Debug)]
pub(super) struct RealRuns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread: a run has begun, or the console ends.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    runs: Vec<Run>,
    is_over: bool,
}

#[derive(Debug)]
struct Run {
    id: String,
    run: RealRun,
    execution: Handle,
    began: Instant,
    /// When its end was seen.
    ended: Option<Instant>,
}

impl RealRuns {
    pub(super) fn new() -> io::Result<RealRuns> {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        std::thread::Builder::new().name("real runs".into()).spawn(move || watch(&watched))?;
        Ok(RealRuns(shared))
    }

    /// Starts a run: `text`, `format`, `type`, `input`, and `mocks` for tasks that are not to be called. `id` is for the
    /// other actions.
    pub(super) fn start(&self, service: &Service, members: &Members) -> Answer {
        let draft = members.draft();
        let mocks = draft::mocks(members.text("mocks"));
        let mocks = mocks.map_err(|why| invalid(format!("The mocks cannot be used: {why}")))?;
        let definition = draft::export(draft, "json").map_err(invalid)?;
        let mut state = self.0.lock();
        make_room(&mut state.runs)?;
        let run = RealRun::new(RUN_EVENTS_MAX, RUN_BYTES_MAX);
        let options = StartOptions {
            tasks: mocks.map(|mocks| Box::new(mocks) as Box<dyn Tasks + Send>),
            watcher: Some(run.watcher()),
            ..StartOptions::default()
        };
        let input = members.text("input");
        let execution = service.start_draft(&definition, draft.machine_type, input, options)?;
        let id = uuid::text(random::next(), random::next());
        let id = String::from_utf8_lossy(&id).into_owned();
        state.runs.push(Run { id: id.clone(), run, execution, began: Instant::now(), ended: None });
        drop(state);
        self.0.changed.notify_all();
        Ok(json!({"id": id, "secondsMax": WITHIN.as_secs()}))
    }

    /// A run so far: as `Run` answers, with the status `RUNNING` before the end.
    pub(super) fn get(&self, members: &Members) -> Answer {
        Ok(self.0.find(members, |run| run.run.clone())?.json())
    }

    /// Stops a run; nothing happens when it is over.
    pub(super) fn stop(&self, members: &Members) -> Answer {
        self.0.find(members, |run| run.end(STOPPED))?;
        Ok(json!({}))
    }
}

impl Drop for RealRuns {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

/// The run that ended first gives way to a new one.
fn make_room(runs: &mut Vec<Run>) -> Result<(), Wrong> {
    if runs.len() < RUNS_MAX {
        return Ok(());
    }
    let over = (runs.iter().enumerate()).filter_map(|(n, run)| Some((run.ended?, n))).min();
    let Some((_, oldest)) = over else {
        let why = format!("{RUNS_MAX} drafts run for real already: stop one, or wait for its end");
        return Err(Wrong::Refused("ThrottlingException", why));
    };
    runs.remove(oldest);
    Ok(())
}

impl Run {
    fn end(&self, why: &'static str) {
        if !self.run.is_over() {
            self.run.stop(why);
            self.execution.abort();
        }
    }

    /// Whether it is to be kept.
    fn look(&mut self, now: Instant) -> bool {
        if let Some(ended) = self.ended {
            return now.duration_since(ended) < KEPT;
        }
        if self.run.is_over() {
            self.ended = Some(now);
        } else if self.run.why().is_some() {
            // It has reached a limit, or was stopped: to abort it twice does nothing.
            self.execution.abort();
        } else if now.duration_since(self.began) >= WITHIN {
            self.end(TOO_LONG);
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find<T>(&self, members: &Members, of: impl FnOnce(&Run) -> T) -> Result<T, Wrong> {
        let id = members.text("id");
        let state = self.lock();
        let found = state.runs.iter().find(|run| run.id == id).map(of);
        found.ok_or_else(|| {
            invalid("There is no such run here: it ended long ago, or the server was restarted".into())
        })
    }
}

/// The thread that ends runs.
fn watch(shared: &Shared) {
    let mut state = shared.lock();
    while !state.is_over {
        let now = Instant::now();
        state.runs.retain_mut(|run| run.look(now));
        let pause = if state.runs.iter().any(|run| run.ended.is_none()) { EVERY } else { EVERY_OVER };
        state = if state.runs.is_empty() {
            shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            shared.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
        };
    }
    state.runs.iter().for_each(|run| run.end(ENDS));
}
