//! The settings in a NATS URL: servers, credentials, replicas and their durability.

use crate::os;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::limits::NATS_CONNECT_MS;

/// The monitoring port of servers, unless the URL has others.
const MONITOR_PORT: u16 = 8_222;
/// The maximum size of a server's description, in bytes.
const MONITOR_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) servers: Vec<ServerAddr>,
    pub(super) user: Option<(String, String)>,
    pub(super) token: Option<String>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) roots: Option<PathBuf>,
    pub(super) replicas: u64,
    /// The operator accepts that acknowledged data may be lost.
    pub(super) accepts_loss: bool,
    /// The operator states that all servers have `sync_interval: always`; it is not checked.
    pub(super) is_synced: bool,
    /// The monitoring addresses of servers, as `host:port`.
    monitors: Vec<String>,
}

const KNOWN: &str =
    "replicas=1|3|5, monitor=HOST:PORT,…, sync=always, accept_loss=true, credentials=FILE, root=FILE";

impl Settings {
    pub(super) fn of(url: &str) -> Result<Settings, String> {
        let (address, options) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = address.split_once("://").unwrap_or(("nats", address));
        let (user, hosts) = rest.rsplit_once('@').map_or((None, rest), |(user, hosts)| (Some(user), hosts));
        let server = |host: &str| {
            let parsed: Result<ServerAddr, _> = format!("{scheme}://{host}").parse();
            parsed.map_err(|error| format!("the URL cannot be read: {host}: {error}"))
        };
        let hosts = hosts.trim_end_matches('/').split(',');
        let servers: Vec<ServerAddr> = hosts.map(server).collect::<Result<_, _>>()?;
        let text = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, token) = match user.map(|user| user.split_once(':').ok_or(user)) {
            None => (None, None),
            Some(Ok((name, password))) => (Some((text(name), text(password))), None),
            Some(Err(token)) => (None, Some(text(token))),
        };
        let monitors = servers.iter().map(|it| format!("{}:{MONITOR_PORT}", it.host())).collect();
        let mut settings = Settings {
            servers,
            user,
            token,
            credentials: None,
            roots: None,
            replicas: 3,
            accepts_loss: false,
            is_synced: false,
            monitors,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            settings.set(option)?;
        }
        Ok(settings)
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        match option.split_once('=').unwrap_or((option, "")) {
            ("replicas", "1") => self.replicas = 1,
            ("replicas", "3") => self.replicas = 3,
            ("replicas", "5") => self.replicas = 5,
            ("accept_loss", "true") => self.accepts_loss = true,
            ("sync", "always") => self.is_synced = true,
            ("credentials", file) if !file.is_empty() => self.credentials = Some(file.into()),
            ("root", file) if !file.is_empty() => self.roots = Some(file.into()),
            ("monitor", places) if !places.is_empty() => {
                self.monitors = places.split(',').map(str::to_owned).collect();
            }
            (name, _) => {
                return Err(format!("the URL's {name:?} is not known with this value; it may say {KNOWN}"));
            }
        }
        Ok(())
    }

    /// Returns the names of the servers that sync each write before they acknowledge it, and for the others, why not,
    /// or why that is unknown.
    pub(super) fn synced(&self) -> (Vec<String>, Vec<String>) {
        let (mut synced, mut troubles) = (Vec::new(), Vec::new());
        for place in &self.monitors {
            match told(place) {
                Ok(told) if told["jetstream"]["config"]["sync_always"] == true => {
                    synced.extend(told["server_name"].as_str().map(str::to_owned));
                }
                Ok(told) => {
                    let name = told["server_name"].as_str().unwrap_or(place);
                    troubles.push(format!("{name} syncs at intervals"));
                }
                Err(error) => troubles.push(format!("http://{place}/varz: {error}")),
            }
        }
        (synced, troubles)
    }
}

/// Reads a server's description from its monitoring address.
fn told(place: &str) -> Result<Value, String> {
    let time = Duration::from_millis(NATS_CONNECT_MS / 5);
    let wrong = |error: std::io::Error| os::words(&error);
    let address = place.to_socket_addrs().map_err(wrong)?.next().ok_or("it has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, time).map_err(wrong)?;
    stream.set_read_timeout(Some(time)).map_err(wrong)?;
    stream.set_write_timeout(Some(time)).map_err(wrong)?;
    let request = format!("GET /varz HTTP/1.0\r\nHost: {place}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(wrong)?;
    let mut answer = Vec::new();
    stream.take(MONITOR_BYTES_MAX).read_to_end(&mut answer).map_err(wrong)?;
    let answer = String::from_utf8_lossy(&answer);
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("it does not speak HTTP")?;
    serde_json::from_str(body).map_err(|error| error.to_string())
}
