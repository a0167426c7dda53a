//! Templates in dumps.

use super::{Node, Template, What};
use crate::json::Arena;

impl Template {
    /// Prints the template on one line, for dumps.
    pub fn dump(&self) -> String {
        let mut arena = Arena::new();
        arena.append_text(&self.text);
        let mut out = String::new();
        self.dump_node(self.root, &arena, &mut out);
        out
    }

    fn dump_node(&self, node: Node, arena: &Arena, out: &mut String) {
        match node {
            Node::Leaf(value) => out.push_str(&crate::json::to_string(arena, value)),
            Node::Query(query) => match &self.queries[query as usize].what {
                What::Path(path) => out.push_str(path.source()),
                What::Call(call) => out.push_str(call.source()),
                What::Expr(expr) => out.push_str(&format!("{{% {} %}}", expr.source())),
            },
            Node::Array(span) | Node::Object { members: span, .. } => {
                let object = matches!(node, Node::Object { .. });
                out.push(if object { '{' } else { '[' });
                for (i, child) in span.of(&self.children).iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    if object {
                        out.push_str(&crate::json::to_string(arena, child.key));
                        out.push_str(": ");
                    }
                    self.dump_node(child.node, arena, out);
                }
                out.push(if object { '}' } else { ']' });
            }
        }
    }
}
