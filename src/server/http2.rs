//! HTTP/2 of a connection: its streams, and what it reads.
//!
//! Streams are polled in the turns of their connection: they would be tasks of the thread otherwise, hundreds for each
//! connection. The head of a request is read, and its request begins, before anything behind it is read: HTTP would read
//! and keep all heads that the client has sent, up to 256 of 32 KiB each, and no budget of memory counts them
//! until their requests begin.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection_turns::Account;
use super::streams::Streams;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types and a flag of frames that are heads of requests, or parts of them (sections 6.2 and 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A connection, of which no more is read than up to the end of a request's head until that request begins.
pub(super) struct Frames<S> {
    stream: S,
    account: Rc<Account>,
    position: Position,
    /// What was read behind the end of a head.
    rest: Bytes,
}

/// Where in what the client sends the next byte is.
#[derive(Debug)]
enum Position {
    /// After so many bytes of the preface.
    Preface(usize),
    /// It speaks HTTP/1.1, which has one request at a time.
    Http1,
    /// After so many bytes of the head of a frame.
    Head([u8; 9], usize),
    /// So many bytes before the end of a frame, which may be the end of a request's head.
    Payload(usize, bool),
}

impl Position {
    /// Goes on until a request's head ends; after how many bytes, and whether one did.
    fn pass(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        loop {
            let left = &bytes[at..];
            match self {
                Position::Http1 => return (bytes.len(), false),
                Position::Payload(0, ends_head) => {
                    let ends_head = *ends_head;
                    *self = Position::Head([0; 9], 0);
                    if ends_head {
                        return (at, true);
                    }
                }
                _ if left.is_empty() => return (at, false),
                Position::Preface(had) => {
                    let some = left.len().min(PREFACE.len() - *had);
                    if left[..some] != PREFACE[*had..*had + some] {
                        *self = Position::Http1;
                        continue;
                    }
                    at += some;
                    *had += some;
                    if *had == PREFACE.len() {
                        *self = Position::Head([0; 9], 0);
                    }
                }
                Position::Head(head, had) => {
                    let some = left.len().min(head.len() - *had);
                    head[*had..*had + some].copy_from_slice(&left[..some]);
                    at += some;
                    *had += some;
                    if *had == head.len() {
                        let [high, middle, low, kind, flags, ..] = *head;
                        let ends_head = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
                        let payload = u32::from_be_bytes([0, high, middle, low]);
                        *self = Position::Payload(payload as usize, ends_head);
                    }
                }
                Position::Payload(payload, _) => {
                    let some = left.len().min(*payload);
                    at += some;
                    *payload -= some;
                }
            }
        }
    }
}

impl<S> Frames<S> {
    pub(super) fn of(stream: S, account: &Rc<Account>) -> Frames<S> {
        Frames { stream, account: Rc::clone(account), position: Position::Preface(0), rest: Bytes::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Frames { stream, account, position, rest } = self.get_mut();
        if matches!(position, Position::Http1) {
            return Pin::new(stream).poll_read(context, buffer);
        }
        // The connection's turn goes on when the request has begun, or the next one does.
        if account.is_expecting() || !account.has_time_after(1) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let (passed, is_head) = if rest.is_empty() {
            ready!(Pin::new(stream).poll_read(context, buffer))?;
            let (passed, is_head) = position.pass(&buffer.filled()[before..]);
            *rest = Bytes::copy_from_slice(&buffer.filled()[before + passed..]);
            (passed, is_head)
        } else {
            let some = rest.len().min(buffer.remaining());
            let (passed, is_head) = position.pass(&rest[..some]);
            buffer.put_slice(&rest[..passed]);
            rest.advance(passed);
            (passed, is_head)
        };
        buffer.set_filled(before + passed);
        if is_head {
            account.expects();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Gives streams to their connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionExecutor(Weak<Account>);

impl ConnectionExecutor {
    pub(super) fn of(account: &Rc<Account>) -> ConnectionExecutor {
        ConnectionExecutor(Rc::downgrade(account))
    }
}

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for ConnectionExecutor {
    fn execute(&self, future: F) {
        // A stream whose connection has ended is dropped.
        if let Some(account) = self.0.upgrade() {
            let (of, mut future) = (self.0.clone(), Box::pin(future));
            let streams = account.streams_or_new();
            streams.begin(Box::pin(poll_fn(move |context| match of.upgrade() {
                Some(account) if !account.has_time_after(0) => {
                    account.streams().into_iter().for_each(Streams::leave);
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => future.as_mut().poll(context).map(drop),
            })));
            // A request is answered before the next is looked at, as long as the turn goes: what a connection has not
            // answered is not counted as memory.
            if let Some(waker) = account.waker()
                && !account.is_over()
            {
                streams.poll(&mut Context::from_waker(waker));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;

    use hyper::rt::Executor as _;

    use super::super::connection_turns::{Busy, Turns};
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn nothing_behind_a_head_is_read_before_its_request_begins() {
        let first = [PREFACE, &frame(4, 0, &[]), &frame(1, 1, b"he"), &frame(9, 4, b"ad")].concat();
        let more = [frame(0, 1, b"body"), frame(6, 0, b"pingpong"), frame(1, 5, b"")].concat();
        let sent = [first.as_slice(), &more, &frame(3, 0, b"bye!")].concat();
        let context = &mut Context::from_waker(Waker::noop());
        for at_once in [1, 7, 1_000] {
            let account = Account::new();
            let mut frames = Frames::of(sent.as_slice(), &account);
            let mut read = || {
                let (mut all, mut part) = (Vec::new(), vec![0; at_once]);
                loop {
                    let mut part = ReadBuf::new(&mut part);
                    match Pin::new(&mut frames).poll_read(context, &mut part) {
                        Poll::Ready(_) if !part.filled().is_empty() => all.extend_from_slice(part.filled()),
                        _ => return all,
                    }
                }
            };
            assert_eq!((read(), read()), (first.clone(), Vec::new()), "{at_once}");
            account.asked();
            assert_eq!(read(), more, "{at_once}");
            account.asked();
            assert_eq!(read(), frame(3, 0, b"bye!"), "{at_once}");
            let mut frames = Frames::of(&b"PRI / HTTP/1.1"[..], &account);
            let mut all = [0; 20];
            let mut all = ReadBuf::new(&mut all);
            assert!(Pin::new(&mut frames).poll_read(context, &mut all).is_ready());
            assert_eq!(all.filled(), b"PRI / HTTP/1.1");
        }
    }

    /// What a connection has not answered is not counted as memory.
    #[test]
    fn a_stream_is_polled_when_its_request_is_accepted() {
        let (turns, account) = (Turns::new(Busy::default()), Account::new());
        let (executor, polled) = (ConnectionExecutor::of(&account), Rc::new(Cell::new(0)));
        let turn = |context: &mut Context<'_>| {
            account.polled_by(context.waker());
            for accepted in 0..3 {
                assert_eq!(polled.get(), accepted);
                let polled = Rc::clone(&polled);
                executor.execute(async move { polled.set(polled.get() + 1) });
            }
            Poll::Ready(())
        };
        let turn = turns.take(&account, &Context::from_waker(Waker::noop()), turn);
        assert_eq!((turn, polled.get()), (Poll::Ready(()), 3));
    }
}
