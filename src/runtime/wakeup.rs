//! How a shard sleeps without losing a wake-up.
//!
//! A sender puts the message into a queue first and wakes the shard afterwards. The shard marks itself as asleep first
//! and checks its queues afterwards. All four steps are in one order (sequentially consistent): if the sender finds the
//! shard awake, the shard has yet to check, and finds the message; if the shard finds nothing, the sender has yet to
//! wake it, and finds it asleep. Waking a shard that is awake costs a fence and a load.

#[cfg(expressway_loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::OnceLock;
#[cfg(not(expressway_loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

#[derive(Debug)]
pub(super) struct Wakeup {
    asleep: AtomicBool,
    /// Wakes the shard's thread. Set before the shard sleeps for the first time.
    waker: OnceLock<Waker>,
}

impl Wakeup {
    pub(super) fn new() -> Wakeup {
        Wakeup { asleep: AtomicBool::new(false), waker: OnceLock::new() }
    }

    /// Sets the waker; only the first call has an effect.
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Signals that a message was queued. Whether that woke the shard.
    pub(super) fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let wakes = self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst);
        if wakes && let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        wakes
    }

    /// Whether the shard slept a moment ago.
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Whether the shard may sleep now, until it is woken: not if `something` came in meanwhile.
    pub(super) fn sleep(&self, something: impl FnOnce() -> bool) -> bool {
        // Read-modify-write, here and in `wake_up`: reading a sender's value orders its wake-up before ours.
        self.asleep.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let sleeps = !something();
        if !sleeps {
            self.wake_up();
        }
        sleeps
    }

    /// The shard is awake, for any reason.
    pub(super) fn wake_up(&self) {
        self.asleep.swap(false, Ordering::SeqCst);
    }
}

#[cfg(all(test, expressway_loom))]
mod tests {
    use super::super::loom_park::Permit;
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    /// Two senders, one shard: whatever the order, every message is taken, and no thread sleeps for ever (loom would
    /// report the deadlock).
    #[test]
    fn no_message_is_slept_over() {
        let mut model = loom::model::Builder::new();
        // All orders with up to three preemptions; without a bound it takes minutes.
        model.preemption_bound = Some(3);
        model.check(|| {
            let wakeup = Arc::new(Wakeup::new());
            let queue = Arc::new(AtomicUsize::new(0));
            let permit = Permit::new();
            wakeup.set_waker(&permit.clone().into());
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (wakeup, queue) = (Arc::clone(&wakeup), Arc::clone(&queue));
                    loom::thread::spawn(move || {
                        queue.fetch_add(1, Ordering::Release);
                        wakeup.wake();
                    })
                })
                .collect();
            let mut taken = 0;
            while taken < 2 {
                taken += queue.swap(0, Ordering::Acquire);
                if taken < 2 && wakeup.sleep(|| queue.load(Ordering::Acquire) > 0) {
                    permit.wait();
                    wakeup.wake_up();
                }
            }
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        });
    }

    /// Work for one shard, and another one that steals it: each piece is done once, and no wake-up is lost.
    #[test]
    fn what_is_taken_away_is_done_once() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let wakeups = Arc::new([Wakeup::new(), Wakeup::new()]);
            let (queue, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let permits = [0, 1].map(|_| Permit::new());
            wakeups
                .iter()
                .zip(&permits)
                .for_each(|(wakeup, permit)| wakeup.set_waker(&permit.clone().into()));
            let shards: Vec<_> = [0, 1]
                .into_iter()
                .map(|n: usize| {
                    let (wakeups, queue, done) =
                        (Arc::clone(&wakeups), Arc::clone(&queue), Arc::clone(&done));
                    let permit = std::sync::Arc::clone(&permits[n]);
                    loom::thread::spawn(move || {
                        while done.load(Ordering::Acquire) < 2 {
                            let taken = queue.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                                left.checked_sub(1)
                            });
                            if taken.is_ok() {
                                if done.fetch_add(1, Ordering::AcqRel) == 1 {
                                    for wakeup in wakeups.iter() {
                                        wakeup.wake();
                                    }
                                }
                                continue;
                            }
                            // A shard looks at its own queue only before it sleeps: here, the first one's.
                            let more = || n == 0 && queue.load(Ordering::Acquire) > 0;
                            if wakeups[n].sleep(|| more() || done.load(Ordering::Acquire) == 2) {
                                permit.wait();
                                wakeups[n].wake_up();
                            }
                        }
                    })
                })
                .collect();
            for _ in 0..2 {
                let queued = queue.fetch_add(1, Ordering::AcqRel);
                if !wakeups[0].wake() && queued > 0 {
                    wakeups[1].wake();
                }
            }
            shards.into_iter().for_each(|shard| shard.join().unwrap());
            assert_eq!((queue.load(Ordering::Acquire), done.load(Ordering::Acquire)), (0, 2));
        });
    }
}
