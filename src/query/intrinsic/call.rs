//! A call of an intrinsic function.

use std::fmt;

use super::program::{Function, Node};
use crate::json::{self, Arena};
use crate::query::path::Path;

/// A call of an intrinsic function, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) text: Box<str>,
    /// Arguments are contiguous, before their call; the outermost call is the last node.
    pub(super) nodes: Box<[Node]>,
}

impl Call {
    /// Its source text.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// The outermost function.
    pub fn function(&self) -> Option<Function> {
        match self.nodes.last() {
            Some(Node::Call { function, .. }) => Some(*function),
            _ => None,
        }
    }

    /// The paths among its arguments, at any depth, in the order of the table.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Path(path) => Some(&**path),
            _ => None,
        })
    }

    /// The first function, in the order of the table, that is called with a wrong number of arguments. AWS accepts such
    /// a call and fails when it is evaluated.
    pub fn wrong_arity(&self) -> Option<Function> {
        self.nodes.iter().find_map(|node| match node {
            Node::Call { function, from, to, .. } => {
                (!function.takes((to.0 - from.0) as usize)).then_some(*function)
            }
            _ => None,
        })
    }
}

/// The table, one node per line.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            match node {
                Node::Constant(value) => writeln!(f, "{i}: {}", json::to_string(&Arena::new(), *value))?,
                Node::Text(text) => writeln!(f, "{i}: text {text:?}")?,
                Node::Template(pieces) => writeln!(f, "{i}: template {pieces:?}")?,
                Node::Path(path) => writeln!(f, "{i}: path {path}")?,
                Node::Call { function, from, to, .. } => {
                    writeln!(f, "{i}: {} {}..{}", function.name(), from.0, to.0)?;
                }
            }
        }
        Ok(())
    }
}
