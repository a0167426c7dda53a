//! Buffered reading and writing of a connection.
//!
//! Nothing is written at once. Responses to requests that came together are written together, in one system call; and
//! the other readable connections are answered in between: their output is then written close together, and wakes the
//! reader once and not for each. On one machine a wake-up costs as much as the whole request.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::connection_timeouts::{End, Watch};
use super::connection_turns::Turns;

/// The output buffers of a thread that have something to write.
#[derive(Debug)]
pub(super) struct Outbox {
    turns: Rc<Turns>,
    wires: RefCell<Vec<Rc<RefCell<OutputBuffer>>>>,
    task: RefCell<Option<Waker>>,
}

impl Outbox {
    pub(super) fn new(turns: &Rc<Turns>) -> Outbox {
        Outbox { turns: Rc::clone(turns), wires: RefCell::default(), task: RefCell::default() }
    }

    /// Writes the posted buffers each time it is polled.
    pub(super) fn poll(&self, context: &Context<'_>) {
        let mut wires = self.wires.take();
        for output_buffer in wires.drain(..) {
            let watch = Rc::clone(&output_buffer.borrow().watch);
            self.turns.count(&watch.account, || output_buffer.borrow_mut().write());
        }
        // Nothing was posted meanwhile: writing wakes no task.
        *self.wires.borrow_mut() = wires;
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }

    fn post(&self, output_buffer: &Rc<RefCell<OutputBuffer>>) {
        let mut wires = self.wires.borrow_mut();
        wires.push(Rc::clone(output_buffer));
        if wires.len() == 1
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }
}

/// Bytes that are collected before they are written.
const OUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a buffer that a connection keeps: 16 pipelined responses of 1 KB fit without a new one each turn.
const OUT_BYTES_KEPT: usize = 24 << 10;

/// A socket, and its pending output. (hyper can collect responses too, but drops them when the following input is not
/// HTTP.)
#[derive(Debug)]
pub(super) struct OutputBuffer {
    stream: TcpStream,
    watch: Rc<Watch>,
    outbox: Rc<Outbox>,
    out: Vec<u8>,
    written: usize,
    /// Whether the outbox has it.
    is_posted: bool,
    is_broken: bool,
}

impl OutputBuffer {
    pub(super) fn new(
        stream: TcpStream,
        watch: &Rc<Watch>,
        outbox: &Rc<Outbox>,
    ) -> Rc<RefCell<OutputBuffer>> {
        let (watch, outbox) = (Rc::clone(watch), Rc::clone(outbox));
        let output_buffer = OutputBuffer {
            stream,
            watch,
            outbox,
            out: Vec::new(),
            written: 0,
            is_posted: false,
            is_broken: false,
        };
        Rc::new(RefCell::new(output_buffer))
    }

    /// Whether all that was collected is written.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether the client has reset the connection. What it sent before could still be read, and is for nobody.
    pub(super) fn is_reset(&self) -> bool {
        let ready = self.stream.ready(Interest::WRITABLE).now_or_never();
        ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_write_closed()))
    }

    /// Queues the collected output to be written after all other connections were polled.
    pub(super) fn post(this: &Rc<RefCell<OutputBuffer>>) {
        let mut output_buffer = this.borrow_mut();
        if !std::mem::replace(&mut output_buffer.is_posted, true) {
            output_buffer.outbox.post(this);
        }
    }

    /// Writes what the socket takes. The connection is woken for what it does not take, and when it is broken.
    fn write(&mut self) {
        self.is_posted = false;
        while self.written < self.out.len() {
            match self.stream.try_write(&self.out[self.written..]) {
                Ok(bytes) if bytes > 0 => {
                    self.watch.wrote();
                    self.written += bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watch.stalls();
                    return self.watch.wake();
                }
                _ => {
                    self.is_broken = true;
                    return self.watch.wake();
                }
            }
        }
        self.emptied();
    }

    fn emptied(&mut self) {
        self.watch.emptied();
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
    }

    /// Continues what the outbox could not write. Ready when nothing is left, or it is posted.
    pub(super) fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_posted { Poll::Ready(Ok(())) } else { self.poll_out(context) }
    }

    /// Writes what was collected.
    pub(super) fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.out.len() {
            let polled = Pin::new(&mut self.stream).poll_write(context, &self.out[self.written..]);
            match polled {
                Poll::Ready(_) => self.watch.wrote(),
                Poll::Pending => self.watch.stalls(),
            }
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        self.emptied();
        Poll::Ready(Ok(()))
    }

    /// Makes room, so that the buffer of a client that does not read stays bounded.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.out.len() >= OUT_BYTES_MAX {
            ready!(self.poll_out(context))?;
        }
        Poll::Ready(Ok(OUT_BYTES_MAX - self.out.len()))
    }
}

/// Reads at most so many bytes; how many there were.
fn poll_read_some(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    room: usize,
) -> Poll<io::Result<usize>> {
    let before = buffer.filled().len();
    if buffer.remaining() <= room {
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        return Poll::Ready(Ok(buffer.filled().len() - before));
    }
    let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
    ready!(Pin::new(stream).poll_read(context, &mut part))?;
    let bytes = part.filled().len();
    buffer.advance(bytes);
    Poll::Ready(Ok(bytes))
}

/// A stream that informs its watch.
pub(super) struct Watched {
    pub(super) output_buffer: Rc<RefCell<OutputBuffer>>,
    pub(super) watch: Rc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = self.watch.account.room();
        if room == 0 {
            // The connection's next turn continues.
            return Poll::Pending;
        }
        let output_buffer = &mut *self.output_buffer.borrow_mut();
        let bytes = ready!(poll_read_some(&mut output_buffer.stream, context, buffer, room))?;
        if bytes > 0 {
            self.watch.read(bytes);
            return Poll::Ready(Ok(()));
        }
        match self.watch.end_of_stream() {
            End::Tell => Poll::Ready(Ok(())),
            // The end of the response wakes it again.
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
        let mut output_buffer = self.output_buffer.borrow_mut();
        let room = ready!(output_buffer.poll_room(context))?;
        let taken = bytes.len().min(room);
        output_buffer.out.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut output_buffer = self.output_buffer.borrow_mut();
        let mut room = ready!(output_buffer.poll_room(context))?;
        let mut taken = 0;
        for slice in slices {
            let bytes = slice.len().min(room);
            output_buffer.out.extend_from_slice(&slice[..bytes]);
            taken += bytes;
            room -= bytes;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's driver writes the output of this turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output_buffer = self.output_buffer.borrow_mut();
        ready!(output_buffer.poll_out(context))?;
        Pin::new(&mut output_buffer.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::*;
    use crate::server::connection_turns::Busy;

    /// A client that closed its half, or all, may still be answered; one that reset is gone, whatever it sent before.
    #[test]
    #[allow(clippy::await_holding_refcell_ref, reason = "nothing else borrows the buffer")]
    fn a_reset_is_seen_before_what_was_sent_is_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            for is_reset in [false, true] {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("it is bound");
                let client = TcpStream::connect(address).await.expect("a connection");
                let (stream, _) = listener.accept().await.expect("a connection");
                let watch = Rc::new(Watch::new(&Rc::new(Cell::new(1)), &Arc::default()));
                let outbox = Rc::new(Outbox::new(&Rc::new(Turns::new(Busy::default()))));
                let buffer = OutputBuffer::new(stream, &watch, &outbox);
                client.writable().await.expect("a connection");
                client.try_write(b"POST / HTTP/1.1").expect("a connection");
                if is_reset {
                    client.set_zero_linger().expect("a socket has it");
                }
                drop(client);
                let stream = &buffer.borrow().stream;
                // Both are ready to be read; the end of the connection may come after the bytes.
                loop {
                    let ready = stream.ready(Interest::READABLE).await.expect("a connection");
                    if ready.is_read_closed() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                assert_eq!(buffer.borrow().is_reset(), is_reset);
                let mut sent = [0; 64];
                assert!(stream.try_read(&mut sent).is_ok_and(|bytes| bytes > 0), "what was sent is there");
            }
        });
    }
}
