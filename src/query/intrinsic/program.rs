//! A parsed call: a flat table of arguments.

use crate::json::Value;
use crate::query::path::Path;

macro_rules! functions {
    ($($name:ident($least:literal..=$most:expr),)*) => {
        /// An intrinsic function (specification, "Intrinsic Functions").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the documentation")]
        pub enum Function { $($name,)* }

        impl Function {
            /// The function `States.name`.
            pub fn named(name: &str) -> Option<Function> {
                match name {
                    $(stringify!($name) => Some(Function::$name),)*
                    _ => None,
                }
            }

            /// All of them.
            pub const ALL: &'static [Function] = &[$(Function::$name,)*];

            /// Its name as written in definitions: `States.Format`.
            pub const fn name(self) -> &'static str {
                match self { $(Function::$name => concat!("States.", stringify!($name)),)* }
            }

            /// Whether it accepts so many arguments.
            pub fn takes(self, count: usize) -> bool {
                match self { $(Function::$name => ($least..=$most).contains(&count),)* }
            }
        }
    };
}

functions! {
    Array(0..=usize::MAX),
    ArrayContains(2..=2),
    ArrayGetItem(2..=2),
    ArrayLength(1..=1),
    ArrayPartition(2..=2),
    ArrayRange(3..=3),
    ArrayUnique(1..=1),
    Base64Decode(1..=1),
    Base64Encode(1..=1),
    Format(1..=usize::MAX),
    Hash(2..=2),
    JsonMerge(3..=3),
    JsonToString(1..=1),
    MathAdd(2..=2),
    MathRandom(2..=3),
    StringSplit(2..=2),
    StringToJson(1..=1),
    UUID(0..=usize::MAX),
}

/// A place in the table of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(pub(super) u32);

#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `null`, a boolean, or a number.
    Constant(Value),
    Text(Box<str>),
    /// A literal template of `States.Format`: the texts around its holes, or an unpaired brace.
    Template(Result<Box<[Box<str>]>, char>),
    Path(Box<Path>),
    /// Its arguments are the nodes `from..to`.
    Call {
        function: Function,
        from: NodeId,
        to: NodeId,
    },
}

/// Splits a template at its holes. `\{` and `\}` are literal braces; with `literal`, `\'` and `\\` are escapes as well.
///
/// # Errors
/// The unpaired brace.
pub(super) fn template(text: &str, literal: bool) -> Result<Vec<String>, char> {
    let mut pieces = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = pieces.last_mut().expect("there is one from the beginning");
        match (c, chars.peek()) {
            ('\\', Some(&escaped)) if matches!(escaped, '{' | '}') || literal => {
                last.push(escaped);
                chars.next();
            }
            ('{', Some('}')) => {
                chars.next();
                pieces.push(String::new());
            }
            ('{' | '}', _) => return Err(c),
            _ => last.push(c),
        }
    }
    Ok(pieces)
}
