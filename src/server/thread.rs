//! Server threads: each serves its own connections, counts its own seconds, and ends in order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_local};

use super::connection;
use super::counters::{Counters, Counts};
use super::identifier::Identifiers;
use super::watch::{Tick, Watch};
use super::wire::Outbox;
use super::{Auth, Config, Limits, Place, Tls};
use crate::hosts::Hosts;
use crate::service::Service;

/// What all threads of a server see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) tls: Option<Tls>,
    pub(super) auth: Option<Auth>,
    pub(super) origins: Vec<String>,
    pub(super) hosts: Hosts,
    pub(super) place: Place,
    pub(super) ready: AtomicBool,
    /// By thread: what it counts, and how many connections it has.
    desks: Box<[CachePadded<Desk>]>,
}

#[derive(Debug, Default)]
struct Desk {
    counters: Counters,
    open: AtomicUsize,
}

impl Shared {
    pub(super) fn new(config: &Config) -> Shared {
        let desks = (0..config.threads.max(1)).map(|_| CachePadded::default()).collect();
        let Config { limits, tls, auth, origins, place, .. } = config.clone();
        let hosts = Hosts::new(config.listen.ip(), &config.hosts);
        Shared { limits, tls, auth, origins, hosts, place, ready: false.into(), desks }
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for desk in &self.desks {
            counts.add(&desk.counters);
        }
        counts
    }

    fn open(&self) -> usize {
        self.desks.iter().map(|desk| desk.open.load(Ordering::Relaxed)).sum()
    }

    /// The thread with the fewest connections.
    fn idlest(&self) -> usize {
        let open = |&index: &usize| self.desks[index].open.load(Ordering::Relaxed);
        (0..self.desks.len()).min_by_key(open).unwrap_or_default()
    }
}

/// What is told to a thread.
enum Mail {
    /// A connection to serve.
    Connection(std::net::TcpStream),
    /// To finish what is under way within this time.
    Drain(Duration),
}

/// Connections of all threads are limited in number, so these channels are as well.
type Senders = Vec<mpsc::UnboundedSender<Mail>>;

/// A server thread, as the one sees it who started it.
#[derive(Debug)]
pub(super) struct Joined {
    mail: mpsc::UnboundedSender<Mail>,
    handle: std::thread::JoinHandle<(usize, usize)>,
}

impl Joined {
    pub(super) fn drain(&self, within: Duration) {
        // A thread that is gone needs no telling.
        let _ = self.mail.send(Mail::Drain(within));
    }

    /// Waits for its end. How many connections ended in order since it was told to, and how many were cut.
    pub(super) fn join(self) -> (usize, usize) {
        self.handle.join().unwrap_or_default()
    }
}

/// Starts the threads; the first one gets the listener as well.
pub(super) fn start(
    shared: &Arc<Shared>,
    listener: TcpListener,
    service: &Service,
) -> io::Result<Vec<Joined>> {
    let (senders, receivers): (Senders, Vec<_>) =
        (0..shared.desks.len()).map(|_| mpsc::unbounded_channel()).unzip();
    let mut listener = Some(listener);
    let mut threads = Vec::with_capacity(senders.len());
    for (index, receiver) in receivers.into_iter().enumerate() {
        let door = listener.take().map(|listener| (listener, senders.clone()));
        let (shared, service) = (Arc::clone(shared), service.clone());
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        let body = move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return (0, 0);
                }
            };
            let _ = started.send(Ok(()));
            let local = Rc::new(Local::new(shared, index, service));
            runtime.block_on(local.run(door, receiver))
        };
        let handle = std::thread::Builder::new().name(format!("http-{index}")).spawn(body)?;
        starting.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
        threads.push(Joined { mail: senders[index].clone(), handle });
    }
    Ok(threads)
}

/// What one thread has for its connections.
pub(super) struct Local {
    pub(super) shared: Arc<Shared>,
    pub(super) service: Service,
    pub(super) identifiers: Identifiers,
    pub(super) http: auto::Builder<LocalExecutor>,
    /// What the connections have to say.
    pub(super) outbox: Rc<Outbox>,
    index: usize,
    now: Rc<Cell<Tick>>,
    draining: Cell<bool>,
    /// Told when the thread begins to drain.
    pub(super) drain: Notify,
    /// Told when a connection ends.
    ended: Notify,
    open: RefCell<BTreeMap<u64, Rc<Watch>>>,
}

/// Runs what HTTP/2 has to run beside its connections, on the same thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}

impl Local {
    fn new(shared: Arc<Shared>, index: usize, service: Service) -> Local {
        let http = connection::http(&shared.limits);
        Local {
            shared,
            service,
            identifiers: Identifiers::new(),
            http,
            outbox: Rc::default(),
            index,
            now: Rc::new(Cell::new(1)),
            draining: Cell::default(),
            drain: Notify::new(),
            ended: Notify::new(),
            open: RefCell::default(),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.desks[self.index].counters
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    async fn run(
        self: Rc<Local>,
        door: Option<(TcpListener, Senders)>,
        mut mail: mpsc::UnboundedReceiver<Mail>,
    ) -> (usize, usize) {
        spawn_local(Rc::clone(&self).tick());
        let outbox = Rc::clone(&self.outbox);
        spawn_local(poll_fn(move |context| {
            outbox.poll(context);
            Poll::<()>::Pending
        }));
        let mut accepting: Option<AbortHandle> = None;
        if let Some((listener, senders)) = door {
            accepting = Some(spawn_local(Rc::clone(&self).accept(listener, senders)).abort_handle());
        }
        while let Some(mail) = mail.recv().await {
            match mail {
                Mail::Connection(stream) => match TcpStream::from_std(stream) {
                    Ok(stream) => self.welcome(stream),
                    Err(_) => self.leave(None),
                },
                Mail::Drain(within) => {
                    if let Some(accepting) = accepting {
                        accepting.abort();
                    }
                    return self.end(within).await;
                }
            }
        }
        (0, 0)
    }

    /// Counts seconds, and cuts connections that are overdue.
    async fn tick(self: Rc<Local>) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        interval.tick().await;
        loop {
            interval.tick().await;
            self.now.set(self.now.get() + 1);
            for watch in self.open.borrow().values() {
                if watch.is_overdue(&self.shared.limits) && !watch.is_cut() {
                    self.counters().connections_cut.add(1);
                    watch.cut();
                }
            }
        }
    }

    async fn accept(self: Rc<Local>, listener: TcpListener, senders: Senders) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // A client that is gone already, or no more file descriptors: those come back when connections end.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            if self.shared.open() >= self.shared.limits.connections_max {
                self.counters().connections_refused.add(1);
                if self.shared.tls.is_none() {
                    // As much as fits at once: who is one too many is not waited for.
                    let _ = stream.try_write(connection::TOO_MANY);
                }
                continue;
            }
            let index = self.shared.idlest();
            self.shared.desks[index].open.fetch_add(1, Ordering::Relaxed);
            if index == self.index {
                self.welcome(stream);
            } else if let Ok(stream) = stream.into_std() {
                let _ = senders[index].send(Mail::Connection(stream));
            } else {
                self.shared.desks[index].open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn welcome(self: &Rc<Local>, stream: TcpStream) {
        let counters = self.counters();
        counters.connections.add(1);
        let number = counters.connections.get();
        let watch = Rc::new(Watch::new(&self.now));
        self.open.borrow_mut().insert(number, Rc::clone(&watch));
        let local = Rc::clone(self);
        spawn_local(async move {
            let _leave = Leave(&local, number);
            connection::serve(&local, watch, stream).await;
        });
    }

    fn leave(&self, number: Option<u64>) {
        self.shared.desks[self.index].open.fetch_sub(1, Ordering::Relaxed);
        if let Some(number) = number {
            self.counters().connections_closed.add(1);
            self.open.borrow_mut().remove(&number);
            self.ended.notify_one();
        }
    }

    /// Lets the connections finish what they do.
    async fn end(&self, within: Duration) -> (usize, usize) {
        let before = self.open.borrow().len();
        self.draining.set(true);
        self.drain.notify_waiters();
        self.for_all(Watch::wake);
        let _ = tokio::time::timeout(within, self.emptied()).await;
        let cut = self.open.borrow().len();
        self.for_all(Watch::cut);
        // Those that were cut end as soon as they are polled.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.emptied()).await;
        (before.saturating_sub(cut), cut)
    }

    fn for_all(&self, tell: impl Fn(&Watch)) {
        for watch in self.open.borrow().values() {
            tell(watch);
        }
    }

    async fn emptied(&self) {
        while !self.open.borrow().is_empty() {
            self.ended.notified().await;
        }
    }
}

/// Takes a connection off the list, however it ends.
struct Leave<'a>(&'a Local, u64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.leave(Some(self.1));
    }
}
