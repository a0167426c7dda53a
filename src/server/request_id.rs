//! Identifiers of requests: UUIDs of version 4 in form. They only identify requests in logs and need not be secret, so
//! a fast generator makes them.

use std::cell::Cell;

use bytes::Bytes;

use crate::uuid;

/// Identifiers made at once, so that they share one allocation.
const BATCH: usize = 32;
const LENGTH: usize = 36;

/// Makes identifiers; each thread has its own.
pub(super) struct RequestIds {
    state: Cell<u64>,
    batch: Cell<Bytes>,
}

impl RequestIds {
    pub(super) fn new() -> RequestIds {
        let mut seed = [0; 8];
        // Without randomness, an address and the time suffice: nothing depends on it.
        let _ = getrandom::fill(&mut seed);
        RequestIds { state: Cell::new(u64::from_le_bytes(seed)), batch: Cell::default() }
    }

    pub(super) fn next(&self) -> Bytes {
        let mut batch = self.batch.take();
        if batch.is_empty() {
            let mut text = Vec::with_capacity(BATCH * LENGTH);
            for _ in 0..BATCH {
                text.extend_from_slice(&uuid::text(self.random(), self.random()));
            }
            batch = Bytes::from(text);
        }
        let one = batch.split_to(LENGTH);
        self.batch.set(batch);
        one
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_the_form_of_a_uuid_and_differ() {
        let identifiers = RequestIds::new();
        let made: std::collections::BTreeSet<String> = (0..100)
            .map(|_| String::from_utf8(identifiers.next().to_vec()).expect("hexadecimal digits"))
            .collect();
        assert_eq!(made.len(), 100);
        for id in made {
            let lengths: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }
}
