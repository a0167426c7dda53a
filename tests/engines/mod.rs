//! Servers of a cluster's engine, which a test starts on loopback ports and ends. If a server is not installed, the
//! test reports it and skips it.

#![allow(dead_code, reason = "no test needs all of it")]

mod nats;
#[path = "../ports/mod.rs"]
mod ports;
mod postgres;
mod proxy;

use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock};

pub(crate) use nats::{Nats, Sync};
pub(crate) use postgres::Postgres;
#[allow(unused_imports, reason = "no test needs all of it")]
pub(crate) use proxy::{Proxy, Way};

/// Held while a process is started: until it executes another program, it has this process's file locks.
static FORKS: RwLock<()> = RwLock::new(());

/// Prevents the start of processes while it is held.
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
    /// In order.
    Asked,
    /// At once, so that the server recovers when it starts.
    Killed,
}

/// A server that clusters can use.
pub(crate) trait Engine: Send {
    fn name(&self) -> &'static str;
    /// Its URL, with this port, which is forwarded to it.
    fn url_by(&self, port: u16) -> String;
    fn port(&self) -> u16;
    /// Starts it again, with its data.
    fn run(&mut self);
    fn end(&mut self, how: End);

    fn url(&self) -> String {
        self.url_by(self.port())
    }
}

/// Starts an engine, if it is installed.
pub(crate) type Start = fn() -> Option<Box<dyn Engine>>;

pub(crate) const ENGINES: [Start; 2] =
    [|| Some(Box::new(Postgres::start()?)), || Some(Box::new(Nats::start(Sync::AtIntervals)?))];

/// Runs a test with each server that is installed.
pub(crate) fn each(test: impl Fn(&mut dyn Engine)) {
    for mut server in ENGINES.iter().filter_map(|start| start()) {
        test(&mut *server);
    }
}
