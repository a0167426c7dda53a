//! The syntax tree of a regular expression: a flat table in which children come before their parents, so that whatever
//! is to be known of all nodes is computed in one pass.

use super::set::Set;

/// The index of a node.
pub(super) type NodeId = u32;

/// No upper bound of a repetition.
pub(super) const UNBOUNDED: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Matches the empty text.
    Empty,
    /// A character of this [set](Tree::sets).
    Set(u32),
    Char(char),
    Assert(Assert),
    /// What the group matched.
    Back(u32),
    /// A group that is captured under this number.
    Group(u32, NodeId),
    Look {
        behind: bool,
        negated: bool,
        body: NodeId,
    },
    Repeat(Repeat),
    /// One after another: nodes of [`Tree::lists`].
    Sequence(u32, u32),
    /// One or another: nodes of [`Tree::lists`].
    Either(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) body: NodeId,
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) greedy: bool,
    /// The groups inside: from this number to before that one.
    pub(super) groups: (u32, u32),
}

/// A condition on a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assert {
    Start,
    End,
    LineStart,
    LineEnd,
    Word,
    NotWord,
}

/// A regular expression.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) lists: Vec<NodeId>,
    pub(super) sets: Vec<Set>,
    pub(super) root: NodeId,
    /// Captured groups, with the whole match.
    pub(super) groups: u32,
    pub(super) any_case: bool,
}

impl Tree {
    pub(super) fn list(&self, from: u32, to: u32) -> &[NodeId] {
        &self.lists[from as usize..to as usize]
    }

    /// Whether a quantifier stands right behind it, without parentheses around it.
    pub(super) fn repeats_bare(&self, id: NodeId) -> bool {
        matches!(self.nodes[id as usize], Node::Char(_) | Node::Set(_) | Node::Group(..))
    }

    /// Whether it needs parentheses in a sequence.
    pub(super) fn is_either(&self, id: NodeId) -> bool {
        matches!(self.nodes[id as usize], Node::Either(..))
    }

    /// Whether it is beyond a linear automaton.
    pub(super) fn needs_backtracking(&self) -> bool {
        self.nodes.iter().any(|node| match node {
            Node::Look { .. } | Node::Back(_) => true,
            // An automaton over bytes knows no line ends but `\n`.
            Node::Assert(assert) => matches!(assert, Assert::LineStart | Assert::LineEnd),
            // The `regex` crate forgets the groups.
            Node::Repeat(repeat) => repeat.max == 0 && repeat.groups.0 < repeat.groups.1,
            _ => false,
        })
    }

    /// For each node, a value made of those of its children.
    fn up<T>(&self, mut value: impl FnMut(&Node, &[T]) -> T) -> Vec<T> {
        let mut values = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let next = value(node, &values);
            values.push(next);
        }
        values
    }

    /// The nesting of what is [printed](super::print), at most: of that, the `regex` crate takes so much and no more.
    pub(super) fn depth(&self) -> u32 {
        let depths = self.up(|node, depths: &[u32]| {
            let of = |id: NodeId| depths[id as usize];
            let most = |depths: &mut dyn Iterator<Item = u32>| depths.max().map_or(0, |depth| depth + 1);
            match *node {
                Node::Group(_, body) | Node::Look { body, .. } => of(body) + 1,
                Node::Repeat(repeat) => of(repeat.body) + 1 + u32::from(!self.repeats_bare(repeat.body)),
                Node::Sequence(from, to) => {
                    let items = self.list(from, to).iter();
                    most(&mut items.map(|&id| of(id) + u32::from(self.is_either(id))))
                }
                Node::Either(from, to) => most(&mut self.list(from, to).iter().map(|&id| of(id))),
                // A class, and its ranges.
                Node::Set(_) => 2,
                // It is in parentheses.
                Node::Assert(Assert::Word | Assert::NotWord) => 1,
                _ => 0,
            }
        });
        depths[self.root as usize]
    }

    /// Of each node, whether it may match the empty text.
    pub(super) fn nullable(&self) -> Vec<bool> {
        self.up(|node, nullable: &[bool]| {
            let of = |id: NodeId| nullable[id as usize];
            match *node {
                Node::Set(_) | Node::Char(_) => false,
                Node::Empty | Node::Assert(_) | Node::Back(_) | Node::Look { .. } => true,
                Node::Group(_, body) => of(body),
                Node::Repeat(repeat) => repeat.min == 0 || of(repeat.body),
                Node::Sequence(from, to) => self.list(from, to).iter().all(|&id| of(id)),
                Node::Either(from, to) => self.list(from, to).iter().any(|&id| of(id)),
            }
        })
    }

    /// Whether it matches at the start of a text only.
    pub(super) fn is_anchored(&self) -> bool {
        let anchored = self.up(|node, anchored: &[bool]| {
            let of = |id: NodeId| anchored[id as usize];
            match *node {
                Node::Assert(assert) => assert == Assert::Start,
                Node::Group(_, body) => of(body),
                Node::Sequence(from, to) => self.list(from, to).iter().any(|&id| of(id)),
                Node::Either(from, to) => self.list(from, to).iter().all(|&id| of(id)),
                Node::Repeat(repeat) => repeat.min > 0 && of(repeat.body),
                _ => false,
            }
        });
        anchored[self.root as usize]
    }

    /// The possible first bytes of a match; `None` if it may be empty.
    pub(super) fn first_bytes(&self) -> Option<Box<[bool; 256]>> {
        let nullable = self.nullable();
        if nullable[self.root as usize] {
            return None;
        }
        let mut first = Box::new([false; 256]);
        // A node is visited once, from its only parent.
        let mut pending = vec![self.root];
        while let Some(id) = pending.pop() {
            match self.nodes[id as usize] {
                Node::Empty | Node::Assert(_) | Node::Look { .. } => {}
                Node::Back(_) => return None,
                Node::Char(c) => first[lead(u32::from(c))] = true,
                Node::Set(set) => {
                    for &(low, high) in self.sets[set as usize].ranges() {
                        first[lead(low)..=lead(high)].fill(true);
                    }
                }
                Node::Group(_, body) => pending.push(body),
                Node::Repeat(repeat) => pending.extend((repeat.max > 0).then_some(repeat.body)),
                Node::Either(from, to) => pending.extend(self.list(from, to)),
                Node::Sequence(from, to) => {
                    for &id in self.list(from, to) {
                        pending.push(id);
                        if !nullable[id as usize] {
                            break;
                        }
                    }
                }
            }
        }
        // A range of first bytes may go over those that are inside of characters.
        first[0x80..0xC0].fill(false);
        Some(first)
    }
}

/// The first byte of a code point in UTF-8.
fn lead(code: u32) -> usize {
    (match code {
        0..0x80 => code,
        0x80..0x800 => 0xC0 | code >> 6,
        0x800..0x1_0000 => 0xE0 | code >> 12,
        _ => 0xF0 | code >> 18,
    }) as usize
}
