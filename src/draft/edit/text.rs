//! Changes of the text.

use serde_json::Value as Json;

use super::data::{catcher, inserted, retrier, wrap};
use super::{Edit, Splice, Step};
use crate::draft::Draft;
use crate::json::source::{Member, Node};
use crate::json::yaml;

/// The text, and how it is written.
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
            for member in members(states) {
                if *member.key.value == **state {
                    writer.rename(member, to);
                }
                targets(&member.value, |_, target| writer.retarget(target, state, to));
            }
        }
        Edit::Insert { from, to, catch, kind, name, value } => {
            let language = root.get("QueryLanguage").and_then(Node::as_str).unwrap_or("JSONPath");
            let new = inserted(value.as_ref(), kind, name, to.as_deref(), language)?;
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
            for other in members(states).iter().filter(|other| *other.key.value != **state) {
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
        Edit::Set { state, path, value, remove } => {
            let state = &member(states, state).ok_or(NOT_FOUND)?.value;
            writer.set(state, path, Some(value).filter(|_| !remove))?;
        }
        Edit::Lead { state, to } => {
            let state = &member(states, state).ok_or(NOT_FOUND)?.value;
            writer.instead(member(state, "End").ok_or(NOT_FOUND)?, "Next", &Json::from(to.as_str()));
        }
        Edit::Raise { state, field, item } => {
            let list = member(states, state).and_then(|it| it.value.get(field)).and_then(Node::items);
            let pair = item.checked_sub(1).and_then(|first| list?.get(first..=*item)).ok_or(NOT_FOUND)?;
            writer.swap(&pair[0], &pair[1]);
        }
        Edit::Wrap { state, kind, name } => {
            let wrapped = member(states, state).ok_or(NOT_FOUND)?;
            if let Some(start) = workflow.get("StartAt") {
                writer.retarget(start, state, name);
            }
            for other in members(states).iter().filter(|it| *it.key.value != **state) {
                targets(&other.value, |_, target| writer.retarget(target, state, name));
            }
            writer.wrap(states, wrapped, (kind, name))?;
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

fn members(node: &Node) -> &[Member] {
    node.members().unwrap_or_default()
}

fn items(node: &Node) -> &[Node] {
    node.items().unwrap_or_default()
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

/// JSON on one line, as people write it; it is valid YAML as well.
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

    /// A name in the text's style: unquoted in YAML if that is safe.
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

    /// Replaces a member.
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

    /// The whitespace before a position, if nothing else is before it on its line.
    fn indent(&self, at: usize) -> Option<&str> {
        let before = &self.text[self.line_start(at)..at];
        before.chars().all(|c| c == ' ' || c == '\t').then_some(before)
    }

    /// Where a value of a block ends: behind its last line with content.
    fn block_end(&self, key_end: usize, value: &Node) -> usize {
        let last = last_leaf(value).max(key_end);
        let last = self.text[..last].trim_end().len().max(key_end);
        self.line_end(last)
    }

    /// Inserts a member after another one.
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
        let members = members(container);
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

    /// Appends an item to a list of a state, which may not exist yet.
    fn append(&mut self, state: &Member, field: &str, item: &Json) {
        let (members, item) = (members(&state.value), spaced(item));
        let Some(list) = state.value.get(field) else {
            if let Some(last) = members.last() {
                let entry = format!("{}: [{item}]", self.key(field));
                self.after(&state.value, last, &entry);
            }
            return;
        };
        self.add_item(list, &item);
    }

    /// Appends an item to a list.
    fn add_item(&mut self, list: &Node, item: &str) {
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

impl Writer<'_> {
    /// The text of a value.
    fn value(&self, value: &Json) -> String {
        match value.as_str() {
            Some(text) => self.key(text),
            None => spaced(value),
        }
    }

    /// Writes or removes the value at a path.
    fn set(&mut self, state: &Node, path: &[Step], value: Option<&Json>) -> Result<(), String> {
        let (last, before) = path.split_last().ok_or(NOT_FOUND)?;
        let container = at(state, before).ok_or(NOT_FOUND)?;
        let there = match last {
            Step::Member(name) => container.get(name),
            Step::Item(n) => container.items().and_then(|items| items.get(*n)),
        };
        match (there, last, value) {
            (Some(node), _, Some(value)) => self.put(container, node, value),
            (Some(_), Step::Member(name), None) => {
                self.remove(container, member(container, name).ok_or(NOT_FOUND)?);
            }
            (Some(node), Step::Item(n), None) => self.remove_item(container, *n, node),
            (None, Step::Member(name), Some(value)) => {
                let after = container.members().and_then(<[Member]>::last).ok_or(NOT_FOUND)?;
                let entry = format!("{}: {}", self.key(name), self.value(value));
                self.after(container, after, &entry);
            }
            (None, Step::Item(_), Some(value)) => self.add_item(container, &spaced(value)),
            (None, _, None) => return Err(NOT_FOUND.to_owned()),
        }
        Ok(())
    }

    /// Replaces a value.
    fn put(&mut self, container: &Node, node: &Node, value: &Json) {
        let start = node.span.start as usize;
        let is_block = self.is_block(container) && (node.members().is_some() || node.items().is_some());
        if is_block && self.is_block(node) {
            // It is on the following lines: from its first to its last.
            let end = self.block_end(start, node);
            return self.splice(start, end, spaced(value));
        }
        let insert = match value.as_str() {
            Some(text) => self.written(node.span.start, node.span.end, text),
            None => spaced(value),
        };
        self.splice(start, node.span.end as usize, insert);
    }

    fn remove_item(&mut self, list: &Node, n: usize, item: &Node) {
        let all = items(list);
        let (start, end) = (item.span.start as usize, item.span.end as usize);
        if self.is_block(list) {
            let end = self.block_end(start, item);
            return self.splice(self.line_start(start), (end + 1).min(self.text.len()), "");
        }
        match (n.checked_sub(1).and_then(|before| all.get(before)), all.get(n + 1)) {
            (Some(before), _) => self.splice(before.span.end as usize, end, ""),
            (None, Some(next)) => self.splice(start, next.span.start as usize, ""),
            (None, None) => self.splice(start, end, ""),
        }
    }

    /// Swaps two pieces of text.
    fn swap(&mut self, first: &Node, second: &Node) {
        let range = |node: &Node| (node.span.start as usize, last_leaf(node).max(node.span.end as usize));
        let (one, two) = (range(first), range(second));
        let of =
            |(from, to): (usize, usize)| self.text.get(from..to).unwrap_or_default().trim_end().to_owned();
        let (upper, lower) = (of(one), of(two));
        self.splice(one.0, one.0 + upper.len(), lower.clone());
        self.splice(two.0, two.0 + lower.len(), upper);
    }

    /// Wraps a state in another one. Its own text is kept where possible.
    fn wrap(&mut self, states: &Node, wrapped: &Member, (kind, name): (&str, &str)) -> Result<(), String> {
        let state = &wrapped.value;
        let json: Json = serde_json::from_str(&yaml::to_json(state)).map_err(|error| error.to_string())?;
        let outer = wrap(&json, &wrapped.key.value, kind)?;
        let (key, value) = (wrapped.key.span, state.span);
        if self.is_block(states) {
            let end = self.block_end(key.end as usize, state);
            if self.text[key.start as usize..end].contains('#') {
                return Err(
                    "There are comments in the state, which would be lost: change it by hand".to_owned()
                );
            }
            let entry = format!("{}: {}", self.key(name), spaced(&outer));
            self.splice(key.start as usize, end, entry);
            return Ok(());
        }
        let inner_name = Json::from(&*wrapped.key.value);
        let ways: String = ["Next", "End"]
            .iter()
            .filter_map(|field| Some(format!(", \"{field}\": {}", outer.get(field)?)))
            .collect();
        let (open, close) = match kind {
            "Map" => ("\"ItemProcessor\": {", "}"),
            _ => ("\"Branches\": [{", "}]"),
        };
        let before = format!(
            "{}: {{ \"Type\": \"{kind}\", {open} \"StartAt\": {inner_name}, \"States\": {{ ",
            Json::from(name)
        );
        self.splice(key.start as usize, key.start as usize, before);
        if let Some(link) = member(state, "Next") {
            self.instead(link, "End", &Json::Bool(true));
        }
        self.splice(value.end as usize, value.end as usize, format!(" }} {close}{ways} }}"));
        Ok(())
    }
}

/// The end of the last leaf of a tree. The depth is bounded by the reader.
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
