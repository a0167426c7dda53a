//! Slow operations run on separate threads: checking and compiling definitions, testing states, searching lists,
//! reading large bodies. The threads that serve connections continue meanwhile, and the separate ones have a lower
//! priority.
//!
//! Each kind has its own threads: testing a state may compute for seconds, and compiling a definition takes
//! milliseconds.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::api::{self, Call, Reply};
use crate::os;
use crate::service::Service;

/// The number of threads of each kind. Tests that compute at the same time need a thread each, because they do not
/// yield to each other.
const THREADS: [usize; 4] = [1, 6, 1, 2];
const DEFINITIONS: usize = 0;
const TESTS: usize = 1;
const LISTS: usize = 2;
const BODIES: usize = 3;

/// Bytes of a body that is read on its connection's thread.
const BODY_BYTES_MAX: usize = 128 << 10;

/// Jobs that may wait for one thread.
const WAITING_MAX: usize = 4_096;

/// The threads.
#[derive(Debug)]
pub(super) struct BackgroundThreads {
    kinds: [Box<[Thread]>; 4],
}

#[derive(Debug)]
struct Thread {
    jobs: mpsc::UnboundedSender<Revocable<Job>>,
    /// Jobs that are not done yet.
    left: Arc<AtomicUsize>,
}

struct Job {
    service: Service,
    target: String,
    trace_header: Option<String>,
    body: Bytes,
    answer: oneshot::Sender<Reply>,
}

/// Something that waits for another thread. It is dropped at once when its sender is: what clients sent and no longer
/// wait for takes no memory.
#[derive(Debug)]
pub(super) struct Revocable<T>(Arc<Mutex<Option<T>>>);

/// The sender's half of a [`Revocable`].
#[derive(Debug)]
pub(super) struct Sender<T>(Arc<Mutex<Option<T>>>);

impl<T> Revocable<T> {
    pub(super) fn new(content: T) -> (Sender<T>, Revocable<T>) {
        let content = Arc::new(Mutex::new(Some(content)));
        (Sender(Arc::clone(&content)), Revocable(content))
    }

    /// What is in it, unless its sender is gone.
    pub(super) fn open(self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The threads for a call, if it is slow.
fn kind(call: Call<'_>) -> Option<usize> {
    if call.target == api::START_SYNC_EXECUTION && call.body.len() <= BODY_BYTES_MAX {
        return None;
    }
    match call.target.rsplit('.').next()? {
        "CreateStateMachine" | "UpdateStateMachine" | "ValidateStateMachineDefinition" | "Follow" => {
            Some(DEFINITIONS)
        }
        "TestState" => Some(TESTS),
        "ListExecutions" | "ListStateMachines" | "GetExecutionHistory" => Some(LISTS),
        _ if call.body.len() > BODY_BYTES_MAX => Some(BODIES),
        _ => None,
    }
}

/// Whether a call is slow.
pub(super) fn is_long(call: Call<'_>) -> bool {
    kind(call).is_some()
}

impl BackgroundThreads {
    pub(super) fn start() -> io::Result<BackgroundThreads> {
        let kind = |threads: usize| (0..threads).map(|_| Thread::start()).collect::<io::Result<_>>();
        let [definitions, tests, lists, bodies] = THREADS.map(kind);
        Ok(BackgroundThreads { kinds: [definitions?, tests?, lists?, bodies?] })
    }

    /// Answers a call that [is slow](is_long). When this is dropped, computation for it stops.
    pub(super) async fn answer(&self, service: &Service, call: Call<'_>, body: &Bytes) -> Option<Reply> {
        let threads = &self.kinds[kind(call)?];
        let thread = threads.iter().min_by_key(|thread| thread.left.load(Ordering::Relaxed))?;
        if thread.left.load(Ordering::Relaxed) >= WAITING_MAX {
            return Some(too_many());
        }
        let departure = Departure(Arc::default());
        let (answer, answered) = oneshot::channel();
        let job = Job {
            service: service.until(Arc::clone(&departure.0)),
            target: call.target.to_owned(),
            trace_header: call.trace_header.map(str::to_owned),
            body: body.clone(),
            answer,
        };
        let (_sender, revocable) = Revocable::new(job);
        thread.left.fetch_add(1, Ordering::Relaxed);
        thread.jobs.send(revocable).ok()?;
        answered.await.ok()
    }
}

/// Marks on drop that the caller no longer waits.
struct Departure(Arc<AtomicBool>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Thread {
    fn start() -> io::Result<Thread> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let left = Arc::new(AtomicUsize::new(0));
        let own = Arc::clone(&left);
        std::thread::Builder::new()
            .name("http-background".into())
            .stack_size(crate::limits::STACK_BYTES)
            .spawn(move || run(waiting, own))?;
        Ok(Thread { jobs, left })
    }
}

fn run(mut waiting: mpsc::UnboundedReceiver<Revocable<Job>>, left: Arc<AtomicUsize>) {
    os::lower_priority();
    let runtime = Builder::new_current_thread().enable_time().build_local(LocalOptions::default());
    let all = async {
        while let Some(revocable) = waiting.recv().await {
            let left = Left(Arc::clone(&left));
            let Some(job) = revocable.open() else { continue };
            // A job that waits for a task lets other jobs use the thread.
            spawn_local(async move {
                let _left = left;
                job.run().await;
            });
            tokio::task::yield_now().await;
        }
    };
    // Without a runtime no job is answered, and callers get an error.
    if let Ok(runtime) = runtime {
        runtime.block_on(all);
    }
}

/// Decrements the number of jobs, however the job ends.
struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Job {
    async fn run(self) {
        let Job { service, target, trace_header, body, mut answer } = self;
        let call = Call { target: &target, trace_header: trace_header.as_deref(), body: &body };
        let mut answering = std::pin::pin!(api::answer(&service, call));
        let reply = std::future::poll_fn(|context| {
            // The caller has gone away: the operation is dropped.
            if answer.poll_closed(context).is_ready() {
                return std::task::Poll::Ready(None);
            }
            answering.as_mut().poll(context).map(Some)
        });
        if let Some(reply) = reply.await {
            // The caller may be gone.
            let _ = answer.send(reply);
        }
    }
}

/// The answer when too many wait for a thread.
fn too_many() -> Reply {
    Reply {
        status: 503,
        body: br#"{"__type":"ServiceUnavailableException","message":"Too many requests of this kind are waiting"}"#
            .to_vec(),
        error: Some("ServiceUnavailableException".into()),
        retry_after_ms: Some(1_000),
    }
}

/// The answer when the thread has ended.
pub(super) fn the_end() -> Reply {
    Reply {
        status: 503,
        body: br#"{"__type":"ServiceUnavailableException","message":"The server ends"}"#.to_vec(),
        error: Some("ServiceUnavailableException".into()),
        retry_after_ms: None,
    }
}
