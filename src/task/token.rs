//! Tasks that are completed from outside: by a token, or by an activity's worker.
//!
//! A token names one attempt at one task. It is valid for one answer, and until the workflow no longer needs the task.
//! `P` is where the task waits, and is opaque here.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;

/// Why an answer to a task was refused (API reference, `SendTaskSuccess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is not a token.
    #[error("InvalidToken: the task token is malformed")]
    Invalid,
    /// No task waits for it: the task has its answer or has timed out, or there never was such a token.
    #[error("TaskTimedOut: no running task has this token")]
    Unknown,
}

/// Tokens of tasks that wait, and the activities whose tasks wait for a worker.
#[derive(Debug)]
pub struct Waiting<P> {
    /// Where tasks wait, and whether a heartbeat is on its way there.
    places: DashMap<u128, (P, bool)>,
    activities: DashMap<String, Arc<Activity>>,
}

impl<P: Copy> Default for Waiting<P> {
    fn default() -> Waiting<P> {
        Waiting { places: DashMap::new(), activities: DashMap::new() }
    }
}

/// Parses a token, as in the context object.
///
/// # Errors
/// When the token is malformed.
pub fn parse(token: &str) -> Result<u128, TokenError> {
    if token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u128::from_str_radix(token, 16).map_err(|_| TokenError::Invalid)
    } else {
        Err(TokenError::Invalid)
    }
}

impl<P: Copy> Waiting<P> {
    /// Makes `token` valid for one answer.
    pub fn insert(&self, token: u128, place: P) {
        self.places.insert(token, (place, false));
    }

    /// Whether a task waits for this token.
    pub fn knows(&self, token: u128) -> bool {
        self.places.contains_key(&token)
    }

    /// Where the task of this token waits; the token is used up.
    ///
    /// # Errors
    /// When no task waits for it.
    pub fn take(&self, token: u128) -> Result<P, TokenError> {
        self.places.remove(&token).map(|(_, (place, _))| place).ok_or(TokenError::Unknown)
    }

    /// The same, unless a heartbeat is on its way there, or no task waits for it.
    #[cfg(feature = "runtime")]
    pub(crate) fn take_idle(&self, token: u128) -> Option<P> {
        self.places.remove_if(&token, |_, (_, beats)| !*beats).map(|(_, (place, _))| place)
    }

    /// Where to deliver a heartbeat of this token's task. `None` when an earlier one was not [handled](Waiting::heard)
    /// yet: so heartbeats do not pile up, however many are sent.
    ///
    /// # Errors
    /// When no task waits for it.
    pub fn beat(&self, token: u128) -> Result<Option<P>, TokenError> {
        let mut waiting = self.places.get_mut(&token).ok_or(TokenError::Unknown)?;
        let (place, beats) = &mut *waiting;
        Ok((!std::mem::replace(beats, true)).then_some(*place))
    }

    /// A heartbeat for this token has reached its place.
    pub fn heard(&self, token: u128) {
        if let Some(mut waiting) = self.places.get_mut(&token) {
            waiting.1 = false;
        }
    }

    /// Drops the tokens of places. Visits all tokens.
    pub fn forget(&self, of: impl Fn(&P) -> bool) {
        self.places.retain(|_, (place, _)| !of(place));
    }

    /// The number of valid tokens.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no token is valid.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Offers a task to the workers of an activity; its token must be valid already.
    pub fn offer(&self, activity: &str, token: u128, input: Vec<u8>) {
        let activity = self.activity(activity);
        let mut queue = activity.lock();
        // Entries of tasks that no longer wait are swept out when they may be half of the queue: constant cost per
        // task.
        if queue.tasks.len() >= queue.sweep_at {
            queue.tasks.retain(|task| self.places.contains_key(&task.token));
            queue.sweep_at = 64.max(2 * queue.tasks.len());
        }
        queue.tasks.push_back(ActivityTask { token, input });
        let waker = queue.pollers.pop_front();
        drop(queue);
        if let Some((_, waker)) = waker {
            waker.wake();
        }
    }

    /// Waits for a task of an activity. Dropping the future cancels the wait without losing a task.
    pub fn poll_activity(self: &Arc<Self>, activity: &str) -> Poller<P> {
        Poller { waiting: Arc::clone(self), activity: self.activity(activity), number: None }
    }

    /// Waits until a task of an activity is there, and leaves it.
    #[cfg(feature = "service")]
    pub(crate) fn poll_ready(self: &Arc<Self>, activity: &str) -> impl Future<Output = ()> + Send + use<P>
    where
        P: Send + Sync + 'static,
    {
        let mut poller = self.poll_activity(activity);
        std::future::poll_fn(move |context| {
            if poller.is_ready() {
                // Dropping the poller wakes the next one, which finds the task if it is still there.
                return Poll::Ready(());
            }
            Pin::new(&mut poller).wait(context);
            Poll::Pending
        })
    }

    fn activity(&self, arn: &str) -> Arc<Activity> {
        if let Some(activity) = self.activities.get(arn) {
            return Arc::clone(&activity);
        }
        Arc::clone(&self.activities.entry(arn.to_owned()).or_default())
    }
}

/// A task for a worker (API reference, `GetActivityTask`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityTask {
    token: u128,
    /// The task's input, as JSON text.
    pub input: Vec<u8>,
}

impl ActivityTask {
    /// The token to answer with.
    pub fn token(&self) -> String {
        format!("{:032x}", self.token)
    }
}

#[derive(Debug, Default)]
struct Activity {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    tasks: VecDeque<ActivityTask>,
    pollers: VecDeque<(u64, Waker)>,
    /// The number of the last poller.
    numbers: u64,
    sweep_at: usize,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent between any two statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that waits for a task.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Poller<P> {
    waiting: Arc<Waiting<P>>,
    activity: Arc<Activity>,
    /// Its number among the pollers, once it waits.
    number: Option<u64>,
}

impl<P: Copy> Future for Poller<P> {
    /// The task, and where it waits.
    type Output = (ActivityTask, P);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(ActivityTask, P)> {
        let this = self.get_mut();
        let mut queue = this.activity.lock();
        if let Some(number) = this.number.take() {
            queue.pollers.retain(|(other, _)| *other != number);
        }
        while let Some(task) = queue.tasks.pop_front() {
            if let Some(waiting) = this.waiting.places.get(&task.token) {
                return Poll::Ready((task, waiting.0));
            }
        }
        queue.numbers += 1;
        let number = queue.numbers;
        queue.pollers.push_back((number, context.waker().clone()));
        drop(queue);
        this.number = Some(number);
        Poll::Pending
    }
}

impl<P: Copy> Poller<P> {
    /// Whether there is a task.
    #[cfg(feature = "service")]
    fn is_ready(&self) -> bool {
        let mut queue = self.activity.lock();
        while let Some(task) = queue.tasks.front() {
            if self.waiting.places.contains_key(&task.token) {
                return true;
            }
            queue.tasks.pop_front();
        }
        false
    }

    /// Waits for the next task, or the wake-up that another poller does not need.
    #[cfg(feature = "service")]
    fn wait(self: Pin<&mut Self>, context: &mut Context<'_>) {
        let this = self.get_mut();
        let mut queue = this.activity.lock();
        if let Some(number) = this.number.take() {
            queue.pollers.retain(|(other, _)| *other != number);
        }
        queue.numbers += 1;
        let number = queue.numbers;
        queue.pollers.push_back((number, context.waker().clone()));
        // A task that was added before the waker was registered has woken no poller.
        let has_come = !queue.tasks.is_empty();
        drop(queue);
        this.number = Some(number);
        if has_come {
            context.waker().wake_by_ref();
        }
    }
}

impl<P> Drop for Poller<P> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut queue = self.activity.lock();
        let waited = queue.pollers.len();
        queue.pollers.retain(|(other, _)| *other != number);
        // It was woken for a task that it will not take: wakes the next one.
        let next = if queue.pollers.len() == waited && !queue.tasks.is_empty() {
            queue.pollers.pop_front()
        } else {
            None
        };
        drop(queue);
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}
