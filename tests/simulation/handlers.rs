//! The actions of handlers and workers, and their times.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use expressway::task::{Attempt, TaskError};
use serde_json::{Value as Json, json};

use super::chance::Chance;
use super::machines::{ACTIVITY, CALLBACK, FUNCTION};
use super::reference::Failure;

/// A task's result and its delay in milliseconds; `None`: it never ends.
pub(crate) type Course = Option<(u64, Result<Json, Failure>)>;

/// The result of a call only depends on the call, so that the reference can compute it as well. A worker of an activity
/// only knows the input.
pub(crate) fn behaviour(seed: u64, resource: &str, state: &str, retries: u64, input: &Json) -> Course {
    let (state, retries) = if resource == ACTIVITY { ("", 0) } else { (state, retries) };
    // The order of an input's members depends on the engine.
    let mut input = input.clone();
    input.sort_all_objects();
    let text = format!("{seed} {resource} {state} {retries} {input}");
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let mut chance = Chance::new(hash);
    // No whole seconds, which is what timers fire at.
    let after_ms = if chance.one_in(3) { 0 } else { 1 + 1_000 * chance.below(5) + chance.below(998) };
    let items: Vec<Json> = (0..chance.below(4)).map(|n| json!({"n": n, "l": []})).collect();
    let result = match chance.below(16) {
        0 | 1 => Err(Failure::new("E1", "first")),
        2 => Err(Failure::new("E2", "second")),
        3 if resource == FUNCTION => Err(Failure::new("States.TaskFailed", "The handler panicked: boom")),
        4 if retries == 0 => return None,
        5 if resource == FUNCTION => {
            let what = format!("The state/task '{FUNCTION}' returned a result with a size exceeding");
            let cause = format!("{what} the maximum number of bytes service limit.");
            Err(Failure::new("States.DataLimitExceeded", cause))
        }
        _ => Ok(json!({"n": chance.below(10), "l": items, "by": resource.len()})),
    };
    Some((after_ms, result))
}

/// Actions that are due at a virtual time.
#[derive(Default)]
pub(crate) struct Alarms {
    pub(crate) now_ms: u64,
    count: u64,
    waiting: BTreeMap<(u64, u64), Alarm>,
    /// Tokens whose tasks are not answered.
    pub(crate) silent: Vec<String>,
}

enum Alarm {
    Wake(Waker),
    Answer(String, Result<Json, Failure>),
}

/// An answer to a task that is done from outside.
pub(crate) type Answer = (String, Result<Json, Failure>);

impl Alarms {
    fn set(&mut self, at_ms: u64, alarm: Alarm) {
        self.count += 1;
        self.waiting.insert((at_ms, self.count), alarm);
    }

    /// The task of a token was started.
    pub(crate) fn take_on(&mut self, token: String, course: Course) {
        match course {
            Some((after_ms, result)) => self.set(self.now_ms + after_ms, Alarm::Answer(token, result)),
            None => self.silent.push(token),
        }
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Wakes the handlers that are due. Returns the answers that are due.
    pub(crate) fn fire(this: &Mutex<Alarms>) -> Vec<Answer> {
        let mut alarms = this.lock().unwrap();
        let after = (alarms.now_ms + 1, 0);
        let later = alarms.waiting.split_off(&after);
        let due = std::mem::replace(&mut alarms.waiting, later);
        drop(alarms);
        let mut answers = Vec::new();
        for alarm in due.into_values() {
            match alarm {
                Alarm::Wake(waker) => waker.wake(),
                Alarm::Answer(token, result) => answers.push((token, result)),
            }
        }
        answers
    }
}

pub(crate) type Shared = Arc<Mutex<Alarms>>;

struct Until(Shared, Option<u64>);

impl Future for Until {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarms = self.0.lock().unwrap();
        let Some(at_ms) = self.1 else { return Poll::Pending };
        if alarms.now_ms >= at_ms {
            return Poll::Ready(());
        }
        alarms.set(at_ms, Alarm::Wake(context.waker().clone()));
        Poll::Pending
    }
}

/// Does a task itself.
pub(crate) async fn handle(
    seed: u64,
    alarms: Shared,
    input: Json,
    attempt: Attempt,
) -> Result<Json, TaskError> {
    assert!(!attempt.is_cancelled());
    let course = behaviour(seed, FUNCTION, attempt.state(), u64::from(attempt.retries()), &input);
    let Some((after_ms, result)) = course else {
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

/// Passes a task on, to be answered with the token.
pub(crate) async fn hand_over(
    seed: u64,
    alarms: Shared,
    message: Json,
    attempt: Attempt,
) -> Result<(), TaskError> {
    let token = message["token"].as_str().unwrap_or_default().to_owned();
    assert_eq!(attempt.task_token(), Some(&*token));
    let retries = u64::from(attempt.retries());
    let course = behaviour(seed, CALLBACK, attempt.state(), retries, &message["input"]);
    alarms.lock().unwrap().take_on(token, course);
    Ok(())
}
