//! A slab with generational keys: a stale key finds nothing, even if its slot is used again.
//!
//! It grows by blocks of a fixed size, so that growing never copies entries: a million residents are a hundred
//! megabytes.

const BLOCK: usize = 1 << 10;

/// Identifies an entry of a [`Slab`], uniquely for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    blocks: Vec<Vec<Entry<T>>>,
    free: Vec<u32>,
    used: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { blocks: Vec::new(), free: Vec::new(), used: 0 }
    }

    /// Entries in use, those reserved included.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Reserves an entry, to be filled by [`put`](Slab::put).
    pub(super) fn reserve(&mut self) -> Key {
        self.used += 1;
        if let Some(slot) = self.free.pop() {
            let generation = self.entry(slot).map_or(0, |entry| entry.generation);
            return Key { slot, generation };
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let at = self.blocks.len() - 1;
        self.blocks[at].push(Entry { generation: 0, value: None });
        Key { slot: (at * BLOCK + self.blocks[at].len() - 1) as u32, generation: 0 }
    }

    pub(super) fn put(&mut self, key: Key, value: T) {
        if let Some(entry) = self.entry(key.slot) {
            debug_assert_eq!(entry.generation, key.generation);
            entry.value = Some(value);
        }
    }

    /// Takes the value out; the entry stays reserved.
    pub(super) fn take(&mut self, key: Key) -> Option<T> {
        self.entry(key.slot).filter(|entry| entry.generation == key.generation)?.value.take()
    }

    /// Frees the entry; its key is invalid from now on.
    pub(super) fn release(&mut self, key: Key) {
        let Some(entry) = self.entry(key.slot).filter(|entry| entry.generation == key.generation) else {
            return;
        };
        entry.value = None;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.slot);
        self.used -= 1;
    }

    /// The value in a slot.
    pub(super) fn at(&mut self, slot: u32) -> Option<&mut T> {
        self.entry(slot)?.value.as_mut()
    }

    /// The key of the value in a slot.
    pub(super) fn key(&mut self, slot: u32) -> Option<Key> {
        let entry = self.entry(slot)?;
        entry.value.is_some().then_some(Key { slot, generation: entry.generation })
    }

    /// Slots, in use or not.
    pub(super) fn slots(&self) -> u32 {
        self.blocks.iter().map(Vec::len).sum::<usize>() as u32
    }

    /// The slots in use.
    pub(super) fn keys(&self) -> Vec<Key> {
        let entries = self.blocks.iter().flatten().enumerate();
        let used = entries.filter(|(_, entry)| entry.value.is_some());
        used.map(|(slot, entry)| Key { slot: slot as u32, generation: entry.generation }).collect()
    }

    fn entry(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.blocks.get_mut(slot as usize / BLOCK)?.get_mut(slot as usize % BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_past_find_nothing() {
        let mut slab = Slab::new();
        let first = slab.reserve();
        slab.put(first, 'a');
        assert_eq!(slab.take(first), Some('a'));
        slab.release(first);
        let second = slab.reserve();
        slab.put(second, 'b');
        assert_eq!((first.slot, slab.take(first)), (second.slot, None));
        slab.release(first);
        assert_eq!((slab.len(), slab.key(second.slot)), (1, Some(second)));
    }

    #[test]
    fn blocks_hold_all() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..3 * BLOCK).map(|_| slab.reserve()).collect();
        keys.iter().for_each(|&key| slab.put(key, key.slot));
        assert_eq!(slab.keys(), keys);
    }
}
