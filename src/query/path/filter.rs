//! Filters: `[?(@.a == 1 && @.b)]`, with the syntax of Jayway 2.0.0.
//!
//! The text is split at `&&` and `||`, then at the first operator found in a fixed order, both without regard to
//! quotes. Parentheses around parts are dropped. So a filter always consists of alternatives of conditions, and it is
//! tested from right to left.

use std::sync::Arc;

use super::decimal::Decimal;
use super::program::Step;
use super::syntax::{SyntaxError, steps, trim};
use crate::query::pattern::Pattern;

/// Memory of a compiled pattern, which also bounds the time per character.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 16;
/// Nesting of a pattern.
pub(super) const PATTERN_DEPTH_MAX: u32 = 250;

/// Compiles patterns; the error says why one is refused.
pub(super) type Patterns<'p> = &'p mut dyn FnMut(&str) -> Result<Arc<Pattern>, String>;

/// A filter: true where all conditions of one of its alternatives are.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) any_of: Box<[Box<[Condition]>]>,
    /// How many question marks it is printed with.
    pub(super) count: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) left: Operand,
    pub(super) test: Test,
    pub(super) right: Operand,
    /// Whether both are the same path from the document, in the same words: only then are containers equal.
    pub(super) is_same_path: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Exists,
    Absent,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A definite path from the tested element, or from the document.
    Path {
        steps: Box<[Step]>,
        from_document: bool,
    },
    Literal(Literal),
    Pattern(Arc<Pattern>),
}

/// A literal; all are texts, quoted or not, and are converted to the type they are compared with.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    pub(super) text: Box<str>,
    /// The text with `\'` replaced by `'`, if that differs.
    pub(super) unescaped: Option<Box<str>>,
    pub(super) number: Option<Decimal>,
}

/// In the order in which operators are searched.
const OPERATORS: [(&str, Test); 7] = [
    ("==", Test::Equal),
    (">=", Test::GreaterOrEqual),
    ("<=", Test::LessOrEqual),
    ("!=", Test::NotEqual),
    ("<", Test::Less),
    (">", Test::Greater),
    ("=~", Test::Matches),
];

impl Filter {
    /// `count` filters without values; evaluating one is an error.
    pub(super) fn absent(count: usize) -> Filter {
        Filter { any_of: Box::new([]), count }
    }

    /// Parses `[?(…)]`, at the position `at` of the whole text.
    pub(super) fn parse(text: &str, at: usize, patterns: Patterns<'_>) -> Result<Filter, SyntaxError> {
        let inside = || {
            let text = text.strip_prefix('[')?.strip_suffix(']')?;
            let text = trim(trim(text).0.strip_prefix('?')?).0;
            text.strip_prefix('(')?.strip_suffix(')')
        };
        let Some(inside) = inside() else {
            return Err(SyntaxError::new("a filter must have the form `[?(…)]`", at));
        };
        let inside = trim(inside).0;
        let mut operators = Vec::new();
        let mut conditions = Vec::new();
        for part in split(inside) {
            match trim(part).0 {
                "&&" => operators.push(true),
                "||" => operators.push(false),
                part => conditions.push(Condition::parse(part, at, patterns)?),
            }
        }
        if conditions.len() != operators.len() + 1 {
            return Err(SyntaxError::new("every `&&` and `||` needs a condition on each side", at));
        }
        let mut any_of: Vec<Box<[Condition]>> = Vec::new();
        let mut all_of: Vec<Condition> = conditions.pop().into_iter().collect();
        while let (Some(and), Some(condition)) = (operators.pop(), conditions.pop()) {
            if !and {
                any_of.push(std::mem::take(&mut all_of).into());
            }
            all_of.push(condition);
        }
        any_of.push(all_of.into());
        Ok(Filter { any_of: any_of.into(), count: 1 })
    }
}

/// Splits before and behind each `&&` and `||`; of `&&&` each sign becomes a part.
fn split(text: &str) -> Vec<&str> {
    let joins = |at: usize| matches!(text.as_bytes().get(at..at + 2), Some(b"&&" | b"||"));
    let mut parts = Vec::new();
    let mut from = 0;
    for i in 1..text.len() {
        if joins(i) || i >= 2 && joins(i - 2) {
            parts.push(&text[from..i]);
            from = i;
        }
    }
    parts.push(&text[from..]);
    parts
}

impl Condition {
    fn parse(part: &str, at: usize, patterns: Patterns<'_>) -> Result<Condition, SyntaxError> {
        let error = |message: &str| SyntaxError::new(message, at);
        let part = part.trim_start_matches(['[', '?', '(', ' ']).trim_end_matches([')', ' ']);
        if part.is_empty() {
            return Err(error("a condition is missing"));
        }
        let found = OPERATORS.iter().find_map(|&(sign, test)| Some((part.split_once(sign)?, test)));
        let ((left, right), test) = match found {
            Some(((left, right), test)) => ((trim(left).0, trim(right).0), Some(test)),
            None => ((trim(part).0, ""), None),
        };
        let (left, negated) = match left.strip_prefix('!') {
            Some(rest) if rest.starts_with('@') => (rest, true),
            _ => (left, false),
        };
        if right.starts_with("!@") {
            return Err(error("`!` can only be used to ask whether a path is absent"));
        }
        let is_same_path = left == right && left.starts_with('$');
        let (left, right) = (Operand::parse(left, at, patterns)?, Operand::parse(right, at, patterns)?);
        let test = match (test, &left) {
            (Some(test), _) => test,
            (None, Operand::Path { .. }) if negated => Test::Absent,
            (None, Operand::Path { .. }) => Test::Exists,
            (None, _) => return Err(error("a condition needs a path or an operator")),
        };
        Ok(Condition { left, test, right, is_same_path })
    }
}

impl Operand {
    fn parse(text: &str, at: usize, patterns: Patterns<'_>) -> Result<Operand, SyntaxError> {
        let error = |message: &str| SyntaxError::new(message, at);
        let from_document = text.starts_with('$');
        if from_document || text.starts_with('@') {
            let rest = &text[1..];
            if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                return Err(error("`@` and `$` must be followed by `.` or `[`"));
            }
            let steps = steps(rest, at, true, patterns)?;
            if !steps.iter().all(Step::is_definite) {
                return Err(error("a path in a filter must be definite"));
            }
            return Ok(Operand::Path { steps: steps.into(), from_document });
        }
        if let Some(inside) = text.strip_prefix('\'').filter(|inside| inside.ends_with('\'')) {
            return Ok(Operand::Literal(Literal::new(&inside[..inside.len() - 1])));
        }
        if matches!(text, "'" | "/" | "/i") {
            return Err(error("a quote or slash is not closed"));
        }
        let any_case = text.ends_with("/i");
        if text.starts_with('/') && (any_case || text.ends_with('/')) {
            let pattern = text[1..text.len() - usize::from(any_case)].strip_suffix('/').unwrap_or("");
            let flags = if any_case { "(?i)" } else { "" };
            let pattern = format!(r"{flags}\A(?:{pattern})\z");
            return patterns(&pattern).map(Operand::Pattern).map_err(|message| error(&message));
        }
        Ok(Operand::Literal(Literal::new(text)))
    }
}

impl Literal {
    fn new(text: &str) -> Literal {
        let unescaped = text.contains(r"\'").then(|| text.replace(r"\'", "'").into());
        Literal { text: text.into(), unescaped, number: Decimal::parse(text) }
    }
}
