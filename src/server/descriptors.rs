//! File descriptors: each connection uses one, and so does each call of a service.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

/// The limit of open files of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileLimit {
    /// At the start; no limit is `u64::MAX`.
    pub before: u64,
    /// Now.
    pub now: u64,
}

/// Raises this process's soft limit of open files to the hard limit: the usual 1,024 is a relic. `None` where the
/// limits are unknown.
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

/// A spare descriptor, so that a client can still be answered when there are no others.
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

    /// Whether accepting failed because there are no descriptors left, which is logged at intervals.
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

    /// Frees it; whether there was one.
    pub(super) fn free(&mut self) -> bool {
        self.file.take().is_some()
    }

    /// Takes one again, if possible.
    pub(super) fn renew(&mut self) {
        self.file = File::open("/dev/null").ok();
    }
}
