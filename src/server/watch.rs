//! What is known of a connection while it is served: who is slow, who is idle, who is to end.
//!
//! A timer for each head, body and pause would cost more than the request itself. Instead the stream notes, in ticks
//! of a second that its thread counts, since when it waits for what; once a tick, the thread looks through its
//! connections and cuts those that waited too long.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Limits;

/// Ticks of a second since the thread began, from 1 on; 0 stands for none.
pub(super) type Tick = u32;

#[derive(Debug)]
pub(super) struct Watch {
    now: Rc<Cell<Tick>>,
    /// When something was read or written last.
    heard: Cell<Tick>,
    /// Since when a head or a body is being read.
    reading: Cell<Tick>,
    /// Since when the client does not take what is written.
    stalled: Cell<Tick>,
    /// Requests that are being answered.
    requests: Cell<u32>,
    /// HTTP/2 reads frames of many kinds: those are no beginnings of a head.
    framed: Cell<bool>,
    /// The request under way waits for something to come up, for which its client has to be there.
    polling: Cell<bool>,
    /// The end of the stream was seen while a body was being read.
    ending: Cell<bool>,
    cut: Cell<bool>,
    task: OnceCell<Waker>,
}

impl Watch {
    pub(super) fn new(now: &Rc<Cell<Tick>>) -> Watch {
        Watch {
            now: Rc::clone(now),
            heard: Cell::new(now.get()),
            reading: Cell::default(),
            stalled: Cell::default(),
            requests: Cell::default(),
            framed: Cell::default(),
            polling: Cell::default(),
            ending: Cell::default(),
            cut: Cell::default(),
            task: OnceCell::new(),
        }
    }

    /// The connection's task, as it is polled for the first time.
    pub(super) fn polled_by(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    pub(super) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// A request's head was read.
    pub(super) fn begin(&self, framed: bool) {
        self.reading.set(0);
        self.framed.set(framed);
        self.requests.set(self.requests.get() + 1);
    }

    /// A body begins to be read, or was read to its end.
    pub(super) fn body(&self, begins: bool) {
        self.reading.set(if begins { self.now.get() } else { 0 });
    }

    /// Its response is made; what was not read of its body is not waited for.
    pub(super) fn end(&self) {
        self.heard.set(self.now.get());
        self.reading.set(0);
        self.requests.set(self.requests.get().saturating_sub(1));
    }

    /// The request under way begins, or ends, to wait for something to come up: its client has to be there.
    pub(super) fn polling(&self, begins: bool) {
        self.polling.set(begins);
        if begins {
            // An end that was kept from HTTP is to be seen now.
            self.wake();
        }
    }

    /// What to make of the end of what the client sends. HTTP would take it for the end of the connection and abandon
    /// the request, although a client may close its half when it has said everything.
    fn end_of_stream(&self) -> End {
        if self.framed.get() || self.requests.get() == 0 || self.polling.get() {
            return End::Tell;
        }
        match self.reading.get() {
            0 => End::Keep,
            // Perhaps all of the body is there and only has to be taken: looking once more tells.
            _ if !self.ending.replace(true) => End::LookAgain,
            _ => End::Tell,
        }
    }

    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether the client was too slow, or silent for too long.
    pub(super) fn is_overdue(&self, limits: &Limits) -> bool {
        let now = self.now.get();
        let longer = |since: Tick, max: u32| since != 0 && now.saturating_sub(since) > max;
        longer(self.reading.get(), limits.slow_seconds_max)
            || longer(self.stalled.get(), limits.slow_seconds_max)
            || (self.requests.get() == 0
                && self.stalled.get() == 0
                && longer(self.heard.get(), limits.idle_seconds_max))
    }

    fn read(&self) {
        self.heard.set(self.now.get());
        if self.reading.get() == 0 && self.requests.get() == 0 && !self.framed.get() {
            self.reading.set(self.now.get());
        }
    }

    fn wrote(&self, done: bool) {
        match done {
            true => {
                self.heard.set(self.now.get());
                self.stalled.set(0);
            }
            false if self.stalled.get() == 0 => self.stalled.set(self.now.get()),
            false => {}
        }
    }
}

enum End {
    Tell,
    Keep,
    LookAgain,
}

/// Bytes that are collected before they are written.
const OUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a buffer that a connection keeps: 16 pipelined responses of 1 KB fit without a new one each turn.
const OUT_BYTES_KEPT: usize = 24 << 10;

/// A socket, and what is to be written to it.
///
/// Responses to requests that came together leave together: whoever drives the connection polls
/// [`poll_out`](Wire::poll_out) once for each turn of it, so one turn is one write. (hyper can collect responses too,
/// but forgets them when what follows is not HTTP.)
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Rc<RefCell<Wire>> {
        Rc::new(RefCell::new(Wire { stream, out: Vec::new(), written: 0 }))
    }

    /// Whether all that was collected is written.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Writes what was collected.
    pub(super) fn poll_out(&mut self, context: &mut Context<'_>, watch: &Watch) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.out.len() {
            let polled = Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]);
            watch.wrote(polled.is_ready());
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        Poll::Ready(Ok(()))
    }

    /// Makes room, so that a client that does not read has us keep no more than a bounded amount.
    fn poll_room(&mut self, context: &mut Context<'_>, watch: &Watch) -> Poll<io::Result<usize>> {
        if self.out.len() >= OUT_BYTES_MAX {
            ready!(self.poll_out(context, watch))?;
        }
        Poll::Ready(Ok(OUT_BYTES_MAX - self.out.len()))
    }
}

/// A stream that keeps its watch informed.
pub(super) struct Watched {
    pub(super) wire: Rc<RefCell<Wire>>,
    pub(super) watch: Rc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.wire.borrow_mut().stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.watch.read();
            return Poll::Ready(Ok(()));
        }
        match self.watch.end_of_stream() {
            End::Tell => Poll::Ready(Ok(())),
            // The response's end has it looked at again.
            End::Keep => Poll::Pending,
            End::LookAgain => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.wire.borrow_mut();
        let room = ready!(wire.poll_room(context, &self.watch))?;
        let taken = bytes.len().min(room);
        wire.out.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.wire.borrow_mut();
        let mut room = ready!(wire.poll_room(context, &self.watch))?;
        let mut taken = 0;
        for slice in slices {
            let bytes = slice.len().min(room);
            wire.out.extend_from_slice(&slice[..bytes]);
            taken += bytes;
            room -= bytes;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Whoever drives the connection writes what this turn has to say.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire.borrow_mut();
        ready!(wire.poll_out(context, &self.watch))?;
        Pin::new(&mut wire.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_waiting_has_its_limit() {
        let now = Rc::new(Cell::new(1));
        let limits = Limits { slow_seconds_max: 10, idle_seconds_max: 20, ..Limits::default() };
        let watch = Watch::new(&now);
        let overdue_at = |at: Tick, watch: &Watch| {
            now.set(at);
            watch.is_overdue(&limits)
        };
        assert!(!overdue_at(21, &watch) && overdue_at(22, &watch), "silent from the beginning");
        now.set(100);
        watch.read();
        assert!(!overdue_at(110, &watch) && overdue_at(111, &watch), "a head that does not end");
        watch.begin(false);
        watch.body(true);
        assert!(!overdue_at(121, &watch) && overdue_at(122, &watch), "a body that does not end");
        watch.body(false);
        assert!(!overdue_at(1_000, &watch), "a request that takes long to answer");
        watch.end();
        assert!(!overdue_at(1_020, &watch) && overdue_at(1_021, &watch), "idle after a request");
        watch.wrote(false);
        now.set(1_025);
        watch.wrote(false);
        assert!(!overdue_at(1_031, &watch) && overdue_at(1_032, &watch), "a client that does not read");
        watch.wrote(true);
        assert!(!overdue_at(1_040, &watch));
    }
}
