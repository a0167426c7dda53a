//! Regular expressions whose search can stop at any byte.
//!
//! Where a text is short for its expression, the `regex` crate searches it in one call, which is fast. Its time for a
//! byte is bounded by the number of states only, so over a long text a call could take seconds without a look at the
//! clock. For long texts, Pike's simulation of the same automaton is used, which charges every state it visits.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use regex_automata::Input;
use regex_automata::meta::{self, Cache};
use regex_automata::nfa::thompson::{self, NFA, State, WhichCaptures};
use regex_automata::util::primitives::{NonMaxUsize, StateID};
use regex_automata::util::syntax;

use crate::limits;

/// The product of bytes and states up to which a text is searched in one call: half a millisecond at worst.
const AT_ONCE_MAX: usize = 50_000;
/// The product of states and group positions that a search may have to keep.
const SLOTS_MAX: usize = 1 << 20;
/// Work of visiting a state.
const VISIT: u64 = 8;
/// Bytes that are skipped between two charges where no match can begin.
const PASSED_OVER: usize = 16 * 1_024;

/// Bytes of a one-pass automaton, which is faster with groups; an expression that needs more has none.
const ONE_PASS_BYTES_MAX: usize = 64 << 10;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    source: Box<str>,
    /// Its caches are in [`CACHES`].
    number: u64,
    regex: meta::Regex,
    nfa: NFA,
    /// The possible first bytes of a match; `None` if it may be empty.
    first: Option<Box<[bool; 256]>>,
}

/// Which conditions on words an expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundaries {
    Any,
    /// It may have `(?-u:\B)`, and nothing else that is not Unicode's.
    Ascii,
}

/// Why an expression is not compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternError {
    Syntax,
    TooLarge,
}

/// The groups of a match, the whole match first: where each begins and ends.
pub(super) type Spans = Vec<Option<(usize, usize)>>;

impl Pattern {
    /// Automata of one expression: this one, and the forward and backward ones of the `regex` crate.
    pub(super) const AUTOMATA: usize = 3;

    /// The bytes of its automata.
    pub(super) fn bytes(&self) -> usize {
        self.source.len() + self.nfa.memory_usage() + self.regex.memory_usage()
    }

    pub(super) fn new(
        source: &str,
        boundaries: Boundaries,
        bytes_max: usize,
        depth_max: u32,
    ) -> Result<Pattern, PatternError> {
        // A position inside of a character, where nothing but `(?-u:\B)` matches, is neither begun at nor returned.
        let syntax = syntax::Config::new().utf8(boundaries == Boundaries::Any).nest_limit(depth_max);
        let config = meta::Config::new()
            .nfa_size_limit(Some(bytes_max))
            .onepass_size_limit(Some(ONE_PASS_BYTES_MAX.min(bytes_max)))
            .hybrid_cache_capacity(limits::REGEX_CACHE_BYTES_MAX);
        let regex = meta::Builder::new().configure(config).syntax(syntax).build(source);
        let regex = regex.map_err(|error| match error.syntax_error() {
            Some(_) => PatternError::Syntax,
            None => PatternError::TooLarge,
        })?;
        let config =
            thompson::Config::new().which_captures(WhichCaptures::All).nfa_size_limit(Some(bytes_max));
        let nfa = thompson::Compiler::new()
            .configure(config)
            .syntax(syntax)
            .build(source)
            .map_err(|_| PatternError::TooLarge)?;
        if nfa.states().len() * nfa.group_info().slot_len() > SLOTS_MAX {
            return Err(PatternError::TooLarge);
        }
        let first = first_bytes(&nfa);
        let number = PATTERNS.fetch_add(1, Relaxed);
        Ok(Pattern { source: source.into(), number, regex, nfa, first })
    }

    /// The first match in `text` that begins at byte `at` or later, and its groups.
    ///
    /// # Errors
    /// The error of `charge`.
    pub(super) fn search<E>(
        &self,
        text: &str,
        at: usize,
        mut charge: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Option<Spans>, E> {
        let (rest, states) = (text.len() - at, self.nfa.states().len());
        if rest.saturating_mul(states) > AT_ONCE_MAX {
            return Machine::new(self, text).run(at, &mut charge);
        }
        let (found, made) = self.captures_at(text, at);
        let end = found.as_ref().and_then(|found| found[0]).map_or(text.len(), |(_, end)| end);
        charge(200 + made + (end - at) as u64 * (4 + states as u64 / 8))?;
        Ok(found)
    }

    /// The first match from `at` on, and the work of making a cache.
    fn captures_at(&self, text: &str, at: usize) -> (Option<Spans>, u64) {
        let mut slots = vec![None; self.nfa.group_info().slot_len()];
        let input = Input::new(text).span(at..text.len());
        let (found, made) =
            self.with_cache(text.len() - at, |cache| self.regex.search_slots_with(cache, &input, &mut slots));
        let pair = |pair: &[Option<NonMaxUsize>]| Some((pair[0]?.get(), pair[1]?.get()));
        (found.map(|_| slots.chunks_exact(2).map(pair).collect()), made)
    }

    /// Searches `bytes` with this thread's cache of this expression. Also returns the work of making one.
    fn with_cache<T>(&self, bytes: usize, search: impl FnOnce(&mut Cache) -> T) -> (T, u64) {
        CACHES.with_borrow_mut(|caches| {
            let at = caches.kept.iter().rposition(|kept| kept.number == self.number);
            let at = at.unwrap_or_else(|| {
                let (number, cache) = (self.number, Box::new(self.regex.create_cache()));
                caches.kept.push(Kept { number, cache, bytes: 0 });
                caches.kept.len() - 1
            });
            // The last one is looked at first.
            let last = caches.kept.len() - 1;
            caches.kept.swap(at, last);
            let kept = &mut caches.kept[last];
            let found = search(&mut kept.cache);
            let is_new = kept.bytes == 0;
            if is_new || bytes > CACHE_LOOK_BYTES {
                let now = size_of::<Cache>() + kept.cache.memory_usage();
                caches.bytes = caches.bytes + now - std::mem::replace(&mut kept.bytes, now);
                caches.shrink();
            }
            (found, if is_new { CACHE_WORK } else { 0 })
        })
    }

    /// Whether it matches anywhere.
    pub(super) fn is_match<E>(
        &self,
        text: &str,
        mut charge: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<bool, E> {
        let states = self.nfa.states().len();
        if text.len().saturating_mul(states) > AT_ONCE_MAX {
            return Ok(Machine::new(self, text).run(0, &mut charge)?.is_some());
        }
        let input = Input::new(text).earliest(true);
        let (found, made) =
            self.with_cache(text.len(), |cache| self.regex.search_half_with(cache, &input).is_some());
        charge(50 + made + text.len() as u64 * (1 + states as u64 / 16))?;
        Ok(found)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.source
    }
}

/// The number of the next expression.
static PATTERNS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What searches remember, of all expressions on this thread. An expression's own would be kept as long as it is:
    /// up to a megabyte for each, on each thread.
    static CACHES: RefCell<Caches> = const { RefCell::new(Caches { kept: Vec::new(), bytes: 0 }) };
}

/// Bytes that a search has to go through before its cache's growth is looked at.
const CACHE_LOOK_BYTES: usize = 64;
/// Work of making a cache.
const CACHE_WORK: u64 = 5_000;

struct Caches {
    kept: Vec<Kept>,
    bytes: usize,
}

struct Kept {
    /// Of the expression.
    number: u64,
    cache: Box<Cache>,
    bytes: usize,
}

impl Caches {
    /// Drops caches, those first that were not used lately, until the others are within the limit.
    fn shrink(&mut self) {
        let mut dropped = 0;
        while self.bytes > limits::REGEX_CACHES_BYTES_MAX && dropped < self.kept.len() {
            self.bytes -= self.kept[dropped].bytes;
            dropped += 1;
        }
        self.kept.drain(..dropped);
    }
}

/// The bytes that leave the closure of the start; `None` when it contains a match.
fn first_bytes(nfa: &NFA) -> Option<Box<[bool; 256]>> {
    let mut first = Box::new([false; 256]);
    let mut seen = vec![false; nfa.states().len()];
    let mut stack = vec![nfa.start_anchored()];
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut seen[id.as_usize()], true) {
            continue;
        }
        match nfa.state(id) {
            State::ByteRange { trans } => first[trans.start as usize..=trans.end as usize].fill(true),
            State::Sparse(sparse) => {
                for trans in &sparse.transitions {
                    first[trans.start as usize..=trans.end as usize].fill(true);
                }
            }
            State::Dense(dense) => {
                for byte in 0..=u8::MAX {
                    first[byte as usize] |= dense.matches_byte(byte).is_some();
                }
            }
            State::Look { next, .. } | State::Capture { next, .. } => stack.push(*next),
            State::Union { alternates } => stack.extend_from_slice(alternates),
            State::BinaryUnion { alt1, alt2 } => stack.extend([*alt1, *alt2]),
            State::Fail => {}
            State::Match { .. } => return None,
        }
    }
    Some(first)
}

/// No position yet.
const NOWHERE: usize = usize::MAX;

/// One search: parallel threads of the automaton, ordered by preference.
struct Machine<'p, 't> {
    pattern: &'p Pattern,
    text: &'t str,
    /// Positions of groups per thread.
    width: usize,
    now: Threads,
    next: Threads,
    /// The positions of the thread that is being followed.
    places: Vec<usize>,
    stack: Vec<Follow>,
}

enum Follow {
    State(StateID),
    /// Restores a position after what is behind it has been followed.
    Restore(usize, usize),
}

/// States by number, in the order in which they were reached, with the group positions of their threads.
#[derive(Default)]
struct Threads {
    order: Vec<StateID>,
    position: Vec<u32>,
    places: Vec<usize>,
}

impl Threads {
    fn insert(&mut self, id: StateID) -> bool {
        let position = self.position[id.as_usize()] as usize;
        if self.order.get(position) == Some(&id) {
            return false;
        }
        self.position[id.as_usize()] = self.order.len() as u32;
        self.order.push(id);
        true
    }
}

impl<'p, 't> Machine<'p, 't> {
    fn new(pattern: &'p Pattern, text: &'t str) -> Machine<'p, 't> {
        let (states, width) = (pattern.nfa.states().len(), pattern.nfa.group_info().slot_len());
        let threads = || Threads {
            order: Vec::new(),
            position: vec![0; states],
            places: vec![NOWHERE; states * width],
        };
        let (now, next) = (threads(), threads());
        Machine { pattern, text, width, now, next, places: vec![NOWHERE; width], stack: Vec::new() }
    }

    fn run<E>(
        mut self,
        mut at: usize,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Option<Spans>, E> {
        let bytes = self.text.as_bytes();
        let mut found: Option<Vec<usize>> = None;
        charge((self.now.places.len() + self.now.position.len()) as u64)?;
        loop {
            if self.now.order.is_empty() {
                if found.is_some() {
                    break;
                }
                match self.pass_over(at, charge)? {
                    Some(begin) => at = begin,
                    None => break,
                }
            }
            // A match may begin at every character, with decreasing preference.
            if found.is_none() && self.text.is_char_boundary(at) {
                self.places.fill(NOWHERE);
                let start = self.pattern.nfa.start_anchored();
                self.follow(start, at, false, charge)?;
            }
            if let Some(places) = self.step(at, charge)? {
                found = Some(places);
            }
            if at >= bytes.len() {
                break;
            }
            at += 1;
            std::mem::swap(&mut self.now, &mut self.next);
            self.next.order.clear();
        }
        let pairs = |places: Vec<usize>| {
            let pair = |pair: &[usize]| (pair[1] != NOWHERE).then_some((pair[0], pair[1]));
            places.chunks_exact(2).map(pair).collect()
        };
        Ok(found.map(pairs))
    }

    /// The next possible beginning of a match, from `at` on.
    fn pass_over<E>(
        &self,
        mut at: usize,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Option<usize>, E> {
        let Some(first) = &self.pattern.first else { return Ok(Some(at)) };
        let bytes = self.text.as_bytes();
        while at < bytes.len() {
            let piece = &bytes[at..bytes.len().min(at + PASSED_OVER)];
            let passed = piece.iter().position(|&byte| first[byte as usize]);
            charge(passed.unwrap_or(piece.len()) as u64)?;
            match passed {
                Some(passed) => return Ok(Some(at + passed)),
                None => at += piece.len(),
            }
        }
        Ok(None)
    }

    /// Moves all threads over the byte at `at`; returns the groups of a match that ends there.
    fn step<E>(
        &mut self,
        at: usize,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Option<Vec<usize>>, E> {
        let bytes = self.text.as_bytes();
        for n in 0..self.now.order.len() {
            let id = self.now.order[n];
            let next = match self.pattern.nfa.state(id) {
                State::ByteRange { trans } => trans.matches(bytes, at).then_some(trans.next),
                State::Sparse(sparse) => sparse.matches(bytes, at),
                State::Dense(dense) => dense.matches(bytes, at),
                State::Match { .. } => {
                    // The following ones are preferred less.
                    let from = id.as_usize() * self.width;
                    return Ok(Some(self.now.places[from..from + self.width].to_vec()));
                }
                _ => continue,
            };
            charge(VISIT)?;
            if let Some(next) = next {
                let from = id.as_usize() * self.width;
                self.places.copy_from_slice(&self.now.places[from..from + self.width]);
                self.follow(next, at + 1, true, charge)?;
            }
        }
        Ok(None)
    }

    /// Adds what can be reached from a state without a byte.
    fn follow<E>(
        &mut self,
        id: StateID,
        at: usize,
        is_next: bool,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let threads = if is_next { &mut self.next } else { &mut self.now };
        let nfa = &self.pattern.nfa;
        self.stack.push(Follow::State(id));
        while let Some(follow) = self.stack.pop() {
            let id = match follow {
                Follow::State(id) => id,
                Follow::Restore(slot, place) => {
                    self.places[slot] = place;
                    continue;
                }
            };
            if !threads.insert(id) {
                continue;
            }
            charge(VISIT + self.width as u64 / 4)?;
            match nfa.state(id) {
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, self.text.as_bytes(), at) {
                        self.stack.push(Follow::State(*next));
                    }
                }
                State::Union { alternates } => {
                    charge(alternates.len() as u64)?;
                    self.stack.extend(alternates.iter().rev().map(|&next| Follow::State(next)));
                }
                State::BinaryUnion { alt1, alt2 } => {
                    self.stack.extend([Follow::State(*alt2), Follow::State(*alt1)]);
                }
                State::Capture { next, slot, .. } => {
                    let slot = slot.as_usize();
                    self.stack.push(Follow::Restore(slot, self.places[slot]));
                    self.places[slot] = at;
                    self.stack.push(Follow::State(*next));
                }
                State::Fail => {}
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                    let from = id.as_usize() * self.width;
                    threads.places[from..from + self.width].copy_from_slice(&self.places);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both kinds of search find the same, including groups.
    #[test]
    fn the_simulation_finds_what_the_crate_finds() {
        let sources = [
            "a+b",
            "(a|ab)(c|bcd)(d*)",
            "(a*)(a|b)*c?",
            "",
            "a*",
            "(?:)",
            "x|",
            r"\bfoo\b|bar",
            "^a|b$",
            r"(?m:^)\w+(?m:$)",
            "[é-ü]+",
            "(.)(.)",
            r"(?i)straße",
            "(a+)+$",
            "(foo)?(bar)?",
            "[^a]*?b",
            r"\B",
            r"(?-u:\B)",
            "(?:a|b)*?c|d",
            "(((a)))",
            r"\s*,\s*",
            "é|ée",
            "(?s:.)*x",
        ];
        let texts = [
            "",
            "a",
            "aab",
            "abcd",
            "aaaaab",
            "foo bar",
            "xfoo foo",
            "ab\nba\nb",
            "éüxé",
            "STRASSE straße",
            "ééé",
            "cdcd",
            "a, b ,c",
            "😀a😀",
            "aaaaaaaaaaaaaaaaaaaaaaax",
        ];
        for source in sources {
            for flags in ["", "(?i)"] {
                let source = format!("{flags}{source}");
                let pattern = Pattern::new(&source, Boundaries::Ascii, 1 << 20, 50).expect("it compiles");
                for text in texts {
                    for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                        let (found, _) = pattern.captures_at(text, at);
                        let mut work = 0;
                        let mut charge = |units| {
                            work += units;
                            Ok::<(), ()>(())
                        };
                        let simulated = Machine::new(&pattern, text).run(at, &mut charge);
                        assert_eq!(simulated, Ok(found), "/{source}/ in {text:?} from {at}");
                        assert!(work > 0);
                    }
                }
            }
        }
    }

    /// However many expressions there are, and whatever they are used for, a thread remembers so much.
    #[test]
    fn what_searches_remember_is_bounded() {
        let text: String = (0..1_900u64).map(|n| if n * n * 7_919 % 17 > 8 { 'a' } else { 'b' }).collect();
        for n in 0..200 {
            let pattern =
                Pattern::new(&format!("a[ab]{{9}}c{n}"), Boundaries::Any, 1 << 20, 50).expect("it compiles");
            for _ in 0..2 {
                assert_eq!(pattern.is_match(&text, |_| Ok::<(), ()>(())), Ok(false));
                assert_eq!(pattern.search(&text, 0, |_| Ok::<(), ()>(())), Ok(None));
            }
        }
        CACHES.with_borrow(|caches| {
            let bytes: usize = caches.kept.iter().map(|kept| kept.bytes).sum();
            assert_eq!(bytes, caches.bytes);
            assert!((1..=limits::REGEX_CACHES_BYTES_MAX).contains(&bytes), "{bytes}");
        });
    }
}
