//! Choice states: rules in order, tests as a flat table, runs of equality rules as one hash table.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::ids::{AssignId, PathId, StateId, TemplateId};
use crate::index::{Table, ids};
use crate::json::Number;

ids! {
    /// A [`Test`] of a [`Choice`].
    TestId;
}

/// A Choice state. In one cache line, like a state.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Choice {
    /// The steps, in order; the first that matches decides.
    pub steps: Box<[ChoiceStep]>,
    /// `Choices`, in order.
    pub rules: Box<[Rule]>,
    /// The tests of all rules.
    pub tests: Table<TestId, Test>,
}

const _: () = assert!(size_of::<Choice>() == 64 && size_of::<ChoiceStep>() == 64);

/// One step of a Choice.
#[derive(Debug)]
#[repr(align(64))]
pub enum ChoiceStep {
    /// One rule.
    Rule(u32),
    /// One rule that compares a variable with a constant: the comparison itself, so that a rule that does not match
    /// needs a single memory access. Most rules are of this kind.
    Compare {
        /// The comparison.
        comparison: Comparison,
        /// The rule.
        rule: u32,
    },
    /// Several consecutive rules that compare the same variable with a string: one look-up.
    Equals {
        /// The variable.
        variable: PathId,
        /// The rule for each string.
        rules: HashMap<Box<str>, u32, BuildHasherDefault<TextHasher>>,
    },
}

/// A choice rule.
#[derive(Debug)]
pub struct Rule {
    /// When it applies.
    pub test: TestId,
    /// `Next`
    pub next: StateId,
    /// `Assign`
    pub assign: Option<AssignId>,
    /// `Output` (JSONata)
    pub output: Option<TemplateId>,
}

/// The condition of a rule.
#[derive(Debug)]
pub enum Test {
    /// Whether all hold.
    And(Box<[TestId]>),
    /// Whether any holds.
    Or(Box<[TestId]>),
    /// Whether it does not hold.
    Not(TestId),
    /// A comparison.
    Comparison(Comparison),
    /// A constant condition.
    Constant(bool),
    /// `Condition`
    Condition(TemplateId),
}

/// A comparison of a variable.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// `Variable`
    pub variable: PathId,
    /// The operator.
    pub operator: Operator,
    /// The right-hand side.
    pub operand: Operand,
}

/// The comparison operators: AWS's 39 names grouped by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `StringEquals`, `StringLessThan` …
    String(Order),
    /// `NumericEquals` …
    Numeric(Order),
    /// `TimestampEquals` …
    Timestamp(Order),
    /// `BooleanEquals`
    BooleanEquals,
    /// `StringMatches`
    StringMatches,
    /// `IsPresent`
    IsPresent,
    /// `IsNull`
    IsNull,
    /// `IsNumeric`
    IsNumeric,
    /// `IsString`
    IsString,
    /// `IsBoolean`
    IsBoolean,
    /// `IsTimestamp`
    IsTimestamp,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Order {
    /// Whether the left and the right side are in this order.
    pub fn holds(self, found: Ordering) -> bool {
        match self {
            Order::Equal => found.is_eq(),
            Order::Less => found.is_lt(),
            Order::LessEqual => found.is_le(),
            Order::Greater => found.is_gt(),
            Order::GreaterEqual => found.is_ge(),
        }
    }
}

/// The right-hand side of a comparison, prepared.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A string.
    String(Box<str>),
    /// A number.
    Number(Number),
    /// A boolean.
    Bool(bool),
    /// A timestamp, in nanoseconds since 1970.
    Timestamp(i128),
    /// A pattern of `StringMatches`.
    Pattern(Pattern),
    /// A path.
    Path(PathId),
}

/// A pattern of `StringMatches`: `*` matches any text, `\*` and `\\` are literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The texts between the stars; one when there is no star.
    pieces: Box<[Box<str>]>,
}

impl Pattern {
    /// Prepares a pattern.
    pub fn new(text: &str) -> Pattern {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' => pieces.push(std::mem::take(&mut literal)),
                '\\' => {
                    literal.push(chars.next_if(|&next| next == '*' || next == '\\').unwrap_or('\\'));
                }
                _ => literal.push(c),
            }
        }
        pieces.push(literal);
        Pattern { pieces: pieces.into_iter().map(String::into_boxed_str).collect() }
    }

    /// Whether the whole text matches. At worst, the time is the length of the text times that of the pattern, never
    /// exponential: the leftmost match of each piece suffices.
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &*self.pieces else {
            return self.pieces.first().is_some_and(|only| **only == *text);
        };
        let Some(mut rest) = text.strip_prefix(&**first) else { return false };
        for piece in middle {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(&**last)
    }
}

/// As it was written, escapes where they are needed.
impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, piece) in self.pieces.iter().enumerate() {
            let piece = piece.replace('\\', "\\\\").replace('*', "\\*");
            write!(f, "{}{piece}", if i > 0 { "*" } else { "" })?;
        }
        Ok(())
    }
}

/// Hashes texts eight bytes at a time. The keys come from the definition, so a client that sends inputs cannot choose
/// them to collide.
#[derive(Debug, Default, Clone, Copy)]
pub struct TextHasher(u64);

impl Hasher for TextHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed =
                (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            self.0 = mixed ^ (mixed >> 32);
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
