//! Wakes Map Runs whose children were refused for lack of room, when an execution ends or gives up memory.
//!
//! A Map Run registers its waker and then tries to start a child once more; a shard makes room and then looks for wakers.
//! The four steps are sequentially consistent, so a Map Run does not sleep while there is room.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct Room {
    is_wanted: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Room {
    /// Registers a waker for the next time that room is made. The caller tries once more before it sleeps.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        drop(waiting);
        fence(Ordering::SeqCst);
    }

    /// Wakes all that wait, after room was made.
    pub(super) fn made(&self) {
        fence(Ordering::SeqCst);
        if !self.is_wanted.load(Ordering::SeqCst) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_wanted.store(false, Ordering::SeqCst);
        let woken = std::mem::take(&mut *waiting);
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }
}
