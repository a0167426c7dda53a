//! Waiting for less than a millisecond, which a poll alone cannot.

use std::io;
use std::time::Duration;

use mio::{Poll, Token};

/// Below this there is no time to sleep, and it is looked again at once.
const AWAKE_NS: u64 = 60_000;
/// From here on, the poll's own milliseconds will do.
const COARSE_NS: u64 = 3_000_000;

/// Limits the duration of a poll.
#[derive(Debug)]
pub(super) struct Sleeper {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    armed: bool,
}

#[cfg(target_os = "linux")]
impl Sleeper {
    pub(super) fn new(poll: &Poll, token: Token) -> io::Result<Sleeper> {
        use std::os::fd::AsRawFd;

        use rustix::time::{TimerfdClockId, TimerfdFlags};

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = mio::unix::SourceFd(&timer.as_raw_fd());
        poll.registry().register(&mut source, token, mio::Interest::READABLE)?;
        Ok(Sleeper { timer, armed: false })
    }

    /// How long to poll, to wake up after so many nanoseconds.
    pub(super) fn timeout(&mut self, nanoseconds: u64) -> Duration {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec};

        if nanoseconds < AWAKE_NS {
            return Duration::ZERO;
        }
        if nanoseconds >= COARSE_NS {
            return Duration::from_millis(nanoseconds / 1_000_000);
        }
        // A sleeper wakes up late; it is better awake a little before.
        let wake = (nanoseconds - AWAKE_NS / 2) as i64;
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let time = Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: 0, tv_nsec: wake } };
        match rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time) {
            Ok(_) => {
                self.armed = true;
                Duration::from_millis(10)
            }
            Err(_) => Duration::from_millis(1),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Sleeper {
    pub(super) fn new(_: &Poll, _: Token) -> io::Result<Sleeper> {
        Ok(Sleeper { armed: false })
    }

    /// How long to poll, to wake up after so many nanoseconds.
    pub(super) fn timeout(&mut self, nanoseconds: u64) -> Duration {
        match nanoseconds {
            0..1_000_000 => Duration::ZERO,
            more => Duration::from_millis(more / 1_000_000),
        }
    }
}

impl Sleeper {
    /// The timer rang. It is not read: setting it anew makes it ring again.
    pub(super) fn rang(&mut self) {
        self.armed = false;
    }
}
