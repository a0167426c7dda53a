//! Replaces thread parking in the loom tests of protocols between threads.

use std::sync::Arc;
use std::task::Wake;

use loom::sync::Notify;

/// A permit that is kept until a thread parks.
pub(super) struct Permit(Notify);

impl Permit {
    pub(super) fn new() -> Arc<Permit> {
        Arc::new(Permit(Notify::new()))
    }

    /// Parks until there is a permit. If none ever comes, loom reports the deadlock.
    pub(super) fn wait(&self) {
        self.0.wait();
    }

    pub(super) fn notify(&self) {
        self.0.notify();
    }
}

impl Wake for Permit {
    fn wake(self: Arc<Self>) {
        self.notify();
    }
}
