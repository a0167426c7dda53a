//! Who was refused, and waits until there may be room: Map Runs, whose children are started as any execution is.
//!
//! Whoever waits says so first and asks for room once more afterwards; whoever makes room makes it first and looks
//! afterwards whether someone waits. All four steps are in one order (sequentially consistent), so nobody waits for room
//! that is there.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

#[derive(Debug, Default)]
pub(super) struct Room {
    is_wanted: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Room {
    /// Wakes this one when there is room. It asks once more before it sleeps.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        drop(waiting);
        fence(Ordering::SeqCst);
    }

    /// Some was made.
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
