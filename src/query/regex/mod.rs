//! JavaScript's regular expressions, as JSONata has them. [`parse`] reads one into a [`tree`]. From that, [`print`]
//! writes it for the [linear automaton](super::pattern), which decides nearly all of them. The others (look-around,
//! references to groups, line ends other than `\n`, repetitions that make an automaton too large) become a [`program`],
//! for a [`search`] that backtracks.
//!
//! A text is read by characters, not by units of UTF-16, and has no halves of characters.

mod parse;
mod print;
mod program;
mod search;
mod set;
mod tree;

use super::pattern::{Boundaries, Pattern, PatternError, Spans};

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(super) enum Regex {
    Linear(Pattern),
    Backtracking(Backtracking),
}

/// What only a backtracking search finds.
#[derive(Clone, Debug)]
pub(super) struct Backtracking(program::Program);

/// What there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of one automaton, of which a linear one has [`Pattern::AUTOMATA`].
    pub(super) automaton_bytes: usize,
    /// Bytes of a program for backtracking.
    pub(super) program_bytes: usize,
    /// Whether there would be more room, but for others.
    pub(super) is_short: bool,
    /// Nesting of an expression that becomes an automaton.
    pub(super) depth: u32,
}

/// Why an expression is not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Syntax(String),
    TooLarge,
}

/// White space, as JavaScript has it.
pub(super) const SPACE: &[(u32, u32)] = &[
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
];
/// As AWS has it, which is Java's.
pub(super) const JAVA_SPACE: &[(u32, u32)] = &[(0x09, 0x0D), (0x20, 0x20)];

impl Regex {
    /// Compiles an expression with the flags `i` and `m`, where `\s` is `space`.
    pub(super) fn new(
        pattern: &str,
        flags: &str,
        space: &'static [(u32, u32)],
        bounds: Bounds,
    ) -> Result<Regex, Problem> {
        let (any_case, multi_line) = (flags.contains('i'), flags.contains('m'));
        let tree = parse::parse(pattern, parse::Flags { any_case, multi_line, space });
        let wrong = |why| Problem::Syntax(format!("Invalid regular expression: /{pattern}/{flags}: {why}"));
        let tree = tree.map_err(wrong)?;
        if !tree.needs_backtracking() && tree.depth() <= bounds.depth {
            let printed = print::print(&tree);
            match Pattern::new(&printed, Boundaries::Ascii, bounds.automaton_bytes, bounds.depth) {
                Ok(linear) => return Ok(Regex::Linear(linear)),
                Err(PatternError::TooLarge) if bounds.is_short => return Err(Problem::TooLarge),
                // A repetition is copied in an automaton, and counted by the backtracking search.
                Err(PatternError::TooLarge) => {}
                Err(PatternError::Syntax) => unreachable!("/{pattern}/{flags} was printed as {printed}"),
            }
        }
        let program = program::Program::new(&tree);
        if program.bytes() > bounds.program_bytes {
            return Err(Problem::TooLarge);
        }
        Ok(Regex::Backtracking(Backtracking(program)))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Regex::Linear(pattern) => pattern.bytes(),
            Regex::Backtracking(Backtracking(program)) => program.bytes(),
        }
    }

    /// The first match in `text` that begins at byte `at` or later, and its groups. Work is charged; `room` says
    /// whether so many bytes may be held meanwhile.
    ///
    /// # Errors
    /// Those of `charge` and `room`.
    pub(super) fn search<E>(
        &self,
        text: &str,
        at: usize,
        charge: impl FnMut(u64) -> Result<(), E>,
        room: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Option<Spans>, E> {
        match self {
            Regex::Linear(pattern) => pattern.search(text, at, charge),
            Regex::Backtracking(Backtracking(program)) => search::search(program, text, at, charge, room),
        }
    }
}
