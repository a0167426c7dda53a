//! Task states: start, result, failure, timeout, heartbeat (specification, "Task State").

use super::effect::{ActivityWork, Effect, TaskCall, TimerKind};
use super::execution::{Phase, UNLIMITED};
use super::record::{EventKind, MetricEvent, Schedule, TaskKind};
use super::run::{QueryInputs, Run, StateError};
use super::state::too_large;
use crate::fault::{self, Fault};
use crate::json::Value;
use crate::limits;
use crate::models::{Operation, check};
use crate::program::{ResourceKind, Seconds, StateKind, TaskId};

impl Run<'_, '_> {
    pub(super) fn task(&mut self, frame: u32, task: TaskId) -> Result<(), StateError> {
        self.execution.visits = self.execution.visits.wrapping_add(1);
        self.execution.frames[frame as usize].visit = self.execution.visits;
        self.execution.frames[frame as usize].heartbeat_missed = false;
        let input = self.effective_input(frame)?;
        let row = &self.program.tasks[task];
        let filtered = match self.state(frame).parameters {
            // The `…Path` twins apply to the input, not to the result of Parameters.
            Some(_) => {
                self.filter(frame, self.state(frame).input, self.execution.frames[frame as usize].input)?
            }
            None => input,
        };
        let timeout_seconds = self.task_seconds(frame, row.timeout, "TimeoutSeconds", filtered)?;
        let heartbeat_seconds = self.task_seconds(frame, row.heartbeat, "HeartbeatSeconds", filtered)?;
        let credentials = match row.credentials {
            Some(template) => self.template(frame, template, QueryInputs::of(filtered))?,
            None => Value::UNDEFINED,
        };
        if self.execution.arena.size(input) > limits::PAYLOAD_BYTES_MAX {
            let name = self.program.name(self.state_id(frame)).to_owned();
            return Err(too_large(&name).into());
        }
        if let Some(operation) = &row.parameters {
            self.check_parameters(frame, operation, input)?;
        }
        let kind = kind(&row.resource.kind);
        let work = self.activity_work(frame, task);
        if work == ActivityWork::Missing {
            // Recorded: it is not even scheduled.
            let text = format!("The activity {} does not exist.", row.resource.arn);
            return Err(self.runtime(frame, &text).into());
        }
        self.chain(
            frame,
            EventKind::TaskScheduled(Schedule {
                task,
                kind,
                parameters: input,
                timeout_seconds,
                heartbeat_seconds,
                credentials,
            }),
        );
        if work == ActivityWork::Handler {
            self.chain(frame, EventKind::TaskStarted { task, kind, worker: None });
        }
        let (token, state) = (self.token(frame), self.state_id(frame));
        let here = &mut self.execution.frames[frame as usize];
        here.phase = Phase::Task;
        here.credentials = credentials;
        let attempt = here.retries;
        let call = TaskCall { token, task, state, attempt, timeout_seconds, heartbeat_seconds };
        self.env.effects.push(Effect::Task(call));
        let ms = |seconds: Option<u64>| match seconds {
            Some(seconds) => self.execution.scaled_limit(seconds.saturating_mul(1_000)),
            None => UNLIMITED,
        };
        let (timeout_ms, heartbeat_ms) = (ms(timeout_seconds), ms(heartbeat_seconds));
        let here = &mut self.execution.frames[frame as usize];
        here.timeout_at_ms = u64::MAX;
        (here.is_begun, here.is_submitted) = (false, false);
        (here.timeout_ms, here.heartbeat_ms) = (timeout_ms, heartbeat_ms);
        if work == ActivityWork::Handler {
            self.begin_timeouts(frame);
        }
        Ok(())
    }

    /// How this task is done, if it is an activity's.
    fn activity_work(&self, frame: u32, task: TaskId) -> ActivityWork {
        match (self.env.activities, &self.program.tasks[task].resource.kind) {
            (Some(work), ResourceKind::Activity) => work(self.state_id(frame), task),
            _ => ActivityWork::Handler,
        }
    }

    /// A worker has taken the task of an activity; from now on its timeout runs, and it has to send heartbeats.
    pub(super) fn task_started(&mut self, frame: u32, worker: Option<&str>) {
        let task = self.running_task(frame);
        if self.execution.frames[frame as usize].is_begun {
            // It was offered once more after a restart: its timeout keeps running.
            return;
        }
        let kind = kind(&self.program.tasks[task].resource.kind);
        self.chain(frame, EventKind::TaskStarted { task, kind, worker });
        self.begin_timeouts(frame);
    }

    /// A service has accepted the task's job, or passed its token on. That of a durable execution may do so again after
    /// a restart.
    pub(super) fn task_submitted(&mut self, frame: u32, response: Value) {
        let resource = &self.program.tasks[self.running_task(frame)].resource;
        if !resource.has_token || self.execution.frames[frame as usize].is_submitted {
            return;
        }
        self.execution.frames[frame as usize].is_submitted = true;
        let (task, kind) = (self.running_task(frame), kind(&resource.kind));
        self.chain(frame, EventKind::TaskSubmitted { task, kind, output: response });
    }

    /// The task has begun.
    fn begin_timeouts(&mut self, frame: u32) {
        let (token, now_ms) = (self.token(frame), self.env.now_ms);
        let here = &mut self.execution.frames[frame as usize];
        here.is_begun = true;
        if here.timeout_ms != UNLIMITED {
            here.timeout_at_ms = now_ms.saturating_add(here.timeout_ms);
            let at_ms = here.timeout_at_ms;
            self.env.effects.push(Effect::Timer { token, kind: TimerKind::Timeout, at_ms });
        }
        let here = &mut self.execution.frames[frame as usize];
        if here.heartbeat_ms == UNLIMITED {
            return;
        }
        here.due_at_ms = now_ms.saturating_add(here.heartbeat_ms);
        let at_ms = here.due_at_ms;
        self.env.effects.push(Effect::Timer { token, kind: TimerKind::Heartbeat, at_ms });
    }

    /// Recorded: parameters are checked before the task is scheduled.
    fn check_parameters(
        &mut self,
        frame: u32,
        operation: &Operation,
        parameters: Value,
    ) -> Result<(), StateError> {
        let arena = &self.execution.arena;
        self.charge(u64::from(arena.size(parameters)))?;
        let problems = check::task(operation, arena, parameters);
        if problems.is_empty() {
            return Ok(());
        }
        let problems: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        let text = format!(
            "The Parameters '{}' could not be used to start the Task: [{}]",
            crate::json::to_string(arena, parameters),
            problems.join(", ")
        );
        Err(self.runtime(frame, &text).into())
    }

    fn task_seconds(
        &mut self,
        frame: u32,
        seconds: Option<Seconds>,
        field: &str,
        input: Value,
    ) -> Result<Option<u64>, StateError> {
        let seconds = match seconds {
            None => return Ok(None),
            Some(Seconds::Literal(seconds)) => seconds,
            Some(Seconds::Expression(template)) => self.expression_seconds(frame, template, field)?,
            Some(Seconds::Path(path)) => {
                let value = self.path(frame, path, QueryInputs::of(input))?;
                match value.as_int().and_then(|seconds| u64::try_from(seconds).ok()) {
                    Some(seconds) if seconds > 0 => seconds,
                    _ => {
                        let found = super::wait::plain(&self.execution.arena, value);
                        let source = self.program.paths[path].source();
                        let text = format!(
                            "The {field}Path field refers to value \"{found}\" which is not a valid integer: {source}"
                        );
                        return Err(self.runtime(frame, &text).into());
                    }
                }
            }
        };
        Ok(Some(seconds))
    }

    /// The running task of a frame.
    fn running_task(&self, frame: u32) -> TaskId {
        match self.program.task_of(self.state(frame).kind) {
            Some(task) => task,
            None => unreachable!("only Task states, and distributed Maps, wait for a task"),
        }
    }

    /// The task of a frame has its answer.
    pub(super) fn task_over(&mut self, frame: u32, result: Result<Value, Fault>) {
        match result {
            result if matches!(self.state(frame).kind, StateKind::Map(_)) => self.map_run_over(frame, result),
            Ok(output) => self.task_succeeded(frame, output),
            Err(fault) => self.task_failed(frame, fault),
        }
    }

    fn task_succeeded(&mut self, frame: u32, output: Value) {
        let task = self.running_task(frame);
        self.end_task(frame);
        let resource = &self.program.tasks[task].resource;
        if self.execution.arena.size(output) > limits::PAYLOAD_BYTES_MAX {
            let name = match &resource.kind {
                ResourceKind::Service { service, .. } => service,
                _ => &resource.arn,
            };
            let fault = too_large(name);
            return self.tell_task_failed(frame, task, fault);
        }
        self.chain(frame, EventKind::TaskSucceeded { task, kind: kind(&resource.kind), output });
        if let Err(stop) = self.leave_with(frame, output) {
            self.stopped(frame, stop);
        }
        self.resume(frame);
    }

    fn task_failed(&mut self, frame: u32, fault: Fault) {
        let task = self.running_task(frame);
        self.end_task(frame);
        self.tell_task_failed(frame, task, fault);
    }

    fn tell_task_failed(&mut self, frame: u32, task: TaskId, fault: Fault) {
        let kind = kind(&self.program.tasks[task].resource.kind);
        let event_kind = match fault.error.as_deref() {
            Some(fault::TIMEOUT | fault::HEARTBEAT_TIMEOUT) => {
                EventKind::TaskTimedOut { task, kind, fault: &fault }
            }
            _ => EventKind::TaskFailed { task, kind, fault: &fault },
        };
        self.chain(frame, event_kind);
        self.failed(frame, fault);
        self.resume(frame);
    }

    pub(super) fn task_timer(&mut self, frame: u32, timer: TimerKind) {
        let here = &self.execution.frames[frame as usize];
        if timer == TimerKind::Heartbeat && self.env.now_ms < here.due_at_ms {
            let (token, at_ms) = (self.token(frame), here.due_at_ms);
            return self.env.effects.push(Effect::Timer { token, kind: timer, at_ms });
        }
        self.execution.frames[frame as usize].heartbeat_missed = timer == TimerKind::Heartbeat;
        if timer == TimerKind::Heartbeat
            && let StateKind::Task(task) = self.state(frame).kind
        {
            self.metric_event(MetricEvent::HeartbeatMissed { task });
        }
        // Recorded: a missing heartbeat is reported as a timeout; Retry and Catch match it by both names.
        self.task_failed(frame, Fault { error: Some(fault::TIMEOUT.into()), cause: None });
    }

    /// The task has its answer: what still runs for it is cancelled, later answers are ignored.
    fn end_task(&mut self, frame: u32) {
        let token = self.token(frame);
        self.env.effects.push(Effect::Cancel(token));
        self.execution.visits = self.execution.visits.wrapping_add(1);
        self.execution.frames[frame as usize].visit = self.execution.visits;
    }
}

pub(super) fn kind(kind: &ResourceKind) -> TaskKind {
    match kind {
        ResourceKind::Service { .. } => TaskKind::Service,
        ResourceKind::Activity => TaskKind::Activity,
        ResourceKind::Function | ResourceKind::MapRun | ResourceKind::Other => TaskKind::Function,
    }
}
