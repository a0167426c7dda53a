//! The elements of a picture: workflows of nodes and edges, nested in nodes. Independent of format and layout.

use std::collections::HashMap;

use crate::asl::model::{self as asl, Setting, StateKind, Transition};

use super::words;
use crate::json::source::Span;

/// A definition as it is drawn.
pub struct Graph {
    /// The machine's own workflow.
    pub workflow: Workflow,
}

/// States that lead to each other.
pub struct Workflow {
    /// The start, as an index into `nodes`.
    pub start: usize,
    /// In the order of the text.
    pub nodes: Vec<Node>,
    /// Ordered by state.
    pub edges: Vec<Edge>,
}

/// A state.
pub struct Node {
    /// Unique in the definition.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// The place of its name in the text.
    pub span: Span,
    /// Its `Type`.
    pub kind: &'static str,
    /// What it does, in a few words: `dynamodb:getItem`, `10 s`.
    pub detail: String,
    /// Branches, or a Map's processor.
    pub inner: Vec<Workflow>,
}

/// An edge from one state to another.
pub struct Edge {
    /// Among the nodes of its workflow.
    pub from: usize,
    /// `None` is the end of the workflow.
    pub to: Option<usize>,
    /// The kind of edge.
    pub way: Way,
    /// One for each rule or catcher of this edge.
    pub labels: Vec<String>,
}

/// The kind of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// `Next`, `End`, and the rules of a Choice.
    Next,
    /// `Catch`
    Catch,
}

/// Longer rules are truncated.
pub(super) const RULE_CHARS_MAX: usize = 90;
/// More rules of one edge are only counted.
const LABELS_MAX: usize = 6;
const DETAIL_CHARS_MAX: usize = 40;

impl Graph {
    /// The graph of a definition.
    pub fn of(definition: &asl::Definition) -> Graph {
        Graph { workflow: workflow(&definition.workflow, &mut 0) }
    }
}

/// The depth is bounded by the reader of definitions.
fn workflow(source: &asl::Workflow, ids: &mut usize) -> Workflow {
    let places: HashMap<&str, usize> =
        source.states.iter().enumerate().map(|(n, state)| (state.name.value.as_str(), n)).collect();
    let mut nodes = Vec::with_capacity(source.states.len());
    let mut edges = Vec::new();
    for (from, state) in source.states.iter().enumerate() {
        let id = *ids;
        *ids += 1;
        let inner = match &state.kind {
            StateKind::Parallel(parallel) => parallel.branches.iter().map(|it| workflow(it, ids)).collect(),
            StateKind::Map(map) => vec![workflow(&map.processor, ids)],
            _ => Vec::new(),
        };
        let name = state.name.value.clone();
        nodes.push(Node {
            id,
            name,
            span: state.name.span,
            kind: state.kind.name(),
            detail: detail(state),
            inner,
        });
        let mut ways = Ways { from, places: &places, edges: Vec::new(), known: HashMap::new() };
        ways.of(state);
        edges.append(&mut ways.edges);
    }
    let start = places.get(source.start_at.value.as_str()).copied().unwrap_or(0);
    Workflow { start, nodes, edges }
}

/// The edges of one state, grouped by target.
struct Ways<'p> {
    from: usize,
    places: &'p HashMap<&'p str, usize>,
    edges: Vec<Edge>,
    /// The index in `edges`, by target and kind.
    known: HashMap<(usize, Way), usize>,
}

impl Ways<'_> {
    fn of(&mut self, state: &asl::State) {
        match &state.next {
            Transition::Next(next) => self.add(&next.value, Way::Next, None),
            // Succeed and Fail end the workflow themselves.
            Transition::End if matches!(state.kind, StateKind::Succeed | StateKind::Fail(_)) => {}
            Transition::End => {
                self.edges.push(Edge { from: self.from, to: None, way: Way::Next, labels: Vec::new() });
            }
            Transition::Choice => {}
        }
        if let StateKind::Choice(choice) = &state.kind {
            for rule in &choice.rules {
                self.add(&rule.next.value, Way::Next, Some(words::rule(&rule.test, RULE_CHARS_MAX)));
            }
            if let Some(default) = &choice.default {
                self.add(&default.value, Way::Next, Some("otherwise".to_owned()));
            }
        }
        for catcher in &state.catch {
            let errors: Vec<&str> = catcher.error_equals.iter().map(|error| error.value.as_str()).collect();
            self.add(
                &catcher.next.value,
                Way::Catch,
                Some(words::shorten(&errors.join(", "), RULE_CHARS_MAX)),
            );
        }
        for edge in &mut self.edges {
            if edge.labels.len() > LABELS_MAX {
                let more = edge.labels.split_off(LABELS_MAX - 1).len();
                edge.labels.push(format!("… and {more} more rules"));
            }
        }
    }

    fn add(&mut self, to: &str, way: Way, label: Option<String>) {
        let Some(&to) = self.places.get(to) else { return };
        let edge = *self.known.entry((to, way)).or_insert_with(|| {
            self.edges.push(Edge { from: self.from, to: Some(to), way, labels: Vec::new() });
            self.edges.len() - 1
        });
        self.edges[edge].labels.extend(label);
    }
}

fn detail(state: &asl::State) -> String {
    let detail = match &state.kind {
        StateKind::Task(task) => resource(&task.resource.arn.value),
        StateKind::Wait(asl::Wait::Seconds(setting)) => format!("{} s", said(setting)),
        StateKind::Wait(asl::Wait::Timestamp(setting)) => format!("until {}", said(setting)),
        StateKind::Fail(fail) => fail.error.as_ref().map(said).unwrap_or_default(),
        StateKind::Map(map) => match (&map.items_path, &map.max_concurrency) {
            (Some(path), _) => format!("each of {}", path.value),
            (None, _) => "each item".to_owned(),
        },
        StateKind::Parallel(parallel) => {
            let branches = parallel.branches.len();
            format!("{branches} {}", if branches == 1 { "branch" } else { "branches" })
        }
        _ => String::new(),
    };
    words::shorten(&detail, DETAIL_CHARS_MAX)
}

fn said<T: ToString>(setting: &Setting<T>) -> String {
    match setting {
        Setting::Literal(value) => value.value.to_string(),
        Setting::Path(text) | Setting::Expression(text) => text.value.clone(),
    }
}

/// The most significant end of an ARN.
fn resource(arn: &str) -> String {
    if let Some(service) = arn.strip_prefix("arn:aws:states:::") {
        return service.to_owned();
    }
    match arn.rmatch_indices(':').nth(1) {
        Some((at, _)) if arn.starts_with("arn:") => arn[at + 1..].to_owned(),
        _ => arn.to_owned(),
    }
}
