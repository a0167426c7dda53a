//! The address of an endpoint.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::stream::{Stream, Tls};

/// An endpoint's address.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Name or number, without the port.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Tls>,
    /// Where it was found.
    pub(super) socket: SocketAddr,
}

/// How long a connection may take to come about, and each step of TLS after it.
const CONNECT: Duration = Duration::from_secs(5);

impl Address {
    /// Takes an endpoint apart: `http://host:port`, `https://host`.
    pub(super) fn parse(endpoint: &str) -> Result<(String, u16, bool), String> {
        let wrong = || format!("'{endpoint}' is no endpoint; write it like http://127.0.0.1:8083");
        let (scheme, rest) = endpoint.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong());
        }
        let plain = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            // A colon inside of brackets belongs to the address.
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, plain),
        };
        Ok((host.trim_matches(['[', ']']).to_owned(), port, tls))
    }

    /// Finds an endpoint, and sees whether it can be connected to.
    pub(super) fn find(
        endpoint: &str,
        operation: &str,
        authorities: Option<&Path>,
    ) -> Result<Address, String> {
        let (mut host, port, tls) = Address::parse(endpoint)?;
        // AWS has synchronous executions on another host.
        if operation == "StartSyncExecution"
            && host.starts_with("states.")
            && host.ends_with(".amazonaws.com")
        {
            host.insert_str(0, "sync-");
        }
        let found = (&*host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        let tls = if tls { Some(Tls::new(&host, authorities)?) } else { None };
        let mut last = format!("{host} has no address");
        for socket in found {
            let address = Address { host: host.clone(), port, tls: tls.clone(), socket };
            match address.connect() {
                Ok(_) => return Ok(address),
                Err(error) => last = format!("{socket}: {error}"),
            }
        }
        Err(format!("no connection to {endpoint}: {last}"))
    }

    /// A connection that waits for what it reads and writes.
    pub(super) fn connect(&self) -> io::Result<Stream<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.socket, CONNECT)?;
        stream.set_read_timeout(Some(CONNECT))?;
        stream.set_write_timeout(Some(CONNECT))?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let mut stream = tls.around(stream)?;
        // Certificates that are not believed are found out here.
        stream.flush().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer to TLS"),
            _ => error,
        })?;
        Ok(stream)
    }

    /// As the `Host` header has it.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls.is_some(), self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        let parse = |text| Address::parse(text).ok();
        assert_eq!(parse("http://127.0.0.1:8083"), Some(("127.0.0.1".to_owned(), 8083, false)));
        assert_eq!(
            parse("https://states.eu-west-1.amazonaws.com/"),
            Some(("states.eu-west-1.amazonaws.com".to_owned(), 443, true))
        );
        assert_eq!(parse("http://[::1]:80"), Some(("::1".to_owned(), 80, false)));
        assert_eq!(parse("http://[::1]"), Some(("::1".to_owned(), 80, false)));
        for wrong in [
            "",
            "localhost:80",
            "ftp://x",
            "http://",
            "http://a:b",
            "http://a/b",
            "http://a:99999",
            "http://u@h",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
