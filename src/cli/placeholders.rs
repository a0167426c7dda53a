//! Placeholders that a deployment tool replaces, such as `${Table}` and `<ACCOUNT_ID>`, and that are still in a definition.
//! AWS accepts them except where an ARN is required, so `validate` names them.

use std::collections::BTreeMap;

use expressway::json::source::{self, Node, NodeValue};
use expressway::limits;

/// A placeholder that was not replaced.
pub(super) struct Placeholder {
    /// The first byte of the string that contains it.
    pub(super) byte: usize,
    /// The place, as AWS writes it.
    pub(super) names: String,
    /// What is wrong, and what to try.
    pub(super) what: String,
}

/// A placeholder's first place, and how many more there are.
struct Found {
    byte: usize,
    names: String,
    is_resource: bool,
    more: usize,
}

/// The placeholders of a definition; without `with_dollars`, only those in angle brackets.
pub(super) fn find(root: &Node, with_dollars: bool) -> Vec<Placeholder> {
    let mut found = BTreeMap::new();
    look(root, "", Where::default(), &mut |placeholder, node, names, is_resource| {
        if !with_dollars && placeholder.starts_with('$') {
            return;
        }
        let first = Found { byte: node.span.start as usize, names: names.to_owned(), is_resource, more: 0 };
        found.entry(placeholder.to_owned()).and_modify(|it: &mut Found| it.more += 1).or_insert(first);
    });
    let mut found: Vec<Placeholder> = found.iter().map(|(text, found)| found.told(text)).collect();
    found.sort_by_key(|it| it.byte);
    found
}

/// The placeholder at which a text ceases to be JSON: without quotes, it stands for a number or an object.
pub(super) fn instead_of_json(text: &[u8]) -> Option<Placeholder> {
    let byte = source::read(text, limits::DEFINITION_BYTES_MAX).err()?.offset;
    let rest = std::str::from_utf8(text.get(byte..)?).ok()?;
    let placeholder = dollars(rest).next().filter(|found| rest.starts_with(found))?;
    let advice = advice(placeholder);
    let what = format!("the placeholder `{placeholder}` was not replaced: this is not JSON; {advice}");
    Some(Placeholder { byte, names: String::new(), what })
}

impl Found {
    fn told(&self, placeholder: &str) -> Placeholder {
        let also = match self.more {
            0 => String::new(),
            1 => " (as in 1 more place)".to_owned(),
            more => format!(" (as in {more} more places)"),
        };
        let taken =
            if self.is_resource { "AWS refuses it as a resource" } else { "AWS takes it as it stands" };
        let advice = advice(placeholder);
        let what = format!("the placeholder `{placeholder}` was not replaced{also}: {taken}; {advice}");
        Placeholder { byte: self.byte, names: self.names.clone(), what }
    }
}

fn advice(placeholder: &str) -> String {
    match placeholder.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => format!("say --substitute {name}=VALUE"),
        None => "write what it stands for".to_owned(),
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Default)]
struct Where {
    /// In what a service is given, or as a resource: there, `<NAME>` is a placeholder.
    is_given: bool,
    is_resource: bool,
}

type Tell<'t> = dyn FnMut(&str, &Node, &str, bool) + 't;

/// Recurs as deep as the tree, which is bounded where it is read.
fn look(node: &Node, names: &str, at: Where, tell: &mut Tell<'_>) {
    match &node.value {
        NodeValue::String(written) => {
            for placeholder in dollars(written) {
                tell(placeholder, node, names, at.is_resource);
            }
            if let Some(placeholder) = angles(written).filter(|_| at.is_given) {
                tell(placeholder, node, names, at.is_resource);
            }
        }
        NodeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                look(item, &format!("{names}[{index}]"), at, tell);
            }
        }
        NodeValue::Object(members) => {
            for member in members.iter().filter(|member| &*member.key.value != "Comment") {
                let key = &*member.key.value;
                let names = format!("{names}/{key}");
                for placeholder in dollars(key) {
                    tell(placeholder, &member.value, &names, false);
                }
                let is_given =
                    at.is_given || matches!(key, "Parameters" | "Arguments" | "Credentials" | "Resource");
                let is_resource = key == "Resource" && !at.is_given;
                look(&member.value, &names, Where { is_given, is_resource }, tell);
            }
        }
        _ => {}
    }
}

/// `${NAME}`: in an expression, where a `$` may stand before an object, only what cannot be one.
fn dollars(text: &str) -> impl Iterator<Item = &str> {
    let is_expression = text.starts_with("{%");
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find("${")?;
        let length = rest[at..].find('}')? + 1;
        let found = &rest[at..at + length];
        rest = &rest[at + length..];
        Some(found)
    })
    .filter(move |found| {
        let name = &found[2..found.len() - 1];
        let is_name =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
        // `${!NAME}` stands for the text `${NAME}`.
        !name.is_empty() && !name.starts_with('!') && (!is_expression || name.split("::").all(is_name))
    })
}

/// `<NAME>`, alone or in an ARN or an address.
fn angles(text: &str) -> Option<&str> {
    let start = text.find('<')?;
    let length = text[start..].find('>')? + 1;
    let found = &text[start..start + length];
    let name = &found[1..found.len() - 1];
    let is_name = name.starts_with(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphanumeric() || " _.-:".contains(c));
    let is_place = found.len() == text.len() || text.starts_with("arn:") || text.starts_with("https://");
    (is_name && is_place).then_some(found)
}
