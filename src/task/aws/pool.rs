//! HTTP/1.1 requests over connections that are kept: each thread has its own, so a shard's requests are written, and
//! their answers read, on the shard itself.
//!
//! A connection has no task of its own: whoever waits for the answer polls it. So a request costs one wake-up, that of
//! the socket, and dropping the future that waits closes the connection and with it the request.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use super::net::{self, NetError, Origin, Stream};

/// A connection that nobody used for so long is not used again: servers close theirs after a minute or so.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// Hosts whose connections one thread keeps.
const HOSTS_MAX: usize = 128;
/// An answer's bytes: some more than any workflow may have.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;

pub(super) type Outgoing = Request<Full<Bytes>>;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

thread_local! {
    static POOLS: RefCell<HashMap<Origin, Rc<Pool>>> = RefCell::new(HashMap::new());
}

struct Pool {
    idle: RefCell<VecDeque<(Line, Instant)>>,
    turns: Semaphore,
}

/// What an exchange may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of the answer's body.
    pub(super) bytes_max: usize,
    /// Connections of one thread to one host; more requests than these wait for their turn.
    pub(super) connections_max: usize,
}

/// Sends a request, whose target is only a path, and reads its whole answer.
pub(super) async fn exchange(
    origin: &Origin,
    mut request: Outgoing,
    limits: Limits,
) -> Result<Reply, NetError> {
    let pool = pool(origin, limits.connections_max);
    // The semaphore is never closed.
    let _turn = pool.turns.acquire().await;
    loop {
        let (mut line, used_before) = match pool.take() {
            Some(line) => (line, true),
            None => (Line::open(origin).await?, false),
        };
        match line.send(request).await {
            Ok(response) => {
                let reply = line.read(origin, response, limits.bytes_max).await?;
                pool.keep(line);
                return Ok(reply);
            }
            // The connection was closed before a byte of the request was written.
            Err((Some(unsent), _)) if used_before => request = unsent,
            Err((_, error)) => return Err(NetError::failed(origin, error)),
        }
    }
}

fn pool(origin: &Origin, connections_max: usize) -> Rc<Pool> {
    POOLS.with_borrow_mut(|pools| {
        if let Some(pool) = pools.get(origin) {
            return Rc::clone(pool);
        }
        if pools.len() >= HOSTS_MAX {
            pools.retain(|_, pool| Rc::strong_count(pool) > 1);
        }
        let pool = Rc::new(Pool { idle: RefCell::default(), turns: Semaphore::new(connections_max) });
        pools.insert(origin.clone(), Rc::clone(&pool));
        pool
    })
}

impl Pool {
    /// A connection that is still good. The one used last: the others may grow old.
    fn take(&self) -> Option<Line> {
        loop {
            let (mut line, since) = self.idle.borrow_mut().pop_back()?;
            if since.elapsed() < IDLE_MAX && line.is_good() {
                return Some(line);
            }
        }
    }

    fn keep(&self, mut line: Line) {
        // It has to see the end of the answer before it can tell whether it stays open.
        if !line.is_good() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|(_, since)| since.elapsed() >= IDLE_MAX) {
            idle.pop_front();
        }
        idle.push_back((line, Instant::now()));
    }
}

/// A connection, and the end to put requests in.
struct Line {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
}

impl Line {
    async fn open(origin: &Origin) -> Result<Line, NetError> {
        let stream = net::connect(origin).await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| NetError::failed(origin, error))?;
        Ok(Line { sender, connection: Some(connection) })
    }

    /// Whether it can take a request. It sees what happened to the connection since it was polled last.
    fn is_good(&mut self) -> bool {
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    async fn send(
        &mut self,
        request: Outgoing,
    ) -> Result<Response<Incoming>, (Option<Outgoing>, hyper::Error)> {
        let Line { sender, connection } = self;
        let mut response = pin!(sender.try_send_request(request));
        let answer = poll_fn(|context| {
            drive(connection, context);
            // Only the connection can make it go on, and that was just polled.
            response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        answer.await.map_err(|mut error| (error.take_message(), error.into_error()))
    }

    async fn read(
        &mut self,
        origin: &Origin,
        response: Response<Incoming>,
        bytes_max: usize,
    ) -> Result<Reply, NetError> {
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::with_capacity(body.size_hint().lower().min(64 * 1_024) as usize);
        poll_fn(|context| {
            let mut driven = false;
            loop {
                // As above: the connection alone can make it go on.
                match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending if driven => return Poll::Pending,
                    Poll::Pending => drive(&mut self.connection, context),
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(NetError::failed(origin, error)));
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
                        if bytes.len() + data.len() > bytes_max {
                            return Poll::Ready(Err(NetError::TooLarge));
                        }
                        bytes.extend_from_slice(data);
                        driven = false;
                        continue;
                    }
                }
                driven = true;
            }
        })
        .await?;
        Ok(Reply { status: head.status, headers: head.headers, body: bytes })
    }
}

/// Lets the connection read and write. One that ended is forgotten: what waits for it hears why.
fn drive(
    connection: &mut Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
    context: &mut Context<'_>,
) {
    if let Some(open) = connection
        && Pin::new(open).poll(context).is_ready()
    {
        *connection = None;
    }
}
