//! JSON text as its author wrote it: a tree in which every node knows its place. For definitions and messages about
//! them; execution data goes into the [`Arena`](super::Arena) instead.

/// A range of bytes of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and where it stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> Sourced<T> {
    /// Puts a value and its place together.
    pub const fn new(value: T, span: Span) -> Sourced<T> {
        Sourced { value, span }
    }
}

/// A JSON value with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: NodeValue,
    /// Its place; of a string with its quotes, of a container with its brackets.
    pub span: Span,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeValue {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(Box<str>),
    /// A string, decoded.
    String(Box<str>),
    /// An array.
    Array(Vec<Node>),
    /// An object: its members in the order of the text, with no name twice (the last value stays, in the place of the
    /// first).
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The name, decoded; its span includes the quotes.
    pub key: Sourced<Box<str>>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object, in order.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.value {
            NodeValue::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            NodeValue::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            NodeValue::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The text of a number, if it is one.
    pub fn as_number(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members()?.iter().find(|member| *member.key.value == *key).map(|member| &member.value)
    }
}
