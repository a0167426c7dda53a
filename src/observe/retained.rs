//! Retained histories: a ring, bounded by bytes, of executions that failed, were slow, or are one in so many.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Event;
use crate::engine::Outcome;

/// Which histories are kept, and how many.
///
/// All executions are noted while they run, which is cheap; whether to keep one is decided at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Bytes of all histories together: half of them for executions that did not succeed, a quarter each for slow ones
    /// and for samples.
    pub bytes_max: usize,
    /// Bytes of one history; the oldest events of a longer one are left out.
    pub execution_bytes_max: usize,
    /// Whether all that did not succeed are kept.
    pub failures: bool,
    /// So many of the slowest executions of a machine are kept, of each minute.
    pub slowest: usize,
    /// One in so many is kept in any case; 0 for none.
    pub one_in: u64,
    /// One in so many executions is noted at all; all of them by default.
    pub noted_one_in: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            bytes_max: 64 << 20,
            execution_bytes_max: 1 << 20,
            failures: true,
            slowest: 10,
            one_in: 1_000,
            noted_one_in: 1,
        }
    }
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// `SUCCEEDED`
    Succeeded,
    /// `FAILED`
    Failed,
    /// `TIMED_OUT`
    TimedOut,
    /// `ABORTED`
    Aborted,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 4] = [Ending::Succeeded, Ending::Failed, Ending::TimedOut, Ending::Aborted];

    /// Of an outcome.
    pub fn of(outcome: &Outcome) -> Ending {
        match outcome {
            Outcome::Succeeded(_) => Ending::Succeeded,
            Outcome::Failed(_) => Ending::Failed,
            Outcome::TimedOut => Ending::TimedOut,
            Outcome::Aborted(_) => Ending::Aborted,
        }
    }

    /// The API's name, such as `TIMED_OUT`.
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Succeeded => "SUCCEEDED",
            Ending::Failed => "FAILED",
            Ending::TimedOut => "TIMED_OUT",
            Ending::Aborted => "ABORTED",
        }
    }
}

/// Why a history was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The execution did not succeed.
    Failure,
    /// It was among the slowest.
    Slow,
    /// It was one in so many.
    Sample,
}

/// The history of an execution that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Its ARN.
    pub execution_arn: Box<str>,
    /// The ARN of its state machine.
    pub state_machine_arn: Box<str>,
    /// How it ended.
    pub ending: Ending,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub stopped_ms: u64,
    /// Why its history was kept.
    pub reason: Reason,
    /// Its events, oldest first.
    pub events: Vec<Event>,
    /// How many of the oldest events did not fit.
    pub dropped: u64,
}

impl Recorded {
    fn bytes(&self) -> usize {
        let own = size_of::<Recorded>() + self.execution_arn.len() + self.state_machine_arn.len();
        own + self.events.iter().map(Event::bytes).sum::<usize>()
    }
}

/// A filter of the histories; nothing set means all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'q> {
    /// Of this state machine only.
    pub state_machine_arn: Option<&'q str>,
    /// Of those that ended like this.
    pub ending: Option<Ending>,
    /// Where an earlier [`Page`] ended.
    pub from: Option<u64>,
    /// How many at most; 100 if 0.
    pub most: usize,
}

/// A page of histories, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The histories.
    pub executions: Vec<Arc<Recorded>>,
    /// If there are more: where to [continue](Query::from).
    pub next: Option<u64>,
}

/// The histories of one engine.
#[derive(Debug, Default)]
pub(crate) struct RetainedHistories {
    inner: Mutex<Inner>,
    shares: [usize; 3],
}

#[derive(Debug, Default)]
struct Inner {
    /// By reason, oldest first, each with its number.
    kept: [VecDeque<(u64, Arc<Recorded>)>; 3],
    bytes: [usize; 3],
    by_arn: HashMap<Box<str>, Arc<Recorded>>,
    /// The number of the next.
    next: u64,
}

impl RetainedHistories {
    pub(crate) fn new(bytes_max: usize) -> RetainedHistories {
        RetainedHistories {
            shares: [bytes_max / 2, bytes_max / 4, bytes_max / 4],
            ..RetainedHistories::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, recorded: Recorded) {
        let (n, bytes) = (recorded.reason as usize, recorded.bytes());
        if bytes > self.shares[n] {
            return;
        }
        let recorded = Arc::new(recorded);
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.bytes[n] += bytes;
        inner.by_arn.insert(recorded.execution_arn.clone(), Arc::clone(&recorded));
        inner.kept[n].push_back((number, recorded));
        while inner.bytes[n] > self.shares[n] {
            let Some((_, oldest)) = inner.kept[n].pop_front() else { break };
            inner.bytes[n] -= oldest.bytes();
            // A later execution of the same name stays.
            if inner.by_arn.get(&oldest.execution_arn).is_some_and(|kept| Arc::ptr_eq(kept, &oldest)) {
                inner.by_arn.remove(&oldest.execution_arn);
            }
        }
    }

    pub(crate) fn get(&self, execution_arn: &str) -> Option<Arc<Recorded>> {
        self.lock().by_arn.get(execution_arn).cloned()
    }

    /// How many histories there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.kept.iter().map(VecDeque::len).sum(), inner.bytes.iter().sum())
    }

    pub(crate) fn find(&self, query: &Query<'_>) -> Page {
        let most = if query.most == 0 { 100 } else { query.most };
        let before = query.from.unwrap_or(u64::MAX);
        let wanted = |recorded: &Recorded| {
            query.state_machine_arn.is_none_or(|arn| *recorded.state_machine_arn == *arn)
                && query.ending.is_none_or(|ending| recorded.ending == ending)
        };
        let inner = self.lock();
        let mut rows = (inner.kept.each_ref())
            .map(|kept| kept.iter().rev().filter(|row| row.0 < before && wanted(&row.1)).peekable());
        let mut page = Page::default();
        let mut last = before;
        loop {
            let newest = (0..rows.len()).max_by_key(|&n| rows[n].peek().map_or(0, |row| row.0 + 1));
            let Some((number, recorded)) = newest.and_then(|n| rows[n].next()) else { return page };
            if page.executions.len() == most {
                page.next = Some(last);
                return page;
            }
            last = *number;
            page.executions.push(Arc::clone(recorded));
        }
    }
}
