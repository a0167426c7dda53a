//! File descriptors: each connection takes one, and so does each call of a service.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// How many a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileLimit {
    /// When it was started; what is beyond any number is `u64::MAX`.
    pub before: u64,
    /// Now.
    pub now: u64,
}

/// Raises the number of files that this process may have open as far as it may by itself: the usual 1,024 is a relic.
/// None where that is not known.
pub fn raise_file_limit() -> Option<FileLimit> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = Rlimit { current: maximum, maximum };
        let is_raised = current != maximum && setrlimit(Resource::Nofile, wanted).is_ok();
        let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        let before = number(current);
        Some(FileLimit { before, now: if is_raised { number(maximum) } else { before } })
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// A descriptor that is kept, so that when there is no other a client can still be told.
#[derive(Debug)]
pub(super) struct Reserve {
    file: Option<File>,
    said_at: Option<Instant>,
}

/// How often the shortage of file descriptors is logged.
const SAY_AGAIN: Duration = Duration::from_secs(60);

impl Reserve {
    pub(super) fn new() -> Reserve {
        Reserve { file: File::open("/dev/null").ok(), said_at: None }
    }

    /// Whether accepting failed because there are no descriptors left, which is said now and then.
    pub(super) fn is_needed(&mut self, error: &io::Error) -> bool {
        #[cfg(target_os = "linux")]
        let is_it = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
        #[cfg(not(target_os = "linux"))]
        let is_it = error.raw_os_error() == Some(24);
        if is_it && self.said_at.is_none_or(|said_at| said_at.elapsed() >= SAY_AGAIN) {
            self.said_at = Some(Instant::now());
            tracing::warn!("out of file descriptors: new connections are refused until others close");
        }
        is_it
    }

    /// Lets go of it; whether there was one.
    pub(super) fn free(&mut self) -> bool {
        self.file.take().is_some()
    }

    /// Takes one again, if one is left.
    pub(super) fn renew(&mut self) {
        self.file = File::open("/dev/null").ok();
    }
}
