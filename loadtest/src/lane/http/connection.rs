//! One connection, with at most one request in flight.

use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use super::endpoint::Endpoint;
use super::response::{self, ANSWER_BYTES_MAX, Progress};
use super::stream::Stream;
use crate::record::{End, Stamp};

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) stamp: Stamp,
    /// When its answer is too late.
    pub(super) deadline: u64,
}

/// The result of an event.
pub(super) enum Happened {
    Nothing,
    Answered { flight: Flight, end: End, bytes: usize, problem: Option<String> },
    Lost(String),
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    stream: Option<Stream<TcpStream>>,
    connected: bool,
    flight: Option<Flight>,
    /// What is still to be written.
    out: Vec<u8>,
    /// What was read of an answer that is not whole.
    part: Vec<u8>,
    /// The answer ends with the connection.
    until_close: bool,
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the other side ever took it.
    pub(super) fn was_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.flight.map(|flight| flight.deadline)
    }

    pub(super) fn open(&mut self, endpoint: &Endpoint, poll: &Poll, token: Token) -> io::Result<()> {
        let mut stream = TcpStream::connect(endpoint.socket())?;
        // Requests are written whole; waiting for more would only delay them.
        stream.set_nodelay(true)?;
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let stream = match endpoint.tls() {
            None => Stream::Plain(stream),
            Some(tls) => tls.around(stream)?,
        };
        *self = Connection { stream: Some(stream), ..Connection::default() };
        Ok(())
    }

    /// Forgets the stream; gives what was on its way.
    pub(super) fn close(&mut self) -> Option<Flight> {
        let flight = self.flight.take();
        *self = Connection::default();
        flight
    }

    pub(super) fn send(&mut self, flight: Flight, text: &[u8]) -> io::Result<()> {
        self.flight = Some(flight);
        self.part.clear();
        if !self.connected {
            self.out.extend_from_slice(text);
            return Ok(());
        }
        let written = self.write(text)?;
        self.out.extend_from_slice(&text[written..]);
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Err(ErrorKind::NotConnected.into()) };
        let mut written = 0;
        while written < text.len() {
            match stream.write(&text[written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    pub(super) fn happened(&mut self, event: &Event, scratch: &mut [u8], endpoint: &Endpoint) -> Happened {
        if let Err(error) = self.connect(event) {
            return Happened::Lost(error.to_string());
        }
        if event.is_writable()
            && let Err(error) = self.write_rest()
        {
            return Happened::Lost(error.to_string());
        }
        if event.is_readable() || event.is_read_closed() {
            let happened = self.read(scratch, endpoint, event.is_read_closed());
            // TLS begins with a handshake: data that waited for its end can be sent now.
            return match (happened, self.write_rest()) {
                (Happened::Nothing, Err(error)) => Happened::Lost(error.to_string()),
                (happened, _) => happened,
            };
        }
        Happened::Nothing
    }

    /// Writes what could not be written at once.
    fn write_rest(&mut self) -> io::Result<()> {
        if self.connected && !self.out.is_empty() {
            let mut out = std::mem::take(&mut self.out);
            let written = self.write(&out)?;
            out.drain(..written);
            self.out = out;
        }
        match &mut self.stream {
            Some(stream @ Stream::Tls(_)) => match stream.flush() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn connect(&mut self, event: &Event) -> io::Result<()> {
        let Some(stream) = &self.stream else { return Ok(()) };
        if self.connected {
            return Ok(());
        }
        if let Some(error) = stream.socket().take_error()? {
            return Err(error);
        }
        if event.is_writable() && stream.socket().peer_addr().is_ok() {
            self.connected = true;
        }
        Ok(())
    }

    /// Reads until the answer is whole, or there is no more.
    fn read(&mut self, scratch: &mut [u8], endpoint: &Endpoint, closing: bool) -> Happened {
        let Some(stream) = &mut self.stream else { return Happened::Nothing };
        loop {
            match stream.read(scratch) {
                Ok(0) => return self.closed(endpoint),
                Ok(_) if self.flight.is_none() => {
                    return Happened::Lost("an unrequested answer".to_owned());
                }
                Ok(bytes) if self.part.is_empty() => match response::parse(&scratch[..bytes]) {
                    Progress::Whole(answer) => {
                        return self.answered(&answer, None, &scratch[..bytes], endpoint, closing);
                    }
                    Progress::More(until_close) => {
                        self.until_close = until_close;
                        self.part.extend_from_slice(&scratch[..bytes]);
                    }
                    Progress::Garbage(error) => return garbage(&error),
                },
                Ok(bytes) => {
                    self.part.extend_from_slice(&scratch[..bytes]);
                    if self.part.len() > ANSWER_BYTES_MAX {
                        return garbage("it is larger than any answer");
                    }
                    match response::parse(&self.part) {
                        Progress::Whole(answer) => {
                            let part = std::mem::take(&mut self.part);
                            return self.answered(&answer, None, &part, endpoint, closing);
                        }
                        Progress::More(until_close) => self.until_close = until_close,
                        Progress::Garbage(error) => return garbage(&error),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Happened::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Happened::Lost(error.to_string()),
            }
        }
    }

    fn answered(
        &mut self,
        answer: &response::Answer,
        whole: Option<usize>,
        bytes: &[u8],
        endpoint: &Endpoint,
        closing: bool,
    ) -> Happened {
        let Some(flight) = self.flight.take() else { return Happened::Nothing };
        let size = whole.unwrap_or(answer.body.end);
        let (end, problem) = if answer.is_in_pieces() {
            response::end(endpoint.operation(), answer.status, &response::body(answer, bytes))
        } else {
            response::end(endpoint.operation(), answer.status, &bytes[answer.body.clone()])
        };
        // Unrequested data behind an answer cannot be distinguished from the next one.
        if !answer.keeps || closing || bytes.len() > answer.body.end || !self.out.is_empty() {
            *self = Connection::default();
        }
        Happened::Answered { flight, end, bytes: size, problem }
    }

    /// The other side has closed the connection.
    fn closed(&mut self, endpoint: &Endpoint) -> Happened {
        if self.flight.is_none() {
            // It was idle: no harm done.
            *self = Connection::default();
            return Happened::Nothing;
        }
        if self.until_close {
            let part = std::mem::take(&mut self.part);
            if let Some(answer) = response::parse_closed(&part) {
                return self.answered(&answer, Some(part.len()), &part, endpoint, true);
            }
        }
        Happened::Lost(if self.part.is_empty() {
            "the connection was closed before an answer".to_owned()
        } else {
            "the connection was closed in the middle of an answer".to_owned()
        })
    }
}

fn garbage(error: &str) -> Happened {
    Happened::Lost(format!("the answer is no HTTP: {error}"))
}
