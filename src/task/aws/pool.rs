//! Kept connections: each thread has its own, so a shard's requests are written, and their answers read, on the shard
//! itself.
//!
//! A connection has no task of its own: the future that waits for the answer polls it. So a request costs one wake-up,
//! that of the socket, and dropping the future closes the connection and with it the request.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::coop::unconstrained;

use super::http1::{Connection, Http1Error, Message, Progress, Reply};
use super::net::{self, NetError, Origin};

/// An idle connection is not reused after this: servers close theirs after a minute or so.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// Hosts whose connections one thread keeps.
const HOSTS_MAX: usize = 128;
/// Bytes of an answer: more than any workflow may have.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;

thread_local! {
    static POOLS: RefCell<HashMap<Origin, Rc<Pool>>> = RefCell::new(HashMap::new());
}

struct Pool {
    idle: RefCell<VecDeque<(Connection, Instant)>>,
    turns: Semaphore,
}

/// Limits of an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of the answer's body.
    pub(super) bytes_max: usize,
    /// Connections of one thread to one host; further requests wait for their turn.
    pub(super) connections_max: usize,
}

/// Sends a request and reads its whole answer.
pub(super) async fn exchange(origin: &Origin, message: Message, limits: Limits) -> Result<Reply, NetError> {
    // A shard polls hundreds of these in one poll of tokio's, whose budget the first ones would use up. Each does
    // little in one poll.
    unconstrained(async {
        let pool = pool(origin, limits.connections_max);
        // The semaphore is never closed.
        let _turn = pool.turns.acquire().await;
        loop {
            let (mut line, used_before) = match pool.take() {
                Some(line) => (line, true),
                // Rarely needed, and much larger than the state that waits for a turn or an answer.
                None => (Box::pin(open(origin)).await?, false),
            };
            let mut progress = Progress::new();
            let answer =
                poll_fn(|context| line.poll_exchange(context, &message, &mut progress, limits.bytes_max));
            match answer.await {
                Ok((reply, keeps)) => {
                    if keeps {
                        pool.keep(line);
                    }
                    return Ok(reply);
                }
                Err(Http1Error::Unsent(_)) if used_before => {}
                Err(Http1Error::TooLarge) => return Err(NetError::TooLarge),
                Err(broken) => return Err(NetError::failed(origin, broken)),
            }
        }
    })
    .await
}

async fn open(origin: &Origin) -> Result<Connection, NetError> {
    net::connect(origin).await.map(Connection::new)
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
    /// A connection that can be reused. The most recently used one: the others may expire.
    fn take(&self) -> Option<Connection> {
        loop {
            let (mut line, since) = self.idle.borrow_mut().pop_back()?;
            if since.elapsed() < IDLE_MAX && line.is_good() {
                return Some(line);
            }
        }
    }

    fn keep(&self, line: Connection) {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|(_, since)| since.elapsed() >= IDLE_MAX) {
            idle.pop_front();
        }
        idle.push_back((line, Instant::now()));
    }
}
