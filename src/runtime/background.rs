//! Work of tasks that cannot be suspended is done by threads of their own: two of a lower priority, for all shards. They
//! begin with the first such work, and end when the engine is dropped. State machines have turns there: one piece of work
//! each. Under simulation, work is done where it is asked for.
//!
//! Shards never wait for a lock that such a thread holds, because others may keep it from running for long.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::admission::Usage;
use crate::fault::{self, Fault};
use crate::limits;
use crate::os;
use crate::task::panics;

const THREADS: usize = 2;

type Work = Box<dyn FnOnce() + Send>;

/// The threads.
#[derive(Debug, Default)]
pub(super) struct BackgroundThreads {
    /// Without them, work is done at once.
    has_threads: AtomicBool,
    /// What is to be done, and for which state machine; `None` before the first work. Only shards lock it.
    asking: Mutex<Option<Sender<(usize, Work)>>>,
}

/// The threads, for one state machine.
#[derive(Clone, Debug)]
pub(super) struct BackgroundQueue {
    threads: Arc<BackgroundThreads>,
    machine: usize,
}

impl BackgroundThreads {
    /// From now on there may be threads.
    pub(super) fn may_have_threads(&self) {
        self.has_threads.store(true, Ordering::Relaxed);
    }

    pub(super) fn queue_of(self: &Arc<BackgroundThreads>, machine: &Arc<Usage>) -> BackgroundQueue {
        BackgroundQueue { threads: Arc::clone(self), machine: Arc::as_ptr(machine) as usize }
    }

    fn give(&self, machine: usize, work: Work) -> io::Result<()> {
        if !self.has_threads.load(Ordering::Relaxed) {
            work();
            return Ok(());
        }
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &mut *asking {
            Some(sender) => sender,
            none => none.insert(start()?),
        };
        // The threads have the other end as long as there is this one.
        sender.send((machine, work)).map_err(|_| io::Error::other("they have ended"))
    }
}

/// Starts the threads.
fn start() -> io::Result<Sender<(usize, Work)>> {
    let (sender, asked) = mpsc::channel();
    let queue = Arc::new(Mutex::new(Queue { asked, turns: VecDeque::new(), works: HashMap::new() }));
    let spawn = |_| {
        let queue = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("expressway-background".to_owned());
        thread.stack_size(limits::STACK_BYTES).spawn(move || run(&queue)).map(drop)
    };
    // One is enough.
    let started: Vec<io::Result<()>> = (0..THREADS).map(spawn).collect();
    match started.into_iter().reduce(io::Result::or) {
        Some(Err(error)) => Err(error),
        _ => Ok(sender),
    }
}

fn run(queue: &Mutex<Queue>) {
    os::lower_priority();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(work) = next else { break };
        work();
    }
}

/// What is to be done.
struct Queue {
    asked: Receiver<(usize, Work)>,
    /// State machines whose work waits, in the order of their turns.
    turns: VecDeque<usize>,
    works: HashMap<usize, VecDeque<Work>>,
}

impl Queue {
    /// Waits for work; `None` when there will be no more.
    fn next(&mut self) -> Option<Work> {
        if self.turns.is_empty() {
            let asked = self.asked.recv().ok()?;
            self.put(asked);
        }
        while let Ok(asked) = self.asked.try_recv() {
            self.put(asked);
        }
        let machine = self.turns.pop_front()?;
        let works = self.works.get_mut(&machine)?;
        let work = works.pop_front();
        if works.is_empty() {
            self.works.remove(&machine);
        } else {
            self.turns.push_back(machine);
        }
        work
    }

    fn put(&mut self, (machine, work): (usize, Work)) {
        let works = self.works.entry(machine).or_default();
        if works.is_empty() {
            self.turns.push_back(machine);
        }
        works.push_back(work);
    }
}

impl BackgroundQueue {
    /// Queues work for the threads. It is skipped if its [`BackgroundWork`] was dropped before its turn.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<BackgroundWork<T>, Fault> {
        let (sender, done) = oneshot::channel();
        let work = move || {
            if !sender.is_closed()
                && let Ok(done) = panics::guard(work)
            {
                // Who waited for it may be gone.
                let _ = sender.send(done);
            }
        };
        self.threads.give(self.machine, Box::new(work)).map_err(|error| {
            let cause = format!("There is no thread for the items of the Map Run: {}", os::words(&error));
            Fault::new(fault::RUNTIME, cause)
        })?;
        Ok(BackgroundWork { done, queue: self.clone() })
    }

    /// Drops something there.
    pub(super) fn discard<T: Send + 'static>(&self, what: T) {
        // Without threads, it is dropped here.
        let _ = self.threads.give(self.machine, Box::new(move || drop(what)));
    }
}

/// Work that was given to the threads. What it comes to is dropped there, if it is not waited for.
pub(super) struct BackgroundWork<T: Send + 'static> {
    done: oneshot::Receiver<T>,
    queue: BackgroundQueue,
}

impl<T: Send + 'static> BackgroundWork<T> {
    /// What it came to; `None` if it panicked.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        std::pin::Pin::new(&mut self.done).poll(context).map(Result::ok)
    }
}

impl<T: Send + 'static> Drop for BackgroundWork<T> {
    fn drop(&mut self) {
        self.done.close();
        if let Ok(done) = self.done.try_recv() {
            self.queue.discard(done);
        }
    }
}

impl<T: Send + 'static> fmt::Debug for BackgroundWork<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundWork").finish_non_exhaustive()
    }
}

/// Something that takes long to drop: it is dropped by the other threads.
pub(super) struct DropsInBackground<T: Send + 'static> {
    content: Option<T>,
    queue: BackgroundQueue,
}

impl<T: Send + 'static> DropsInBackground<T> {
    pub(super) fn new(content: T, queue: &BackgroundQueue) -> DropsInBackground<T> {
        DropsInBackground { content: Some(content), queue: queue.clone() }
    }

    pub(super) fn take(mut self) -> T {
        let Some(content) = self.content.take() else { unreachable!("it is taken once") };
        content
    }
}

impl<T: Send + 'static> Drop for DropsInBackground<T> {
    fn drop(&mut self) {
        if let Some(content) = self.content.take() {
            self.queue.discard(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_turns() {
        let (sender, asked) = mpsc::channel();
        let mut queue = Queue { asked, turns: VecDeque::new(), works: HashMap::new() };
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |machine: usize, name: &'static str| {
            let done = Arc::clone(&done);
            let work: Work = Box::new(move || done.lock().expect("no panic").push(name));
            sender.send((machine, work)).expect("the queue is there");
        };
        ["a1", "a2", "a3"].iter().for_each(|name| note(1, name));
        note(2, "b1");
        queue.next().into_iter().for_each(|work| work());
        note(3, "c1");
        note(2, "b2");
        drop(sender);
        while let Some(work) = queue.next() {
            work();
        }
        assert_eq!(*done.lock().expect("no panic"), ["a1", "b1", "a2", "c1", "b2", "a3"]);
    }

    fn done<T: Send>(mut work: BackgroundWork<T>) -> Option<T> {
        pollster::block_on(std::future::poll_fn(move |context| work.poll(context)))
    }

    #[test]
    fn what_nobody_waits_for_is_not_done() {
        let background = Arc::new(BackgroundThreads::default());
        background.may_have_threads();
        let queue = background.queue_of(&Arc::default());
        // Both threads wait here, so that what comes behind has not begun.
        let gates: Vec<_> = (0..THREADS).map(|_| mpsc::channel::<()>()).collect();
        let (opens, gates): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let waits = gates.into_iter().map(|gate| queue.begin(move || gate.recv().is_ok()));
        let waits: Vec<_> = waits.collect::<Result<_, _>>().expect("threads");
        let is_done = Arc::new(AtomicBool::new(false));
        let sets = Arc::clone(&is_done);
        drop(queue.begin(move || sets.store(true, Ordering::SeqCst)).expect("threads"));
        opens.iter().for_each(|open| open.send(()).expect("it waits"));
        let last = queue.begin(|| 1).expect("threads");
        assert_eq!(done(last), Some(1));
        waits.into_iter().for_each(|waits| assert_eq!(done(waits), Some(true)));
        assert!(!is_done.load(Ordering::SeqCst));
        let panicked: BackgroundWork<()> = queue.begin(|| panic!("on purpose")).expect("threads");
        assert_eq!(done(panicked), None);
    }
}
