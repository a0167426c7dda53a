//! A graph of an incomplete definition: all its states, and their transitions as far as they are written. Nothing is
//! checked.

use std::collections::HashMap;

use super::model::{Edge, Graph, Node, RULE_CHARS_MAX, Way, Workflow};
use super::{incomplete, words};
use crate::asl::model::{Comparison, Operand, Operator, Setting, Test};
use crate::json::source::{self, Node as Source, NodeValue, Sourced, Span};
#[cfg(feature = "yaml")]
use crate::json::yaml;
use crate::limits;

/// The type of a state without one, and of a target that does not exist.
const UNKNOWN: &str = "?";
const MISSING: &str = "missing";
/// Texts below names are truncated.
const WORDS_CHARS_MAX: usize = 40;
/// The most states that are drawn of an incomplete definition.
const NODES_MAX: usize = 10_000;
/// Lines at the end of a YAML text that may be invalid before no picture is drawn of it.
#[cfg(feature = "yaml")]
const LINES_TAKEN_AWAY_MAX: usize = 20;

impl Graph {
    /// The graph of a definition that may be invalid or incomplete. Targets that do not exist are drawn, with the type
    /// `missing`; of a text with mistakes, what can be read. `None` without any state.
    ///
    /// ```
    /// use expressway::picture::Graph;
    /// let half = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "C": {"Type"#;
    /// let graph = Graph::sketch(half.as_bytes()).expect("there are states");
    /// let drawn: Vec<_> = graph.workflow.nodes.iter().map(|node| (node.name.as_str(), node.kind)).collect();
    /// assert_eq!(drawn, [("A", "Pass"), ("C", "?"), ("B", "missing")]);
    /// ```
    pub fn sketch(text: &[u8]) -> Option<Graph> {
        if let Ok(source) = source::read(text, limits::DEFINITION_BYTES_MAX) {
            return Graph::sketch_of(&source.root);
        }
        let text = &text[..text.len().min(limits::DEFINITION_BYTES_MAX)];
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).ok()?,
        };
        Graph::sketch_of(&incomplete::read(text)?)
    }

    /// As [`sketch`](Graph::sketch), for a text in YAML.
    ///
    /// An incomplete YAML text is usually valid without its last lines: lines are removed until it can be read. Of the
    /// last one, flow brackets may only have to be closed.
    #[cfg(feature = "yaml")]
    pub fn sketch_yaml(text: &str) -> Option<Graph> {
        let mut text = text;
        for _ in 0..LINES_TAKEN_AWAY_MAX {
            let closed = format!("{}{}", text.trim_end(), closing(text));
            if let Ok(source) = yaml::read(text).or_else(|_| yaml::read(&closed)) {
                return Graph::sketch_of(&source.root);
            }
            text = &text[..text.trim_end().rfind('\n')?];
        }
        None
    }

    /// As [`sketch`](Graph::sketch), for a parsed tree.
    pub fn sketch_of(root: &Source) -> Option<Graph> {
        let workflow = workflow(root, &mut 0, limits::WORKFLOW_DEPTH_MAX)?;
        (!workflow.nodes.is_empty()).then_some(Graph { workflow })
    }
}

/// What closes the flow brackets that the last line of a YAML text leaves open.
#[cfg(feature = "yaml")]
fn closing(text: &str) -> String {
    let text = text.trim_end();
    let line = text.rsplit_once('\n').map_or(text, |(_, line)| line);
    let mut open = Vec::new();
    for c in line.chars() {
        match c {
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' if open.last() == Some(&c) => {
                open.pop();
            }
            _ => {}
        }
    }
    open.into_iter().rev().collect()
}

/// `depth` bounds the recursion; what is nested deeper is left out.
fn workflow(source: &Source, ids: &mut usize, depth: usize) -> Option<Workflow> {
    let depth = depth.checked_sub(1)?;
    let states = source.get("States")?.members()?;
    let mut sketch = Sketch { places: HashMap::new(), nodes: Vec::new(), edges: Vec::new(), first: 0 };
    for (place, member) in states.iter().enumerate() {
        sketch.places.insert(member.key.value.to_string(), place);
    }
    for member in states.iter().take(NODES_MAX.saturating_sub(*ids)) {
        let state = &member.value;
        let id = *ids;
        *ids += 1;
        let kind = state.get("Type").and_then(Source::as_str).map_or(UNKNOWN, known);
        let inner = match kind {
            "Parallel" => {
                let branches = state.get("Branches").and_then(Source::items).unwrap_or_default();
                branches.iter().filter_map(|branch| workflow(branch, ids, depth)).collect()
            }
            "Map" => (state.get("ItemProcessor").or_else(|| state.get("Iterator")))
                .and_then(|processor| workflow(processor, ids, depth))
                .into_iter()
                .collect(),
            _ => Vec::new(),
        };
        let (name, span) = (member.key.value.to_string(), member.key.span);
        sketch.nodes.push(Node { id, name, span, kind, detail: detail(state), inner });
    }
    // Only drawn states have transitions.
    let drawn = sketch.nodes.len();
    sketch.places.retain(|_, place| *place < drawn);
    for (from, member) in states.iter().enumerate().take(drawn) {
        sketch.edges_of(from, &member.value, ids);
    }
    let start = source.get("StartAt").and_then(Source::as_str);
    let start = start.and_then(|start| sketch.places.get(start)).copied().unwrap_or(0);
    let Sketch { nodes, edges, .. } = sketch;
    Some(Workflow { start, nodes, edges })
}

struct Sketch {
    places: HashMap<String, usize>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// The first edge of the present state.
    first: usize,
}

impl Sketch {
    fn edges_of(&mut self, from: usize, state: &Source, ids: &mut usize) {
        self.first = self.edges.len();
        if let Some(next) = state.get("Next") {
            self.lead(from, next, Way::Next, None, ids);
        }
        if state.get("End").and_then(Source::as_bool) == Some(true) {
            self.edges.push(Edge { from, to: None, way: Way::Next, labels: Vec::new() });
        }
        let list = |field: &str| state.get(field).and_then(Source::items).unwrap_or_default();
        for rule in list("Choices") {
            if let Some(next) = rule.get("Next") {
                let test = test(rule, limits::JSON_DEPTH_MAX.into());
                let words = test.map(|test| words::rule(&test, RULE_CHARS_MAX));
                self.lead(from, next, Way::Next, words, ids);
            }
        }
        if let Some(default) = state.get("Default") {
            self.lead(from, default, Way::Next, Some("otherwise".to_owned()), ids);
        }
        for catcher in list("Catch") {
            let errors = catcher.get("ErrorEquals").and_then(Source::items).unwrap_or_default();
            let errors: Vec<&str> = errors.iter().filter_map(Source::as_str).collect();
            if let Some(next) = catcher.get("Next") {
                let label = words::shorten(&errors.join(", "), RULE_CHARS_MAX);
                self.lead(from, next, Way::Catch, Some(label), ids);
            }
        }
    }

    fn lead(&mut self, from: usize, to: &Source, way: Way, label: Option<String>, ids: &mut usize) {
        let Some(name) = to.as_str() else {
            // A value that is not a name has no target.
            return;
        };
        let to = match self.places.get(name) {
            Some(&to) => to,
            None if *ids >= NODES_MAX => return,
            None => {
                let (id, span) = (*ids, Span { start: to.span.start, end: to.span.end });
                *ids += 1;
                let (name, detail) = (name.to_owned(), String::new());
                self.places.insert(name.clone(), self.nodes.len());
                self.nodes.push(Node { id, name, span, kind: MISSING, detail, inner: Vec::new() });
                self.nodes.len() - 1
            }
        };
        let same = |edge: &&mut Edge| (edge.to, edge.way) == (Some(to), way);
        match self.edges[self.first..].iter_mut().find(same) {
            Some(edge) => edge.labels.extend(label),
            None => self.edges.push(Edge { from, to: Some(to), way, labels: label.into_iter().collect() }),
        }
    }
}

/// The test of a Choice rule, as far as it is written: a comparison without an operator is the name of its variable.
fn test(rule: &Source, depth: usize) -> Option<Test> {
    let depth = depth.checked_sub(1)?;
    let text = |text: &str, span| Test::Condition(Setting::Expression(Sourced::new(text.to_owned(), span)));
    for member in rule.members()? {
        let value = &member.value;
        let operator = match &*member.key.value {
            "Condition" => return Some(text(value.as_str()?, value.span)),
            "Not" => return test(value, depth).map(|test| Test::Not(Box::new(test))),
            name @ ("And" | "Or") => {
                let tests = value.items()?.iter().filter_map(|rule| test(rule, depth)).collect();
                return Some(if name == "And" { Test::And(tests) } else { Test::Or(tests) });
            }
            name => Operator::named(name),
        };
        let (Some(operator), Some(variable)) = (operator, rule.get("Variable")) else { continue };
        let operand = match &value.value {
            NodeValue::String(text) if operator.has_path_operand() => Operand::Path(text.to_string()),
            NodeValue::String(text) => Operand::String(text.to_string()),
            NodeValue::Number(text) => Operand::Number(text.to_string()),
            NodeValue::Bool(value) => Operand::Bool(*value),
            _ => continue,
        };
        let variable = Sourced::new(variable.as_str()?.to_owned(), variable.span);
        let operand = Sourced::new(operand, value.span);
        return Some(Test::Comparison(Comparison { variable, operator, operand }));
    }
    let variable = rule.get("Variable")?;
    variable.as_str().map(|name| text(name, variable.span))
}

/// The type of a state, if it is a known one.
fn known(kind: &str) -> &'static str {
    const KINDS: [&str; 8] = ["Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"];
    KINDS.into_iter().find(|known| *known == kind).unwrap_or(UNKNOWN)
}

fn detail(state: &Source) -> String {
    let resource = state.get("Resource").and_then(Source::as_str).unwrap_or_default();
    words::shorten(resource.rsplit(":::").next().unwrap_or(resource), WORDS_CHARS_MAX)
}
