//! Compaction: at a state boundary the live values of an execution move to a fresh arena and the garbage stays behind.
//!
//! Blocks move breadth first, as in Cheney's collector: the new blocks are their own work list, so there is no
//! recursion at any depth, and a block's header in the old arena stores its new place, so sharing is preserved. Text
//! moves afterwards: the spans still referred to (strings, decimals, the spans of canonical containers) are sorted and
//! overlapping ones merged, so each live byte is copied once, in its old order, and the new text is never longer than
//! the old one, even with overlapping substrings.
//!
//! All of it is done piece by piece, and reports the work done in between: moving many live values takes a tenth of a
//! second, and others must have their turn meanwhile.

use super::arena::NO_SPAN;
use super::room::{AT_ONCE, AT_ONCE_BYTES, push_text, push_values};
use super::value::{COLON, QUOTED};
use super::{Arena, Kind, Value};

/// Compacts arenas; keeps a spare arena and its scratch between uses, so that it allocates nothing in the steady state.
///
/// ```
/// use expressway::json::{self, Arena, Compactor};
/// let mut arena = Arena::new();
/// let order = json::read(&mut arena, br#"{"note": "not needed any more", "lines": [{"sku": "a"}]}"#)?;
/// let mut data = arena.get_str(order, "lines").unwrap();
/// let before = arena.bytes();
/// Compactor::new().compact(&mut arena, |visit| visit(&mut data));
/// assert!(arena.bytes() < before);
/// assert_eq!(json::to_string(&arena, data), r#"[{"sku":"a"}]"#);
/// # Ok::<(), json::ReadError>(())
/// ```
#[derive(Debug, Default)]
pub struct Compactor {
    /// Where the live values go; afterwards, the emptied old arena.
    fresh: Arena,
    /// Every reference to text: its offset in the old text (high half) and who holds it (low half).
    references: Vec<u64>,
    /// Where they are sorted.
    sorted: Vec<u64>,
    /// The roots that refer to text themselves.
    root_texts: Vec<Value>,
    /// Older values stay where they are.
    since: Since,
}

/// A moment in the life of an arena: values made since then are behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Since {
    nodes: usize,
    text: usize,
}

impl Since {
    /// Now.
    pub(crate) fn now(arena: &Arena) -> Since {
        Since { nodes: arena.nodes.len(), text: arena.text.len() }
    }

    /// Bytes made since then, garbage included.
    pub(crate) fn bytes(self, arena: &Arena) -> usize {
        (arena.nodes.len() - self.nodes) * size_of::<Value>() + arena.text.len() - self.text
    }

    fn holds_text(self, value: Value) -> bool {
        matches!(value.kind(), Kind::String | Kind::Decimal) && reach(value).0 as usize >= self.text
    }

    fn holds_block(self, value: Value) -> bool {
        value.is_container() && value.at() as usize > self.nodes
    }
}

/// Marks a holder as an index into `root_texts`; nodes are far fewer than 2^31.
const ROOT: u32 = 1 << 31;

impl Compactor {
    /// A compactor without memory.
    pub const fn new() -> Compactor {
        let since = Since { nodes: 0, text: 0 };
        Compactor {
            fresh: Arena::new(),
            references: Vec::new(),
            sorted: Vec::new(),
            root_texts: Vec::new(),
            since,
        }
    }

    /// Moves all values that are reachable from the roots into a fresh arena that replaces `arena`; everything else is
    /// dropped, including containers and strings that are still being built.
    ///
    /// `each_root` must call its argument for every root, and is called twice: it must visit the same roots in the same
    /// order both times. Values that are not visited are invalid afterwards. The time is linear in the reachable
    /// values, except for a sort of the references to text.
    pub fn compact(&mut self, arena: &mut Arena, each_root: impl FnMut(&mut dyn FnMut(&mut Value))) {
        self.compact_in_pieces(arena, each_root, &mut |_| ());
    }

    /// The same; `pause` is called at intervals with the [work](crate::fuel) done since.
    pub(crate) fn compact_in_pieces(
        &mut self,
        arena: &mut Arena,
        each_root: impl FnMut(&mut dyn FnMut(&mut Value)),
        pause: &mut dyn FnMut(u64),
    ) {
        self.since = Since::default();
        self.move_all(arena, each_root, pause);
        self.fresh.take_over(arena);
        std::mem::swap(&mut self.fresh, arena);
    }

    /// The same for values made since a moment; older ones stay where they are, and so do containers that are still
    /// being built. Older values do not refer to younger ones, so the roots themselves need not be older.
    pub(crate) fn compact_since(
        &mut self,
        arena: &mut Arena,
        since: Since,
        mut each_root: impl FnMut(&mut dyn FnMut(&mut Value)),
        pause: &mut dyn FnMut(u64),
    ) {
        self.since = since;
        let mut stack = arena.take_stack();
        let visit_all = |visit: &mut dyn FnMut(&mut Value)| {
            stack.iter_mut().for_each(&mut *visit);
            each_root(visit);
        };
        self.move_all(arena, visit_all, pause);
        arena.put_stack(stack);
        arena.nodes.truncate(since.nodes);
        push_values(&mut arena.nodes, &self.fresh.nodes, pause);
        arena.text.truncate(since.text);
        push_text(&mut arena.text, &self.fresh.text, pause);
    }

    fn move_all(
        &mut self,
        arena: &mut Arena,
        mut each_root: impl FnMut(&mut dyn FnMut(&mut Value)),
        pause: &mut dyn FnMut(u64),
    ) {
        self.fresh.clear();
        self.references.clear();
        self.root_texts.clear();
        if self.since.bytes(arena) > AT_ONCE_BYTES {
            // Reserved at once: a vector that grows while it is filled is copied again and again.
            self.fresh.nodes.reserve(arena.nodes.len() - self.since.nodes);
            self.fresh.text.reserve(arena.text.len() - self.since.text);
        }
        let mut steps = Steps { left: AT_ONCE, pause };
        each_root(&mut |root| {
            steps.step(NODE);
            self.move_root(arena, root, steps.pause);
        });
        self.move_blocks(arena, steps.pause);
        self.move_text(arena, steps.pause);
        let (since, mut moved) = (self.since, self.root_texts.iter());
        each_root(&mut |root| {
            steps.step(NODE);
            if since.holds_text(*root) {
                *root = moved.next().copied().unwrap_or(Value::NULL);
            }
        });
    }

    /// Gives memory back when the spare arena and the scratch hold more than `bytes`.
    pub fn shrink_above(&mut self, bytes: usize) {
        self.fresh.clear();
        self.fresh.shrink_above(bytes);
        if self.references.capacity() * size_of::<u64>() > bytes {
            self.references = Vec::new();
            self.sorted = Vec::new();
        }
        if self.root_texts.capacity() * size_of::<Value>() > bytes {
            self.root_texts = Vec::new();
        }
    }

    fn move_root(&mut self, old: &mut Arena, root: &mut Value, pause: &mut dyn FnMut(u64)) {
        if self.since.holds_block(*root) {
            *root = root.with_at(self.move_block(old, *root, pause));
        } else if self.since.holds_text(*root) {
            let holder = ROOT | self.root_texts.len() as u32;
            self.references.push(reference(reach(*root).0, holder));
            self.root_texts.push(*root);
        }
    }

    /// Copies a container's block unchanged, unless that was done before; returns its new place.
    fn move_block(&mut self, old: &mut Arena, container: Value, pause: &mut dyn FnMut(u64)) -> u32 {
        let header_at = container.at() as usize - 1;
        let header = old.nodes[header_at];
        // A header's `aux` is 0 until its block has moved, and a block's children never begin at 0.
        if header.aux() != 0 {
            return header.aux();
        }
        let children = container.count() as usize * if container.is_object() { 2 } else { 1 };
        push_values(&mut self.fresh.nodes, &old.nodes[header_at..=header_at + children], pause);
        let at = (self.since.nodes + self.fresh.nodes.len() - children) as u32;
        old.nodes[header_at] = header.with_aux(at);
        at
    }

    /// Scans the blocks moved so far, moving those they point to, until there are no more.
    fn move_blocks(&mut self, old: &mut Arena, pause: &mut dyn FnMut(u64)) {
        let mut next = 0;
        while let Some(&node) = self.fresh.nodes.get(next) {
            if next & (AT_ONCE - 1) == AT_ONCE - 1 {
                pause(AT_ONCE as u64 * NODE);
            }
            match node.kind() {
                Kind::Array | Kind::Object if self.since.holds_block(node) => {
                    self.fresh.nodes[next] = node.with_at(self.move_block(old, node, pause))
                }
                Kind::String | Kind::Decimal if self.since.holds_text(node) => {
                    self.references.push(reference(reach(node).0, next as u32))
                }
                Kind::Header if node.at() != NO_SPAN && node.at() as usize >= self.since.text => {
                    self.references.push(reference(node.at(), next as u32))
                }
                _ => {}
            }
            next += 1;
        }
    }

    /// Copies every byte of text that is still referred to once, and updates the references.
    fn move_text(&mut self, old: &Arena, pause: &mut dyn FnMut(u64)) {
        sort(&mut self.references, &mut self.sorted, pause);
        // The last copied span: where it began and ends in the old text, and where it begins in the new one.
        let (mut from, mut copied, mut to) = (0, 0, 0);
        for (n, &reference) in self.references.iter().enumerate() {
            if n & (AT_ONCE - 1) == AT_ONCE - 1 {
                pause(AT_ONCE as u64 * REFERENCE);
            }
            let (at, holder) = ((reference >> 32) as usize, reference as u32);
            let value = match holder & ROOT {
                0 => &mut self.fresh.nodes[holder as usize],
                _ => &mut self.root_texts[(holder & !ROOT) as usize],
            };
            if at >= copied {
                (from, copied, to) = (at, at, self.since.text + self.fresh.text.len());
            }
            let end = reach(*value).1 as usize;
            if end > copied {
                // Values begin and end on character boundaries, and `copied` is where one of them ended.
                push_text(&mut self.fresh.text, &old.text[copied..end], pause);
                copied = end;
            }
            *value = value.with_at((to + at - from) as u32 + (value.at() - at as u32));
        }
    }
}

/// Work of moving a node or visiting a root, of moving a reference, and of comparing two.
const NODE: u64 = 6;
const REFERENCE: u64 = 8;
const COMPARISON: u64 = 4;

/// Pauses after so many steps.
struct Steps<'p> {
    left: usize,
    pause: &'p mut dyn FnMut(u64),
}

impl Steps<'_> {
    fn step(&mut self, work: u64) {
        self.left -= 1;
        if self.left == 0 {
            self.left = AT_ONCE;
            (self.pause)(AT_ONCE as u64 * work);
        }
    }
}

/// Sorts a list; a long one in pieces, which are then merged.
fn sort(list: &mut Vec<u64>, spare: &mut Vec<u64>, pause: &mut dyn FnMut(u64)) {
    for piece in list.chunks_mut(AT_ONCE) {
        if piece.len() == AT_ONCE {
            pause(AT_ONCE as u64 * 4 * COMPARISON);
        }
        piece.sort_unstable();
    }
    let mut width = AT_ONCE;
    while width < list.len() {
        spare.clear();
        spare.reserve(list.len());
        for both in list.chunks(2 * width) {
            let (first, second) = both.split_at(width.min(both.len()));
            merge(first, second, spare, pause);
        }
        std::mem::swap(list, spare);
        width *= 2;
    }
}

/// Appends two sorted lists as one.
fn merge<'l>(mut first: &'l [u64], mut second: &'l [u64], to: &mut Vec<u64>, pause: &mut dyn FnMut(u64)) {
    while !first.is_empty() && !second.is_empty() {
        for _ in 0..AT_ONCE {
            let (Some(a), Some(b)) = (first.first(), second.first()) else { break };
            let least = if a <= b { &mut first } else { &mut second };
            to.push(least[0]);
            *least = &least[1..];
        }
        pause(AT_ONCE as u64 * COMPARISON);
    }
    for piece in first.chunks(AT_ONCE).chain(second.chunks(AT_ONCE)) {
        to.extend_from_slice(piece);
        pause(size_of_val(piece) as u64 / 2);
    }
}

/// The text a value refers to: a string between quotes keeps them.
fn reach(value: Value) -> (u32, u32) {
    match value.kind() {
        Kind::String if value.extra() & QUOTED != 0 => {
            (value.at() - 1, value.at() + value.count() + 1 + u32::from(value.extra() & COLON != 0))
        }
        _ => (value.at(), value.at() + value.count()),
    }
}

fn reference(at: u32, holder: u32) -> u64 {
    u64::from(at) << 32 | u64::from(holder)
}
