//! Panics in users' code: caught at the call, and reported at a limited rate.
//!
//! A handler that panics in every tenth execution would write a hundred thousand messages a second to standard error,
//! and wait for each. So the first ones of a second are shown by the existing panic hook, and the others are counted.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether this thread runs a user's code.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a user's code; its panic is a value.
pub(crate) fn guard<R>(work: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result
}

/// From now on, at most so many messages are shown in a second, in the whole process.
#[cfg(feature = "runtime")]
pub(crate) fn quieten() {
    use std::io::Write;

    static ONCE: std::sync::Once = std::sync::Once::new();
    // A panicking thread cannot change the hook.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        let begun = std::time::Instant::now();
        let seen = std::sync::Mutex::new(Seen::default());
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                return hook(info);
            }
            let now = begun.elapsed().as_secs();
            // It is consistent between any two statements.
            let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let Some(left_out) = seen.shows(now) else { return };
            drop(seen);
            if left_out > 0 {
                // Errors are ignored: standard error may be closed.
                let _ =
                    writeln!(std::io::stderr(), "{left_out} messages of panics in handlers were suppressed");
            }
            hook(info);
        }));
    });
}

/// Messages shown in a second.
#[cfg(feature = "runtime")]
const SHOWN_PER_SECOND: u64 = 10;

#[cfg(feature = "runtime")]
#[derive(Debug, Default)]
struct Seen {
    second: u64,
    shown: u64,
    left_out: u64,
}

#[cfg(feature = "runtime")]
impl Seen {
    /// Whether one more is shown, and how many were suppressed before it.
    fn shows(&mut self, second: u64) -> Option<u64> {
        if second != self.second {
            *self = Seen { second, shown: 0, left_out: self.left_out };
        }
        if self.shown == SHOWN_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.shown += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(all(test, feature = "runtime"))]
mod tests {
    use super::*;

    #[test]
    fn ten_messages_are_shown_in_a_second() {
        let mut seen = Seen::default();
        let shown = (0..1_000).filter(|_| seen.shows(7).is_some()).count();
        assert_eq!((shown, seen.shows(8), seen.shows(8)), (10, Some(990), Some(0)));
    }

    #[test]
    fn a_panic_is_a_value_and_guards_may_be_nested() {
        let caught = guard(|| {
            assert_eq!(guard(|| 1).ok(), Some(1));
            assert!(GUARDED.get());
            2
        });
        assert_eq!(caught.ok(), Some(2));
        assert!(!GUARDED.get());
    }
}
