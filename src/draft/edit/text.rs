//! Changes of the text.

use serde_json::Value as Json;

use super::data::{catcher, new_state, retrier};
use super::{Edit, Splice, Step};
use crate::draft::Draft;
use crate::json::source::{Member, Node};

/// Where things are written, and how.
struct Writer<'t> {
    text: &'t str,
    yaml: bool,
    splices: Vec<Splice>,
}

/// The splices that make a change in the workflow whose states are at `path`.
pub(super) fn splices(
    draft: Draft<'_>,
    root: &Node,
    path: &[Step],
    edit: &Edit,
) -> Result<Vec<Splice>, String> {
    let workflow = at(root, &path[..path.len() - 1]).ok_or(NOT_FOUND)?;
    let states = workflow.get("States").ok_or(NOT_FOUND)?;
    let mut writer = Writer { text: draft.text, yaml: draft.yaml, splices: Vec::new() };
    match edit {
        Edit::Rename { state, to } => {
            if let Some(start) = workflow.get("StartAt") {
                writer.retarget(start, state, to);
            }
            for member in states.members().unwrap_or_default() {
                if *member.key.value == **state {
                    writer.rename(member, to);
                }
                targets(&member.value, |_, target| writer.retarget(target, state, to));
            }
        }
        Edit::Insert { from, to, catch, kind, name } => {
            let language = root.get("QueryLanguage").and_then(Node::as_str).unwrap_or("JSONPath");
            let new = new_state(kind, name, to.as_deref(), language)?;
            let member = member(states, from).ok_or(NOT_FOUND)?;
            match to {
                Some(to) => targets(&member.value, |field, target| {
                    if (field == "Catch") == *catch {
                        writer.retarget(target, to, name);
                    }
                }),
                None => {
                    let end = self::member(&member.value, "End").ok_or(NOT_FOUND)?;
                    writer.instead(end, "Next", &Json::from(name.as_str()));
                }
            }
            writer.after(states, member, &format!("{}: {}", writer.key(name), spaced(&new)));
        }
        Edit::Delete { state } => {
            let removed = member(states, state).ok_or(NOT_FOUND)?;
            let next = ["Next", "Default"].iter().find_map(|field| removed.value.get(field)?.as_str());
            if let (Some(start), Some(next)) = (workflow.get("StartAt"), next) {
                writer.retarget(start, state, next);
            }
            for other in
                states.members().unwrap_or_default().iter().filter(|other| *other.key.value != **state)
            {
                match next {
                    Some(next) => targets(&other.value, |_, target| writer.retarget(target, state, next)),
                    None => {
                        if let Some(link) = member(&other.value, "Next")
                            && link.value.as_str() == Some(state)
                        {
                            writer.instead(link, "End", &Json::Bool(true));
                        }
                    }
                }
            }
            writer.remove(states, removed);
        }
        Edit::Catch { state, to } => {
            writer.append(member(states, state).ok_or(NOT_FOUND)?, "Catch", &catcher(to));
        }
        Edit::Retry { state } => {
            writer.append(member(states, state).ok_or(NOT_FOUND)?, "Retry", &retrier());
        }
    }
    Ok(writer.splices)
}

const NOT_FOUND: &str = "There is no such state";

fn at<'n>(mut node: &'n Node, path: &[Step]) -> Option<&'n Node> {
    for step in path {
        node = match step {
            Step::Member(name) => node.get(name)?,
            Step::Item(n) => node.items()?.get(*n)?,
        };
    }
    Some(node)
}

fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Member> {
    node.members()?.iter().find(|member| *member.key.value == *name)
}

fn targets<'n>(state: &'n Node, mut seen: impl FnMut(&str, &'n Node)) {
    for field in ["Next", "Default"] {
        if let Some(target) = state.get(field) {
            seen(field, target);
        }
    }
    for field in ["Choices", "Catch"] {
        for item in state.get(field).and_then(Node::items).unwrap_or_default() {
            if let Some(target) = item.get("Next") {
                seen(field, target);
            }
        }
    }
}

/// JSON on one line, as people write it; it is YAML as well.
fn spaced(json: &Json) -> String {
    match json {
        Json::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", Json::from(name.as_str()), spaced(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

impl Writer<'_> {
    fn splice(&mut self, from: usize, to: usize, insert: impl Into<String>) {
        self.splices.push(Splice { from, to, insert: insert.into() });
    }

    /// A name as the text writes names: plain in YAML where that is safe.
    fn key(&self, name: &str) -> String {
        let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_alphabetic())
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
                .contains(&&*name.to_lowercase());
        if self.yaml && is_plain { name.to_owned() } else { Json::from(name).to_string() }
    }

    fn written(&self, start: u32, end: u32, name: &str) -> String {
        let is_quoted =
            self.text.get(start as usize..end as usize).is_some_and(|it| it.starts_with(['"', '\'']));
        if is_quoted { Json::from(name).to_string() } else { self.key(name) }
    }

    fn retarget(&mut self, target: &Node, from: &str, to: &str) {
        if target.as_str() == Some(from) {
            let insert = self.written(target.span.start, target.span.end, to);
            self.splice(target.span.start as usize, target.span.end as usize, insert);
        }
    }

    fn rename(&mut self, member: &Member, to: &str) {
        let span = member.key.span;
        let insert = self.written(span.start, span.end, to);
        self.splice(span.start as usize, span.end as usize, insert);
    }

    /// Another member in the place of this one.
    fn instead(&mut self, member: &Member, name: &str, value: &Json) {
        let (key, old) = (member.key.span, member.value.span);
        let new = self.written(key.start, key.end, name);
        self.splice(key.start as usize, key.end as usize, new);
        let value = match value.as_str() {
            Some(text) => self.key(text),
            None => value.to_string(),
        };
        self.splice(old.start as usize, old.end as usize, value);
    }

    fn is_block(&self, container: &Node) -> bool {
        self.yaml && !self.text[container.span.start as usize..].starts_with(['{', '['])
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |next| at + next)
    }

    /// The blanks before a place, if nothing else stands before it on its line.
    fn indent(&self, at: usize) -> Option<&str> {
        let before = &self.text[self.line_start(at)..at];
        before.chars().all(|c| c == ' ' || c == '\t').then_some(before)
    }

    /// Where a value of a block ends: behind its last line that says something.
    fn block_end(&self, key_end: usize, value: &Node) -> usize {
        let last = last_leaf(value).max(key_end);
        let last = self.text[..last].trim_end().len().max(key_end);
        self.line_end(last)
    }

    /// A new member behind another one.
    fn after(&mut self, container: &Node, member: &Member, entry: &str) {
        let (start, end) = (member.key.span.start as usize, member.value.span.end as usize);
        if self.is_block(container) {
            let indent = " ".repeat(start - self.line_start(start));
            let end = self.block_end(member.key.span.end as usize, &member.value);
            self.splice(end, end, format!("\n{indent}{entry}"));
            return;
        }
        let gap = self.indent(start).map_or(" ".to_owned(), |indent| format!("\n{indent}"));
        self.splice(end, end, format!(",{gap}{entry}"));
    }

    fn remove(&mut self, container: &Node, member: &Member) {
        if self.is_block(container) {
            let start = self.line_start(member.key.span.start as usize);
            let end = self.block_end(member.key.span.end as usize, &member.value);
            self.splice(start, (end + 1).min(self.text.len()), "");
            return;
        }
        let members = container.members().unwrap_or_default();
        let n = members.iter().position(|it| it.key == member.key).unwrap_or_default();
        let end = member.value.span.end as usize;
        match (n.checked_sub(1).and_then(|n| members.get(n)), members.get(n + 1)) {
            (Some(before), _) => self.splice(before.value.span.end as usize, end, ""),
            (None, Some(next)) => {
                self.splice(member.key.span.start as usize, next.key.span.start as usize, "")
            }
            (None, None) => self.splice(member.key.span.start as usize, end, ""),
        }
    }

    /// One more item in a list of a state, which may not be there yet.
    fn append(&mut self, state: &Member, field: &str, item: &Json) {
        let (members, item) = (state.value.members().unwrap_or_default(), spaced(item));
        let Some(list) = state.value.get(field) else {
            if let Some(last) = members.last() {
                let entry = format!("{}: [{item}]", self.key(field));
                self.after(&state.value, last, &entry);
            }
            return;
        };
        let Some(last) = list.items().and_then(<[Node]>::last) else {
            let insert = format!("[{item}]");
            return self.splice(list.span.start as usize, list.span.end as usize, insert);
        };
        let (start, end) = (last.span.start as usize, last.span.end as usize);
        if self.is_block(list) {
            let line = self.line_start(start);
            let dash = self.text[line..start].find('-').unwrap_or_default();
            let end = self.block_end(start, last);
            let indent = " ".repeat(dash);
            return self.splice(end, end, format!("\n{indent}- {item}"));
        }
        let gap = self.indent(start).map_or(" ".to_owned(), |indent| format!("\n{indent}"));
        self.splice(end, end, format!(",{gap}{item}"));
    }
}

/// Where the last thing in a tree ends. As deep as the tree, which its reader bounds.
fn last_leaf(node: &Node) -> usize {
    let inner = match (node.members(), node.items()) {
        (Some(members), _) => {
            members.iter().map(|it| last_leaf(&it.value).max(it.key.span.end as usize)).max()
        }
        (_, Some(items)) => items.iter().map(last_leaf).max(),
        _ => None,
    };
    inner.unwrap_or(node.span.end as usize)
}
