//! Layout: a layered drawing of one workflow (after Sugiyama, Tagawa and Toda).
//!
//! 1. *Ranks*: edges that close a cycle are reversed; each state is below all its predecessors.
//! 2. *Bends*: labels and long edges get separate vertices on the ranks they pass, so that nothing is drawn over a
//!    box. Long edges to one target share their bends.
//! 3. *Order* within each rank, by the median of the neighbours, sweeping down and up, keeping the order with the fewest
//!    crossings.
//! 4. *Places*: each vertex is placed as near to its neighbours as the adjacent ones allow (a least-squares fit that
//!    keeps the order), with priority for straight edges.

use std::collections::HashMap;

/// Bends of one drawing, including nested workflows. Further edges run straight from label to box, over what is in
/// between: such a large drawing cannot be viewed as a whole, and each bend costs time.
pub(super) const BENDS_MAX: usize = 60_000;

/// The input of the layout: boxes and the edges between them.
pub(super) struct Plan {
    pub(super) boxes: Vec<PlanBox>,
    pub(super) edges: Vec<PlanEdge>,
}

pub(super) struct PlanBox {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The middle part of its width where edges may begin and end.
    pub(super) ports: f64,
}

pub(super) struct PlanEdge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Width and height of its label.
    pub(super) label: Option<(f64, f64)>,
    /// Edges of one class to one box may share segments.
    pub(super) class: u8,
}

/// A layout, with coordinates of centres.
pub struct Layout {
    /// Of the whole drawing.
    pub width: f64,
    /// Of the whole drawing.
    pub height: f64,
    /// By box.
    pub boxes: Vec<(f64, f64)>,
    /// By edge with a label.
    pub labels: Vec<Option<(f64, f64)>>,
    /// Pieces of edges; edges may share segments.
    pub segments: Vec<Segment>,
    /// By edge, its segments.
    pub routes: Vec<Vec<usize>>,
}

/// A piece of an edge, from one rank to the next or straight through one.
pub struct Segment {
    /// Its upper end.
    pub from: (f64, f64),
    /// Its lower end.
    pub to: (f64, f64),
    /// Between these heights it may run diagonally; above and below it runs straight, past the adjacent boxes.
    pub across: (f64, f64),
    /// An arrowhead at the upper end (the edge was reversed), and at the lower one.
    pub heads: (bool, bool),
    /// The class of its edges.
    pub class: u8,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Box,
    Label,
    Bend,
}

struct Vertex {
    role: Role,
    rank: usize,
    width: f64,
    height: f64,
    ports: f64,
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// The minimal distance between the centres of two adjacent vertices.
fn distance(left: &Vertex, right: &Vertex) -> f64 {
    let bends = left.role != Role::Box || right.role != Role::Box;
    (left.width + right.width) / 2.0 + if bends { GAP_BEND } else { GAP_X }
}

/// A link between vertices of neighbouring ranks.
#[derive(Clone, Copy)]
struct Link {
    from: usize,
    to: usize,
    class: u8,
    heads: (bool, bool),
}

const GAP_X: f64 = 28.0;
const GAP_BEND: f64 = 12.0;
const GAP_Y: f64 = 26.0;
const ORDER_SWEEPS: usize = 12;
const PLACE_SWEEPS: usize = 80;
const CALM_SWEEPS: usize = 10;
const ZEAL: f64 = 1.8;

/// Lays out a plan whose first box is its start. `bends` is how many bends are still available.
pub(super) fn lay_out(plan: &Plan, bends: &mut usize) -> Layout {
    let turned = turned(plan);
    let ranks = ranks(plan, &turned);
    let mut drawing = Drawing::new(plan, &ranks, &turned, bends);
    drawing.order();
    drawing.place();
    drawing.straighten();
    drawing.finish(plan)
}

/// Which edges close a cycle, in a depth-first search from the first box. A loop of one box is drawn with the box.
fn turned(plan: &Plan) -> Vec<bool> {
    let mut out: Vec<Vec<usize>> = vec![Vec::new(); plan.boxes.len()];
    for (n, edge) in plan.edges.iter().enumerate() {
        out[edge.from].push(n);
    }
    let mut turned = vec![false; plan.edges.len()];
    // 0 unseen, 1 on the stack, 2 done.
    let mut seen = vec![0u8; plan.boxes.len()];
    for root in 0..plan.boxes.len() {
        let mut way = vec![(root, 0)];
        if std::mem::replace(&mut seen[root], 1) != 0 {
            seen[root] = 2;
            continue;
        }
        while let Some((at, next)) = way.last_mut() {
            let Some(&edge) = out[*at].get(*next) else {
                seen[*at] = 2;
                way.pop();
                continue;
            };
            *next += 1;
            let to = plan.edges[edge].to;
            match seen[to] {
                0 => {
                    seen[to] = 1;
                    way.push((to, 0));
                }
                1 => turned[edge] = true,
                _ => {}
            }
        }
    }
    turned
}

/// The ends of an edge, from above to below.
fn ends(edge: &PlanEdge, turned: bool) -> (usize, usize) {
    if turned { (edge.to, edge.from) } else { (edge.from, edge.to) }
}

/// The longest path to each box; boxes are on even ranks, the odd ones are for labels.
fn ranks(plan: &Plan, turned: &[bool]) -> Vec<usize> {
    let mut waits = vec![0usize; plan.boxes.len()];
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); plan.boxes.len()];
    for (edge, &turned) in plan.edges.iter().zip(turned) {
        let (upper, lower) = ends(edge, turned);
        if upper != lower {
            below[upper].push(lower);
            waits[lower] += 1;
        }
    }
    let mut ranks = vec![0; plan.boxes.len()];
    let mut ready: Vec<usize> = (0..plan.boxes.len()).filter(|&n| waits[n] == 0).collect();
    while let Some(at) = ready.pop() {
        for &lower in &below[at] {
            ranks[lower] = ranks[lower].max(ranks[at] + 2);
            waits[lower] -= 1;
            if waits[lower] == 0 {
                ready.push(lower);
            }
        }
    }
    ranks
}

struct Drawing {
    vertices: Vec<Vertex>,
    links: Vec<Link>,
    ranks: Vec<Vec<usize>>,
    /// The vertex of each edge's label.
    labels: Vec<Option<usize>>,
    /// The links of each edge.
    routes: Vec<Vec<usize>>,
    /// The link between two vertices.
    linked: HashMap<(usize, usize), usize>,
}

/// The bends of long edges, by their target and rank, and how many are still available.
struct Bends<'b> {
    by_place: HashMap<(usize, u8, bool, usize), usize>,
    left: &'b mut usize,
}

impl Drawing {
    fn new(plan: &Plan, ranks: &[usize], turned: &[bool], left: &mut usize) -> Drawing {
        let depth = ranks.iter().max().map_or(0, |rank| rank + 1);
        let mut drawing = Drawing {
            vertices: Vec::new(),
            links: Vec::new(),
            ranks: vec![Vec::new(); depth],
            labels: vec![None; plan.edges.len()],
            routes: vec![Vec::new(); plan.edges.len()],
            linked: HashMap::new(),
        };
        for (&rank, it) in ranks.iter().zip(&plan.boxes) {
            let vertex = drawing.add(Role::Box, rank, it.width, it.height);
            drawing.vertices[vertex].ports = it.ports;
        }
        let mut bends = Bends { by_place: HashMap::new(), left };
        for (n, edge) in plan.edges.iter().enumerate() {
            if edge.from != edge.to {
                drawing.edge(n, edge, turned[n], &mut bends);
            }
        }
        drawing
    }

    fn add(&mut self, role: Role, rank: usize, width: f64, height: f64) -> usize {
        let (ports, x) = (0.0, 0.0);
        self.vertices.push(Vertex {
            role,
            rank,
            width,
            height,
            ports,
            x,
            above: Vec::new(),
            below: Vec::new(),
        });
        self.ranks[rank].push(self.vertices.len() - 1);
        self.vertices.len() - 1
    }

    /// Routes an edge from rank to rank. Its label is next to its source; from there it may share segments with others.
    fn edge(&mut self, n: usize, edge: &PlanEdge, turned: bool, bends: &mut Bends<'_>) {
        let (upper, lower) = ends(edge, turned);
        let (top, bottom) = (self.vertices[upper].rank, self.vertices[lower].rank);
        let label_rank = if turned { bottom - 1 } else { top + 1 };
        let mut last = upper;
        for rank in top + 1..bottom {
            let vertex = match edge.label {
                Some((width, height)) if rank == label_rank => {
                    let vertex = self.add(Role::Label, rank, width, height);
                    self.labels[n] = Some(vertex);
                    vertex
                }
                _ => {
                    // Without a label, paths part at the rank next to the box.
                    let shared = (rank != label_rank).then_some((edge.to, edge.class, turned, rank));
                    match shared.and_then(|place| bends.by_place.get(&place)) {
                        Some(&bend) => bend,
                        None if *bends.left == 0 => continue,
                        None => {
                            *bends.left -= 1;
                            let bend = self.add(Role::Bend, rank, 0.0, 0.0);
                            if let Some(place) = shared {
                                bends.by_place.insert(place, bend);
                            }
                            bend
                        }
                    }
                }
            };
            self.link(n, (last, vertex), edge.class, (turned && last == upper, false));
            last = vertex;
        }
        self.link(n, (last, lower), edge.class, (turned && last == upper, !turned));
    }

    /// Links two vertices for an edge. A shared link is drawn once.
    fn link(&mut self, edge: usize, (from, to): (usize, usize), class: u8, heads: (bool, bool)) {
        let link = *self.linked.entry((from, to)).or_insert_with(|| {
            self.vertices[from].below.push(to);
            self.vertices[to].above.push(from);
            self.links.push(Link { from, to, class, heads });
            self.links.len() - 1
        });
        self.routes[edge].push(link);
    }

    /// Orders each rank so that few links cross.
    fn order(&mut self) {
        let mut best = self.ranks.clone();
        let mut fewest = self.crossings();
        for sweep in 0..ORDER_SWEEPS {
            if fewest == 0 {
                break;
            }
            let down = sweep % 2 == 0;
            let depth = self.ranks.len();
            let ranks: Vec<usize> =
                if down { (1..depth).collect() } else { (0..depth.saturating_sub(1)).rev().collect() };
            for rank in ranks {
                self.order_rank(rank, down);
            }
            let crossings = self.crossings();
            if crossings < fewest {
                fewest = crossings;
                best = self.ranks.clone();
            }
        }
        self.ranks = best;
    }

    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.vertices.len()];
        for rank in &self.ranks {
            for (position, &vertex) in rank.iter().enumerate() {
                positions[vertex] = position;
            }
        }
        positions
    }

    fn order_rank(&mut self, rank: usize, down: bool) {
        let beside = if down { &self.ranks[rank - 1] } else { &self.ranks[rank + 1] };
        let mut positions = HashMap::with_capacity(beside.len());
        for (position, &vertex) in beside.iter().enumerate() {
            positions.insert(vertex, position);
        }
        let mut keyed: Vec<(f64, usize)> = Vec::with_capacity(self.ranks[rank].len());
        for (position, &vertex) in self.ranks[rank].iter().enumerate() {
            let neighbours = if down { &self.vertices[vertex].above } else { &self.vertices[vertex].below };
            let beside = neighbours.iter().filter_map(|it| positions.get(it));
            let (sum, count) = beside.fold((0, 0), |(sum, count), at| (sum + at, count + 1));
            // A vertex without neighbours keeps its place.
            let key = if count == 0 { position as f64 } else { sum as f64 / f64::from(count) };
            keyed.push((key, vertex));
        }
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.ranks[rank] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
    }

    /// Counts crossings between all ranks with a Fenwick tree.
    fn crossings(&self) -> usize {
        let positions = self.positions();
        let mut total = 0;
        for rank in self.ranks.iter().take(self.ranks.len().saturating_sub(1)) {
            let mut pairs: Vec<(usize, usize)> = (rank.iter())
                .flat_map(|&from| self.vertices[from].below.iter().map(move |&to| (from, to)))
                .map(|(from, to)| (positions[from], positions[to]))
                .collect();
            pairs.sort_unstable();
            let mut tree = vec![0usize; pairs.iter().map(|pair| pair.1).max().map_or(1, |max| max + 2)];
            for (seen, &(_, to)) in pairs.iter().enumerate() {
                let (mut not_right, mut at) = (0, to + 1);
                while at > 0 {
                    not_right += tree[at];
                    at &= at - 1;
                }
                total += seen - not_right;
                at = to + 1;
                while at < tree.len() {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
        total
    }

    /// Assigns each vertex its horizontal position.
    fn place(&mut self) {
        for rank in 0..self.ranks.len() {
            let gaps = self.gaps(rank);
            for (&vertex, gap) in self.ranks[rank].iter().zip(gaps) {
                self.vertices[vertex].x = gap;
            }
        }
        for sweep in 0..PLACE_SWEEPS {
            let down = sweep % 2 == 0;
            let depth = self.ranks.len();
            let ranks: Vec<usize> = if down { (0..depth).collect() } else { (0..depth).rev().collect() };
            // In the last sweeps both sides count, so that a box is in the middle of all its neighbours.
            let both = sweep >= PLACE_SWEEPS / 4;
            // Overshooting propagates a wish along a long chain faster; at last all positions settle.
            let zeal = if both && sweep + CALM_SWEEPS < PLACE_SWEEPS { ZEAL } else { 1.0 };
            for rank in ranks {
                self.place_rank(rank, down || both, !down || both, zeal);
            }
        }
    }

    /// Aligns chains of vertices that lead to each other, and otherwise only to targets of a Catch, vertically, as far
    /// as their neighbours allow: the fit alone spreads the difference of a chain's ends over its length.
    fn straighten(&mut self) {
        let positions = self.positions();
        let next: Vec<Option<usize>> = (0..self.vertices.len()).map(|it| self.follower(it)).collect();
        let mut has_before = vec![false; next.len()];
        for &lower in next.iter().flatten() {
            has_before[lower] = true;
        }
        for first in (0..next.len()).filter(|&it| !has_before[it]) {
            let mut at = Some(first);
            while let Some(begin) = at {
                // As many as can be at one horizontal position.
                let (mut low, mut high) = self.room(begin, &positions);
                let (mut chain, mut sum) = (vec![begin], self.vertices[begin].x);
                at = next[begin];
                while let Some(vertex) = at {
                    let room = self.room(vertex, &positions);
                    if low.max(room.0) > high.min(room.1) {
                        break;
                    }
                    (low, high) = (low.max(room.0), high.min(room.1));
                    sum += self.vertices[vertex].x;
                    chain.push(vertex);
                    at = next[vertex];
                }
                let x = (sum / chain.len() as f64).max(low).min(high);
                chain.iter().for_each(|&vertex| self.vertices[vertex].x = x);
            }
        }
    }

    /// The single successor of a vertex, if it has no other predecessor; edges of a Catch do not count.
    fn follower(&self, vertex: usize) -> Option<usize> {
        let mut only = None;
        for &below in &self.vertices[vertex].below {
            if !self.is_aside(vertex, below) && only.replace(below).is_some() {
                return None;
            }
        }
        let lower = only?;
        let mut above = self.vertices[lower].above.iter().filter(|&&above| !self.is_aside(above, lower));
        (above.next().is_some() && above.next().is_none()).then_some(lower)
    }

    fn is_aside(&self, from: usize, to: usize) -> bool {
        self.linked.get(&(from, to)).is_some_and(|&link| self.links[link].class != 0)
    }

    /// How far left and right a vertex may be between its neighbours.
    fn room(&self, vertex: usize, positions: &[usize]) -> (f64, f64) {
        let this = &self.vertices[vertex];
        let rank = &self.ranks[this.rank];
        let apart = |other: usize| {
            let other = &self.vertices[other];
            (other.x, distance(this, other))
        };
        let left = positions[vertex].checked_sub(1).and_then(|at| rank.get(at)).map(|&it| apart(it));
        let right = rank.get(positions[vertex] + 1).map(|&it| apart(it));
        let low = left.map_or(f64::NEG_INFINITY, |(x, distance)| x + distance);
        let high = right.map_or(f64::INFINITY, |(x, distance)| x - distance);
        // If rounding left no room, it stays.
        if low > high { (this.x, this.x) } else { (low, high) }
    }

    /// The minimal distance of each vertex from the first one of its rank.
    fn gaps(&self, rank: usize) -> Vec<f64> {
        let mut at = 0.0;
        let mut last: Option<&Vertex> = None;
        (self.ranks[rank].iter())
            .map(|&vertex| {
                let vertex = &self.vertices[vertex];
                if let Some(last) = last {
                    at += distance(last, vertex);
                }
                last = Some(vertex);
                at
            })
            .collect()
    }

    /// Moves the vertices of a rank as near to their neighbours as their order and widths allow: the least-squares fit,
    /// by pooling those that would overlap.
    fn place_rank(&mut self, rank: usize, above: bool, below: bool, zeal: f64) {
        struct Pool {
            wish: f64,
            weight: f64,
            count: usize,
        }
        let gaps = self.gaps(rank);
        let mut pools: Vec<Pool> = Vec::new();
        for (&vertex, gap) in self.ranks[rank].iter().zip(&gaps) {
            let (wish, weight) = self.wish(vertex, above, below);
            let here = self.vertices[vertex].x;
            let wish = here + zeal * (wish - here);
            let mut pool = Pool { wish: wish - gap, weight, count: 1 };
            while let Some(last) = pools.pop_if(|last| last.wish >= pool.wish) {
                let weight = last.weight + pool.weight;
                pool.wish = (last.wish * last.weight + pool.wish * pool.weight) / weight;
                pool = Pool { weight, count: last.count + pool.count, ..pool };
            }
            pools.push(pool);
        }
        let places = pools.iter().flat_map(|pool| std::iter::repeat_n(pool.wish, pool.count));
        for ((&vertex, gap), place) in self.ranks[rank].iter().zip(gaps).zip(places) {
            self.vertices[vertex].x = place + gap;
        }
    }

    /// The preferred position of a vertex, and its weight.
    fn wish(&self, vertex: usize, above: bool, below: bool) -> (f64, f64) {
        let this = &self.vertices[vertex];
        let above = this.above.iter().filter(|_| above);
        let neighbours = above.chain(this.below.iter().filter(|_| below));
        let (mut sum, mut weight) = (0.0, 0.0);
        for &other in neighbours {
            let other = &self.vertices[other];
            // Straight long edges have priority.
            let pull = match (this.role, other.role) {
                (Role::Bend, Role::Bend) => 24.0,
                (Role::Box, Role::Box) => 2.0,
                _ => 1.0,
            };
            sum += pull * other.x;
            weight += pull;
        }
        if weight == 0.0 { (this.x, 0.01) } else { (sum / weight, weight) }
    }

    fn finish(self, plan: &Plan) -> Layout {
        let heights: Vec<f64> = (self.ranks.iter())
            .map(|rank| rank.iter().map(|&vertex| self.vertices[vertex].height).fold(0.0, f64::max))
            .collect();
        let gaps = self.rank_gaps();
        let mut tops = Vec::with_capacity(heights.len());
        let mut y = 0.0;
        for (height, gap) in heights.iter().zip(&gaps) {
            tops.push(y);
            y += height + gap;
        }
        let left = self.vertices.iter().map(|it| it.x - it.width / 2.0).fold(f64::INFINITY, f64::min);
        let right = self.vertices.iter().map(|it| it.x + it.width / 2.0).fold(f64::NEG_INFINITY, f64::max);
        let middle = |vertex: &Vertex| (vertex.x - left, tops[vertex.rank] + heights[vertex.rank] / 2.0);
        let mut segments = Vec::with_capacity(self.links.len());
        let ports = self.ports();
        for (n, link) in self.links.iter().enumerate() {
            let (from, to) = (&self.vertices[link.from], &self.vertices[link.to]);
            // Bends and labels fill their rank, so that links run straight past the adjacent boxes.
            let half = |it: &Vertex| if it.role == Role::Box { it.height } else { heights[it.rank] } / 2.0;
            segments.push(Segment {
                from: (from.x - left + ports[n].0, middle(from).1 + half(from)),
                to: (to.x - left + ports[n].1, middle(to).1 - half(to)),
                across: (tops[from.rank] + heights[from.rank], tops[to.rank]),
                heads: link.heads,
                class: link.class,
            });
        }
        let mut passed = HashMap::new();
        for (vertex, segment) in self.passes(&tops, &heights, left) {
            passed.insert(vertex, segments.len());
            segments.push(segment);
        }
        // From the upper end to the lower one: each link, and the vertex that it leads to.
        let along =
            |link: usize| [Some(link), passed.get(&self.links[link].to).copied()].into_iter().flatten();
        let routes = self.routes.iter().map(|route| route.iter().flat_map(|&link| along(link)).collect());
        let routes = routes.collect();
        Layout {
            width: (right - left).max(0.0),
            height: tops.last().zip(heights.last()).map_or(0.0, |(top, height)| top + height),
            boxes: self.vertices.iter().take(plan.boxes.len()).map(middle).collect(),
            labels: self
                .labels
                .iter()
                .map(|label| label.map(|label| middle(&self.vertices[label])))
                .collect(),
            segments,
            routes,
        }
    }

    /// The pieces that run through the ranks of bends and labels.
    fn passes<'l>(
        &'l self,
        tops: &'l [f64],
        heights: &'l [f64],
        left: f64,
    ) -> impl Iterator<Item = (usize, Segment)> + 'l {
        let mut passed = vec![false; self.vertices.len()];
        self.links.iter().filter_map(move |link| {
            let vertex = &self.vertices[link.to];
            if vertex.role == Role::Box || std::mem::replace(&mut passed[link.to], true) {
                return None;
            }
            let (x, top, bottom) =
                (vertex.x - left, tops[vertex.rank], tops[vertex.rank] + heights[vertex.rank]);
            let ends = ((x, top), (x, bottom));
            let segment = Segment {
                from: ends.0,
                to: ends.1,
                across: (top, bottom),
                heads: (false, false),
                class: link.class,
            };
            (bottom > top).then_some((link.to, segment))
        })
    }

    /// The room below each rank: little if links run straight, more if they run far across. A rank without labels needs
    /// none.
    fn rank_gaps(&self) -> Vec<f64> {
        let mut across = vec![0.0f64; self.ranks.len()];
        for link in &self.links {
            let (from, to) = (&self.vertices[link.from], &self.vertices[link.to]);
            across[from.rank] = across[from.rank].max((from.x - to.x).abs());
        }
        across.iter().map(|across| (GAP_Y / 2.0 + across * 0.06).min(3.0 * GAP_Y)).collect()
    }

    /// How far from the centre each link leaves its upper and reaches its lower vertex: side by side, in the order of
    /// their other ends.
    fn ports(&self) -> Vec<(f64, f64)> {
        let mut ports = vec![(0.0, 0.0); self.links.len()];
        let (mut out, mut into) = (HashMap::<usize, Vec<usize>>::new(), HashMap::<usize, Vec<usize>>::new());
        for (n, link) in self.links.iter().enumerate() {
            out.entry(link.from).or_default().push(n);
            into.entry(link.to).or_default().push(n);
        }
        for (vertex, mut links) in out {
            links.sort_by(|&a, &b| self.x_of(self.links[a].to).total_cmp(&self.x_of(self.links[b].to)));
            for (n, offset) in self.spread(vertex, &links) {
                ports[n].0 = offset;
            }
        }
        for (vertex, mut links) in into {
            links.sort_by(|&a, &b| self.x_of(self.links[a].from).total_cmp(&self.x_of(self.links[b].from)));
            for (n, offset) in self.spread(vertex, &links) {
                ports[n].1 = offset;
            }
        }
        ports
    }

    fn x_of(&self, vertex: usize) -> f64 {
        self.vertices[vertex].x
    }

    fn spread<'l>(&self, vertex: usize, links: &'l [usize]) -> impl Iterator<Item = (usize, f64)> + 'l {
        let vertex = &self.vertices[vertex];
        let step = (vertex.ports / links.len() as f64).min(26.0);
        let first = -step * (links.len() as f64 - 1.0) / 2.0;
        links.iter().enumerate().map(move |(i, &n)| (n, first + step * i as f64))
    }
}
