//! The end of a process that must not go on.

use std::fmt::Display;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::limits::LAST_WORDS_MS;

/// Ends the process at once, because what it would do next could be wrong: nothing more is reported, not even by exit
/// handlers. The reason is written to standard error; a pipe that nobody reads does not keep the process alive.
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
