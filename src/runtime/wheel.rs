//! A hierarchical timer wheel: seven levels of 64 slots, a millisecond the smallest step, 139 years the largest turn.
//!
//! Arming and cancelling touch a list node and its neighbours, however many timers there are. A timer in a far slot
//! moves down a level each time the wheel comes to its slot, at most six times in its life. Timers of the same
//! millisecond fire in the order in which they were armed.

/// Bits of a time that select the slot within a level.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 7;
/// Timers further away than this wait in the last level until they are nearer: a slot less than a whole turn, so that
/// the wheel's present slot is unambiguous.
const SPAN_MS: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - (1 << (SLOT_BITS * (LEVELS as u32 - 1)));
const NONE: u32 = u32::MAX;

/// Identifies an armed timer until it fires or is cancelled; the id is then reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

impl TimerId {
    /// No timer.
    pub const NONE: TimerId = TimerId(NONE);

    /// As a number.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// From [`to_bits`](TimerId::to_bits).
    pub const fn from_bits(bits: u32) -> TimerId {
        TimerId(bits)
    }
}

/// Timers that carry a `T`.
#[derive(Debug)]
pub struct Wheel<T> {
    nodes: Vec<Node<T>>,
    /// The first of the nodes that are not in use; they are linked by `next`.
    free: u32,
    armed: usize,
    /// How far the wheel has turned. Nothing armed is before it.
    now_ms: u64,
    /// Which slots of a level hold timers.
    occupied: [u64; LEVELS],
    lists: Box<[List; LEVELS * SLOTS]>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const EMPTY: List = List { first: NONE, last: NONE };

#[derive(Debug)]
struct Node<T> {
    at_ms: u64,
    what: T,
    next: u32,
    previous: u32,
    /// The list it is in: level and slot.
    list: u16,
}

impl<T: Copy> Wheel<T> {
    /// A wheel without timers that stands at `now_ms`.
    pub fn new(now_ms: u64) -> Wheel<T> {
        let lists = Box::new([EMPTY; LEVELS * SLOTS]);
        Wheel { nodes: Vec::new(), free: NONE, armed: 0, now_ms, occupied: [0; LEVELS], lists }
    }

    /// Pending timers.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms a timer. One that is due already fires next.
    pub fn arm(&mut self, at_ms: u64, what: T) -> TimerId {
        let node = Node { at_ms, what, next: NONE, previous: NONE, list: 0 };
        let id = match self.free {
            NONE => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
            id => {
                self.free = self.nodes[id as usize].next;
                self.nodes[id as usize] = node;
                id
            }
        };
        self.armed += 1;
        self.link(id);
        TimerId(id)
    }

    /// Cancels an armed timer.
    pub fn cancel(&mut self, id: TimerId) {
        self.unlink(id.0);
        self.release(id.0);
    }

    /// When to check again: no timer is due before. The wheel may only have to turn then.
    pub fn next_ms(&self) -> Option<u64> {
        self.next_slot().map(|(.., at_ms)| at_ms)
    }

    /// Takes the next timer that is due at `now_ms`, with its id, which is free from now on.
    pub fn pop(&mut self, now_ms: u64) -> Option<(TimerId, T)> {
        while let Some((level, slot, at_ms)) = self.next_slot() {
            if at_ms > now_ms {
                break;
            }
            self.now_ms = self.now_ms.max(at_ms);
            let first = self.lists[level * SLOTS + slot].first;
            if level == 0 {
                self.unlink(first);
                self.release(first);
                return Some((TimerId(first), self.nodes[first as usize].what));
            }
            self.move_down(level, slot);
        }
        self.now_ms = self.now_ms.max(now_ms);
        None
    }

    /// The slot the wheel reaches next, and when. Slots of a lower level come before all of a higher one.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let bits = SLOT_BITS * level as u32;
        let here = (self.now_ms >> bits) as usize % SLOTS;
        let ahead = self.occupied[level].rotate_right(here as u32).trailing_zeros() as usize;
        let slot = (here + ahead) % SLOTS;
        let turn_ms = 1u64 << (bits + SLOT_BITS);
        let mut at_ms = (self.now_ms & !(turn_ms - 1)) + ((slot as u64) << bits);
        // Only the last level wraps around: lower ones hold the same turn only.
        if slot < here {
            at_ms += turn_ms;
        }
        Some((level, slot, at_ms))
    }

    /// Moves the timers of a slot that the wheel has reached to the levels below.
    fn move_down(&mut self, level: usize, slot: usize) {
        let list = &mut self.lists[level * SLOTS + slot];
        let mut id = list.first;
        *list = EMPTY;
        self.occupied[level] &= !(1 << slot);
        while id != NONE {
            let next = self.nodes[id as usize].next;
            self.link(id);
            id = next;
        }
    }

    /// Appends a node to the list its time belongs to.
    fn link(&mut self, id: u32) {
        let at_ms = self.nodes[id as usize].at_ms.clamp(self.now_ms, self.now_ms.saturating_add(SPAN_MS));
        // The highest bit in which the time differs from now decides the level.
        let differs = (at_ms ^ self.now_ms) | (SLOTS as u64 - 1);
        let level = ((63 - differs.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1) as usize;
        let slot = (at_ms >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let at = level * SLOTS + slot;
        let last = self.lists[at].last;
        let node = &mut self.nodes[id as usize];
        (node.list, node.previous, node.next) = (at as u16, last, NONE);
        match last {
            NONE => self.lists[at].first = id,
            last => self.nodes[last as usize].next = id,
        }
        self.lists[at].last = id;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, id: u32) {
        let Node { next, previous, list, .. } = self.nodes[id as usize];
        let at = usize::from(list);
        match previous {
            NONE => self.lists[at].first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.lists[at].last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
        if self.lists[at].first == NONE {
            self.occupied[at / SLOTS] &= !(1 << (at % SLOTS));
        }
    }

    fn release(&mut self, id: u32) {
        self.nodes[id as usize].next = self.free;
        self.free = id;
        self.armed -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node<[u32; 4]>>(), 40);
        assert_eq!(size_of::<Node<u64>>(), 32);
    }

    #[test]
    fn timers_of_one_moment_fire_in_the_order_of_arming() {
        let mut wheel = Wheel::new(0);
        for n in 0..5u32 {
            wheel.arm(1_000, n);
            assert!(wheel.pop(u64::from(n) * 240).is_none());
        }
        let fired: Vec<u32> = std::iter::from_fn(|| wheel.pop(1_000)).map(|(_, n)| n).collect();
        assert_eq!(fired, [0, 1, 2, 3, 4]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn far_and_past_times_are_kept() {
        let mut wheel = Wheel::new(1_700_000_000_000);
        wheel.arm(u64::MAX, "never");
        wheel.arm(5, "past");
        assert_eq!(wheel.pop(1_700_000_000_000).map(|(_, what)| what), Some("past"));
        assert!(wheel.pop(1_700_000_000_000 + 3 * SPAN_MS).is_none());
        assert_eq!(wheel.len(), 1);
    }

    proptest! {
        /// Compared with an ordered map, over spans that cross every level.
        #[test]
        fn behaves_like_an_ordered_map(
            from in 0u64..1 << 43,
            steps in proptest::collection::vec((0u8..3, 0u32..44, any::<u64>()), 1..200),
        ) {
            let mut wheel = Wheel::new(from);
            let mut model: BTreeMap<(u64, u32), TimerId> = BTreeMap::new();
            let mut now_ms = from;
            for (n, (what, bits, random)) in steps.into_iter().enumerate() {
                let n = n as u32;
                let distance = random & ((1 << bits) - 1);
                match what {
                    0 => {
                        let at_ms = now_ms + distance;
                        model.insert((at_ms, n), wheel.arm(at_ms, n));
                    }
                    1 => {
                        let nth = model.keys().nth(random as usize % model.len().max(1)).copied();
                        if let Some(key) = nth {
                            wheel.cancel(model.remove(&key).unwrap());
                        }
                    }
                    _ => {
                        now_ms += distance;
                        while let Some((id, fired)) = wheel.pop(now_ms) {
                            let ((at_ms, first), expected) = model.pop_first().unwrap();
                            prop_assert_eq!((first, expected), (fired, id));
                            prop_assert!(at_ms <= now_ms);
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                if let Some(((at_ms, _), _)) = model.first_key_value() {
                    prop_assert!(wheel.next_ms().unwrap() <= *at_ms);
                    prop_assert!(what != 2 || *at_ms > now_ms);
                }
            }
        }
    }
}
