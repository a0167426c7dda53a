//! Sources of the time.

use std::sync::LazyLock;
use std::time::Instant;

use crate::limits::CLOCK_READS_MAX;

/// The time, and how to let it pass.
pub trait Clock {
    /// Milliseconds since 1970 on the wall clock, which may be set.
    fn now_ms(&mut self) -> u64;
    /// Milliseconds since 1970 by the monotonic clock: durations are measured with it.
    fn steady_ms(&mut self) -> u64 {
        self.now_ms()
    }
    /// Returns when it is `at_ms` or later by the monotonic clock.
    fn wait_until(&mut self, at_ms: u64);
}

/// The machine's coarse and cheap clock: a resolution of a few milliseconds, which is enough for workflows.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealClock;

impl Clock for RealClock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn now_ms(&mut self) -> u64 {
        // Three times as cheap as the precise clock, which would be a third of the cost of the smallest workflow.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn now_ms(&mut self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn steady_ms(&mut self) -> u64 {
        static ANCHOR_NS: LazyLock<i64> = LazyLock::new(|| {
            let (mut steady, mut wall) = (0, 0);
            for _ in 0..CLOCK_READS_MAX {
                steady = nanoseconds(rustix::time::ClockId::MonotonicCoarse);
                wall = nanoseconds(rustix::time::ClockId::RealtimeCoarse);
                // Both change together: now they are of one moment.
                if nanoseconds(rustix::time::ClockId::MonotonicCoarse) == steady {
                    break;
                }
            }
            wall - steady
        });
        let now_ns = nanoseconds(rustix::time::ClockId::MonotonicCoarse).saturating_add(*ANCHOR_NS);
        u64::try_from(now_ns / 1_000_000).unwrap_or(0)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn steady_ms(&mut self) -> u64 {
        static ANCHOR: LazyLock<(u64, Instant)> =
            LazyLock::new(|| (Clock::now_ms(&mut RealClock), Instant::now()));
        let (began_ms, began) = *ANCHOR;
        began_ms.saturating_add(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn wait_until(&mut self, at_ms: u64) {
        loop {
            let now_ms = self.steady_ms();
            if now_ms >= at_ms {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(at_ms - now_ms));
        }
    }
}

/// Since the clock's epoch; 64 bits last until 2262, and a wider division would be a function call.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn nanoseconds(clock: rustix::time::ClockId) -> i64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// Virtual time: it passes at once when something waits for it.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock {
    now_ms: u64,
}

impl VirtualClock {
    /// A clock that shows `now_ms`, in milliseconds since 1970.
    pub const fn at(now_ms: u64) -> VirtualClock {
        VirtualClock { now_ms }
    }
}

impl Clock for VirtualClock {
    fn now_ms(&mut self) -> u64 {
        self.now_ms
    }

    fn wait_until(&mut self, at_ms: u64) {
        self.now_ms = self.now_ms.max(at_ms);
    }
}

/// The source of an engine's time. Each of its threads reads it, once per turn.
///
/// Shards never let time run backwards: when it does, theirs stops until it has caught up.
pub trait Time: Send + Sync {
    /// Milliseconds since 1970 on the wall clock, which may be set. Displayed times and Wait states until a time of day
    /// use it.
    fn now_ms(&self) -> u64;

    /// Milliseconds since 1970 by the monotonic clock: all durations are measured with it.
    fn steady_ms(&self) -> u64 {
        self.now_ms()
    }

    /// Microseconds since some moment, never backwards: how long executions took is measured with it where that is
    /// [counted](crate::observe::Setup::metrics). By default, as coarse as [`steady_ms`](Time::steady_ms).
    fn elapsed_us(&self) -> u64 {
        self.steady_ms().saturating_mul(1_000)
    }

    /// Whether it passes like the machine's own time. If not, shards wait for a [tick](super::Engine::tick) instead of
    /// sleeping until a timer is due.
    fn passes(&self) -> bool {
        true
    }
}

impl Time for RealClock {
    fn now_ms(&self) -> u64 {
        let mut clock = *self;
        Clock::now_ms(&mut clock)
    }

    fn steady_ms(&self) -> u64 {
        let mut clock = *self;
        Clock::steady_ms(&mut clock)
    }

    fn elapsed_us(&self) -> u64 {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// How far the wall clock is ahead of the monotonic one; `None` if this thread was kept from reading both at one moment.
#[cfg(feature = "runtime")]
pub(super) fn ahead_ms(time: &dyn Time) -> Option<i64> {
    for _ in 0..CLOCK_READS_MAX {
        let steady_ms = time.steady_ms();
        let wall_ms = time.now_ms();
        if time.steady_ms() == steady_ms {
            return Some(wall_ms as i64 - steady_ms as i64);
        }
    }
    None
}

/// How far displayed times are ahead of the monotonic clock, for an execution that begins `now_ms` by it, and was asked for
/// at this time on the wall clock. A turn's time is read before it takes starts, and small corrections of the wall clock
/// are not followed: so without this it could begin before it was asked for.
#[cfg(feature = "runtime")]
pub(super) fn not_before(ahead_ms: i64, now_ms: u64, requested_ms: Option<u64>) -> i64 {
    requested_ms.map_or(ahead_ms, |requested_ms| ahead_ms.max(requested_ms as i64 - now_ms as i64))
}

/// A time that changes only when it is set; for tests. Clones share the same time.
///
/// After [`advance`](ManualTime::advance), call [`Engine::tick`](super::Engine::tick).
#[derive(Clone, Debug, Default)]
pub struct ManualTime {
    now_ms: std::sync::Arc<std::sync::atomic::AtomicU64>,
    /// How far the wall clock was set ahead.
    ahead_ms: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

impl ManualTime {
    /// A time that shows `now_ms`, in milliseconds since 1970.
    pub fn at(now_ms: u64) -> ManualTime {
        ManualTime { now_ms: std::sync::Arc::new(now_ms.into()), ..ManualTime::default() }
    }

    /// Lets time pass.
    pub fn advance(&self, milliseconds: u64) {
        self.now_ms.fetch_add(milliseconds, std::sync::atomic::Ordering::AcqRel);
    }

    /// Sets the wall clock forward, or back, by so much; no time passes.
    pub fn set_clock(&self, milliseconds: i64) {
        self.ahead_ms.fetch_add(milliseconds, std::sync::atomic::Ordering::AcqRel);
    }
}

impl Time for ManualTime {
    fn now_ms(&self) -> u64 {
        self.steady_ms().saturating_add_signed(self.ahead_ms.load(std::sync::atomic::Ordering::Acquire))
    }

    fn steady_ms(&self) -> u64 {
        self.now_ms.load(std::sync::atomic::Ordering::Acquire)
    }

    fn elapsed_us(&self) -> u64 {
        self.steady_ms().saturating_mul(1_000)
    }

    fn passes(&self) -> bool {
        false
    }
}
