//! A graph with its layout. Each workflow is laid out by itself, from the inside out: the content of a Map or Parallel
//! is one box of its workflow.

use super::layout::{self, Layout, Plan, PlanBox, PlanEdge};
use super::lettering::{width, wrap};
use super::model::{Edge, Graph, Node, Workflow};

/// Sizes that renderers of a scene use, in pixels.
pub mod measure {
    /// The font size of names.
    pub const NAME_SIZE: f64 = 13.0;
    /// The font size of everything else.
    pub const SMALL_SIZE: f64 = 11.0;
    /// The height of a line of a name.
    pub const LINE: f64 = 17.0;
    /// The height of a small line.
    pub const SMALL_LINE: f64 = 14.0;
    /// The room around text and around branches.
    pub const PADDING: f64 = 12.0;
    /// The diameter of the marks of start and end.
    pub const MARK: f64 = 16.0;
    /// How far a Choice's sides extend outwards.
    pub const POINT: f64 = 16.0;
    /// Room for the loop of a state that leads to itself.
    pub const LOOP: f64 = 34.0;
}
use measure::{LINE, LOOP, MARK, NAME_SIZE, PADDING, POINT, SMALL_LINE, SMALL_SIZE};

/// A workflow, laid out: its upper left corner is at 0, 0.
pub struct Scene {
    /// Box 0 is the mark of the start, then come the states in order, then the mark of the end. Edge 0 is the one from
    /// the start, then come those of the workflow.
    pub layout: Layout,
    /// The box of the end's mark.
    pub end: Option<usize>,
    /// In the order of the workflow's nodes.
    pub states: Vec<Drawn>,
    /// By edge of the workflow.
    pub labels: Vec<Option<Label>>,
}

/// A state, measured and placed.
pub struct Drawn {
    /// The centre of its box.
    pub at: (f64, f64),
    /// Of its box.
    pub width: f64,
    /// Of its box.
    pub height: f64,
    /// Its name, on lines.
    pub name: Vec<String>,
    /// Its type and details.
    pub small: String,
    /// Its branches.
    pub branches: Vec<Branch>,
}

/// A branch of a Parallel, or a Map's processor.
pub struct Branch {
    /// Left, top, width and height of its frame, from the upper left corner of the state's box.
    pub frame: (f64, f64, f64, f64),
    /// Its content, from [`PADDING`](measure::PADDING) inside of the frame on.
    pub scene: Scene,
}

/// The label of an edge, on lines.
pub struct Label {
    /// Of all lines, with padding.
    pub width: f64,
    /// Of all lines, with padding.
    pub height: f64,
    /// The text.
    pub lines: Vec<String>,
}

impl Label {
    fn of(edge: &Edge) -> Option<Label> {
        let lines: Vec<String> = edge.labels.iter().flat_map(|label| wrap(label, 32, 3)).collect();
        let widest = lines.iter().map(|line| width(line, SMALL_SIZE)).fold(0.0, f64::max);
        let height = lines.len() as f64 * SMALL_LINE + 4.0;
        (!lines.is_empty()).then_some(Label { width: widest + 8.0, height, lines })
    }
}

impl Scene {
    /// Lays out a graph.
    pub fn of(graph: &Graph) -> Scene {
        workflow(&graph.workflow, &mut layout::BENDS_MAX.clone())
    }
}

/// The depth is bounded by the reader of definitions. `bends` is how many bends are still available.
fn workflow(workflow: &Workflow, bends: &mut usize) -> Scene {
    let mut states: Vec<Drawn> = workflow.nodes.iter().map(|node| state(node, bends)).collect();
    let labels: Vec<Option<Label>> = workflow.edges.iter().map(Label::of).collect();
    let end = states.len() + 1;
    let has_end = workflow.edges.iter().any(|edge| edge.to.is_none());
    // The room each state needs at its sides for loops to itself.
    let mut rooms = vec![0.0f64; states.len()];
    for (edge, label) in workflow.edges.iter().zip(&labels).filter(|(edge, _)| edge.to == Some(edge.from)) {
        let room = LOOP + label.as_ref().map_or(0.0, |label| label.width);
        rooms[edge.from] = rooms[edge.from].max(room);
    }
    let mark = || PlanBox { width: MARK, height: MARK, ports: MARK };
    let mut boxes = vec![mark()];
    for ((node, drawn), room) in workflow.nodes.iter().zip(&states).zip(rooms) {
        let points = if node.kind == "Choice" { 2.0 * POINT } else { 0.0 };
        let ports = (drawn.width - points) * 0.75;
        boxes.push(PlanBox { width: drawn.width + 2.0 * room, height: drawn.height, ports });
    }
    boxes.extend(has_end.then(mark));
    let mut edges = vec![PlanEdge { from: 0, to: workflow.start + 1, label: None, class: 0 }];
    for (edge, label) in workflow.edges.iter().zip(&labels) {
        edges.push(PlanEdge {
            from: edge.from + 1,
            to: edge.to.map_or(end, |to| to + 1),
            label: label.as_ref().map(|label| (label.width, label.height)),
            class: edge.way as u8,
        });
    }
    let layout = layout::lay_out(&Plan { boxes, edges }, bends);
    for (drawn, &at) in states.iter_mut().zip(&layout.boxes[1..]) {
        drawn.at = at;
    }
    Scene { layout, end: has_end.then_some(end), states, labels }
}

/// A state without a position yet.
fn state(node: &Node, bends: &mut usize) -> Drawn {
    let name = wrap(&node.name, 30, 3);
    let small = if node.detail.is_empty() {
        node.kind.to_owned()
    } else {
        format!("{} · {}", node.kind, node.detail)
    };
    let scenes: Vec<Scene> = node.inner.iter().map(|inner| workflow(inner, bends)).collect();
    // Bold letters are wider.
    let names = name.iter().map(|line| width(line, NAME_SIZE * 1.08)).fold(0.0, f64::max);
    let text = names.max(width(&small, SMALL_SIZE)) + 2.0 * PADDING;
    let header = name.len() as f64 * LINE + SMALL_LINE + PADDING;
    let at = (0.0, 0.0);
    if scenes.is_empty() {
        let point = if node.kind == "Choice" { 2.0 * POINT } else { 0.0 };
        let width = (text + point).max(90.0);
        return Drawn { at, width, height: header, name, small, branches: Vec::new() };
    }
    let used: f64 = scenes.iter().map(|scene| scene.layout.width + 2.0 * PADDING).sum();
    let gaps = scenes.len() as f64 + 1.0;
    let width = (used + PADDING * gaps).max(text);
    let tallest = scenes.iter().map(|scene| scene.layout.height).fold(0.0, f64::max);
    let gap = (width - used) / gaps;
    let mut left = gap;
    let mut branches = Vec::with_capacity(scenes.len());
    for scene in scenes {
        let outer = scene.layout.width + 2.0 * PADDING;
        branches.push(Branch { frame: (left, header, outer, tallest + 2.0 * PADDING), scene });
        left += outer + gap;
    }
    Drawn { at, width, height: header + tallest + 3.0 * PADDING, name, small, branches }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asl;

    fn scene(text: &str) -> Scene {
        let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
        Scene::of(&Graph::of(&definition.unwrap_or_else(|| panic!("{problems:?}"))))
    }

    #[test]
    fn chains_stand_exactly_below_each_other_beside_others_and_with_catchers() {
        let task = |name: &str, next: &str| {
            format!(
                r#""{name}": {{"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f",
                "Catch": [{{"ErrorEquals": ["States.ALL"], "Next": "Sorry"}}], "Next": "{next}"}}"#
            )
        };
        let chain: Vec<String> = (0..8).map(|n| task(&format!("T{n}"), &format!("T{}", n + 1))).collect();
        let scene = scene(&format!(
            r#"{{"StartAt": "Which", "States": {{
            "Which": {{"Type": "Choice", "Choices": [{{"Variable": "$.a", "IsNull": true, "Next": "T0"}},
                {{"Variable": "$.b", "IsNull": true, "Next": "Long name that takes room"}}], "Default": "Sorry"}},
            {}, "T8": {{"Type": "Pass", "Next": "Good"}},
            "Long name that takes room": {{"Type": "Pass", "Next": "Good"}},
            "Sorry": {{"Type": "Fail"}}, "Good": {{"Type": "Succeed"}}}}}}"#,
            chain.join(",")
        ));
        let across: Vec<f64> = scene.states[1..10].iter().map(|state| state.at.0).collect();
        assert!(across.iter().all(|x| (x - across[0]).abs() < 0.01), "{across:?}");
    }

    #[test]
    fn whatever_fits_a_definition_is_laid_out() {
        let line: Vec<String> = (0..9_999)
            .map(|n| format!(r#""{n}": {{"Type": "Pass", "Next": "{}"}}"#, n + 1))
            .chain([r#""9999": {"Type": "Succeed"}"#.to_owned()])
            .collect();
        let line = scene(&format!(r#"{{"StartAt": "0", "States": {{{}}}}}"#, line.join(",")));
        assert!(line.states.windows(2).all(|pair| pair[0].at.1 < pair[1].at.1));
        // More bends than are drawn: the edges are still there.
        let tangle: Vec<String> = (0..1_000)
            .map(|n| {
                format!(
                    r#""{n}": {{"Type": "Choice", "Choices": [{{"Variable": "$.a", "IsNull": true, "Next": "{}"}}],
                    "Default": "{}"}}"#,
                    (n * 7_919 + 13) % 1_000,
                    n + 1
                )
            })
            .chain([r#""1000": {"Type": "Succeed"}"#.to_owned()])
            .collect();
        let tangle = scene(&format!(r#"{{"StartAt": "0", "States": {{{}}}}}"#, tangle.join(",")));
        assert!(tangle.layout.segments.len() < 3 * layout::BENDS_MAX);
        assert!(tangle.layout.routes.iter().all(|route| !route.is_empty()));
    }
}
