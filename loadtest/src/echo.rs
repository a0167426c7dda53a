//! A bare HTTP server on one thread, which answers every request the same: the cost of a client is measured best
//! against a server with almost no cost.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const BODY: &str = r#"{"executionArn":"arn","output":"{}","status":"SUCCEEDED"}"#;
const LISTENER: Token = Token(usize::MAX - 1);
const CONNECTIONS_MAX: usize = 65_536;

/// Serves until the process ends; calls `ready` with the address.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(address: SocketAddr, ready: impl FnOnce(SocketAddr)) -> std::io::Result<()> {
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    ready(listener.local_addr()?);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let (mut events, mut chunk) = (Events::with_capacity(1_024), vec![0; 64 * 1_024]);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections);
            } else if let Some(slot) = connections.get_mut(event.token().0)
                && let Some(connection) = slot
                && !connection.turn(&mut chunk, answer.as_bytes())
            {
                *slot = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) {
    while let Ok((mut stream, _)) = listener.accept() {
        let free = connections.iter().position(Option::is_none);
        let at = free.unwrap_or(connections.len());
        let registered = poll.registry().register(&mut stream, Token(at), Interest::READABLE);
        if at >= CONNECTIONS_MAX || stream.set_nodelay(true).is_err() || registered.is_err() {
            continue;
        }
        let connection = Some(Connection { stream, unread: Vec::new() });
        match free {
            Some(at) => connections[at] = connection,
            None => connections.push(connection),
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a request that is not whole.
    unread: Vec<u8>,
}

impl Connection {
    /// Reads available data and answers each complete request; whether the connection continues.
    fn turn(&mut self, chunk: &mut [u8], answer: &[u8]) -> bool {
        loop {
            let bytes = match self.stream.read(chunk) {
                Ok(0) => return false,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let mut answers = 0;
            if self.unread.is_empty() {
                let rest = skip_whole(&chunk[..bytes], &mut answers);
                self.unread.extend_from_slice(rest);
            } else {
                self.unread.extend_from_slice(&chunk[..bytes]);
                let rest = skip_whole(&self.unread, &mut answers).len();
                self.unread.drain(..self.unread.len() - rest);
            }
            // A client that does not read its answers is not worth a buffer.
            if self.unread.len() > 1 << 20 || (0..answers).any(|_| self.stream.write_all(answer).is_err()) {
                return false;
            }
            if bytes < chunk.len() {
                return true;
            }
        }
    }
}

/// Counts whole requests; gives what is behind them.
fn skip_whole<'b>(mut bytes: &'b [u8], count: &mut usize) -> &'b [u8] {
    while let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        let length = content_length(&bytes[..head]);
        let Some(rest) = bytes.get(head + 4 + length..) else { break };
        bytes = rest;
        *count += 1;
    }
    bytes
}

fn content_length(head: &[u8]) -> usize {
    let lines = head.split(|&byte| byte == b'\n');
    let value = lines.filter_map(|line| {
        let at = memchr::memchr(b':', line)?;
        let name = &line[..at];
        let digits = std::str::from_utf8(line[at + 1..].trim_ascii()).ok()?;
        name.eq_ignore_ascii_case(b"content-length").then(|| digits.parse::<usize>().ok())?
    });
    value.max().unwrap_or(0).min(1 << 20)
}
