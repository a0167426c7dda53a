//! A picture for the page: one list for each kind of element, with coordinates from the upper left corner.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::places::Places;
use crate::picture::measure::{LOOP, PADDING};
use crate::picture::{Graph, Label, Scene, Segment, Way, Workflow};

#[derive(Default)]
struct Lists {
    nodes: Vec<Json>,
    edges: Vec<Json>,
    paths: Vec<Json>,
    labels: Vec<Json>,
    marks: Vec<Json>,
    frames: Vec<Json>,
    /// By edge, its own paths, and where it joins another edge.
    routes: Vec<(Vec<usize>, Option<Place>)>,
    /// By path, the edge that has it as its own, and the place there.
    owners: HashMap<usize, Place>,
}

/// An edge, and a place in its own paths.
type Place = (usize, usize);

/// The position of a workflow, and its parent.
#[derive(Clone, Copy)]
struct Origin {
    x: f64,
    y: f64,
    parent: Option<usize>,
    depth: usize,
}

/// Paths of an edge from which on it may go on as another edge: the first does nearly always.
const JOINS_TRIED: usize = 8;
/// Margins around the whole.
const MARGIN: f64 = 24.0;

pub(super) fn json(graph: &Graph, scene: &Scene, places: &Places) -> Json {
    let mut lists = Lists::default();
    let origin = Origin { x: MARGIN, y: MARGIN, parent: None, depth: 0 };
    lists.workflow(&graph.workflow, scene, origin, places);
    let Lists { nodes, edges, paths, labels, marks, frames, .. } = lists;
    json!({
        "width": tenth(scene.layout.width + 2.0 * MARGIN), "height": tenth(scene.layout.height + 2.0 * MARGIN),
        "start": graph.workflow.nodes.get(graph.workflow.start).map(|node| node.id),
        "nodes": nodes, "edges": edges, "paths": paths, "labels": labels, "marks": marks, "frames": frames,
    })
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Lists {
    /// The depth is bounded by the reader of definitions.
    fn workflow(&mut self, workflow: &Workflow, scene: &Scene, origin: Origin, places: &Places) {
        let first_path = self.paths.len();
        let layout = &scene.layout;
        self.paths.extend(layout.segments.iter().map(|piece| path(piece, origin)));
        for (n, &(x, y)) in layout.boxes.iter().enumerate() {
            if n == 0 || Some(n) == scene.end {
                let (x, y) = (tenth(x + origin.x), tenth(y + origin.y));
                self.marks.push(json!({"x": x, "y": y, "end": n != 0}));
            }
        }
        if let Some(start) = workflow.nodes.get(workflow.start) {
            let route: Vec<usize> = layout.routes[0].iter().map(|at| at + first_path).collect();
            self.edge(json!({"from": -1, "to": start.id, "way": "start", "labels": []}), route);
        }
        for (n, edge) in workflow.edges.iter().enumerate() {
            let from = &workflow.nodes[edge.from];
            let way = if edge.way == Way::Catch { "catch" } else { "next" };
            let mut route: Vec<usize> = layout.routes[n + 1].iter().map(|at| at + first_path).collect();
            let mut at = layout.labels[n + 1];
            if edge.to == Some(edge.from) {
                let drawn = &scene.states[edge.from];
                let side = drawn.at.0 + drawn.width / 2.0;
                route = vec![self.paths.len()];
                self.paths.push(own_loop((side, drawn.at.1), drawn.height, way, origin));
                at =
                    scene.labels[n].as_ref().map(|label| (side + LOOP + label.width / 2.0 - 6.0, drawn.at.1));
            }
            let to = edge.to.map_or(json!(-2), |to| json!(workflow.nodes[to].id));
            self.edge(json!({"from": from.id, "to": to, "way": way, "labels": edge.labels}), route);
            if let (Some(label), Some(at)) = (&scene.labels[n], at) {
                self.label(label, at, way, origin);
            }
        }
        for (node, drawn) in workflow.nodes.iter().zip(&scene.states) {
            let (left, top) = (drawn.at.0 - drawn.width / 2.0, drawn.at.1 - drawn.height / 2.0);
            let (left, top) = (left + origin.x, top + origin.y);
            self.nodes.push(json!({
                "id": node.id, "name": node.name, "kind": node.kind, "small": drawn.small, "lines": drawn.name,
                "x": tenth(left), "y": tenth(top), "w": tenth(drawn.width), "h": tenth(drawn.height),
                "parent": origin.parent, "depth": origin.depth, "holds": !drawn.branches.is_empty(),
                "from": places.of_byte(node.span.start as usize), "to": places.of_byte(node.span.end as usize),
            }));
            for (inner, branch) in node.inner.iter().zip(&drawn.branches) {
                let (x, y, width, height) = branch.frame;
                if drawn.branches.len() > 1 {
                    self.frames.push(json!({
                        "x": tenth(left + x), "y": tenth(top + y), "w": tenth(width), "h": tenth(height),
                    }));
                }
                let origin = Origin {
                    x: left + x + PADDING,
                    y: top + y + PADDING,
                    parent: Some(node.id),
                    depth: origin.depth + 1,
                };
                self.workflow(inner, &branch.scene, origin, places);
            }
        }
    }

    /// An edge and its `paths`. Long edges to one state share most of theirs: what is as in an edge before is left out, and
    /// `joins` has the index of that edge and the place in its own `paths`, from where on it goes on as that one does.
    fn edge(&mut self, mut edge: Json, mut route: Vec<usize>) {
        let joins = (route.iter().enumerate())
            .filter_map(|(n, path)| Some((n, *self.owners.get(path)?)))
            .take(JOINS_TRIED)
            .find(|&(n, owner)| self.goes_on(owner).eq(route[n..].iter().copied()));
        if let Some((n, owner)) = joins {
            route.truncate(n);
            edge["joins"] = json!(owner);
        }
        let number = self.edges.len();
        for (n, &path) in route.iter().enumerate() {
            self.owners.entry(path).or_insert((number, n));
        }
        edge["paths"] = json!(route);
        self.edges.push(edge);
        self.routes.push((route, joins.map(|(_, owner)| owner)));
    }

    /// The paths from this place in an edge's own ones on.
    fn goes_on(&self, (mut edge, mut at): Place) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || {
            loop {
                let (own, joins) = &self.routes[edge];
                if let Some(&path) = own.get(at) {
                    at += 1;
                    return Some(path);
                }
                (edge, at) = (*joins)?;
            }
        })
    }

    fn label(&mut self, label: &Label, (x, y): (f64, f64), way: &str, origin: Origin) {
        self.labels.push(json!({
            "x": tenth(x + origin.x), "y": tenth(y + origin.y), "w": tenth(label.width), "h": tenth(label.height),
            "lines": label.lines, "way": way,
        }));
    }
}

/// What a path is, in its last number.
const CATCH: u8 = 1;
const HEAD_AT_FROM: u8 = 2;
const HEAD_AT_TO: u8 = 4;
const LOOP_AT_RIGHT: u8 = 8;

/// A segment of an edge: the upper and the lower end, the heights between which it goes sideways, and what it is. Only
/// numbers, because large pictures have a hundred thousand.
fn path(piece: &Segment, origin: Origin) -> Json {
    let move_by = |(x, y): (f64, f64)| (tenth(x + origin.x), tenth(y + origin.y));
    let ((x1, y1), (x2, y2)) = (move_by(piece.from), move_by(piece.to));
    let (from, to) = (tenth(piece.across.0 + origin.y), tenth(piece.across.1 + origin.y));
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(piece.class == Way::Catch as u8, CATCH)
        | flag(piece.heads.0, HEAD_AT_FROM)
        | flag(piece.heads.1, HEAD_AT_TO);
    json!([x1, y1, x2, y2, from, to, flags])
}

/// The loop at the right of a state that leads to itself: from the lower point to the upper, and how far it reaches.
fn own_loop((side, y): (f64, f64), height: f64, way: &str, origin: Origin) -> Json {
    let (side, y) = (side + origin.x, y + origin.y);
    let (upper, lower) = (tenth(y - height / 5.0), tenth(y + height / 5.0));
    let flags = LOOP_AT_RIGHT | HEAD_AT_TO | if way == "catch" { CATCH } else { 0 };
    json!([tenth(side), lower, tenth(side), upper, tenth(side + LOOP), 0, flags])
}
