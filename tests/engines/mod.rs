//! Servers in which a cluster can be, started by a test for itself, on ports of loopback, and ended with it. Where one is not
//! installed, the test says so and goes on without it.

#![allow(dead_code, reason = "no test needs all of it")]

mod nats;
mod postgres;
mod proxy;

use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock};

pub(crate) use nats::{Nats, Sync};
pub(crate) use postgres::Postgres;
pub(crate) use proxy::{Proxy, Way};

/// Held while a process is being started: until it is another program, it holds what is locked here.
static FORKS: RwLock<()> = RwLock::new(());

/// Starts no process as long as this is held.
pub(crate) fn nothing_forks() -> impl Drop {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(command: &mut Command) -> Child {
    let _forks = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// As it should.
    Asked,
    /// At once, so that it recovers when it starts.
    Killed,
}

/// A server in which clusters can be.
pub(crate) trait Engine: Send {
    fn name(&self) -> &'static str;
    /// Its URL, with a port that leads to it.
    fn url_by(&self, port: u16) -> String;
    fn port(&self) -> u16;
    /// Starts it again, with what it has.
    fn run(&mut self);
    fn end(&mut self, how: End);

    fn url(&self) -> String {
        self.url_by(self.port())
    }
}

/// Does a test with each of them that is installed.
pub(crate) fn each(test: impl Fn(&mut dyn Engine)) {
    if let Some(mut server) = Postgres::start() {
        test(&mut server);
    }
    if let Some(mut server) = Nats::start(Sync::AtIntervals) {
        test(&mut server);
    }
}
