//! A proxy before a server, which forwards, holds or closes connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// They stay open, and nothing is forwarded, as when a network loses all packets. Sent bytes arrive later.
    Silent,
    /// They are closed, and new ones are refused.
    Closed,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    way: Way,
    open: Vec<TcpStream>,
}

impl Default for State {
    fn default() -> State {
        State { way: Way::Open, open: Vec::new() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(crate) fn before(server: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared::default());
        let known = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = known.lock();
                if state.way == Way::Closed {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("a socket");
                state.open.extend([copy(&client), copy(&server)]);
                for (from, to) in [(copy(&client), copy(&server)), (server, client)] {
                    let known = Arc::clone(&known);
                    std::thread::spawn(move || carry(from, to, &known));
                }
            }
        });
        Proxy { port, shared }
    }

    pub(crate) fn set(&self, way: Way) {
        let mut state = self.shared.lock();
        state.way = way;
        if way == Way::Closed {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.changed.notify_all();
    }

    /// Closes all connections; new ones are forwarded.
    pub(crate) fn cut(&self) {
        self.set(Way::Closed);
        self.set(Way::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Way::Closed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let state = shared.lock();
        let waited = shared.changed.wait_while(state, |state| state.way == Way::Silent);
        let way = waited.unwrap_or_else(PoisonError::into_inner).way;
        if way == Way::Closed || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
