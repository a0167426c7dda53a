//! For the tests of the protocols between threads: what stands for a thread that is parked.

use std::sync::Arc;
use std::task::Wake;

use loom::sync::Notify;

/// A permit that is kept until someone parks.
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
