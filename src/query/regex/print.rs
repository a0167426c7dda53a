//! Writes an expression in the syntax of the `regex` crate.

use super::set::Set;
use super::tree::{Assert, Node, NodeId, Tree, UNBOUNDED};

/// The expression, whose nesting is bounded by the caller: this recurs.
pub(super) fn print(tree: &Tree) -> String {
    let mut out = String::new();
    node(tree, tree.root, &mut out);
    out
}

fn node(tree: &Tree, id: NodeId, out: &mut String) {
    match tree.nodes[id as usize] {
        Node::Empty => {}
        Node::Set(set) => class(&tree.sets[set as usize], out),
        Node::Char(c) => {
            // White space and `#` are literal: the `x` flag is never set. `\<` would be the beginning of a word.
            if r"\.+*?()|[]{}^$".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        Node::Assert(assert) => out.push_str(match assert {
            Assert::Start => r"\A",
            Assert::End => r"\z",
            Assert::Word => r"(?-u:\b)",
            Assert::NotWord => r"(?-u:\B)",
            Assert::LineStart | Assert::LineEnd => unreachable!("they need backtracking"),
        }),
        Node::Back(_) | Node::Look { .. } => unreachable!("they need backtracking"),
        Node::Group(_, body) => {
            out.push('(');
            node(tree, body, out);
            out.push(')');
        }
        Node::Repeat(repeat) => {
            let bare = tree.repeats_bare(repeat.body);
            out.push_str(if bare { "" } else { "(?:" });
            node(tree, repeat.body, out);
            out.push_str(if bare { "" } else { ")" });
            match (repeat.min, repeat.max) {
                (0, UNBOUNDED) => out.push('*'),
                (1, UNBOUNDED) => out.push('+'),
                (0, 1) => out.push('?'),
                (min, UNBOUNDED) => out.push_str(&format!("{{{min},}}")),
                (min, max) => out.push_str(&format!("{{{min},{max}}}")),
            }
            if !repeat.greedy {
                out.push('?');
            }
        }
        Node::Sequence(from, to) => {
            for &id in tree.list(from, to) {
                let either = tree.is_either(id);
                out.push_str(if either { "(?:" } else { "" });
                node(tree, id, out);
                out.push_str(if either { ")" } else { "" });
            }
        }
        Node::Either(from, to) => {
            for (n, &id) in tree.list(from, to).iter().enumerate() {
                out.push_str(if n > 0 { "|" } else { "" });
                node(tree, id, out);
            }
        }
    }
}

fn class(set: &Set, out: &mut String) {
    // Halves of characters are not in a text.
    let whole = |&(low, high): &(u32, u32)| [(low, high.min(0xD7FF)), (low.max(0xE000), high)];
    let mut ranges = set.ranges().iter().flat_map(whole).filter(|(low, high)| low <= high).peekable();
    if ranges.peek().is_none() {
        out.push_str(r"[^\s\S]");
        return;
    }
    out.push('[');
    for (low, high) in ranges {
        out.push_str(&format!(r"\x{{{low:x}}}-\x{{{high:x}}}"));
    }
    out.push(']');
}
