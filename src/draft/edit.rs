//! Changes of a draft as patches of its text: what a patch does not name stays byte for byte, with comments, order and
//! spacing. Each change is made twice, on the text and on the data it stands for; when the patched text does not read
//! as the changed data, nothing is changed and an error is returned.

pub(super) mod data;
mod text;

use serde_json::Value as Json;

use super::Draft;
use super::places::Places;
use crate::json::source::{self, Node};
use crate::json::yaml;
use crate::limits;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Renames a state, with all references to it.
    Rename {
        /// The state.
        state: String,
        /// Its new name.
        to: String,
    },
    /// Puts a new state on an edge.
    Insert {
        /// Where the edge comes from.
        from: String,
        /// Its target; `None` for the end.
        to: Option<String>,
        /// Whether it is the edge of a Catch.
        catch: bool,
        /// The new state's `Type`.
        kind: String,
        /// The new state's name.
        name: String,
        /// The new state's content without its target, in place of its type's default.
        value: Option<Json>,
    },
    /// Writes, or removes, a field of a state, or a part of one.
    Set {
        /// The state.
        state: String,
        /// Where: names of members and numbers of items.
        path: Vec<Step>,
        /// The new value.
        value: Json,
        /// Whether to remove it.
        remove: bool,
    },
    /// Lets an ending state lead to another one.
    Lead {
        /// The state.
        state: String,
        /// The new target.
        to: String,
    },
    /// Swaps an item of a list, such as a rule, with the one before it.
    Raise {
        /// The state.
        state: String,
        /// Its list, such as `Choices`.
        field: String,
        /// The item, from 1.
        item: usize,
    },
    /// Puts a state into a Map or a Parallel, which takes its place.
    Wrap {
        /// The state.
        state: String,
        /// `Map` or `Parallel`.
        kind: String,
        /// The name of the new Map or Parallel.
        name: String,
    },
    /// Deletes a state; its predecessors lead to its target.
    Delete {
        /// The state.
        state: String,
    },
    /// Adds a catcher of all errors.
    Catch {
        /// The state.
        state: String,
        /// The target.
        to: String,
    },
    /// Adds a retrier of all errors.
    Retry {
        /// The state.
        state: String,
    },
}

/// A piece of text that replaces another, in UTF-16.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Patch {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// The replacement.
    pub insert: String,
}

/// A patch in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Splice {
    from: usize,
    to: usize,
    insert: String,
}

/// A step into a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Of an object.
    Member(String),
    /// Of an array, from 0.
    Item(usize),
}

impl Edit {
    /// Reads one: its name is in `op`, and its members are beside that. By hand, for what serde derives for an enum with a
    /// tag is many times as large.
    ///
    /// # Errors
    /// What is missing, or is not what it has to be.
    pub fn read(told: &Json) -> Result<Edit, String> {
        let wrong = |name: &str| format!("`{name}` is missing or invalid");
        let text = |name: &str| told[name].as_str().map(str::to_owned).ok_or_else(|| wrong(name));
        let flag = |name: &str| match &told[name] {
            Json::Null => Ok(false),
            it => it.as_bool().ok_or_else(|| wrong(name)),
        };
        let value = || told.get("value").filter(|it| !it.is_null()).cloned();
        let state = text("state");
        Ok(match told["op"].as_str().ok_or_else(|| wrong("op"))? {
            "rename" => Edit::Rename { state: state?, to: text("to")? },
            "insert" => {
                let to = if told["to"].is_null() { None } else { Some(text("to")?) };
                let (from, catch) = (text("from")?, flag("catch")?);
                Edit::Insert { from, to, catch, kind: text("kind")?, name: text("name")?, value: value() }
            }
            "set" => {
                let steps = told["path"].as_array().ok_or_else(|| wrong("path"))?;
                let path: Option<Vec<Step>> = steps.iter().map(Step::read).collect();
                let path = path.ok_or_else(|| wrong("path"))?;
                let value = value().unwrap_or(Json::Null);
                Edit::Set { state: state?, path, value, remove: flag("remove")? }
            }
            "lead" => Edit::Lead { state: state?, to: text("to")? },
            "raise" => {
                let item = told["item"].as_u64().and_then(|item| usize::try_from(item).ok());
                let item = item.ok_or_else(|| wrong("item"))?;
                Edit::Raise { state: state?, field: text("field")?, item }
            }
            "wrap" => Edit::Wrap { state: state?, kind: text("kind")?, name: text("name")? },
            "delete" => Edit::Delete { state: state? },
            "catch" => Edit::Catch { state: state?, to: text("to")? },
            "retry" => Edit::Retry { state: state? },
            other => return Err(format!("there is no edit `{other}`")),
        })
    }
}

impl Step {
    fn read(told: &Json) -> Option<Step> {
        match told {
            Json::String(name) => Some(Step::Member(name.clone())),
            it => it.as_u64().and_then(|item| usize::try_from(item).ok()).map(Step::Item),
        }
    }
}

/// The patches that make a change, in the order of the text.
///
/// # Errors
/// Why it cannot be made.
pub fn edit(draft: Draft<'_>, edit: &Edit) -> Result<Vec<Patch>, String> {
    let root = read(draft, draft.text)?;
    let mut wanted = json(&root)?;
    let path = data::states_with(&wanted, state_of(edit))
        .ok_or_else(|| format!("There is no state {:?}", state_of(edit)))?;
    data::apply(&mut wanted, &path, edit)?;
    let mut splices = text::splices(draft, &root, &path, edit)?;
    splices.sort_unstable();
    splices.dedup();
    let mut patched = String::with_capacity(draft.text.len() + 200);
    let mut at = 0;
    for splice in &splices {
        // Overlapping patches would not give the intended text.
        let between =
            draft.text.get(at..splice.from).ok_or("The text cannot be changed here: change it by hand")?;
        patched.push_str(between);
        patched.push_str(&splice.insert);
        at = splice.to;
    }
    patched.push_str(draft.text.get(at..).unwrap_or_default());
    let is_as_wanted = read(draft, &patched).and_then(|root| json(&root)).is_ok_and(|made| made == wanted);
    if !is_as_wanted {
        return Err(
            "The text is written in a way that this change cannot be made in: change it by hand".to_owned()
        );
    }
    let places = Places::of(draft.text);
    let patches = splices.into_iter().map(|it| Patch {
        from: places.of_byte(it.from),
        to: places.of_byte(it.to),
        insert: it.insert,
    });
    Ok(patches.collect())
}

/// A whole draft as data.
pub(super) fn whole(draft: Draft<'_>) -> Result<Json, String> {
    json(&read(draft, draft.text)?)
}

/// A whole draft as data, and the path to the states that include this one.
pub(super) fn tree(draft: Draft<'_>, state: &str) -> Result<(Json, Json), String> {
    let root = whole(draft)?;
    let path = data::states_with(&root, state).ok_or_else(|| format!("There is no state {state:?}"))?;
    let mut states = &root;
    for step in &path {
        states = match step {
            Step::Member(name) => &states[name.as_str()],
            Step::Item(n) => &states[*n],
        };
    }
    let states = states.clone();
    Ok((root, states))
}

fn state_of(edit: &Edit) -> &str {
    match edit {
        Edit::Insert { from, .. } => from,
        Edit::Rename { state, .. }
        | Edit::Set { state, .. }
        | Edit::Lead { state, .. }
        | Edit::Raise { state, .. }
        | Edit::Wrap { state, .. }
        | Edit::Delete { state }
        | Edit::Catch { state, .. }
        | Edit::Retry { state } => state,
    }
}

fn read(draft: Draft<'_>, text: &str) -> Result<Node, String> {
    let unreadable = "The text cannot be read: mend it first";
    if text.len() > limits::DEFINITION_BYTES_MAX {
        return Err("The text is larger than a definition may be".to_owned());
    }
    if draft.yaml {
        yaml::read(text).map(|source| source.root).map_err(|_| unreadable.to_owned())
    } else {
        source::read(text.as_bytes(), limits::DEFINITION_BYTES_MAX)
            .map(|source| source.root)
            .map_err(|_| unreadable.to_owned())
    }
}

fn json(root: &Node) -> Result<Json, String> {
    serde_json::from_str(&yaml::to_json(root)).map_err(|error| error.to_string())
}
