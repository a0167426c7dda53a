//! A shard's thread: a single-threaded tokio runtime whose first task turns the shard, and sleeps when there is nothing
//! to do.
//!
//! Handlers' futures are polled inside that task, so tokio's I/O and timers find their runtime, and use the same waker.
//! It is a task and not the future of `block_on`, because waking that takes a system call even on its own thread: one
//! for each time that something was read.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Instant, Sleep};

use super::clock::Time;
use super::inbox::Shared;
use super::shard::Shard;

/// Turns between two polls of tokio's own queues, where handlers' I/O becomes ready.
const TURNS_PER_POLL: usize = 4;
/// A sleeping shard checks at intervals whether the clock was set.
const SLEEP_MS_MAX: u64 = 1_000;

/// Starts the thread of a shard. It ends when the engine is dropped.
pub(super) fn spawn(shared: Arc<Shared>, index: usize) -> io::Result<()> {
    let (started, starting) = sync_channel(1);
    let body = move || {
        // Made here, as the shard is: both stay on this thread, with the handlers' futures.
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        IS_SHARD.set(true);
        let time = Arc::clone(&shared.time);
        let shard = Shard::new(shared, index);
        // It panics only where the engine does, and ends the thread then.
        let _ = runtime.block_on(runtime.spawn_local(Root { shard, time, sleep: None }));
        // Blocking work whose result is no longer wanted must not keep the thread.
        runtime.shutdown_background();
    };
    std::thread::Builder::new()
        .name(format!("expressway-{index}"))
        .stack_size(crate::limits::STACK_BYTES)
        .spawn(body)?;
    starting.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))
}

thread_local! {
    static IS_SHARD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread runs executions: it must not wait for one.
pub(super) fn is_shard() -> bool {
    IS_SHARD.get()
}

struct Root {
    shard: Shard,
    time: Arc<dyn Time>,
    /// When it wakes; reused.
    sleep: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Future for Root {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Root { shard, time, sleep } = self.get_mut();
        let remote = Arc::clone(&shard.remote);
        remote.wakeup.set_waker(context.waker());
        remote.wakeup.wake_up();
        for _ in 0..TURNS_PER_POLL {
            let now_ms = time.steady_ms();
            remote.turn_since_ms.store(now_ms, Ordering::Relaxed);
            let more = shard.turn(now_ms);
            remote.turn_since_ms.store(0, Ordering::Relaxed);
            if shard.is_finished() {
                return Poll::Ready(());
            }
            if !more && remote.wakeup.sleep(|| remote.has_any() || shard.is_to_end()) {
                if set_alarm(shard, &**time, sleep, context) {
                    return Poll::Pending;
                } else {
                    remote.wakeup.wake_up()
                }
            }
        }
        // After the others, and after checking for ready I/O.
        pin!(tokio::task::yield_now()).poll(context)
    }
}

/// Has the shard woken when its next timer is due; false when that is now.
fn set_alarm(
    shard: &mut Shard,
    time: &dyn Time,
    sleep: &mut Option<(Pin<Box<Sleep>>, u64)>,
    context: &mut Context<'_>,
) -> bool {
    let Some(at_ms) = shard.next_ms() else { return true };
    let now_ms = time.steady_ms();
    if at_ms <= now_ms {
        return false;
    }
    if !time.passes() {
        return true;
    }
    let wait_ms = (at_ms - now_ms).min(SLEEP_MS_MAX);
    let at_ms = now_ms + wait_ms;
    let (alarm, armed_ms) =
        sleep.get_or_insert_with(|| (Box::pin(tokio::time::sleep(Duration::from_millis(wait_ms))), at_ms));
    // Resetting an alarm to the same time would cost for nothing.
    if *armed_ms != at_ms || alarm.is_elapsed() {
        alarm.as_mut().reset(Instant::now() + Duration::from_millis(wait_ms));
        *armed_ms = at_ms;
    }
    alarm.as_mut().poll(context).is_pending()
}
