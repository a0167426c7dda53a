//! Ctrl-C: the first one asks the command to end in order, the second one ends the process at once.

use std::io;
use std::sync::mpsc;
use std::thread;

/// Calls `stop` at the first SIGINT, on a thread of its own. Returns when the signal handler is installed: from then
/// on, the command is never cut short by the signal's default. If it cannot be installed, SIGINT ends the process by
/// default.
pub(super) fn on_first(stop: impl FnOnce() + Send + 'static) {
    let (listening, listens) = mpsc::sync_channel::<()>(1);
    let wait = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut interrupts = listen()?;
            drop(listening);
            interrupts.recv().await;
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
