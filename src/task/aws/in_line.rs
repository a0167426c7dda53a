//! Service tasks on the caller's own thread, for [in-line drivers](crate::runtime::inline): the driver waits during a
//! call.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::Integrations;
use crate::engine::{Execution, TaskCall};
use crate::fault::{self, Fault};
use crate::program::Program;
use crate::task::{Answer, AsyncHandler, Attempt, Call, Shared, Tasks, missing, read_answer, role_arn};

type Resolved = Result<Arc<dyn AsyncHandler>, String>;

/// Does service tasks one after the other, by the real clock.
pub struct InLine {
    /// Created with the first task.
    runtime: Option<Runtime>,
    integrations: Integrations,
    /// By resource and whether a role is assumed, on demand; for unsupported ones, the reason.
    handlers: HashMap<(Box<str>, bool), Resolved>,
}

impl InLine {
    /// Service tasks with these integrations.
    pub fn new(integrations: Integrations) -> InLine {
        InLine { runtime: None, integrations, handlers: HashMap::new() }
    }

    fn runtime(&mut self) -> Result<&Runtime, Fault> {
        if self.runtime.is_none() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let text = |error| format!("Cannot start the runtime for service tasks: {error}");
            self.runtime = Some(runtime.map_err(|error| Fault::new(fault::RUNTIME, text(error)))?);
        }
        self.runtime.as_ref().ok_or_else(|| Fault::new(fault::RUNTIME, "There is no reactor."))
    }
}

impl std::fmt::Debug for InLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InLine").field("integrations", &self.integrations).finish_non_exhaustive()
    }
}

impl Tasks for InLine {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let task = &program.tasks[call.task];
        let arn = &task.resource.arn;
        if !Integrations::is_service(arn) {
            return Answer::Now(Err(missing(arn, program.name(call.state), call.attempt)));
        }
        if task.resource.waits_for_token {
            let cause = format!("The task token of {arn} cannot be answered here.");
            return Answer::Now(Err(Fault::new(fault::RUNTIME, cause)));
        }
        let resolve = || self.integrations.handler(task);
        let key = (arn.clone(), task.credentials.is_some());
        let handler = match self.handlers.entry(key).or_insert_with(resolve) {
            Ok(handler) => Arc::clone(handler),
            Err(why) => return Answer::Now(Err(Fault::new(fault::RUNTIME, why.as_str()))),
        };
        let input = execution.task_input(call.token).expect("the task is started in its visit");
        let attempt = attempt(program, execution, call);
        let told = attempt.clone();
        let begun = {
            let (state, arena) = (program.name(call.state), &mut execution.arena);
            handler.begin(&Call { resource: arn, state, attempt: call.attempt, input, arena }, attempt)
        };
        let mut future = match begun {
            Ok(future) => future,
            Err(error) => return Answer::Now(Err(error.into())),
        };
        let limit = call.timeout_seconds.map_or(Duration::MAX, Duration::from_secs);
        let limit = limit.min(until(execution.shown_ms(execution.deadline_ms())));
        let runtime = match self.runtime() {
            Ok(runtime) => runtime,
            Err(fault) => return Answer::Now(Err(fault)),
        };
        match runtime.block_on(async { tokio::time::timeout(limit, &mut future).await }) {
            // The driver's own timer, which is due now, reports it.
            Err(_) => {
                told.cancel();
                // A job may have to be cancelled.
                let local = LocalSet::new();
                let inside = local.enter();
                drop(future);
                drop(inside);
                runtime.block_on(local);
                Answer::Never
            }
            Ok(Err(error)) => Answer::Now(Err(error.into())),
            Ok(Ok(text)) => Answer::Now(read_answer(program, execution, call.token, &text)),
        }
    }
}

/// How long it is until a time in milliseconds since 1970.
fn until(time_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(time_ms).saturating_sub(now)
}

fn attempt(program: &Program, execution: &Execution, call: &TaskCall) -> Attempt {
    let shared = Shared {
        execution_arn: execution.execution_arn(),
        state: program.name(call.state).to_owned(),
        retries: call.attempt,
        deadline_ms: execution.shown_ms(execution.deadline_ms()),
        trace_header: None,
        role_arn: role_arn(execution, call.token),
        token: None,
        recorded_visit: None,
        cancelled: AtomicBool::new(false),
        heartbeat: Box::new(|| {}),
        submitted: Mutex::default(),
    };
    Attempt { shared: Some(Arc::new(shared)) }
}
