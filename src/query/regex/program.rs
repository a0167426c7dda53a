//! Compiles an expression for the backtracking search. Repetitions are counted, not copied, so that a program is about
//! as long as its expression.

use super::set::Set;
use super::tree::{Assert, Node, NodeId, Repeat, Tree, UNBOUNDED};

/// The index of an instruction.
pub(super) type At = u32;

/// An instruction. Those with `back` go backwards through the text, as what is inside of a look-behind does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inst {
    Match,
    Char {
        c: char,
        back: bool,
    },
    Set {
        set: u32,
        back: bool,
    },
    /// As many characters of a set as there are, or as few, without an instruction for each; its numbers are in
    /// [`Program::counts`].
    Run {
        set: u32,
        counts: u32,
        greedy: bool,
        back: bool,
    },
    Assert(Assert),
    /// What a group matched, again.
    Back {
        group: u32,
        back: bool,
    },
    /// Keeps the position in a slot.
    Save(u32),
    /// Clears slots, from one to before another.
    Clear(u32, u32),
    Jump(At),
    /// Goes on behind it; or at the other place, when that fails.
    Split(At),
    /// Goes on at the other place; or behind it, when that fails.
    SplitLazy(At),
    /// Sets a counter to 0.
    Zero(u32),
    /// Begins another round, behind it, or leaves to `exit`, as the counter allows.
    Round {
        counter: u32,
        counts: u32,
        greedy: bool,
        exit: At,
    },
    /// Counts a round and goes to the next; at least so many are needed.
    Counted {
        counter: u32,
        counts: u32,
        round: At,
    },
    /// Fails where nothing was matched since the slot was saved.
    Progress(u32),
    /// The same, if the counter says that no more rounds are needed.
    ProgressCounted {
        slot: u32,
        counter: u32,
        counts: u32,
    },
    /// What follows, to [`LookEnd`](Inst::LookEnd), must match here, or must not; then goes on at `behind`.
    Look {
        negated: bool,
        behind: At,
    },
    LookEnd,
}

const _: () = assert!(size_of::<Inst>() <= 24);

/// A set that is looked into for each character.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    ascii: [u64; 2],
    set: Set,
}

impl Lookup {
    fn new(set: Set) -> Lookup {
        let mut ascii = [0; 2];
        for c in (0..128u8).filter(|&c| set.contains(char::from(c))) {
            ascii[usize::from(c / 64)] |= 1 << (c % 64);
        }
        Lookup { ascii, set }
    }

    #[inline]
    pub(super) fn contains(&self, c: char) -> bool {
        match u32::from(c) {
            code @ 0..128 => self.ascii[code as usize / 64] >> (code % 64) & 1 == 1,
            _ => self.set.contains(c),
        }
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) code: Vec<Inst>,
    pub(super) sets: Vec<Lookup>,
    /// How often something is repeated: at least and at most.
    pub(super) counts: Vec<(u32, u32)>,
    /// Groups, with the whole match. Each has two slots; those of counters and places follow.
    pub(super) groups: u32,
    pub(super) slots: u32,
    pub(super) any_case: bool,
    /// It matches at the start of a text only.
    pub(super) anchored: bool,
    /// The possible first bytes of a match; `None` if it may be empty.
    pub(super) first: Option<Box<[bool; 256]>>,
}

impl Program {
    pub(super) fn new(tree: &Tree) -> Program {
        let program = Program {
            code: Vec::new(),
            sets: tree.sets.iter().cloned().map(Lookup::new).collect(),
            counts: Vec::new(),
            groups: tree.groups,
            slots: 2 * tree.groups,
            any_case: tree.any_case,
            anchored: tree.is_anchored(),
            first: tree.first_bytes(),
        };
        let (nullable, open) = (tree.nullable(), Vec::new());
        Emit { tree, nullable, program, open, todo: Vec::new(), ends: Vec::new() }.run()
    }

    pub(super) fn bytes(&self) -> usize {
        let ranges: usize = self.sets.iter().map(|lookup| size_of_val(lookup.set.ranges())).sum();
        size_of_val(&*self.code) + size_of_val(&*self.sets) + ranges + size_of_val(&*self.counts)
    }
}

/// What is still to be emitted.
enum Todo {
    Node(NodeId, bool),
    Inst(Inst),
    /// Before an alternative that another follows.
    Choice,
    /// Behind it.
    Chosen,
    /// Behind the last of so many.
    Either(usize),
    /// Behind the body of a repetition.
    Optional(Option<u32>),
    Star(At, Option<u32>),
    Counted(Round),
    LookEnd,
}

/// A counted repetition.
struct Round {
    counter: u32,
    counts: u32,
    /// Where its round began, if it may be empty.
    place: Option<u32>,
}

struct Emit<'t> {
    tree: &'t Tree,
    nullable: Vec<bool>,
    program: Program,
    todo: Vec<Todo>,
    /// Instructions whose target is not known yet.
    open: Vec<At>,
    /// The same, of jumps behind the last alternative.
    ends: Vec<At>,
}

impl Emit<'_> {
    fn run(mut self) -> Program {
        self.todo.push(Todo::Inst(Inst::Match));
        self.todo.push(Todo::Inst(Inst::Save(1)));
        self.todo.push(Todo::Node(self.tree.root, false));
        self.todo.push(Todo::Inst(Inst::Save(0)));
        while let Some(todo) = self.todo.pop() {
            match todo {
                Todo::Node(id, back) => self.node(id, back),
                Todo::Inst(inst) => _ = self.emit(inst),
                Todo::Choice => {
                    let at = self.emit(Inst::Split(0));
                    self.open.push(at);
                }
                Todo::Chosen => {
                    let jump = self.emit(Inst::Jump(0));
                    self.ends.push(jump);
                    self.close();
                }
                Todo::Either(choices) => {
                    for at in self.ends.split_off(self.ends.len() - choices) {
                        self.target(at);
                    }
                }
                Todo::Optional(place) => {
                    if let Some(place) = place {
                        self.emit(Inst::Progress(place));
                    }
                    self.close();
                }
                Todo::Star(split, place) => {
                    if let Some(place) = place {
                        self.emit(Inst::Progress(place));
                    }
                    self.emit(Inst::Jump(split));
                    self.close();
                }
                Todo::Counted(Round { counter, counts, place }) => {
                    if let Some(slot) = place {
                        self.emit(Inst::ProgressCounted { slot, counter, counts });
                    }
                    let round = self.open.last().copied().unwrap_or(0);
                    self.emit(Inst::Counted { counter, counts, round });
                    self.close();
                }
                Todo::LookEnd => {
                    self.emit(Inst::LookEnd);
                    self.close();
                }
            }
        }
        self.program
    }

    fn emit(&mut self, inst: Inst) -> At {
        self.program.code.push(inst);
        self.program.code.len() as At - 1
    }

    /// The innermost open instruction leads here.
    fn close(&mut self) {
        let at = self.open.pop();
        assert!(at.is_some(), "what is closed was opened");
        self.target(at.unwrap_or(0));
    }

    fn target(&mut self, at: At) {
        let here = self.program.code.len() as At;
        match &mut self.program.code[at as usize] {
            Inst::Jump(to) | Inst::Split(to) | Inst::SplitLazy(to) => *to = here,
            Inst::Round { exit: to, .. } | Inst::Look { behind: to, .. } => *to = here,
            _ => unreachable!("it has no target"),
        }
    }

    fn slot(&mut self) -> u32 {
        self.program.slots += 1;
        self.program.slots - 1
    }

    fn counts(&mut self, min: u32, max: u32) -> u32 {
        self.program.counts.push((min, max));
        self.program.counts.len() as u32 - 1
    }

    fn node(&mut self, id: NodeId, back: bool) {
        let tree = self.tree;
        match tree.nodes[id as usize] {
            Node::Empty => {}
            Node::Char(c) => _ = self.emit(Inst::Char { c, back }),
            Node::Set(set) => _ = self.emit(Inst::Set { set, back }),
            Node::Assert(assert) => _ = self.emit(Inst::Assert(assert)),
            Node::Back(group) => _ = self.emit(Inst::Back { group, back }),
            Node::Group(group, body) => {
                let (first, last) = (2 * group + u32::from(back), 2 * group + u32::from(!back));
                self.emit(Inst::Save(first));
                self.todo.push(Todo::Inst(Inst::Save(last)));
                self.todo.push(Todo::Node(body, back));
            }
            Node::Look { behind, negated, body } => {
                let at = self.emit(Inst::Look { negated, behind: 0 });
                self.open.push(at);
                self.todo.push(Todo::LookEnd);
                self.todo.push(Todo::Node(body, behind));
            }
            Node::Repeat(repeat) => self.repeat(repeat, back),
            Node::Sequence(from, to) => {
                let items = tree.list(from, to).iter().map(|&id| Todo::Node(id, back));
                // The last one that is pushed comes first.
                if back { self.todo.extend(items) } else { self.todo.extend(items.rev()) }
            }
            Node::Either(from, to) => {
                let choices = tree.list(from, to);
                self.todo.push(Todo::Either(choices.len() - 1));
                for (n, &id) in choices.iter().enumerate().rev() {
                    let last = n + 1 == choices.len();
                    if !last {
                        self.todo.push(Todo::Chosen);
                    }
                    self.todo.push(Todo::Node(id, back));
                    if !last {
                        self.todo.push(Todo::Choice);
                    }
                }
            }
        }
    }

    fn repeat(&mut self, repeat: Repeat, back: bool) {
        let Repeat { body, min, max, greedy, groups } = repeat;
        if max == 0 {
            return;
        }
        let node = self.tree.nodes[body as usize];
        let set = match node {
            Node::Set(set) => Some(set),
            Node::Char(c) => {
                let code = u32::from(c);
                self.program.sets.push(Lookup::new(Set::new(vec![(code, code)])));
                Some(self.program.sets.len() as u32 - 1)
            }
            _ => None,
        };
        if let Some(set) = set {
            let counts = self.counts(min, max);
            self.emit(Inst::Run { set, counts, greedy, back });
            return;
        }
        if (min, max) == (1, 1) {
            self.todo.push(Todo::Node(body, back));
            return;
        }
        let place = self.nullable[body as usize].then(|| self.slot());
        let split = if greedy { Inst::Split(0) } else { Inst::SplitLazy(0) };
        match (min, max) {
            (0, 1) | (0, UNBOUNDED) => {
                let at = self.emit(split);
                self.open.push(at);
                self.todo.push(if max == 1 { Todo::Optional(place) } else { Todo::Star(at, place) });
            }
            _ => {
                let (counter, counts) = (self.slot(), self.counts(min, max));
                self.emit(Inst::Zero(counter));
                let at = self.emit(Inst::Round { counter, counts, greedy, exit: 0 });
                self.open.push(at);
                self.todo.push(Todo::Counted(Round { counter, counts, place }));
            }
        }
        if groups.0 < groups.1 {
            self.emit(Inst::Clear(2 * groups.0, 2 * groups.1));
        }
        if let Some(place) = place {
            self.emit(Inst::Save(place));
        }
        self.todo.push(Todo::Node(body, back));
    }
}
