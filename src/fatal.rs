//! The end of a process that must not go on.

use std::fmt::Display;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::limits::LAST_WORDS_MS;

/// Aborts the process, because its state may be wrong: no exit handlers run, and nothing more is acknowledged. The reason is
/// written to standard error; if that blocks for longer than [`LAST_WORDS_MS`], because a pipe is full, the process is
/// aborted without it.
pub(crate) fn end_process(why: &dyn Display) -> ! {
    let line = format!("error: {why}");
    let (told, is_told) = mpsc::channel();
    let tell = move || {
        eprintln!("{line}");
        // The process ends by itself if this takes too long.
        let _ = told.send(());
    };
    if thread::Builder::new().name("last-words".into()).spawn(tell).is_ok() {
        let _ = is_told.recv_timeout(Duration::from_millis(LAST_WORDS_MS));
    }
    std::process::abort();
}
