//! The thread that dispatches invocations to processes: for each function a queue, and the processes that take from it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::invocation::{QueuedInvocation, refusal};
use super::process;
use super::program::Program;
use super::setup::Setup;
use super::watchdog::Watchdog;
use crate::limits::{LAMBDA_WAITING_BYTES_MAX, LAMBDA_WAITING_MAX};

/// What all processes share.
pub(super) struct Host {
    pub(super) setup: Setup,
    pub(super) watchdog: Watchdog,
    functions: HashMap<String, Rc<Function>>,
    /// Becomes true when everything is to end.
    ending: watch::Receiver<bool>,
    /// Processes of all functions.
    processes: Cell<usize>,
    ended: Notify,
}

/// A function, its queue and its processes.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) program: Program,
    waiting: RefCell<VecDeque<QueuedInvocation>>,
    waiting_bytes: Cell<usize>,
    /// Notified when an invocation was queued.
    pub(super) arrived: Notify,
    processes: Cell<usize>,
    /// Idle ones, which will take an invocation from the queue first.
    pub(super) free: Cell<usize>,
}

impl Function {
    /// The invocation that waited longest, of those whose caller still waits.
    pub(super) fn take(&self) -> Option<QueuedInvocation> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(invocation) = waiting.pop_front() {
            self.waiting_bytes.set(self.waiting_bytes.get() - invocation.payload.len());
            if !invocation.is_unwanted() {
                return Some(invocation);
            }
        }
        None
    }

    /// Queues an invocation, unless there is no room.
    fn put(&self, invocation: QueuedInvocation) {
        let mut waiting = self.waiting.borrow_mut();
        let bytes = invocation.payload.len();
        let is_full = |waiting: &VecDeque<QueuedInvocation>| {
            waiting.len() >= LAMBDA_WAITING_MAX || self.waiting_bytes.get() + bytes > LAMBDA_WAITING_BYTES_MAX
        };
        if is_full(&waiting) {
            waiting.retain(|invocation| !invocation.is_unwanted());
            self.waiting_bytes.set(waiting.iter().map(|invocation| invocation.payload.len()).sum());
        }
        if is_full(&waiting) {
            let refused = refusal(429, "TooManyRequestsException", "Rate Exceeded.");
            return invocation.answer(Err(refused));
        }
        waiting.push_back(invocation);
        self.waiting_bytes.set(self.waiting_bytes.get() + bytes);
        self.arrived.notify_one();
    }

    fn waits(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Starts the thread; it ends when all senders are dropped, or when it is asked to.
pub(super) fn start(
    setup: Setup,
    invocations: mpsc::Receiver<QueuedInvocation>,
    ending: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let (started, starting) = sync_channel(1);
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let both = runtime.and_then(|runtime| Ok((runtime, Watchdog::start()?)));
        let (runtime, watchdog) = match both {
            Ok(both) => both,
            // The starter waits for this message.
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok(()));
        LocalSet::new().block_on(&runtime, work(setup, watchdog, invocations, ending));
    };
    let thread = thread::Builder::new().name("functions".into()).spawn(run)?;
    starting.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")))?;
    Ok(thread)
}

async fn work(
    setup: Setup,
    watchdog: Watchdog,
    mut invocations: mpsc::Receiver<QueuedInvocation>,
    mut ending: watch::Receiver<bool>,
) {
    let functions = setup.functions.iter().map(|(name, program)| {
        let function = Function {
            name: name.clone(),
            program: program.clone(),
            waiting: RefCell::default(),
            waiting_bytes: Cell::new(0),
            arrived: Notify::new(),
            processes: Cell::new(0),
            free: Cell::new(0),
        };
        (name.clone(), Rc::new(function))
    });
    let functions = functions.collect();
    let (processes, ended) = (Cell::new(0), Notify::new());
    let host = Rc::new(Host { functions, setup, watchdog, ending: ending.clone(), processes, ended });
    loop {
        let invocation = tokio::select! {
            invocation = invocations.recv() => invocation,
            () = is_over(&mut ending) => None,
        };
        let Some(invocation) = invocation else { break };
        if let Some(function) = host.functions.get(&invocation.function) {
            function.put(invocation);
            attend(&host, function);
        }
    }
    // Dropping waiting invocations answers them: the functions have ended.
    drop(invocations);
    while host.processes.get() > 0 {
        host.ended.notified().await;
    }
}

/// Waits until everything is to end.
pub(super) async fn is_over(ending: &mut watch::Receiver<bool>) {
    // Without a sender, no more requests can come.
    let _ = ending.wait_for(|&over| over).await;
}

/// Starts a process for an invocation without an idle one, if there may be one more.
fn attend(host: &Rc<Host>, function: &Rc<Function>) {
    let wanted = function.waits() > function.free.get();
    if !wanted || function.processes.get() >= host.setup.concurrency_max || *host.ending.borrow() {
        return;
    }
    let change = |count: &Cell<usize>, by: isize| count.set(count.get().saturating_add_signed(by));
    change(&host.processes, 1);
    change(&function.processes, 1);
    change(&function.free, 1);
    let (host, function) = (Rc::clone(host), Rc::clone(function));
    spawn_local(async move {
        process::live(&host, &function, host.ending.clone()).await;
        change(&function.processes, -1);
        change(&host.processes, -1);
        host.ended.notify_one();
        attend(&host, &function);
    });
}
