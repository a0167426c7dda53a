//! SVG, laid out here and needing nothing else. Each workflow is drawn by itself, from the inside out: what a Map or
//! Parallel holds is one box of the workflow around it.

use super::layout::{self, Layout, Plan, PlanBox, PlanEdge, Segment};
use super::lettering::{width, wrap};
use super::model::{Edge, Graph, Node, Way, Workflow};

const NAME_SIZE: f64 = 13.0;
const SMALL_SIZE: f64 = 11.0;
const LINE: f64 = 17.0;
const SMALL_LINE: f64 = 14.0;
const PADDING: f64 = 12.0;
const MARGIN: f64 = 20.0;
const MARK: f64 = 16.0;
/// How far a Choice's sides point outwards.
const POINT: f64 = 16.0;
/// Room for the loop of a state that leads to itself.
const LOOP: f64 = 34.0;

const STYLE: &str = "\
text{font-family:Verdana,'DejaVu Sans',sans-serif;fill:#0f172a}\
.name{font-size:13px;font-weight:600}.small{font-size:11px;fill:#475569}.label{font-size:11px;fill:#334155}\
.box{fill:#f8fafc;stroke:#64748b;stroke-width:1.2}.task .box{fill:#eff6ff;stroke:#2563eb}\
.choice .box{fill:#fefce8;stroke:#ca8a04}.wait .box{fill:#faf5ff;stroke:#9333ea}\
.succeed .box{fill:#f0fdf4;stroke:#16a34a}.fail .box{fill:#fef2f2;stroke:#dc2626}\
.map>.box,.parallel>.box{fill:#fff;stroke:#0f766e;stroke-width:1.5}\
.branch{fill:none;stroke:#94a3b8;stroke-dasharray:2 3}.mark{fill:#334155}.ring{fill:none;stroke:#334155}\
.edge{fill:none;stroke:#475569;stroke-width:1.3}.catch.edge{stroke:#dc2626;stroke-dasharray:5 4}\
.catch.label{fill:#b91c1c}.halo{fill:#fff;fill-opacity:.92}";

/// The graph as an SVG document. Nothing when it is too large to be laid out.
pub(super) fn write(graph: &Graph) -> Option<String> {
    let drawn = workflow(&graph.workflow)?;
    let (width, height) = (drawn.width + 2.0 * MARGIN, drawn.height + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}</style>\n<defs>\n"
    );
    for (id, colour) in [("next", "#475569"), ("catch", "#dc2626")] {
        out.push_str(&format!(
            "<marker id=\"{id}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"9\" markerHeight=\"9\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\">\
             <path d=\"M0 0L10 5L0 10z\" fill=\"{colour}\"/></marker>\n"
        ));
    }
    out.push_str("</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    out.push_str(&format!("<g transform=\"translate({MARGIN} {MARGIN})\">\n{}</g>\n</svg>\n", drawn.body));
    Some(out)
}

/// Something drawn, its upper left corner at 0, 0.
struct Drawn {
    width: f64,
    height: f64,
    body: String,
}

/// A state, measured: what it needs, and how it will look around its middle.
struct Measured {
    width: f64,
    height: f64,
    name: Vec<String>,
    small: String,
    inner: Vec<Drawn>,
}

/// Recursion is as deep as workflows are nested, which the reader of definitions bounds.
fn workflow(workflow: &Workflow) -> Option<Drawn> {
    let nodes: Vec<Measured> = workflow.nodes.iter().map(measure).collect::<Option<_>>()?;
    let end = nodes.len() + 1;
    let has_end = workflow.edges.iter().any(|edge| edge.to.is_none());
    let mark = || PlanBox { width: MARK, height: MARK, ports: MARK };
    let mut boxes = vec![mark()];
    for (n, (node, measured)) in workflow.nodes.iter().zip(&nodes).enumerate() {
        let looped = workflow.edges.iter().filter(|edge| edge.from == n && edge.to == Some(n));
        let room =
            looped.map(|edge| LOOP + Label::of(edge).map_or(0.0, |label| label.width)).fold(0.0, f64::max);
        let points = if node.kind == "Choice" { 2.0 * POINT } else { 0.0 };
        let ports = (measured.width - points) * 0.75;
        boxes.push(PlanBox { width: measured.width + 2.0 * room, height: measured.height, ports });
    }
    boxes.extend(has_end.then(mark));
    let start = PlanEdge { from: 0, to: workflow.start + 1, label: None, class: 0 };
    let mut edges = vec![start];
    let labels: Vec<Option<Label>> = workflow.edges.iter().map(Label::of).collect();
    for (edge, label) in workflow.edges.iter().zip(&labels) {
        edges.push(PlanEdge {
            from: edge.from + 1,
            to: edge.to.map_or(end, |to| to + 1),
            label: label.as_ref().map(|label| (label.width, label.height)),
            class: edge.way as u8,
        });
    }
    let layout = layout::lay_out(&Plan { boxes, edges })?;
    let mut body = String::new();
    layout.segments.iter().for_each(|piece| segment(piece, &mut body));
    marks(&layout, has_end.then_some(end), &mut body);
    for (n, (node, measured)) in workflow.nodes.iter().zip(&nodes).enumerate() {
        state(node, measured, layout.boxes[n + 1], &mut body);
    }
    for (n, edge) in workflow.edges.iter().enumerate() {
        let Some(label) = &labels[n] else { continue };
        if let Some(at) = layout.labels[n + 1] {
            label.write(at, edge.way, &mut body);
        }
    }
    for (n, edge) in workflow.edges.iter().enumerate().filter(|(_, edge)| edge.to == Some(edge.from)) {
        own_loop(layout.boxes[edge.from + 1], &nodes[edge.from], edge, labels[n].as_ref(), &mut body);
    }
    Some(Drawn { width: layout.width, height: layout.height, body })
}

fn measure(node: &Node) -> Option<Measured> {
    let name = wrap(&node.name, 30, 3);
    let small = match node.detail.is_empty() {
        true => node.kind.to_owned(),
        false => format!("{} · {}", node.kind, node.detail),
    };
    let inner: Vec<Drawn> = node.inner.iter().map(workflow).collect::<Option<_>>()?;
    // Bold letters are wider.
    let names = name.iter().map(|line| width(line, NAME_SIZE * 1.08)).fold(0.0, f64::max);
    let text = names.max(width(&small, SMALL_SIZE)) + 2.0 * PADDING;
    let header = name.len() as f64 * LINE + SMALL_LINE + PADDING;
    let point = if node.kind == "Choice" { 2.0 * POINT } else { 0.0 };
    if inner.is_empty() {
        return Some(Measured { width: (text + point).max(90.0), height: header, name, small, inner });
    }
    let side_by_side: f64 = inner.iter().map(|it| it.width + 2.0 * PADDING).sum::<f64>();
    let width = (side_by_side + PADDING * (inner.len() as f64 + 1.0)).max(text);
    let tallest = inner.iter().map(|it| it.height).fold(0.0, f64::max);
    Some(Measured { width, height: header + tallest + 3.0 * PADDING, name, small, inner })
}

fn state(node: &Node, it: &Measured, (x, y): (f64, f64), out: &mut String) {
    let (left, top) = (x - it.width / 2.0, y - it.height / 2.0);
    let class = node.kind.to_lowercase();
    out.push_str(&format!("<g class=\"{class}\" transform=\"translate({left:.1} {top:.1})\">"));
    out.push_str(&format!("<title>{}</title>\n", escaped(&node.name)));
    let (w, h) = (it.width, it.height);
    match node.kind {
        "Choice" => out.push_str(&format!(
            "<path class=\"box\" d=\"M{POINT} 0H{:.1}L{w:.1} {:.1}L{:.1} {h:.1}H{POINT}L0 {:.1}z\"/>\n",
            w - POINT,
            h / 2.0,
            w - POINT,
            h / 2.0
        )),
        _ => {
            let round = if matches!(node.kind, "Wait" | "Succeed" | "Fail") { h / 2.0 } else { 6.0 };
            out.push_str(&format!(
                "<rect class=\"box\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"{round:.1}\"/>\n"
            ));
        }
    }
    let mut baseline = PADDING / 2.0 + NAME_SIZE;
    for line in &it.name {
        text("name", w / 2.0, baseline, line, out);
        baseline += LINE;
    }
    text("small", w / 2.0, baseline, &it.small, out);
    let top = it.name.len() as f64 * LINE + SMALL_LINE + PADDING;
    let tallest = it.inner.iter().map(|inner| inner.height).fold(0.0, f64::max);
    let used: f64 = it.inner.iter().map(|inner| inner.width + 2.0 * PADDING).sum();
    let gap = (w - used) / (it.inner.len() as f64 + 1.0);
    let mut left = gap;
    for inner in &it.inner {
        let outer = inner.width + 2.0 * PADDING;
        if it.inner.len() > 1 {
            out.push_str(&format!(
                "<rect class=\"branch\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{outer:.1}\" height=\"{:.1}\" rx=\"4\"/>\n",
                tallest + 2.0 * PADDING
            ));
        }
        let (x, y) = (left + PADDING, top + PADDING);
        out.push_str(&format!("<g transform=\"translate({x:.1} {y:.1})\">\n{}</g>\n", inner.body));
        left += outer + gap;
    }
    out.push_str("</g>\n");
}

fn marks(layout: &Layout, end: Option<usize>, out: &mut String) {
    let (x, y) = layout.boxes[0];
    let radius = MARK / 2.0;
    out.push_str(&format!("<g><title>start</title><circle class=\"mark start\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/></g>\n"));
    if let Some((x, y)) = end.and_then(|end| layout.boxes.get(end)) {
        out.push_str(&format!(
            "<g><title>end</title><circle class=\"ring end\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"/>\
             <circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\"/></g>\n",
            radius - 0.8,
            radius - 4.0
        ));
    }
}

/// The class and the arrow's head of a way.
fn look(class: u8) -> (&'static str, &'static str) {
    if class == Way::Catch as u8 { ("catch edge", "catch") } else { ("edge", "next") }
}

fn segment(piece: &Segment, out: &mut String) {
    let (class, head) = look(piece.class);
    let ((x1, y1), (x2, y2), (from, to)) = (piece.from, piece.to, piece.across);
    let middle = (from + to) / 2.0;
    let mut d = format!("M{x1:.1} {y1:.1}");
    if (x1 - x2).abs() < 0.5 {
        d.push_str(&format!("L{x2:.1} {y2:.1}"));
    } else {
        d.push_str(&format!("V{from:.1}C{x1:.1} {middle:.1} {x2:.1} {middle:.1} {x2:.1} {to:.1}V{y2:.1}"));
    }
    let start = if piece.heads.0 { format!(" marker-start=\"url(#{head})\"") } else { String::new() };
    let end = if piece.heads.1 { format!(" marker-end=\"url(#{head})\"") } else { String::new() };
    out.push_str(&format!("<path class=\"{class}\" d=\"{d}\"{start}{end}/>\n"));
}

/// The loop at the right of a state that leads to itself.
fn own_loop((x, y): (f64, f64), it: &Measured, edge: &Edge, label: Option<&Label>, out: &mut String) {
    let (class, head) = look(edge.way as u8);
    let (side, reach) = (x + it.width / 2.0, x + it.width / 2.0 + LOOP);
    let (upper, lower) = (y - it.height / 5.0, y + it.height / 5.0);
    out.push_str(&format!(
        "<path class=\"{class}\" d=\"M{side:.1} {lower:.1}C{reach:.1} {:.1} {reach:.1} {:.1} {side:.1} {upper:.1}\" \
         marker-end=\"url(#{head})\"/>\n",
        lower + 10.0,
        upper - 10.0
    ));
    if let Some(label) = label {
        label.write((reach + label.width / 2.0 - 6.0, y), edge.way, out);
    }
}

/// The label of an edge, on lines.
struct Label {
    width: f64,
    height: f64,
    lines: Vec<String>,
}

impl Label {
    fn of(edge: &Edge) -> Option<Label> {
        let lines: Vec<String> = edge.labels.iter().flat_map(|label| wrap(label, 32, 3)).collect();
        let widest = lines.iter().map(|line| width(line, SMALL_SIZE)).fold(0.0, f64::max);
        let height = lines.len() as f64 * SMALL_LINE + 4.0;
        (!lines.is_empty()).then_some(Label { width: widest + 8.0, height, lines })
    }

    fn write(&self, (x, y): (f64, f64), way: Way, out: &mut String) {
        let (left, top) = (x - self.width / 2.0, y - self.height / 2.0);
        out.push_str(&format!(
            "<rect class=\"halo\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            self.width, self.height
        ));
        let class = if way == Way::Catch { "catch label" } else { "label" };
        for (n, line) in self.lines.iter().enumerate() {
            text(class, x, top + SMALL_SIZE + 2.0 + n as f64 * SMALL_LINE, line, out);
        }
    }
}

fn text(class: &str, x: f64, y: f64, text: &str, out: &mut String) {
    out.push_str(&format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>\n",
        escaped(text)
    ));
}

/// XML's special characters, and none that XML does not allow.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
