//! Graphviz graphs. Map and Parallel are clusters; an edge to one ends at its border.

use super::{Edge, Graph, Node, Way, Workflow};

use super::path::Path;

/// The graph in the DOT language.
pub fn write(graph: &Graph, path: Option<&Path>) -> String {
    let mut out = String::from(
        "digraph workflow {\n  compound=true;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, \
         fontname=\"Helvetica\", fontsize=11];\n  edge [fontname=\"Helvetica\", fontsize=9];\n",
    );
    workflow(&graph.workflow, "", 1, &mut out);
    if let Some(path) = path {
        entered(&graph.workflow, path, &mut out);
    }
    out.push_str("}\n");
    out
}

/// The depth is bounded by the reader of definitions. `path` makes the ids of each workflow unique.
fn workflow(workflow: &Workflow, path: &str, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    out.push_str(&format!("{indent}start{path} [shape=point, width=0.15, label=\"\"];\n"));
    for node in &workflow.nodes {
        state(node, depth, out);
    }
    if workflow.edges.iter().any(|edge| edge.to.is_none()) {
        out.push_str(&format!(
            "{indent}end{path} [shape=doublecircle, width=0.12, fillcolor=black, label=\"\"];\n"
        ));
    }
    if let Some(start) = workflow.nodes.get(workflow.start) {
        out.push_str(&format!("{indent}start{path} -> s{}{};\n", start.id, attributes(&head(start))));
    }
    for edge in &workflow.edges {
        out.push_str(&format!("{indent}{};\n", arrow(workflow, edge, path)));
    }
}

/// States that an execution entered have a thick border, those where it failed a red one.
fn entered(workflow: &Workflow, path: &Path, out: &mut String) {
    for node in &workflow.nodes {
        if path.visits(&node.name) > 0 {
            let colour = if path.has_failed(&node.name) { ", color=\"#dc2626\"" } else { "" };
            out.push_str(&format!("  s{} [penwidth=3{colour}];\n", node.id));
        }
        node.inner.iter().for_each(|inner| entered(inner, path, out));
    }
}

fn state(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let detail = if node.detail.is_empty() { String::new() } else { format!(" · {}", node.detail) };
    let label = format!("{}\\n{}{}", escaped(&node.name), node.kind, escaped(&detail));
    let id = node.id;
    if node.inner.is_empty() {
        let shape = match node.kind {
            "Choice" => ", shape=hexagon, style=filled, fillcolor=\"#fef3c7\"",
            "Succeed" => ", fillcolor=\"#dcfce7\"",
            "Fail" => ", fillcolor=\"#fee2e2\"",
            _ => "",
        };
        out.push_str(&format!("{indent}s{id} [label=\"{label}\"{shape}];\n"));
        return;
    }
    out.push_str(&format!("{indent}subgraph cluster_{id} {{\n{indent}  label=\"{label}\"; style=rounded;\n"));
    // An anchor for edges to and from the cluster.
    out.push_str(&format!("{indent}  s{id} [shape=point, style=invis, width=0, label=\"\"];\n"));
    for (n, inner) in node.inner.iter().enumerate() {
        out.push_str(&format!(
            "{indent}  subgraph cluster_{id}_{n} {{\n{indent}    label=\"\"; style=dotted;\n"
        ));
        workflow(inner, &format!("_{id}_{n}"), depth + 2, out);
        out.push_str(&format!("{indent}  }}\n"));
    }
    out.push_str(&format!("{indent}}}\n"));
}

fn arrow(workflow: &Workflow, edge: &Edge, path: &str) -> String {
    let from = &workflow.nodes[edge.from];
    let to = edge.to.map(|to| &workflow.nodes[to]);
    let mut with = Vec::new();
    if !edge.labels.is_empty() {
        let labels: Vec<String> = edge.labels.iter().map(|label| escaped(label)).collect();
        with.push(format!("label=\"{}\"", labels.join("\\n")));
    }
    if edge.way == Way::Catch {
        with.push("style=dashed, color=\"#b91c1c\", fontcolor=\"#b91c1c\"".to_owned());
    }
    if !from.inner.is_empty() {
        with.push(format!("ltail=cluster_{}", from.id));
    }
    with.extend(to.map(head).unwrap_or_default());
    let to = to.map_or(format!("end{path}"), |to| format!("s{}", to.id));
    format!("s{} -> {to}{}", from.id, attributes(&with))
}

fn head(node: &Node) -> Vec<String> {
    if node.inner.is_empty() { Vec::new() } else { vec![format!("lhead=cluster_{}", node.id)] }
}

fn attributes(list: &[String]) -> String {
    if list.is_empty() { String::new() } else { format!(" [{}]", list.join(", ")) }
}

/// Escapes text inside double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
