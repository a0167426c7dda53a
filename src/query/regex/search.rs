//! The backtracking search. What it may come back to is on a stack of its own, which the caller bounds by memory, and
//! every step is charged, so that it can stop anywhere.
//!
//! An expression may need time that grows exponentially with the text: this search does not prevent that, it is cut.

use super::program::{At, Inst, Program};
use super::set::canonical;
use super::tree::{Assert, UNBOUNDED};
use crate::query::pattern::Spans;

/// Work of an instruction.
const STEP: u64 = 4;
/// Work of a character of a run.
const RUN_STEP: u64 = 3;
/// Work between two charges.
const CHARGE: u64 = 4_000;
/// Bytes that are skipped or compared between two charges.
const PIECE_BYTES: usize = 16 << 10;
/// Entries of a piece of the stack: it grows by pieces, without being moved.
const PIECE_ENTRIES: usize = 4_096;
/// Work of a new piece.
const PIECE_WORK: u64 = 20_000;
/// No position, in a slot.
const NOWHERE: u32 = u32::MAX;

/// The first match that begins at byte `at` or later, and its groups. Work is charged; `room` says whether so many bytes
/// may be held.
///
/// # Errors
/// Those of `charge` and `room`.
pub(super) fn search<E>(
    program: &Program,
    text: &str,
    at: usize,
    charge: impl FnMut(u64) -> Result<(), E>,
    room: impl FnMut(usize) -> Result<(), E>,
) -> Result<Option<Spans>, E> {
    assert!(text.len() < NOWHERE as usize, "an evaluation's memory is less");
    let slots = vec![NOWHERE; program.slots as usize];
    let work = 200 + slots.len() as u64;
    let mut search = Search { program, text, at, slots, stack: Stack::default(), work, charge, room };
    let mut start = at;
    loop {
        if program.anchored && start > 0 {
            break;
        }
        if let Some(first) = &program.first {
            let rest = &text.as_bytes()[start..];
            let piece = &rest[..rest.len().min(PIECE_BYTES)];
            let passed = piece.iter().position(|&byte| first[usize::from(byte)]);
            search.work += passed.unwrap_or(piece.len()) as u64;
            match passed {
                Some(passed) => start += passed,
                None if piece.len() == rest.len() => break,
                None => {
                    start += piece.len();
                    search.pay()?;
                    continue;
                }
            }
        }
        search.at = start;
        if search.matches()? {
            (search.charge)(search.work)?;
            let pair = |pair: &[u32]| {
                let is_set = pair[0] != NOWHERE && pair[1] != NOWHERE;
                is_set.then(|| (pair[0] as usize, pair[1] as usize))
            };
            let groups = &search.slots[..2 * program.groups as usize];
            return Ok(Some(groups.chunks_exact(2).map(pair).collect()));
        }
        match text[start..].chars().next() {
            Some(c) => start += c.len_utf8(),
            None => break,
        }
    }
    (search.charge)(search.work)?;
    Ok(None)
}

/// What is undone, or tried next, when something fails.
#[derive(Clone, Copy)]
enum Entry {
    /// Goes on at another instruction, from a position.
    Choice(At, u32),
    /// A run of so many bytes, ending at the position, is tried a character shorter.
    Shorter { next: At, at: u32, bytes: u32 },
    /// The run of this instruction is tried a character longer, so many times.
    Longer { run: At, at: u32, times: u32 },
    /// A slot had another value.
    Undo(u32, u32),
    /// A look-around began at the position. It is removed when the look-around is decided.
    Look { look: At, at: u32 },
}

const _: () = assert!(size_of::<Entry>() <= 16);

/// Entries in pieces.
#[derive(Default)]
struct Stack {
    full: Vec<Vec<Entry>>,
    top: Vec<Entry>,
    /// An empty piece, for when one is needed again.
    spare: Vec<Entry>,
}

impl Stack {
    fn pop(&mut self) -> Option<Entry> {
        if self.top.is_empty()
            && let Some(below) = self.full.pop()
        {
            self.spare = std::mem::replace(&mut self.top, below);
        }
        self.top.pop()
    }
}

struct Search<'p, 't, C, R> {
    program: &'p Program,
    text: &'t str,
    at: usize,
    /// The beginnings and ends of groups; then counters and positions of repetitions.
    slots: Vec<u32>,
    stack: Stack,
    /// Work that was not charged yet.
    work: u64,
    charge: C,
    room: R,
}

impl<E, C, R> Search<'_, '_, C, R>
where
    C: FnMut(u64) -> Result<(), E>,
    R: FnMut(usize) -> Result<(), E>,
{
    #[inline]
    fn pay(&mut self) -> Result<(), E> {
        if self.work < CHARGE { Ok(()) } else { (self.charge)(std::mem::take(&mut self.work)) }
    }

    /// Whether there is a match that begins here. Afterwards all slots are clear if not.
    fn matches(&mut self) -> Result<bool, E> {
        let program = self.program;
        let mut next: At = 0;
        loop {
            self.work += STEP;
            self.pay()?;
            let here = next;
            next += 1;
            let goes_on = match program.code[here as usize] {
                Inst::Match => return Ok(true),
                Inst::Char { c, back } => self.step(back) == Some(c),
                Inst::Set { set, back } => {
                    self.step(back).is_some_and(|c| program.sets[set as usize].contains(c))
                }
                Inst::Run { greedy: true, set, counts, back } => {
                    let (min, max) = program.counts[counts as usize];
                    let enough = self.run(set, min, back)?;
                    let from = self.at;
                    if enough {
                        self.run(set, if max == UNBOUNDED { UNBOUNDED } else { max - min }, back)?;
                        let bytes = from.abs_diff(self.at) as u32;
                        if bytes > 0 {
                            self.push(Entry::Shorter { next, at: self.at as u32, bytes })?;
                        }
                    }
                    enough
                }
                Inst::Run { greedy: false, set, counts, back } => {
                    let (min, max) = program.counts[counts as usize];
                    let enough = self.run(set, min, back)?;
                    if enough && max > min {
                        let times = if max == UNBOUNDED { UNBOUNDED } else { max - min };
                        self.push(Entry::Longer { run: here, at: self.at as u32, times })?;
                    }
                    enough
                }
                Inst::Assert(assert) => self.holds(assert),
                Inst::Back { group, back } => self.again(group, back)?,
                Inst::Save(slot) => {
                    self.set_slot(slot, self.at as u32)?;
                    true
                }
                Inst::Clear(from, to) => {
                    self.work += u64::from(to - from) / 2;
                    for slot in from..to {
                        if self.slots[slot as usize] != NOWHERE {
                            self.set_slot(slot, NOWHERE)?;
                        }
                    }
                    true
                }
                Inst::Jump(to) => {
                    next = to;
                    true
                }
                Inst::Split(other) => {
                    self.push(Entry::Choice(other, self.at as u32))?;
                    true
                }
                Inst::SplitLazy(other) => {
                    self.push(Entry::Choice(next, self.at as u32))?;
                    next = other;
                    true
                }
                Inst::Zero(counter) => {
                    self.set_slot(counter, 0)?;
                    true
                }
                Inst::Round { counter, counts, greedy, exit } => {
                    let (min, max) = program.counts[counts as usize];
                    let count = self.slots[counter as usize];
                    if count >= max && max != UNBOUNDED {
                        next = exit;
                    } else if count >= min && greedy {
                        self.push(Entry::Choice(exit, self.at as u32))?;
                    } else if count >= min {
                        self.push(Entry::Choice(next, self.at as u32))?;
                        next = exit;
                    }
                    true
                }
                Inst::Counted { counter, counts, round } => {
                    let (min, max) = program.counts[counts as usize];
                    let count = self.slots[counter as usize];
                    // Without a bound, only the first ones are counted.
                    if count < min || max != UNBOUNDED {
                        self.set_slot(counter, count + 1)?;
                    }
                    next = round;
                    true
                }
                Inst::Progress(slot) => self.slots[slot as usize] != self.at as u32,
                Inst::ProgressCounted { slot, counter, counts } => {
                    let (min, _) = program.counts[counts as usize];
                    self.slots[counter as usize] < min || self.slots[slot as usize] != self.at as u32
                }
                Inst::Look { .. } => {
                    self.push(Entry::Look { look: here, at: self.at as u32 })?;
                    true
                }
                Inst::LookEnd => match self.found()? {
                    Some(behind) => {
                        next = behind;
                        true
                    }
                    None => false,
                },
            };
            if !goes_on {
                match self.back_up()? {
                    Some(to) => next = to,
                    None => return Ok(false),
                }
            }
        }
    }

    /// Returns to the latest choice, and undoes what came after it: the instruction to continue at, or `None` when no
    /// choice is left.
    fn back_up(&mut self) -> Result<Option<At>, E> {
        let program = self.program;
        while let Some(entry) = self.stack.pop() {
            self.work += STEP;
            self.pay()?;
            match entry {
                Entry::Choice(to, at) => {
                    self.at = at as usize;
                    return Ok(Some(to));
                }
                Entry::Undo(slot, value) => self.slots[slot as usize] = value,
                Entry::Shorter { next, at, bytes } => {
                    let Inst::Run { back, .. } = program.code[next as usize - 1] else {
                        unreachable!("it is behind a run")
                    };
                    self.at = at as usize;
                    self.step(!back);
                    let bytes = bytes - self.at.abs_diff(at as usize) as u32;
                    if bytes > 0 {
                        self.push(Entry::Shorter { next, at: self.at as u32, bytes })?;
                    }
                    return Ok(Some(next));
                }
                Entry::Longer { run, at, times } => {
                    let Inst::Run { set, back, .. } = program.code[run as usize] else {
                        unreachable!("it is a run")
                    };
                    self.at = at as usize;
                    if self.step(back).is_some_and(|c| program.sets[set as usize].contains(c)) {
                        let times = if times == UNBOUNDED { times } else { times - 1 };
                        if times > 0 {
                            self.push(Entry::Longer { run, at: self.at as u32, times })?;
                        }
                        return Ok(Some(run + 1));
                    }
                }
                Entry::Look { look, at } => {
                    if let Inst::Look { negated: true, behind } = program.code[look as usize] {
                        self.at = at as usize;
                        return Ok(Some(behind));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The body of a look-around has matched: its choices are dropped. Returns the instruction to continue at, or `None`
    /// when the look-around is negative, and so fails.
    fn found(&mut self) -> Result<Option<At>, E> {
        let after = self.slots.clone();
        self.work += after.len() as u64;
        while let Some(entry) = self.stack.pop() {
            self.work += STEP;
            self.pay()?;
            match entry {
                Entry::Undo(slot, value) => self.slots[slot as usize] = value,
                Entry::Look { look, at } => {
                    self.at = at as usize;
                    let Inst::Look { negated, behind } = self.program.code[look as usize] else {
                        unreachable!("it is a look-around")
                    };
                    if negated {
                        return Ok(None);
                    }
                    // What is undone later is what changed since it began.
                    for (slot, &value) in (0u32..).zip(&after) {
                        if self.slots[slot as usize] != value {
                            self.set_slot(slot, value)?;
                        }
                    }
                    return Ok(Some(behind));
                }
                Entry::Choice(..) | Entry::Shorter { .. } | Entry::Longer { .. } => {}
            }
        }
        unreachable!("a look-around has an entry")
    }

    fn push(&mut self, entry: Entry) -> Result<(), E> {
        self.work += 1;
        if self.stack.top.len() == PIECE_ENTRIES {
            let mut next = std::mem::take(&mut self.stack.spare);
            if next.capacity() == 0 {
                (self.room)((self.stack.full.len() + 2) * PIECE_ENTRIES * size_of::<Entry>())?;
                (self.charge)(PIECE_WORK)?;
                next.reserve_exact(PIECE_ENTRIES);
            }
            self.stack.full.push(std::mem::replace(&mut self.stack.top, next));
        }
        self.stack.top.push(entry);
        Ok(())
    }

    fn set_slot(&mut self, slot: u32, value: u32) -> Result<(), E> {
        let old = std::mem::replace(&mut self.slots[slot as usize], value);
        self.push(Entry::Undo(slot, old))
    }

    /// The next character, or the one before, which is passed over.
    #[inline]
    fn step(&mut self, back: bool) -> Option<char> {
        if back {
            let c = self.text[..self.at].chars().next_back()?;
            self.at -= c.len_utf8();
            Some(c)
        } else {
            let c = self.text[self.at..].chars().next()?;
            self.at += c.len_utf8();
            Some(c)
        }
    }

    /// Passes over characters of a set, so many at most; whether there were as many.
    fn run(&mut self, set: u32, times: u32, back: bool) -> Result<bool, E> {
        let set = &self.program.sets[set as usize];
        for _ in 0..times {
            let at = self.at;
            if !self.step(back).is_some_and(|c| set.contains(c)) {
                self.at = at;
                return Ok(false);
            }
            self.work += RUN_STEP;
            self.pay()?;
        }
        Ok(true)
    }

    fn holds(&self, assert: Assert) -> bool {
        let bytes = self.text.as_bytes();
        let is_word =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let at_word = || is_word(bytes[..self.at].last()) != is_word(bytes.get(self.at));
        let is_end = |c: Option<char>| c.is_none_or(|c| matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}'));
        match assert {
            Assert::Start => self.at == 0,
            Assert::End => self.at == bytes.len(),
            Assert::LineStart => is_end(self.text[..self.at].chars().next_back()),
            Assert::LineEnd => is_end(self.text[self.at..].chars().next()),
            Assert::Word => at_word(),
            Assert::NotWord => !at_word(),
        }
    }

    /// Whether what a group matched is here again; a group without a match is the empty text.
    fn again(&mut self, group: u32, back: bool) -> Result<bool, E> {
        let (from, to) = (self.slots[2 * group as usize], self.slots[2 * group as usize + 1]);
        if from == NOWHERE || to == NOWHERE {
            return Ok(true);
        }
        let text = self.text;
        let group = &text[from as usize..to as usize];
        if self.program.any_case {
            let equal = |c: char, other: Option<char>| other.map(canonical) == Some(canonical(c));
            let mut rest = group.chars();
            while let Some(c) = if back { rest.next_back() } else { rest.next() } {
                self.work += STEP;
                self.pay()?;
                if !equal(c, self.step(back)) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let here = if back {
            self.at.checked_sub(group.len()).map(|from| (from, from))
        } else {
            Some((self.at, self.at + group.len()))
        };
        let Some((from, end)) = here.filter(|&(from, _)| from + group.len() <= text.len()) else {
            return Ok(false);
        };
        let here = &text.as_bytes()[from..from + group.len()];
        for (group, here) in group.as_bytes().chunks(PIECE_BYTES).zip(here.chunks(PIECE_BYTES)) {
            self.work += group.len() as u64 / 32;
            self.pay()?;
            if group != here {
                return Ok(false);
            }
        }
        self.at = end;
        Ok(true)
    }
}
