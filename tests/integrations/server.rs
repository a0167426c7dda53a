//! A server with scripted answers, which records its requests.

// Not every test asks for everything.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

/// What it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Such as `POST`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// By name, in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The number of the connection it came on.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// An answer: a status, headers, a body.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Answer(u16, Vec<(String, String)>, Vec<u8>),
    /// Not a word, until the other end hangs up.
    Nothing,
    /// It hangs up at once.
    HangUp,
    /// These bytes, and hangs up.
    Raw(Vec<u8>),
}

pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Says {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Says::Answer(status, headers, body.into())
}

type Script = dyn Fn(&Asked) -> Says + Send + Sync;

/// A server, until it is dropped; what it was asked comes out of `asked`.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Receiver<Asked>,
    /// A word for each connection that the other end closed while it waited for an answer.
    pub(crate) hung_up: Receiver<()>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (tell, asked) = mpsc::channel();
        let (tell_hung_up, hung_up) = mpsc::channel();
        let script: Arc<Script> = Arc::new(script);
        let tell = Arc::new(Mutex::new(tell));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (script, tell, hung_up) = (Arc::clone(&script), Arc::clone(&tell), tell_hung_up.clone());
                std::thread::spawn(move || serve(stream, number, &*script, &tell, &hung_up));
            }
        });
        Server { address, asked, hung_up }
    }

    /// Always the same.
    pub(crate) fn saying(says: Says) -> Server {
        Server::start(move |_| says.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(
    stream: TcpStream,
    number: usize,
    script: &Script,
    tell: &Mutex<Sender<Asked>>,
    hung_up: &Sender<()>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    while let Some(asked) = read(&mut reader, number) {
        let says = script(&asked);
        // The client may be gone.
        let _ = tell.lock().expect("the lock").send(asked);
        match says {
            Says::Answer(status, headers, body) => {
                let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
                for (name, value) in &headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
                    text.push_str(&format!("Content-Length: {}\r\n", body.len()));
                }
                text.push_str("\r\n");
                let mut bytes = text.into_bytes();
                bytes.extend_from_slice(&body);
                if writer.write_all(&bytes).is_err() {
                    return;
                }
            }
            Says::Nothing => {
                let _ = reader.read(&mut [0]);
                let _ = hung_up.send(());
                return;
            }
            Says::HangUp => return,
            Says::Raw(bytes) => {
                let _ = writer.write_all(&bytes);
                return;
            }
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        403 => "Forbidden",
        404 => "Not Found",
        _ => "Whatever",
    }
}

fn read(reader: &mut impl BufRead, connection: usize) -> Option<Asked> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked { method: words.next()?, target: words.next()?, connection, ..Asked::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = asked.headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}
