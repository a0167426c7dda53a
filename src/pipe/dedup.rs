//! Keys of accepted events, so that an event that is received twice runs once.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Keys with the time they were seen at. Bounded: when there are too many, the oldest are dropped.
#[derive(Debug)]
pub(super) struct Dedup {
    keys: HashMap<Box<str>, Instant>,
    /// In the order of time; a key that was seen again after it was dropped is here twice.
    order: VecDeque<(Instant, Box<str>)>,
    keep: Duration,
    max: usize,
}

/// The most keys that are kept: some 100 MB.
const KEYS_MAX: usize = 1_000_000;

impl Dedup {
    pub(super) fn new(keep: Duration) -> Dedup {
        Dedup { keys: HashMap::new(), order: VecDeque::new(), keep, max: KEYS_MAX }
    }

    /// Whether the key is new at `now`; adds it.
    pub(super) fn is_new(&mut self, key: &str, now: Instant) -> bool {
        self.forget_old(now);
        if self.keys.contains_key(key) {
            return false;
        }
        if self.keys.len() >= self.max
            && let Some((at, oldest)) = self.order.pop_front()
        {
            self.forget_if_of(&oldest, at);
        }
        self.keys.insert(key.into(), now);
        self.order.push_back((now, key.into()));
        true
    }

    /// The event with this key is to run again.
    pub(super) fn forget(&mut self, key: &str) {
        self.keys.remove(key);
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && now.duration_since(*at) >= self.keep
            && let Some((at, key)) = self.order.pop_front()
        {
            self.forget_if_of(&key, at);
        }
    }

    fn forget_if_of(&mut self, key: &str, at: Instant) {
        if self.keys.get(key) == Some(&at) {
            self.keys.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once_until_it_is_forgotten() {
        let (mut dedup, begin) = (Dedup::new(Duration::from_secs(10)), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(dedup.is_new("a", at(0)));
        assert!(!dedup.is_new("a", at(9)));
        assert!(dedup.is_new("a", at(10)));
        dedup.forget("a");
        assert!(dedup.is_new("a", at(11)));
        // The entry of the dropped key does not remove the new one.
        assert!(!dedup.is_new("a", at(20)));
        assert!(dedup.is_new("a", at(21)));
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let (mut dedup, now) = (Dedup { max: 2, ..Dedup::new(Duration::MAX) }, Instant::now());
        for key in ["a", "b", "c"] {
            assert!(dedup.is_new(key, now));
        }
        assert!(!dedup.is_new("b", now) && !dedup.is_new("c", now) && dedup.is_new("a", now));
        assert!(dedup.keys.len() <= 2 && dedup.order.len() <= 2);
    }
}
