//! Ctrl-C: the first one asks the command to end in order, the second one ends the process at once.

use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::say;

/// Says at the first SIGINT that the command ends in order, unless `quiet`, and calls `stop`, on a thread of its own. Returns when the signal handler is installed: from then
/// on, the command is never cut short by the signal's default. If it cannot be installed, SIGINT ends the process by
/// default.
pub(super) fn on_first(quiet: bool, stop: impl FnOnce() + Send + 'static) {
    let (listening, listens) = mpsc::sync_channel::<()>(1);
    let wait = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut interrupts = listen()?;
            drop(listening);
            interrupts.recv().await;
            if !quiet {
                tell();
            }
            stop();
            interrupts.recv().await;
            std::process::exit(i32::from(EXIT_CODE))
        })
    };
    if thread::Builder::new().name("signals".into()).spawn(wait).is_ok() {
        // The sender is dropped as soon as the handler is installed, or if it cannot be.
        let _ = listens.recv();
    }
}

/// The reader of standard error may have stopped reading: that must not keep the second SIGINT from being seen.
fn tell() {
    let (done, said) = mpsc::sync_channel(1);
    let tell = move || {
        // A line of progress may be there.
        let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
        say(&format!("{clear}expressway: ending with what is done; a second Ctrl-C ends at once"));
        let _ = done.send(());
    };
    if thread::Builder::new().name("interrupted".into()).spawn(tell).is_ok() {
        let _ = said.recv_timeout(Duration::from_millis(50));
    }
}

/// As in a shell: 128 and the number of SIGINT.
pub(super) const EXIT_CODE: u8 = 130;

#[cfg(unix)]
fn listen() -> io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
}

#[cfg(windows)]
fn listen() -> io::Result<tokio::signal::windows::CtrlC> {
    tokio::signal::windows::ctrl_c()
}
