//! Changes of a draft as patches of its text: what a patch does not name stays byte for byte, with comments, order and
//! spacing. Each change is made twice, on the text and on the data it stands for; when the patched text does not read
//! as the changed data, nothing is changed and an error is returned.

pub(super) mod data;
mod text;

use serde::Deserialize;
use serde_json::Value as Json;

use super::Draft;
use super::places::Places;
use crate::json::source::{self, Node};
use crate::json::yaml;
use crate::limits;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase")]
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
        #[serde(default)]
        catch: bool,
        /// The new state's `Type`.
        kind: String,
        /// The new state's name.
        name: String,
        /// The new state's content without its target, in place of its type's default.
        #[serde(default)]
        value: Option<Json>,
    },
    /// Writes, or removes, a field of a state, or a part of one.
    Set {
        /// The state.
        state: String,
        /// Where: names of members and numbers of items.
        path: Vec<Step>,
        /// The new value.
        #[serde(default)]
        value: Json,
        /// Whether to remove it.
        #[serde(default)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// Of an object.
    Member(String),
    /// Of an array, from 0.
    Item(usize),
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
    splices.sort();
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
