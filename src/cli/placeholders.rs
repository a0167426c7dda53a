//! Placeholders that a deployment tool replaces, such as `${Table}` and `<ACCOUNT_ID>`, and that are still in a definition.
//! AWS accepts them except where an ARN is required, so `validate` names them.

use std::collections::BTreeMap;

use expressway::asl::placeholders::{dollars, each};
use expressway::json::source::{self, Node};
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
    each(root, &mut |placeholder, node, names, is_resource| {
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
