//! Where in the definition the reader is, in AWS's form, formatted only on demand; and back, from that form to the text.

use std::fmt;

use crate::json::source::{Node, NodeValue, Span};

/// A place in a definition: a path of fields and indices back to the root.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    /// The machine itself.
    pub(super) const ROOT: Place<'static> = Place { parent: None, step: Step::Root };

    /// A field of the object at this place.
    pub(super) fn field(&'a self, name: &'a str) -> Place<'a> {
        Place { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of the array at this place.
    pub(super) fn index(&'a self, index: usize) -> Place<'a> {
        Place { parent: Some(self), step: Step::Index(index) }
    }

    /// The last field's name.
    pub(super) fn name(&self) -> &'a str {
        match (self.step, self.parent) {
            (Step::Field(name), _) => name,
            (Step::Index(_), Some(parent)) => parent.name(),
            _ => "",
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        let mut place = Some(self);
        while let Some(at) = place {
            steps.push(at.step);
            place = at.parent;
        }
        if steps.len() == 1 {
            return f.write_str("/");
        }
        steps.iter().rev().try_for_each(|step| match step {
            Step::Root => Ok(()),
            Step::Field(name) => write!(f, "/{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

/// The place in the text of a location in AWS's form, such as `/States/Charge/Resource`. Of a location that is not in the
/// text, such as a field that has a default, the part that is there.
///
/// ```
/// use expressway::asl;
/// use expressway::json::source;
/// let text = r#"{"States": {"A/B": {"Type": "Task", "Resource": "arn"}}}"#;
/// let source = source::read(text.as_bytes(), 1_000).expect("JSON");
/// let span = asl::span_at(&source.root, "/States/A/B/Resource");
/// assert_eq!(&text[span.start as usize..span.end as usize], "\"arn\"");
/// ```
pub fn span_at(root: &Node, location: &str) -> Span {
    let whole = Span { start: root.span.start, end: root.span.start + 1 };
    deepest(root, whole, location).0
}

/// The place of the part of a location that is below `node`, and the bytes of the location that are not. `own` is the
/// place of `node`: of an object or an array the name in front of it, because its brackets may be lines apart.
fn deepest(node: &Node, own: Span, location: &str) -> (Span, usize) {
    let mut found = (own, location.len());
    match &node.value {
        NodeValue::Object(members) => {
            let Some(rest) = location.strip_prefix('/') else { return found };
            // Names of states may have slashes and brackets in them.
            let is_end = |rest: &str| rest.is_empty() || rest.starts_with(['/', '[']);
            for member in members {
                let Some(rest) = rest.strip_prefix(&*member.key.value).filter(|rest| is_end(rest)) else {
                    continue;
                };
                let is_plain = !matches!(member.value.value, NodeValue::Object(_) | NodeValue::Array(_));
                let own = if is_plain { member.value.span } else { member.key.span };
                let inside = deepest(&member.value, own, rest);
                if inside.1 < found.1 {
                    found = inside;
                }
            }
        }
        NodeValue::Array(items) => {
            let indexed = location.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let item =
                indexed.and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)));
            if let Some((item, rest)) = item {
                let own = Span { start: item.span.start, end: item.span.start + 1 };
                found = deepest(item, own, rest);
            }
        }
        _ => {}
    }
    found
}
