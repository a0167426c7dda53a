//! Mermaid flowcharts. `end` is a reserved word there, so the end is called `stop`.

use super::{Edge, Graph, Node, Way, Workflow};

use super::path::Path;

/// The graph as a flowchart, which Markdown viewers draw.
pub fn write(graph: &Graph, path: Option<&Path>) -> String {
    let mut out = String::from("flowchart TD\n");
    workflow(&graph.workflow, "", 1, &mut out);
    out.push_str(
        "  classDef mark fill:#334155,stroke:#334155,color:#334155\n  \
         classDef good fill:#dcfce7,stroke:#15803d\n  classDef bad fill:#fee2e2,stroke:#b91c1c\n",
    );
    // States that an execution entered.
    let names = |state: fn(&Path, &str) -> bool| {
        let Some(path) = path else { return String::new() };
        let entered = nodes(&graph.workflow).into_iter().filter(|node| state(path, &node.name));
        entered.map(|node| format!("s{}", node.id)).collect::<Vec<_>>().join(",")
    };
    let (on, broke) = (names(|path, name| path.visits(name) > 0), names(Path::has_failed));
    for (class, style, names) in [("on", "stroke-width:3px", on), ("broke", "stroke:#dc2626", broke)] {
        if !names.is_empty() {
            out.push_str(&format!("  classDef {class} {style}\n  class {names} {class}\n"));
        }
    }
    out
}

/// All states, nested ones too.
fn nodes(workflow: &Workflow) -> Vec<&Node> {
    let inner = workflow.nodes.iter().flat_map(|node| node.inner.iter().flat_map(nodes));
    workflow.nodes.iter().chain(inner).collect()
}

/// The depth is bounded by the reader of definitions. `path` makes the ids of each workflow unique.
fn workflow(workflow: &Workflow, path: &str, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    out.push_str(&format!("{indent}start{path}(( )):::mark\n"));
    for node in &workflow.nodes {
        state(node, depth, out);
    }
    if workflow.edges.iter().any(|edge| edge.to.is_none()) {
        out.push_str(&format!("{indent}stop{path}((( ))):::mark\n"));
    }
    let start = workflow.nodes.get(workflow.start).map_or(0, |node| node.id);
    out.push_str(&format!("{indent}start{path} --> s{start}\n"));
    for edge in &workflow.edges {
        out.push_str(&format!("{indent}{}\n", arrow(workflow, edge, path)));
    }
}

fn state(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let (id, label) = (node.id, label(node));
    if !node.inner.is_empty() {
        out.push_str(&format!("{indent}subgraph s{id} [\"{label}\"]\n"));
        for (n, inner) in node.inner.iter().enumerate() {
            let path = format!("_{id}_{n}");
            if node.inner.len() > 1 {
                out.push_str(&format!("{indent}  subgraph b{path} [\" \"]\n"));
                workflow(inner, &path, depth + 2, out);
                out.push_str(&format!("{indent}  end\n"));
            } else {
                workflow(inner, &path, depth + 1, out);
            }
        }
        out.push_str(&format!("{indent}end\n"));
        return;
    }
    let shape = match node.kind {
        "Choice" => format!("{{{{\"{label}\"}}}}"),
        "Succeed" => format!("([\"{label}\"]):::good"),
        "Fail" => format!("([\"{label}\"]):::bad"),
        "Wait" => format!("([\"{label}\"])"),
        _ => format!("[\"{label}\"]"),
    };
    out.push_str(&format!("{indent}s{id}{shape}\n"));
}

fn label(node: &Node) -> String {
    let detail = if node.detail.is_empty() { String::new() } else { format!(" · {}", node.detail) };
    format!("{}<br/><small>{}{}</small>", escaped(&node.name), node.kind, escaped(&detail))
}

fn arrow(workflow: &Workflow, edge: &Edge, path: &str) -> String {
    let from = workflow.nodes[edge.from].id;
    let to = edge.to.map_or(format!("stop{path}"), |to| format!("s{}", workflow.nodes[to].id));
    let label: Vec<String> = edge.labels.iter().map(|label| escaped(label)).collect();
    let label = if label.is_empty() { String::new() } else { format!("|\"{}\"|", label.join("<br/>")) };
    match edge.way {
        Way::Next => format!("s{from} -->{label} {to}"),
        Way::Catch => format!("s{from} -.->{label} {to}"),
    }
}

/// Entity codes for characters that are special in Mermaid or HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' => out.push_str(&format!("#{};", u32::from(c))),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
