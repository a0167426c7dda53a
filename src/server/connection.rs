//! One connection, from its first byte to its last.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::connection_timeouts::Watch;
use super::exchange::exchange;
use super::http2::{ConnectionExecutor, Frames};
use super::output_buffer::{OutputBuffer, Watched};
use super::streams::Streams;
use super::thread::Local;
use super::{Limits, Tls};

/// The response to a client beyond the limit of connections.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/x-amz-json-1.0\r\n\
    x-amzn-ErrorType: ServiceUnavailableException\r\n\
    content-length: 75\r\nconnection: close\r\n\r\n\
    {\"__type\":\"ServiceUnavailableException\",\"message\":\"Too many connections\"}\r\n";

/// The response to a client for which no file descriptor is left.
pub(super) const NO_FILES: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/x-amz-json-1.0\r\n\
    x-amzn-ErrorType: ServiceUnavailableException\r\nretry-after: 1\r\n\
    content-length: 74\r\nconnection: close\r\n\r\n\
    {\"__type\":\"ServiceUnavailableException\",\"message\":\"Too many open files\"}\r\n";

/// HTTP as this server speaks it, for one connection.
fn http(limits: &Limits, executor: ConnectionExecutor) -> auto::Builder<ConnectionExecutor> {
    let mut http = auto::Builder::new(executor);
    http.http1()
        // Clients may half-close after sending a request; `Watch` handles it.
        .half_close(false)
        // The connection's watch enforces the timeouts of reading.
        .header_read_timeout(None)
        .max_buf_size(limits.head_bytes_max.max(8 << 10));
    http.http2()
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(64))
        .max_send_buf_size(256 << 10);
    http
}

/// Serves a connection to its end.
pub(super) async fn serve(local: &Rc<Local>, watch: Rc<Watch>, stream: TcpStream) {
    // Small responses must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let output_buffer = OutputBuffer::new(stream, &watch, &local.outbox);
    let stream = Watched { output_buffer: Rc::clone(&output_buffer), watch: Rc::clone(&watch) };
    match &local.shared.tls {
        None => speak(local, &watch, &output_buffer, stream).await,
        // Boxed, so that connections without TLS are no larger for it: 2 KiB instead of 7.
        Some(tls) => Box::pin(serve_tls(local, tls, &watch, &output_buffer, stream)).await,
    }
}

async fn serve_tls(
    local: &Rc<Local>,
    tls: &Tls,
    watch: &Rc<Watch>,
    output_buffer: &Rc<RefCell<OutputBuffer>>,
    stream: Watched,
) {
    let mut handshake = pin!(TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream));
    let stream = drive(local, watch, output_buffer, |context| {
        if local.is_draining() { Poll::Ready(None) } else { handshake.as_mut().poll(context).map(Result::ok) }
    });
    if let Some(Some(stream)) = stream.await {
        speak(local, watch, output_buffer, stream).await;
    }
}

async fn speak(
    local: &Rc<Local>,
    watch: &Rc<Watch>,
    output_buffer: &Rc<RefCell<OutputBuffer>>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
) {
    // Streams know their connection, which knows them.
    let _end = EndOfStreams(watch);
    let service = service_fn(|request| exchange(Rc::clone(local), Rc::clone(watch), request));
    let http = http(&local.shared.limits, ConnectionExecutor::of(&watch.account));
    let mut connection =
        pin!(http.serve_connection(TokioIo::new(Frames::of(stream, &watch.account)), service));
    let mut is_told = false;
    drive(local, watch, output_buffer, |context| {
        if local.is_draining() && !std::mem::replace(&mut is_told, true) {
            connection.as_mut().graceful_shutdown();
        }
        // A connection's error only concerns its client, which sees it.
        connection.as_mut().poll(context).map(|_| ())
    })
    .await;
}

/// Drops the streams of a connection with it.
struct EndOfStreams<'w>(&'w Watch);

impl Drop for EndOfStreams<'_> {
    fn drop(&mut self) {
        self.0.account.streams().into_iter().for_each(Streams::clear);
    }
}

/// Polls the connection until it ends, and has flushed its output. `None` if the connection was cut, or cannot be
/// written to.
async fn drive<T>(
    local: &Local,
    watch: &Rc<Watch>,
    output_buffer: &Rc<RefCell<OutputBuffer>>,
    mut turn: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let mut ended = None;
    poll_fn(|context| {
        watch.polled_by(context.waker());
        if watch.is_cut() || output_buffer.borrow().is_reset() {
            return Poll::Ready(None);
        }
        let mut is_stalled = false;
        if !output_buffer.borrow().is_empty() {
            let write = || output_buffer.borrow_mut().poll_rest(context);
            match local.turns.count(&watch.account, write) {
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(())) => {}
                Poll::Pending => is_stalled = true,
            }
        }
        // A client that does not take its responses is asked for no more requests: each stream of HTTP/2 takes memory.
        if is_stalled && watch.is_framed() {
            return Poll::Pending;
        }
        if ended.is_none() {
            let turn = |context: &mut Context<'_>| {
                // What was accepted before comes before more is read.
                watch.account.streams().into_iter().for_each(|streams| streams.poll_left(context));
                let end = turn(context);
                if let (Poll::Pending, Some(streams)) = (&end, watch.account.streams()) {
                    streams.poll(context);
                }
                end
            };
            if let Poll::Ready(end) = local.turns.take(&watch.account, context, turn) {
                ended = Some(end);
            }
        }
        if ended.is_some() {
            let written = output_buffer.borrow_mut().poll_out(context);
            return written.map(|written| ended.take().filter(|_| written.is_ok()));
        }
        if !is_stalled && !output_buffer.borrow().is_empty() {
            OutputBuffer::post(output_buffer);
        }
        Poll::Pending
    })
    .await
}
