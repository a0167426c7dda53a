//! Starts over HTTP/1.1: one request at a time on each of many connections, all of a worker's on one poll.

mod address;
mod connection;
mod endpoint;
mod request;
mod response;
mod sign;
mod sleep;
mod stream;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token};

pub use endpoint::Endpoint;

use self::connection::{Connection, Flight, Happened};
use self::request::Requests;
use self::sleep::Sleeper;
use super::{Clock, Lane};
use crate::record::{End, Interval, Stamp};

/// A worker's connections to an endpoint.
pub struct Http {
    endpoint: Endpoint,
    requests: Requests,
    clock: Clock,
    poll: Poll,
    events: Events,
    sleeper: Sleeper,
    connections: Vec<Connection>,
    /// Connections that have nothing to do.
    free: Vec<usize>,
    /// Starts that wait for a connection.
    waiting: VecDeque<(u64, Stamp)>,
    /// What ended since the last turn.
    ended: Vec<Ended>,
    /// Read into, and written from, by all connections in turn.
    scratch: Vec<u8>,
    /// Until when nothing is connected anew, and why.
    down: Option<(u64, String)>,
    /// Whether due starts wait while the server is unreachable: in a closed model, whose starts would otherwise end at
    /// once for ever.
    waits: bool,
    killed: Option<f64>,
    random: fastrand::Rng,
    /// Starts had to wait for a connection, because all were in use.
    crowded: bool,
    looked: u64,
}

struct Ended {
    flight: Flight,
    now: u64,
    end: End,
    bytes: usize,
    problem: Option<String>,
}

/// After a connection failed, so long passes until another is tried.
const DOWN_NS: u64 = 50_000_000;
/// Timeouts are looked for no more often than this.
const LOOK_NS: u64 = 5_000_000;

impl Http {
    /// Connections for one of `workers` workers, of a closed model if it `waits` while the server is unreachable.
    ///
    /// # Errors
    /// When the system gives no poll.
    pub(super) fn new(
        endpoint: Endpoint,
        workers: usize,
        killed: Option<f64>,
        waits: bool,
        clock: Clock,
    ) -> Result<Http, String> {
        let told = |error: io::Error| format!("no poll: {error}");
        let count = endpoint.connections().div_ceil(workers).max(1);
        let poll = Poll::new().map_err(told)?;
        let sleeper = Sleeper::new(&poll, Token(count)).map_err(told)?;
        Ok(Http {
            requests: endpoint.requests(),
            endpoint,
            clock,
            poll,
            events: Events::with_capacity(1_024),
            sleeper,
            connections: (0..count).map(|_| Connection::default()).collect(),
            free: (0..count).rev().collect(),
            waiting: VecDeque::new(),
            ended: Vec::new(),
            scratch: vec![0; 64 * 1_024],
            down: None,
            waits,
            killed,
            random: fastrand::Rng::with_seed(count as u64),
            crowded: false,
            looked: 0,
        })
    }

    /// Gives a start to a connection. It counts as sent from now on.
    fn dispatch(&mut self, at: usize, n: u64, stamp: Stamp, interval: &mut Interval) {
        let flight = Flight { stamp, deadline: stamp.sent + self.endpoint.timeout_ns() };
        let connection = &mut self.connections[at];
        let result = if connection.is_open() {
            Ok(())
        } else {
            connection.open(&self.endpoint, &self.poll, Token(at))
        };
        let result = result.and_then(|()| match self.requests.ready(n) {
            Some(text) => connection.send(flight, text),
            None => {
                let mut text = Vec::new();
                self.requests.write(n, &mut text);
                connection.send(flight, &text)
            }
        });
        interval.sent(stamp, self.endpoint.input_bytes(n));
        if let Err(error) = result {
            let now = self.clock.now();
            self.lost(at, now, &error.to_string());
        } else if self.killed.is_some_and(|share| self.random.f64() < share) {
            let flight = self.connections[at].close();
            self.free.push(at);
            let problem = Some("the load test killed the connection".to_owned());
            let now = self.clock.now();
            self.ended.extend(flight.map(|flight| Ended {
                flight,
                now,
                end: End::Aborted,
                bytes: 0,
                problem,
            }));
        }
    }

    /// A connection is lost, with the requests on it.
    fn lost(&mut self, at: usize, now: u64, problem: &str) {
        let was_connected = self.connections[at].was_connected();
        if let Some(flight) = self.connections[at].close() {
            self.ended.push(Ended {
                flight,
                now,
                end: End::Broken,
                bytes: 0,
                problem: Some(problem.to_owned()),
            });
            self.free.push(at);
        }
        if !was_connected {
            self.down = Some((now + DOWN_NS, problem.to_owned()));
        }
    }

    /// Sends what waits, as far as there are connections.
    fn dispatch_waiting(&mut self, interval: &mut Interval) {
        while !self.waiting.is_empty() {
            let now = self.clock.now();
            let open = self.free.iter().rposition(|&at| self.connections[at].is_open());
            let Some(place) = open.or(self.free.len().checked_sub(1)) else {
                self.crowded = true;
                return;
            };
            if open.is_none()
                && let Some((until, problem)) = &self.down
                && now < *until
            {
                if self.waits {
                    return;
                }
                // The server is unreachable: starts that are due now are lost, and not stored up.
                for (_, stamp) in self.waiting.drain(..) {
                    interval.sent(stamp, 0);
                    interval.refused(stamp, End::Broken, problem);
                }
                return;
            }
            let at = self.free.swap_remove(place);
            if let Some((n, stamp)) = self.waiting.pop_front() {
                self.dispatch(at, n, Stamp { sent: now, ..stamp }, interval);
            }
        }
    }

    /// Takes in what happened on the connections.
    fn take_in(&mut self) {
        let now = self.clock.now();
        for event in &self.events {
            let at = event.token().0;
            let Some(connection) = self.connections.get_mut(at) else {
                self.sleeper.rang();
                continue;
            };
            let happened = connection.happened(event, &mut self.scratch, &self.endpoint);
            match happened {
                Happened::Nothing => {}
                Happened::Answered { flight, end, bytes, problem } => {
                    self.ended.push(Ended { flight, now, end, bytes, problem });
                    self.free.push(at);
                    self.down = None;
                }
                Happened::Lost(problem) => {
                    let was_connected = connection.was_connected();
                    if let Some(flight) = connection.close() {
                        let problem = Some(problem.clone());
                        self.ended.push(Ended { flight, now, end: End::Broken, bytes: 0, problem });
                        self.free.push(at);
                    }
                    if !was_connected {
                        self.down = Some((now + DOWN_NS, problem));
                    }
                }
            }
        }
        self.events.clear();
    }

    fn poll(&mut self, timeout: Duration) {
        // An interrupted poll has no result; the next one will.
        if self.poll.poll(&mut self.events, Some(timeout)).is_ok() && !self.events.is_empty() {
            self.take_in();
        }
    }

    fn look_for_timeouts(&mut self, now: u64) {
        if now < self.looked + LOOK_NS {
            return;
        }
        self.looked = now;
        for at in 0..self.connections.len() {
            if self.connections[at].deadline().is_some_and(|deadline| deadline <= now) {
                let problem = format!("no answer within {} ms", self.endpoint.timeout_ns() / 1_000_000);
                self.lost(at, now, &problem);
            }
        }
    }
}

impl Lane for Http {
    fn send(&mut self, n: u64, stamp: Stamp, interval: &mut Interval) -> u64 {
        if self.waiting.is_empty()
            && let Some(&at) = self.free.last()
            && self.connections[at].is_open()
        {
            self.free.pop();
            self.dispatch(at, n, stamp, interval);
        } else {
            self.waiting.push_back((n, stamp));
            self.dispatch_waiting(interval);
        }
        stamp.sent
    }

    fn turn(&mut self, now: u64, interval: &mut Interval) {
        self.poll(Duration::ZERO);
        self.look_for_timeouts(now);
        for Ended { flight, now, end, bytes, problem } in self.ended.drain(..) {
            match (end, problem) {
                (End::Refused | End::Broken, problem) => {
                    interval.refused(flight.stamp, end, problem.as_deref().unwrap_or("broken"));
                }
                (_, problem) => {
                    interval.ended(flight.stamp, now, end, bytes);
                    problem.iter().for_each(|problem| interval.problem(flight.stamp, problem));
                }
            }
        }
        self.dispatch_waiting(interval);
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.connections.len() - self.free.len()
    }

    fn wait(&mut self, nanoseconds: u64) -> bool {
        if self.ended.is_empty() {
            let timeout = self.sleeper.timeout(nanoseconds);
            self.poll(timeout);
        }
        true
    }

    fn congestion(&self) -> Option<String> {
        let count = self.connections.len();
        self.crowded.then(|| format!("all {count} connections of a worker were in use; give it more"))
    }

    fn abandon(&mut self, interval: &mut Interval) {
        self.turn(self.clock.now(), interval);
        for (_, stamp) in self.waiting.drain(..) {
            interval.dropped(stamp.due, 1);
        }
    }
}
