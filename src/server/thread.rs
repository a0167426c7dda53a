//! Server threads: each serves its own connections, has its own counters, and ends in order.
//!
//! One more, the *acceptor*, accepts connections and keeps those that begin with a GET: `/health`, `/ready` and
//! `/metrics` are answered there. It runs no workflow and reads no definition; an operation on one of its connections
//! is done by another thread.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_utils::CachePadded;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local};

use super::background::{self, BackgroundThreads};
use super::connection;
use super::connection_timeouts::{Tick, Watch};
use super::connection_turns::{Busy, Turns};
use super::counters::{Counters, Counts};
use super::descriptors::Reserve;
use super::output_buffer::Outbox;
use super::request_id::RequestIds;
use super::{Auth, Config, Limits, Place, Tls};
use crate::api::{self, Call, Reply};
use crate::hosts::Hosts;
use crate::memory::{Charge, Share};
use crate::service::Service;

/// Turns of connections after which a thread looks which others have something to read.
pub(super) const TURNS_UNOBSERVED: u32 = 16;
/// New connections that a thread begins to serve before it looks at the others: they take about a turn's time.
const WELCOMED_TOGETHER: u32 = 16;
/// Bytes of untaken responses for which a connection may be cut to make room.
const HELD_BYTES_MIN: usize = 32 << 10;
/// The interval between two searches for such connections, when there were too few.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(10);

/// State shared by all threads of a server.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) tls: Option<Tls>,
    pub(super) auth: Option<Auth>,
    pub(super) origins: Vec<String>,
    pub(super) hosts: Hosts,
    pub(super) hop_secret: Option<String>,
    /// The memory of requests and responses.
    pub(super) requests: Arc<Share>,
    /// Bytes of responses of connections that are cut, and not freed yet.
    going: Arc<AtomicUsize>,
    /// Serializes requests for metrics.
    pub(super) scrapes: Mutex<()>,
    pub(super) place: Place,
    pub(super) scope_from_credentials: bool,
    pub(super) testing: bool,
    pub(super) background: BackgroundThreads,
    #[cfg(feature = "console")]
    pub(super) console: Option<super::console::ConsoleThreads>,
    pub(super) ready: AtomicBool,
    /// By thread, that of the acceptor last: its counters, and its number of connections.
    thread_stats: Box<[CachePadded<ThreadStats>]>,
}

#[derive(Debug, Default)]
struct ThreadStats {
    counters: Counters,
    open: AtomicUsize,
}

impl Shared {
    pub(super) fn new(config: &Config) -> io::Result<Shared> {
        let thread_stats = (0..=config.threads.max(1)).map(|_| CachePadded::default()).collect();
        let Config { limits, tls, auth, origins, place, scope_from_credentials, testing, .. } =
            config.clone();
        let hosts = Hosts::new(config.listen.ip(), &config.hosts);
        let requests = Share::with_reserve(limits.requests_bytes_max, limits.requests_bytes_max / 4);
        #[cfg(feature = "console")]
        let console = config.console.clone().map(super::console::ConsoleThreads::start).transpose()?;
        Ok(Shared {
            limits,
            tls,
            auth,
            origins,
            hosts,
            hop_secret: config.hop_secret.clone(),
            requests,
            going: Arc::default(),
            scrapes: Mutex::new(()),
            place,
            scope_from_credentials,
            testing,
            background: BackgroundThreads::start()?,
            #[cfg(feature = "console")]
            console,
            ready: false.into(),
            thread_stats,
        })
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for thread_stats in &self.thread_stats {
            counts.add(&thread_stats.counters);
        }
        counts.memory_refused = self.requests.refused();
        counts.memory_bytes = self.requests.used() as u64;
        counts
    }

    fn open(&self) -> usize {
        self.thread_stats.iter().map(|thread_stats| thread_stats.open.load(Ordering::Relaxed)).sum()
    }

    /// The number of the acceptor's thread.
    fn acceptor(&self) -> usize {
        self.thread_stats.len() - 1
    }

    /// The thread with the fewest connections, without the acceptor.
    fn least_loaded(&self) -> usize {
        let open = |&index: &usize| self.thread_stats[index].open.load(Ordering::Relaxed);
        (0..self.acceptor()).min_by_key(open).unwrap_or_default()
    }
}

/// A message between threads.
enum ThreadMessage {
    /// A connection to serve.
    Connection(std::net::TcpStream),
    /// An operation to do for the acceptor.
    Call(Box<Forwarded>),
    /// Accept no more connections, and confirm that.
    StopListening(std::sync::mpsc::SyncSender<()>),
    /// Finish what is under way within this time.
    Drain(Duration),
}

/// An operation that the acceptor received.
struct Forwarded {
    service: Service,
    target: String,
    trace_header: Option<String>,
    body: Bytes,
    /// What its connection used of the time of threads.
    used_ns: u64,
    /// The reply, and what the connection used then.
    answer: oneshot::Sender<(Reply, u64)>,
}

/// Connections of all threads are limited in number, and each has one call under way, so these channels are as well.
type Senders = Vec<mpsc::UnboundedSender<ThreadMessage>>;

/// A handle to a server thread.
#[derive(Debug)]
pub(super) struct Joined {
    messages: mpsc::UnboundedSender<ThreadMessage>,
    handle: std::thread::JoinHandle<(usize, usize)>,
}

impl Joined {
    /// Returns when it accepts no more connections, or is gone.
    pub(super) fn stop_listening(&self) {
        let (done, stopped) = std::sync::mpsc::sync_channel(1);
        if self.messages.send(ThreadMessage::StopListening(done)).is_ok() {
            // It does not wait longer for a thread that is busy with a long request.
            let _ = stopped.recv_timeout(Duration::from_secs(1));
        }
    }

    pub(super) fn drain(&self, within: Duration) {
        // A thread that is gone needs no message.
        let _ = self.messages.send(ThreadMessage::Drain(within));
    }

    /// Waits for its end. Returns how many connections ended in order since it was asked to end, and how many were cut.
    pub(super) fn join(self) -> (usize, usize) {
        self.handle.join().unwrap_or_default()
    }
}

/// Starts the threads; the last one is the acceptor.
pub(super) fn start(
    shared: &Arc<Shared>,
    listener: TcpListener,
    service: &Service,
) -> io::Result<Vec<Joined>> {
    let (senders, receivers): (Senders, Vec<_>) =
        (0..shared.thread_stats.len()).map(|_| mpsc::unbounded_channel()).unzip();
    let mut listener = Some(listener);
    let mut threads = Vec::with_capacity(senders.len());
    for (index, receiver) in receivers.into_iter().enumerate() {
        let (acceptor, name) = if index == shared.acceptor() {
            (listener.take(), "http-acceptor".to_owned())
        } else {
            (None, format!("http-{index}"))
        };
        let workers = acceptor.as_ref().map(|_| senders[..index].to_vec()).unwrap_or_default();
        let (shared, service) = (Arc::clone(shared), service.clone());
        let (started, starting) = std::sync::mpsc::sync_channel(1);
        let body = move || {
            let mut builder = Builder::new_current_thread();
            let busy = Busy::default();
            let pausing = busy.clone();
            builder.enable_all().event_interval(TURNS_UNOBSERVED).on_thread_park(move || pausing.pauses());
            let runtime = match builder.build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return (0, 0);
                }
            };
            let _ = started.send(Ok(()));
            let local = Rc::new(Local::new(shared, index, service, workers, busy));
            runtime.block_on(local.run(acceptor, receiver))
        };
        let named = std::thread::Builder::new().name(name).stack_size(crate::limits::STACK_BYTES);
        let handle = named.spawn(body)?;
        starting.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
        threads.push(Joined { messages: senders[index].clone(), handle });
    }
    Ok(threads)
}

/// The state of one thread for its connections.
pub(super) struct Local {
    pub(super) shared: Arc<Shared>,
    pub(super) service: Service,
    pub(super) identifiers: RequestIds,
    /// The pending output of the connections.
    pub(super) outbox: Rc<Outbox>,
    pub(super) turns: Rc<Turns>,
    /// The host name that was last allowed.
    host: RefCell<String>,
    index: usize,
    /// Of the acceptor: the threads that do the work.
    workers: Senders,
    now: Rc<Cell<Tick>>,
    draining: Cell<bool>,
    /// Notified when the thread begins to drain.
    pub(super) drain: Notify,
    /// Notified when a connection ends.
    ended: Notify,
    open: RefCell<BTreeMap<u64, Rc<Watch>>>,
    /// When there were last too few connections to cut to make room.
    no_room: Cell<Option<Instant>>,
    /// The number of entries so far.
    entries: Cell<u64>,
}

impl Local {
    fn new(shared: Arc<Shared>, index: usize, service: Service, workers: Senders, busy: Busy) -> Local {
        let turns = Rc::new(Turns::new(busy));
        Local {
            shared,
            service,
            identifiers: RequestIds::new(),
            outbox: Rc::new(Outbox::new(&turns)),
            turns,
            host: RefCell::default(),
            index,
            workers,
            now: Rc::new(Cell::new(1)),
            draining: Cell::default(),
            drain: Notify::new(),
            ended: Notify::new(),
            open: RefCell::default(),
            no_room: Cell::default(),
            entries: Cell::default(),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.thread_stats[self.index].counters
    }

    /// Whether this is a host name of this server.
    pub(super) fn goes_by(&self, host: &str) -> bool {
        if !host.is_empty() && *self.host.borrow() == host {
            return true;
        }
        let is_allowed = self.shared.hosts.allows(host);
        if is_allowed {
            // Clients mostly use one name, which is checked once.
            host.clone_into(&mut self.host.borrow_mut());
        }
        is_allowed
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    async fn run(
        self: Rc<Local>,
        acceptor: Option<TcpListener>,
        mut messages: mpsc::UnboundedReceiver<ThreadMessage>,
    ) -> (usize, usize) {
        spawn_local(Rc::clone(&self).tick());
        let outbox = Rc::clone(&self.outbox);
        spawn_local(poll_fn(move |context| {
            outbox.poll(context);
            Poll::<()>::Pending
        }));
        let turns = Rc::clone(&self.turns);
        spawn_local(poll_fn(move |context| {
            turns.poll(context);
            Poll::<()>::Pending
        }));
        let mut accepting: Option<JoinHandle<()>> = None;
        if let Some(listener) = acceptor {
            accepting = Some(spawn_local(Rc::clone(&self).accept(listener)));
        }
        let mut together = 0;
        while let Some(message) = messages.recv().await {
            look_at_sockets_at_times(&mut together).await;
            match message {
                ThreadMessage::Connection(stream) => match TcpStream::from_std(stream) {
                    Ok(stream) => self.welcome(stream),
                    Err(_) => self.one_less(),
                },
                ThreadMessage::Call(call) => self.work(*call),
                ThreadMessage::StopListening(done) => {
                    stop(accepting.take()).await;
                    let _ = done.send(());
                }
                ThreadMessage::Drain(within) => {
                    stop(accepting.take()).await;
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
            // What another thread has sent meanwhile may have taken more than there is.
            if self.shared.requests.used() > self.shared.requests.bytes_max() {
                self.make_room();
            }
        }
    }

    /// Charges a response that has to be sent. When the share is used up, those are disconnected for it who do not take
    /// their responses.
    pub(super) fn make_room_for(&self, bytes: usize) -> Charge {
        let requests = &self.shared.requests;
        requests.take_reserved(bytes).unwrap_or_else(|| {
            if self.no_room.get().is_none_or(|last| last.elapsed() >= MAKE_ROOM_EVERY) {
                self.make_room();
            }
            requests.take_anyway(bytes)
        })
    }

    /// Cuts connections of this thread whose clients do not take their responses, until an eighth of the share is free:
    /// first those that have taken none for a second, those that hold most before others.
    fn make_room(&self) {
        let requests = &self.shared.requests;
        let open = self.open.borrow();
        let going = self.shared.going.load(Ordering::Relaxed);
        let mut excess = requests.used().saturating_sub(requests.bytes_max() / 8 * 7 + going);
        let mut holding: Vec<_> =
            open.values().filter(|watch| watch.held().0 >= HELD_BYTES_MIN && !watch.is_cut()).collect();
        holding.sort_by_key(|watch| {
            let (bytes, is_stalled) = watch.held();
            Reverse((is_stalled, bytes))
        });
        for watch in holding {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(watch.held().0);
            self.counters().connections_cut.add(1);
            watch.cut();
        }
        self.no_room.set((excess > 0).then(Instant::now));
    }

    async fn accept(self: Rc<Local>, listener: TcpListener) {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        let mut reserve = Reserve::new();
        let mut together = 0;
        loop {
            look_at_sockets_at_times(&mut together).await;
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // A client that is gone already, or a lack of file descriptors, which are freed when connections end.
                Err(error) => {
                    if !reserve.is_needed(&error) || !self.turn_away(&listener, &mut reserve).await {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    continue;
                }
            };
            if self.shared.open() >= self.shared.limits.connections_max {
                self.counters().connections_refused.add(1);
                if self.shared.tls.is_none() {
                    // As much as fits at once: the refused client is not waited for.
                    let _ = stream.try_write(connection::TOO_MANY);
                }
                continue;
            }
            self.shared.thread_stats[self.index].open.fetch_add(1, Ordering::Relaxed);
            match self.shared.tls {
                None => self.receive(stream),
                // The first byte of an encrypted connection reveals nothing.
                Some(_) => self.hand_over(stream),
            }
        }
    }

    /// Answers a client for which there is no file descriptor, using the spare one. Whether there was one.
    async fn turn_away(&self, listener: &tokio::net::TcpListener, reserve: &mut Reserve) -> bool {
        if !reserve.free() {
            reserve.renew();
            return false;
        }
        self.counters().descriptors_missing.add(1);
        // Only connections that are ready are accepted.
        let accepted = poll_fn(|context| match listener.poll_accept(context) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some((stream, _)) = accepted.await
            && self.shared.tls.is_none()
        {
            let _ = stream.try_write(connection::NO_FILES);
            // Input is read, because closing would otherwise reset the connection before the client has read.
            let mut came = [0; 4 << 10];
            while stream.try_read(&mut came).is_ok_and(|bytes| bytes > 0) {}
        }
        reserve.renew();
        true
    }

    /// Waits for the first byte of a connection: connections with a GET stay, the others are passed to other threads.
    fn receive(self: &Rc<Local>, stream: TcpStream) {
        let (local, entry) = (Rc::clone(self), self.enter());
        spawn_local(async move {
            let first = poll_fn(|context| {
                entry.watch.polled_by(context.waker());
                if entry.watch.is_cut() || local.is_draining() {
                    return Poll::Ready(None);
                }
                let mut byte = [0];
                let mut byte = ReadBuf::new(&mut byte);
                stream.poll_peek(context, &mut byte).map(|_| byte.filled().first().copied())
            });
            match first.await {
                Some(b'G' | b'H') => {
                    let watch = Rc::clone(&entry.watch);
                    let _counted = Connection::begin(&local);
                    connection::serve(&local, watch, stream).await;
                }
                Some(_) => local.hand_over(stream),
                None => local.one_less(),
            }
        });
    }

    /// Passes a connection to another thread.
    fn hand_over(&self, stream: TcpStream) {
        let Ok(stream) = stream.into_std() else { return self.one_less() };
        let index = self.shared.least_loaded();
        self.shared.thread_stats[index].open.fetch_add(1, Ordering::Relaxed);
        if self.workers[index].send(ThreadMessage::Connection(stream)).is_err() {
            self.shared.thread_stats[index].open.fetch_sub(1, Ordering::Relaxed);
        }
        self.one_less();
    }

    fn welcome(self: &Rc<Local>, stream: TcpStream) {
        let (local, entry) = (Rc::clone(self), self.enter());
        spawn_local(async move {
            let watch = Rc::clone(&entry.watch);
            let _counted = Connection::begin(&local);
            connection::serve(&local, watch, stream).await;
        });
    }

    /// Whether this is the acceptor, which does no operations itself.
    pub(super) fn is_acceptor(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Has an operation done by another thread. There is no answer if that ends first.
    pub(super) async fn forward(&self, watch: &Watch, service: &Service, call: Call<'_>) -> Option<Reply> {
        let (answer, answered) = oneshot::channel();
        let (target, trace_header) = (call.target.to_owned(), call.trace_header.map(str::to_owned));
        let (service, body) = (service.clone(), Bytes::copy_from_slice(call.body));
        let used_ns = watch.account.used_ns();
        let call = Forwarded { service, target, trace_header, body, used_ns, answer };
        self.workers[self.shared.least_loaded()].send(ThreadMessage::Call(Box::new(call))).ok()?;
        let (reply, used_ns) = answered.await.ok()?;
        watch.account.has_used(used_ns);
        Some(reply)
    }

    /// Does an operation for the acceptor, unless its caller is gone.
    fn work(self: &Rc<Local>, forwarded: Forwarded) {
        let entry = self.enter();
        entry.watch.begin(false);
        entry.watch.account.has_used(forwarded.used_ns);
        spawn_local(async move {
            let Forwarded { service, target, trace_header, body, mut answer, .. } = forwarded;
            let call = Call { target: &target, trace_header: trace_header.as_deref(), body: &body };
            let mut answering = std::pin::pin!(entry.local.answer(&service, call, &body));
            let reply = poll_fn(|context| {
                entry.watch.polled_by(context.waker());
                if entry.watch.is_cut() || answer.poll_closed(context).is_ready() {
                    return Poll::Ready(None);
                }
                let turn = |context: &mut Context<'_>| answering.as_mut().poll(context);
                entry.local.turns.take(&entry.watch.account, context, turn).map(Some)
            });
            if let Some(reply) = reply.await {
                // The caller may be gone.
                let _ = answer.send((reply, entry.watch.account.used_ns()));
            }
        });
    }

    /// Answers what is not answered at once.
    pub(super) async fn answer(&self, service: &Service, call: Call<'_>, body: &Bytes) -> Reply {
        if !background::is_long(call) {
            return match api::answer_now(service, call) {
                Some(reply) => reply,
                None => api::answer_in_time(service, call).await,
            };
        }
        self.shared.background.answer(service, call, body).await.unwrap_or_else(background::the_end)
    }

    fn enter(self: &Rc<Local>) -> Entry {
        let number = self.entries.get();
        self.entries.set(number + 1);
        let watch = Rc::new(Watch::new(&self.now, &self.shared.going));
        self.open.borrow_mut().insert(number, Rc::clone(&watch));
        Entry { local: Rc::clone(self), number, watch }
    }

    /// A connection of this thread, or of another, is over.
    fn one_less(&self) {
        self.shared.thread_stats[self.index].open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets the connections finish their requests.
    async fn end(&self, within: Duration) -> (usize, usize) {
        let before = self.open.borrow().len();
        self.draining.set(true);
        self.drain.notify_waiters();
        self.for_all(Watch::wake);
        let _ = tokio::time::timeout(within, self.emptied()).await;
        let cut = self.open.borrow().len();
        self.for_all(Watch::cut);
        // Cut connections end as soon as they are polled.
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

/// Lets a thread look at its sockets, and serve those connections that are ready, once for so many new connections.
async fn look_at_sockets_at_times(together: &mut u32) {
    *together += 1;
    if *together >= WELCOMED_TOGETHER {
        *together = 0;
        tokio::task::yield_now().await;
    }
}

/// Ends accepting. The socket is closed when this is over.
async fn stop(accepting: Option<JoinHandle<()>>) {
    if let Some(accepting) = accepting {
        accepting.abort();
        // It was aborted: that is what is awaited.
        let _ = accepting.await;
    }
}

/// A connection under way on this thread; removed from the list on drop.
struct Entry {
    local: Rc<Local>,
    number: u64,
    watch: Rc<Watch>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.local.open.borrow_mut().remove(&self.number);
        self.local.ended.notify_one();
    }
}

/// A connection that is served.
struct Connection<'a>(&'a Local);

impl<'a> Connection<'a> {
    fn begin(local: &'a Local) -> Connection<'a> {
        local.counters().connections.add(1);
        Connection(local)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.counters().connections_closed.add(1);
        self.0.one_less();
    }
}
