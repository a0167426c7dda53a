//! Self-contained SVG.

use super::measure::{LINE, LOOP, MARK, NAME_SIZE, PADDING, POINT, SMALL_LINE, SMALL_SIZE};
use super::{Drawn, Edge, Graph, Label, Layout, Node, Scene, Segment, Way, Workflow};

use super::path::Path;

const MARGIN: f64 = 20.0;

const STYLE: &str = "\
text{font-family:Verdana,'DejaVu Sans',sans-serif;fill:#0f172a}\
.name{font-size:13px;font-weight:600}.small{font-size:11px;fill:#475569}.label{font-size:11px;fill:#334155}\
.box{fill:#f8fafc;stroke:#64748b;stroke-width:1.2}.task .box{fill:#eff6ff;stroke:#2563eb}\
.choice .box{fill:#fefce8;stroke:#ca8a04}.wait .box{fill:#faf5ff;stroke:#9333ea}\
.succeed .box{fill:#f0fdf4;stroke:#16a34a}.fail .box{fill:#fef2f2;stroke:#dc2626}\
.map>.box,.parallel>.box{fill:#fff;stroke:#0f766e;stroke-width:1.5}\
.branch{fill:none;stroke:#94a3b8;stroke-dasharray:2 3}.mark{fill:#334155}.ring{fill:none;stroke:#334155}\
.edge{fill:none;stroke:#475569;stroke-width:1.3}.catch.edge{stroke:#dc2626;stroke-dasharray:5 4}\
.catch.label{fill:#b91c1c}.halo{fill:#fff;fill-opacity:.92}\
.off{opacity:.35}.on>.box{stroke-width:3}.broke>.box{stroke:#dc2626;stroke-width:3}.went.edge{stroke-width:3}\
.badge{font-size:11px;font-weight:600;fill:#334155}";

/// The graph as an SVG document, with the path of an execution, if there is one: states that it did not reach are pale.
pub fn write(graph: &Graph, path: Option<&Path>) -> String {
    let scene = Scene::of(graph);
    let (width, height) = (scene.layout.width + 2.0 * MARGIN, scene.layout.height + 2.0 * MARGIN);
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
    out.push_str(&format!("<g transform=\"translate({MARGIN} {MARGIN})\">\n"));
    workflow(&graph.workflow, &scene, path, &mut out);
    out.push_str("</g>\n</svg>\n");
    out
}

/// The depth is bounded by the reader of definitions.
fn workflow(workflow: &Workflow, scene: &Scene, path: Option<&Path>, out: &mut String) {
    let layout = &scene.layout;
    let gone = |edge: &Edge| {
        let to = edge.to.map(|to| workflow.nodes[to].name.as_str());
        path.is_none_or(|path| path.went(&workflow.nodes[edge.from].name, to, edge))
    };
    let mut went = vec![path.is_none(); layout.segments.len()];
    if let Some(path) = path {
        let start = workflow.nodes.get(workflow.start).is_some_and(|start| path.visits(&start.name) > 0);
        let edges = workflow.edges.iter().enumerate().filter(|(_, edge)| gone(edge)).map(|(n, _)| n + 1);
        for route in start.then_some(0).into_iter().chain(edges) {
            layout.routes[route].iter().for_each(|&at| went[at] = true);
        }
    }
    for (piece, went) in layout.segments.iter().zip(went) {
        segment(piece, mark(path, went), out);
    }
    marks(layout, scene.end, out);
    for (node, drawn) in workflow.nodes.iter().zip(&scene.states) {
        state(node, drawn, path, out);
    }
    for (n, edge) in workflow.edges.iter().enumerate() {
        if let (Some(label), Some(at)) = (&scene.labels[n], layout.labels[n + 1]) {
            write_label(label, at, edge.way, mark(path, gone(edge)), out);
        }
    }
    for (n, edge) in workflow.edges.iter().enumerate().filter(|(_, edge)| edge.to == Some(edge.from)) {
        own_loop(&scene.states[edge.from], edge, scene.labels[n].as_ref(), mark(path, gone(edge)), out);
    }
}

/// The class of elements that an execution passed, or did not; empty without an execution.
fn mark(path: Option<&Path>, went: bool) -> &'static str {
    match (path, went) {
        (None, _) => "",
        (Some(_), true) => " went",
        (Some(_), false) => " off",
    }
}

/// The same for a state.
fn state_mark(path: Option<&Path>, name: &str) -> &'static str {
    match path {
        None => "",
        Some(path) if path.has_failed(name) => " on broke",
        Some(path) if path.visits(name) > 0 => " on",
        Some(_) => " off",
    }
}

fn state(node: &Node, it: &Drawn, path: Option<&Path>, out: &mut String) {
    let (x, y) = it.at;
    let (left, top) = (x - it.width / 2.0, y - it.height / 2.0);
    let class = node.kind.to_lowercase();
    out.push_str(&format!(
        "<g class=\"{class}{}\" transform=\"translate({left:.1} {top:.1})\">",
        state_mark(path, &node.name)
    ));
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
    if let Some(visits) = path.map(|path| path.visits(&node.name)).filter(|visits| *visits > 1) {
        text("badge", w - PADDING, -3.0, &format!("{visits}×"), out);
    }
    for (inner, branch) in node.inner.iter().zip(&it.branches) {
        let (left, top, width, height) = branch.frame;
        if it.branches.len() > 1 {
            out.push_str(&format!(
                "<rect class=\"branch\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"4\"/>\n"
            ));
        }
        let (x, y) = (left + PADDING, top + PADDING);
        out.push_str(&format!("<g transform=\"translate({x:.1} {y:.1})\">\n"));
        workflow(inner, &branch.scene, path, out);
        out.push_str("</g>\n");
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

/// The class and the arrowhead of a kind of edge.
fn look(class: u8) -> (&'static str, &'static str) {
    if class == Way::Catch as u8 { ("catch edge", "catch") } else { ("edge", "next") }
}

fn segment(piece: &Segment, mark: &str, out: &mut String) {
    let (class, head) = look(piece.class);
    let ((x1, y1), (x2, y2), (from, to)) = (piece.from, piece.to, piece.across);
    let middle = (from + to) / 2.0;
    let mut d = format!("M{x1:.1} {y1:.1}");
    if (x1 - x2).abs() < 0.5 {
        d.push_str(&format!("L{x2:.1} {y2:.1}"));
    } else {
        vertical(y1, from, &mut d);
        d.push_str(&format!("C{x1:.1} {middle:.1} {x2:.1} {middle:.1} {x2:.1} {to:.1}"));
        vertical(to, y2, &mut d);
    }
    let start = if piece.heads.0 { format!(" marker-start=\"url(#{head})\"") } else { String::new() };
    let end = if piece.heads.1 { format!(" marker-end=\"url(#{head})\"") } else { String::new() };
    out.push_str(&format!("<path class=\"{class}{mark}\" d=\"{d}\"{start}{end}/>\n"));
}

/// A vertical line, unless it has no length as written: it would have no direction, and browsers then lay the arrowhead
/// at its end on its side.
fn vertical(from: f64, to: f64, d: &mut String) {
    let to = format!("{to:.1}");
    if format!("{from:.1}") != to {
        d.push('V');
        d.push_str(&to);
    }
}

/// The loop at the right of a state that leads to itself.
fn own_loop(it: &Drawn, edge: &Edge, label: Option<&Label>, mark: &str, out: &mut String) {
    let (x, y) = it.at;
    let (class, head) = look(edge.way as u8);
    let (side, reach) = (x + it.width / 2.0, x + it.width / 2.0 + LOOP);
    let (upper, lower) = (y - it.height / 5.0, y + it.height / 5.0);
    out.push_str(&format!(
        "<path class=\"{class}{mark}\" d=\"M{side:.1} {lower:.1}C{reach:.1} {:.1} {reach:.1} {:.1} {side:.1} {upper:.1}\" \
         marker-end=\"url(#{head})\"/>\n",
        lower + 10.0,
        upper - 10.0
    ));
    if let Some(label) = label {
        write_label(label, (reach + label.width / 2.0 - 6.0, y), edge.way, mark, out);
    }
}

fn write_label(label: &Label, (x, y): (f64, f64), way: Way, mark: &str, out: &mut String) {
    let (left, top) = (x - label.width / 2.0, y - label.height / 2.0);
    out.push_str(&format!(
        "<rect class=\"halo\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
        label.width, label.height
    ));
    let class = if way == Way::Catch { "catch label" } else { "label" };
    for (n, line) in label.lines.iter().enumerate() {
        text(&format!("{class}{mark}"), x, top + SMALL_SIZE + 2.0 + n as f64 * SMALL_LINE, line, out);
    }
}

fn text(class: &str, x: f64, y: f64, text: &str, out: &mut String) {
    out.push_str(&format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>\n",
        escaped(text)
    ));
}

/// Escapes XML's special characters, and drops those that XML does not allow.
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
