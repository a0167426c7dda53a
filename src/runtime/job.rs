//! Runs one execution until it parks, ends, or has to yield, and carries out its effects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;

use super::completion::StartIdentity;
use super::context::{Bug, ExecutionBuffer, GoesOn, Setting};
use super::drive::{self, Effects, Outside};
use super::errand;
use super::fiber::{Fiber, FiberTurn, Finished, Step};
use super::inbox::{HeartbeatFrom, ShardMessage, Shared};
use super::machine::{self, Version};
use super::map_run;
use super::pending::{FramePending, NO_TASK, PendingOps, TimerKey};
use super::shard::{Job, Shard};
use super::slab::Key;
use super::tasks::{self, Answer, Bill};
use super::wheel::TimerId;
use crate::engine::{ActivityWork, Event, Execution, TaskCall, TimerKind, Token, Turn};
use crate::fuel::{Cut, Fuel, SLICE};
use crate::json;
use crate::limits;
use crate::program::{Program, StateId, TaskId};
use crate::task::{self, AsyncHandler, Attempt, Call, TaskFuture, panics};

/// Transitions an execution may take before it yields: some 100 µs.
pub(super) const TRANSITIONS_PER_EXECUTION: u32 = 1_000;

/// What an execution is to do.
pub(super) enum Work {
    /// Handle an event.
    Event(Event),
    /// Continue where it was suspended, or end there.
    Resume(Box<Fiber>, Option<Cut>),
}

impl From<Event> for Work {
    fn from(event: Event) -> Work {
        Work::Event(event)
    }
}

/// How far it came.
pub(super) type Drove = Result<Turn, Stopped>;

/// Why a turn did not finish.
pub(super) enum Stopped {
    Suspended(Box<Fiber>),
    Bug,
}

/// What an event costs beside what the engine charges: fetching and storing the execution.
const EVENT_WORK: u64 = 200;

impl Shard {
    /// Runs an execution until it waits, is over, or has to yield.
    pub(super) fn drive(&mut self, job: &mut Job<'_>, work: Work) -> Drove {
        drive::drive(&mut OnShard { shard: self, job, left: TRANSITIONS_PER_EXECUTION }, work)
    }

    /// A turn that is short.
    fn advance(&mut self, job: &mut Job<'_>, event: Event, transitions_max: u32) -> Drove {
        let fuel = Fuel::new(SLICE, &GoesOn);
        let turn = {
            let (version, start_identity, shared) = (job.version, job.reply.start_identity(), &*self.shared);
            let activities = |state, task| activity_work(shared, version, start_identity, state, task);
            let setting = Setting {
                version,
                now_ms: self.now_ms,
                ahead_ms: self.ahead_ms,
                transitions_max,
                is_last_state: job.reply.completion().is_some_and(|it| it.is_last_state()),
                fuel: &fuel,
                shown: (shared.observability.as_deref(), usize::from(self.index)),
                random: shared.random,
                activities: Some(&activities),
            };
            setting.advance(&mut self.worker_scratch.turn_scratch, &mut job.buffer, event)
        };
        self.spend(job.flow, fuel.used() + EVENT_WORK);
        turn.map_err(|Bug| Stopped::Bug)
    }

    /// A turn that may be long, and be suspended then.
    fn advance_on_a_fiber(&mut self, job: &mut Job<'_>, event: Event, transitions_max: u32) -> Drove {
        let errand = FiberTurn {
            shared: Arc::clone(&self.shared),
            version: Arc::clone(job.version),
            reply: job.reply.clone(),
            buffer: std::mem::replace(&mut job.buffer, self.worker_scratch.buffer()),
            turn_scratch: self.worker_scratch.lend_turn_scratch(),
            event,
            now_ms: self.now_ms,
            ahead_ms: self.ahead_ms,
            transitions_max,
            stripe: usize::from(self.index),
        };
        match self.stacks.prepare(errand) {
            Ok(fiber) => {
                // As large as when it was suspended.
                let has_enough = self.shared.admission.has_enough(&job.version.usage, fiber.bytes());
                fiber.has_enough(has_enough);
                self.resume(job, fiber, None)
            }
            // Without a stack of its own, the turn runs to its end while the others wait.
            Err(errand) => {
                let finished = errand.run_with(&Fuel::new(SLICE, &GoesOn));
                self.look_at_clock(job.flow);
                self.take_back(job, finished)
            }
        }
    }

    /// Runs a turn slice after slice, as long as its machine has work left in this round.
    fn resume(&mut self, job: &mut Job<'_>, mut fiber: Fiber, cut: Option<Cut>) -> Drove {
        let slice = cut.map_or(Ok(SLICE), Err);
        let (is_counted, has_clock) = (fiber.is_counted, self.shared.time.passes());
        loop {
            match self.stacks.resume(fiber, slice, has_clock) {
                Step::Finished(finished, work) => {
                    self.spend(job.flow, work + EVENT_WORK);
                    self.look_at_clock(job.flow);
                    if is_counted {
                        self.turns.resumed(job.flow);
                    }
                    return self.take_back(job, finished);
                }
                Step::Suspended(mut suspended, work) => {
                    self.spend(job.flow, work);
                    suspended.ran(self.look_at_clock(job.flow));
                    if self.left <= 0 || self.turns.credit(job.flow) <= 0 {
                        return Err(Stopped::Suspended(Box::new(suspended)));
                    }
                    fiber = suspended;
                }
            }
        }
    }

    fn take_back(&mut self, job: &mut Job<'_>, finished: Finished) -> Drove {
        let spare = std::mem::replace(&mut job.buffer, finished.buffer);
        self.worker_scratch.put_back(spare);
        self.worker_scratch.return_kit(finished.turn_scratch);
        finished.turn.map_err(|Bug| Stopped::Bug)
    }

    fn key(&mut self, job: &mut Job<'_>) -> Key {
        *job.key.get_or_insert_with(|| self.reserve())
    }

    fn arm(&mut self, job: &mut Job<'_>, token: Token, kind: TimerKind, at_ms: u64) {
        let key = self.key(job);
        let timer = self.wheel.arm(at_ms, TimerKey::new(key.slot, token, kind));
        let place = usize::from(kind == TimerKind::Heartbeat);
        let before = std::mem::replace(&mut job.pending.frame(token.frame()).timers[place], timer);
        if before != TimerId::NONE {
            self.wheel.cancel(before);
        }
    }

    pub(super) fn disarm(&mut self, pending: FramePending, token: Option<u128>) {
        for timer in pending.timers {
            if timer != TimerId::NONE {
                self.wheel.cancel(timer);
            }
        }
        if pending.task != NO_TASK
            && let Some(timer) = self.tasks.cancel(pending.task)
        {
            self.wheel.cancel(timer);
        }
        if let Some(token) = token {
            // It was removed already if it was used.
            let _ = self.shared.waiting.take(token);
        }
    }

    /// Disarms the remaining operations of an execution that is over. The engine cancels those it knows, so some remain
    /// only after a bug.
    pub(super) fn disarm_all(&mut self, pending: &mut PendingOps, key: Key, bug: bool) {
        for pending in pending.take_all() {
            debug_assert!(bug, "an execution left {pending:?} behind");
            self.disarm(pending, None);
        }
        if bug {
            let place = self.place(key);
            self.shared.waiting.forget(|(other, ..)| *other == place);
        }
    }

    fn start_task(&mut self, job: &mut Job<'_>, call: &TaskCall) -> task::Answer {
        let version = job.version;
        let resource = &version.program.tasks[call.task].resource;
        let work = version.work(call.task);
        let waits = resource.waits_for_token;
        let durable = job.reply.start_identity().ledger().map(|ledger| ledger.id);
        if durable.is_some() && call.token.visit() > job.buffer.released {
            // It is started when this turn's record is durable.
            job.buffer.staged.push(*call);
            return task::Answer::Never;
        }
        let looked = |shard: &mut Shard| shard.look_whether_blocked(|_| resource.arn.to_string());
        if let Some(answer) = own_answer(job, call) {
            looked(self);
            return answer;
        }
        if resource.has_token || matches!(work, machine::Work::Activity) {
            let key = self.key(job);
            let number = job.buffer.execution.task_token(call.token);
            self.shared.waiting.insert(number, (self.place(key), call.token, durable));
            job.pending.frame(call.token.frame()).token = true;
        }
        match work {
            machine::Work::Missing => {
                let state = version.program.name(call.state);
                task::Answer::Now(Err(task::missing(&resource.arn, state, call.attempt)))
            }
            machine::Work::InLine(handler) => {
                let result = task::call(&**handler, &version.program, &mut job.buffer.execution, call);
                looked(self);
                match result {
                    Ok(response) if waits => task::Answer::Submitted(response, None),
                    result => task::Answer::Now(result),
                }
            }
            machine::Work::Async(handler) => {
                let answer = self.begin_async(job, call, &**handler, waits);
                looked(self);
                answer
            }
            machine::Work::MapRun(child) => {
                let begun = self.begin_map_run(job, call, child);
                self.spend(job.flow, errand::take_work());
                match begun {
                    Poll::Ready(answer) => task::Answer::Now(answer.and_then(|text| {
                        task::read_answer(&version.program, &mut job.buffer.execution, call.token, &text)
                    })),
                    Poll::Pending => task::Answer::Never,
                }
            }
            machine::Work::Activity => {
                let input =
                    job.buffer.execution.task_input(call.token).expect("the task is started in its visit");
                let input = json::to_string(&job.buffer.execution.arena, input).into_bytes();
                let number = job.buffer.execution.task_token(call.token);
                self.shared.waiting.offer(&resource.arn, number, input);
                task::Answer::Never
            }
        }
    }

    fn answer_later(&mut self, job: &mut Job<'_>, token: Token, milliseconds: u64, answer: Answer) {
        let key = self.key(job);
        let at_ms = self.now_ms.saturating_add(self.shared.start.scaled(milliseconds));
        let task = self.tasks.reserve(&self.remote);
        let timer = self.wheel.arm(at_ms, TimerKey::answer(task));
        self.tasks.keep_answer(task, answer, key, token, timer);
        job.pending.frame(token.frame()).task = task;
    }

    /// Begins a handler's task, and returns what is known of it then.
    fn begin_async(
        &mut self,
        job: &mut Job<'_>,
        call: &TaskCall,
        handler: &dyn AsyncHandler,
        waits: bool,
    ) -> task::Answer {
        let is_durable = job.reply.start_identity().ledger().is_some();
        let attempt = if handler.wants_attempt() || is_durable && handler.wants_key() {
            self.attempt(job, call)
        } else {
            Attempt::default()
        };
        let polled = self.begin_task(job, call, handler, attempt.clone(), waits);
        let submitted = attempt.take_submitted();
        let program = &job.version.program;
        let mut read = |text: &[u8]| task::read_answer(program, &mut job.buffer.execution, call.token, text);
        let (submitted, then) = match (polled, submitted) {
            (Poll::Ready(Ok(response)), _) if waits => (read(&response), None),
            (Poll::Ready(answer), None) => {
                return task::Answer::Now(answer.and_then(|text| read(&text)));
            }
            (Poll::Ready(answer), Some(response)) => (read(&response), Some((0, answer))),
            (Poll::Pending, Some(response)) => (read(&response), None),
            (Poll::Pending, None) => return task::Answer::Never,
        };
        match submitted {
            Ok(response) => task::Answer::Submitted(response, then),
            Err(fault) => task::Answer::Now(Err(fault)),
        }
    }

    /// Makes a handler's future, and polls it once.
    fn begin_task(
        &mut self,
        job: &mut Job<'_>,
        call: &TaskCall,
        handler: &dyn AsyncHandler,
        attempt: Attempt,
        waits: bool,
    ) -> Poll<Answer> {
        let program = &job.version.program;
        let input = job.buffer.execution.task_input(call.token).expect("the task is started in its visit");
        let begun = {
            let call = Call {
                resource: &program.tasks[call.task].resource.arn,
                state: program.name(call.state),
                attempt: call.attempt,
                input,
                arena: &mut job.buffer.execution.arena,
            };
            panics::guard(|| handler.begin(&call, attempt.clone()))
        };
        match begun {
            Ok(Ok(future)) => self.keep_task(job, call, future, attempt, waits),
            Ok(Err(error)) => Poll::Ready(Err(error.into())),
            Err(panic) => Poll::Ready(Err(tasks::told(panic))),
        }
    }

    /// Begins a distributed Map's Map Run.
    fn begin_map_run(&mut self, job: &mut Job<'_>, call: &TaskCall, child: &Arc<Version>) -> Poll<Answer> {
        let label = job.reply.start_identity().label.as_ref();
        let setup = map_run::Setup {
            engine: self.shared.engine.get().cloned().unwrap_or_else(Weak::new),
            keeper: self.shared.map_runs.clone(),
            time: Arc::clone(&self.shared.time),
            child: Arc::clone(child),
            parent: Arc::clone(job.version),
            tasks: label.and_then(|label| label.tasks.clone()),
            stores: Arc::clone(&self.shared.stores),
            now_ms: self.now_ms,
            ahead_ms: self.ahead_ms,
            durability: (job.reply.start_identity().ledger())
                .and_then(|ledger| Some((self.shared.durability.clone()?, ledger.place()))),
        };
        let future = Box::pin(map_run::begin(setup, &job.buffer.execution, call));
        self.keep_task(job, call, future, Attempt::default(), false)
    }

    /// Polls a task's future once, and keeps it if it is not done.
    fn keep_task(
        &mut self,
        job: &mut Job<'_>,
        call: &TaskCall,
        mut future: TaskFuture,
        attempt: Attempt,
        waits: bool,
    ) -> Poll<Answer> {
        let task = self.tasks.reserve(&self.remote);
        match self.tasks.poll_first(task, &mut future) {
            Poll::Ready(answer) => {
                self.tasks.release(task);
                match tasks::drop_future(future) {
                    Some(fault) => Poll::Ready(Err(fault)),
                    None => Poll::Ready(answer),
                }
            }
            Poll::Pending => {
                let key = self.key(job);
                let bill = Bill::of(&self.shared, &job.version.usage, &future);
                self.tasks.keep(task, (future, bill), key, call, attempt, waits);
                job.pending.frame(call.token.frame()).task = task;
                Poll::Pending
            }
        }
    }

    fn attempt(&mut self, job: &mut Job<'_>, call: &TaskCall) -> Attempt {
        let (key, token) = (self.key(job), call.token);
        let (remote, beats) = (Arc::clone(&self.remote), Arc::new(AtomicBool::new(false)));
        let execution = &job.buffer.execution;
        let timeout_ms = call.timeout_seconds.map(|seconds| seconds.saturating_mul(1_000));
        let timeout_ms = timeout_ms.map_or(u64::MAX, |timeout_ms| {
            self.now_ms.saturating_add(self.shared.start.scaled_limit(timeout_ms))
        });
        let has_token = job.version.program.tasks[call.task].resource.has_token;
        let execution_arn = execution.execution_arn();
        // Calls of the handler belong to the execution's trace, if that is traced, else to its parent's.
        let traced = job.buffer.watch.as_ref().and_then(|watch| watch.trace_header(&execution_arn));
        let given = job.reply.start_identity().label.as_ref().and_then(|label| label.trace_header.clone());
        let shared = task::Shared {
            execution_arn,
            state: job.version.program.name(call.state).to_owned(),
            retries: call.attempt,
            deadline_ms: execution.deadline_ms().min(timeout_ms).saturating_add_signed(self.ahead_ms),
            token: has_token.then(|| format!("{:032x}", execution.task_token(token))),
            trace_header: traced.map(Into::into).or(given),
            role_arn: task::role_arn(execution, token),
            recorded_visit: job.reply.start_identity().ledger().map(|_| token.visit()),
            cancelled: AtomicBool::new(false),
            heartbeat: Box::new(move || {
                if !beats.swap(true, Ordering::AcqRel) {
                    remote.send(ShardMessage::Heartbeat(
                        key,
                        token,
                        HeartbeatFrom::Handler(Arc::clone(&beats)),
                    ));
                }
            }),
            submitted: Mutex::default(),
        };
        Attempt { shared: Some(Arc::new(shared)) }
    }
}

/// A job on its shard.
struct OnShard<'s, 'j, 'v> {
    shard: &'s mut Shard,
    job: &'j mut Job<'v>,
    /// Transitions it may still take.
    left: u32,
}

impl Outside for OnShard<'_, '_, '_> {
    type Work = Work;
    type Stopped = Stopped;

    fn advance(&mut self, work: Work) -> Drove {
        let OnShard { shard, job, left } = self;
        let event = match work {
            Work::Event(event) => event,
            Work::Resume(fiber, cut) => return shard.resume(job, *fiber, cut),
        };
        let before = job.buffer.execution.transitions();
        let is_light = job.version.is_light && job.buffer.execution.arena.bytes() <= limits::LIGHT_BYTES_MAX;
        let drove = if is_light || ends(&event) {
            shard.advance(job, event, *left)
        } else {
            shard.advance_on_a_fiber(job, event, *left)
        };
        let taken = job.buffer.execution.transitions().saturating_sub(before);
        *left = left.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        drove
    }

    fn effects(&mut self) -> &mut Effects {
        &mut self.shard.worker_scratch.turn_scratch.effects
    }

    fn execution(&self) -> &Execution {
        &self.job.buffer.execution
    }

    fn start_task(&mut self, call: &TaskCall) -> task::Answer {
        self.shard.start_task(self.job, call)
    }

    fn answer_later(&mut self, token: Token, milliseconds: u64, answer: Answer) {
        self.shard.answer_later(self.job, token, milliseconds, answer);
    }

    fn arm(&mut self, token: Token, kind: TimerKind, at_ms: u64) {
        self.shard.arm(self.job, token, kind, at_ms);
    }

    fn cancel(&mut self, token: Token) {
        let pending = self.job.pending.take(token.frame());
        let number = pending.token.then(|| self.job.buffer.execution.task_token(token));
        self.shard.disarm(pending, number);
    }
}

/// Whether the event only ends the execution.
fn ends(event: &Event) -> bool {
    matches!(event, Event::Deadline | Event::Abort(_) | Event::Fail(_))
}

/// How a task of an activity is done.
pub(super) fn activity_work(
    shared: &Shared,
    version: &Version,
    start_identity: &StartIdentity,
    state: StateId,
    task: TaskId,
) -> ActivityWork {
    let stands_in =
        start_identity.label.as_ref().and_then(|label| label.tasks.as_ref()).is_some_and(|tasks| {
            // A panic in the user's code may have left it half done; that is the user's concern.
            let tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            panics::guard(|| tasks.answers(version.program.name(state))).unwrap_or(true)
        });
    match version.work(task) {
        machine::Work::Activity if !stands_in => {
            if (shared.has_activity)(&version.program.tasks[task].resource.arn) {
                ActivityWork::Worker
            } else {
                ActivityWork::Missing
            }
        }
        _ => ActivityWork::Handler,
    }
}

/// The answer of the execution's own tasks, if they answer this one.
fn own_answer(job: &mut Job<'_>, call: &TaskCall) -> Option<task::Answer> {
    let tasks = job.reply.start_identity().label.as_ref()?.tasks.as_ref()?;
    let program = &job.version.program;
    // A panic in the user's code may have left it half done; that is the user's concern.
    let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
    let execution = &mut job.buffer.execution;
    let asked = panics::guard(|| {
        tasks.answers(program.name(call.state)).then(|| tasks.start(program, execution, call))
    });
    asked.unwrap_or_else(|panic| Some(task::Answer::Now(Err(tasks::told(panic)))))
}

/// The event of a service's response, when it has accepted a task.
pub(super) fn submitted(
    program: &Program,
    buffer: &mut ExecutionBuffer,
    token: Token,
    response: &[u8],
) -> Event {
    if !buffer.execution.is_current(token) {
        return Event::Go;
    }
    match task::read_answer(program, &mut buffer.execution, token, response) {
        Ok(response) => Event::TaskSubmitted(token, response),
        Err(fault) => Event::TaskFailed(token, fault),
    }
}

/// The event of a task's answer.
pub(super) fn answered(
    program: &Program,
    buffer: &mut ExecutionBuffer,
    token: Token,
    answer: Answer,
) -> Event {
    if !buffer.execution.is_current(token) {
        // The waiter is gone.
        return Event::Go;
    }
    let result = answer.and_then(|text| task::read_answer(program, &mut buffer.execution, token, &text));
    drive::task_over(token, result)
}
