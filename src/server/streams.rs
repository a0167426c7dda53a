//! The futures of a connection's streams of HTTP/2, which are polled in its turns.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

/// The future of a stream of HTTP/2.
type StreamFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Those of a connection's streams.
#[derive(Default)]
pub(super) struct Streams {
    all: RefCell<FuturesUnordered<StreamFuture>>,
    /// Those that began while others were polled.
    new: RefCell<Vec<StreamFuture>>,
    /// Whether there was no time left for some.
    are_left: Cell<bool>,
}

impl Streams {
    pub(super) fn begin(&self, stream: StreamFuture) {
        self.new.borrow_mut().push(stream);
    }

    /// There is no time left for some.
    pub(super) fn leave(&self) {
        self.are_left.set(true);
    }

    /// Polls those that were woken, until the turn is over.
    pub(super) fn poll(&self, context: &mut Context<'_>) {
        let mut all = self.all.borrow_mut();
        all.extend(self.new.borrow_mut().drain(..));
        while !all.is_empty() && matches!(all.poll_next_unpin(context), Poll::Ready(Some(()))) {}
    }

    /// Polls those for which there was no time in the turn before, and that waited since.
    pub(super) fn poll_left(&self, context: &mut Context<'_>) {
        if self.are_left.replace(false) {
            self.poll(context);
        }
    }

    /// Drops all.
    pub(super) fn clear(&self) {
        self.new.borrow_mut().clear();
        self.all.borrow_mut().clear();
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("all", &self.all).finish_non_exhaustive()
    }
}
