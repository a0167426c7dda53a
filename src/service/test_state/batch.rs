//! `ItemBatcher`: the inputs of a distributed Map's child executions (developer guide, "ItemBatcher").
//!
//! The engine evaluates the batcher's fields: they are made into a Pass state beside the one under test, which is
//! visited after it.

use serde_json::Value as Json;

use crate::asl::model::{ItemBatcher, Map, QueryLanguage, Setting, State};
use crate::json::source::{Member, Node, NodeValue, Sourced, Span};
use crate::runtime::Batcher;

/// The Pass state whose output is an object of the batcher's fields.
pub(super) fn state(tested: &State, map: &Map, bare: State) -> Option<State> {
    let ItemBatcher { batch_input, items_max, input_bytes_max } = map.item_batcher.as_ref()?;
    let mut members: Vec<Member> = Vec::new();
    if let Some(input) = batch_input {
        members.push(member("BatchInput", input.clone()));
    }
    for (name, setting) in [("MaxItems", items_max), ("MaxBytes", input_bytes_max)] {
        match setting {
            None => {}
            Some(Setting::Literal(number)) => {
                members.push(member(name, node(NodeValue::Number(number.value.to_string().into()))));
            }
            Some(Setting::Path(path)) => {
                members
                    .push(member(&format!("{name}.$"), node(NodeValue::String(path.value.as_str().into()))));
            }
            Some(Setting::Expression(text)) => {
                let text = format!("{{% {} %}}", text.value);
                members.push(member(name, node(NodeValue::String(text.into()))));
            }
        }
    }
    let fields = Some(node(NodeValue::Object(members)));
    let is_path = tested.query_language == QueryLanguage::JsonPath;
    let (parameters, output) = if is_path { (fields, None) } else { (None, fields) };
    let query_language = tested.query_language;
    Some(State { query_language, input_path: tested.input_path.clone(), parameters, output, ..bare })
}

fn member(name: &str, value: Node) -> Member {
    Member { key: Sourced::new(name.into(), Span::default()), value }
}

fn node(value: NodeValue) -> Node {
    Node { value, span: Span::default() }
}

/// An array of the batches, as JSON text. `fields` are the batcher's evaluated fields, `items` the inputs, each as JSON
/// text.
pub(super) fn batches(fields: &Json, items: &[String]) -> String {
    let bound = |name: &str| fields.get(name).and_then(Json::as_u64).unwrap_or(0);
    let input = fields.get("BatchInput").map(Json::to_string);
    let mut batcher = Batcher::new(input.as_deref().map(str::as_bytes), bound("MaxItems"), bound("MaxBytes"));
    let mut batches: Vec<String> = Vec::new();
    for item in items {
        batches.extend(batcher.add(item.as_bytes()).map(text));
    }
    batches.extend(batcher.finish().map(text));
    format!("[{}]", batches.join(","))
}

fn text(batch: Vec<u8>) -> String {
    String::from_utf8_lossy(&batch).into_owned()
}
