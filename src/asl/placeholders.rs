//! Placeholders that a deployment tool replaces, such as `${Table}` and `<ACCOUNT_ID>`, and that are still in a definition.
//! AWS accepts them except where an ARN is required.

use crate::json::source::{Node, NodeValue};

/// Where a text stands.
#[derive(Clone, Copy, Default)]
struct Where {
    /// In what a service is given, or as a resource: there, `<NAME>` is a placeholder.
    is_given: bool,
    is_resource: bool,
}

type Tell<'t> = dyn FnMut(&str, &Node, &str, bool) + 't;

/// Calls `tell` with each placeholder of a definition, the text that has it, the place as AWS writes it, and whether that
/// is a resource.
pub fn each(root: &Node, tell: &mut Tell<'_>) {
    look(root, "", Where::default(), tell);
}

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
pub fn dollars(text: &str) -> impl Iterator<Item = &str> {
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
