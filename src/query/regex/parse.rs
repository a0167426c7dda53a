//! Reads the syntax of JavaScript's regular expressions without the flag `u`, with its Annex B: what is not an escape
//! or a quantifier is literal. Nesting is kept on a stack of its own.

use std::collections::HashMap;

use super::set::Set;
use super::tree::{Assert, Node, NodeId, Repeat, Tree, UNBOUNDED};

/// Groups that an expression may have; as V8.
const GROUPS_MAX: u32 = 65_535;

/// How an expression is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    pub(super) any_case: bool,
    pub(super) multi_line: bool,
    /// The class `\s`.
    pub(super) space: &'static [(u32, u32)],
}

/// Why an expression is wrong, in V8's words.
type Problem = &'static str;

/// Reads an expression.
pub(super) fn parse(pattern: &str, flags: Flags) -> Result<Tree, Problem> {
    let chars: Vec<char> = pattern.chars().collect();
    let outline = outline(&chars);
    let tree = Tree {
        nodes: Vec::new(),
        lists: Vec::new(),
        sets: Vec::new(),
        root: 0,
        groups: outline.groups + 1,
        any_case: flags.any_case,
    };
    if outline.groups > GROUPS_MAX {
        return Err("Too many captures");
    }
    Parser {
        chars,
        at: 0,
        flags,
        outline,
        tree,
        predefined: Vec::new(),
        open: Vec::new(),
        items: Vec::new(),
        choices: Vec::new(),
        groups: 0,
        names: HashMap::new(),
    }
    .run()
}

/// What has to be known before the first reference to a group.
struct Outline {
    groups: u32,
    /// Whether a group has a name, so that `\k` is a reference.
    named: bool,
}

fn outline(chars: &[char]) -> Outline {
    let (mut outline, mut at, mut in_class) = (Outline { groups: 0, named: false }, 0, false);
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 1,
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let behind = |ahead: usize| chars.get(at + ahead).copied();
                let named =
                    behind(1) == Some('?') && behind(2) == Some('<') && !matches!(behind(3), Some('=' | '!'));
                outline.groups += u32::from(named || behind(1) != Some('?'));
                outline.named |= named;
            }
            _ => {}
        }
        at += 1;
    }
    outline
}

/// A group that is not closed yet.
struct Open {
    kind: Kind,
    /// Where its items and alternatives begin.
    items: usize,
    choices: usize,
    /// Groups before it.
    groups: u32,
}

enum Kind {
    Plain,
    Group(u32),
    Look { behind: bool, negated: bool },
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    flags: Flags,
    outline: Outline,
    tree: Tree,
    /// The sets of `\d \D \w \W \s \S .` that are in the tree already.
    predefined: Vec<(char, u32)>,
    open: Vec<Open>,
    /// The items of the alternatives that are being read, of all open groups.
    items: Vec<NodeId>,
    choices: Vec<NodeId>,
    /// Groups so far.
    groups: u32,
    /// The groups that have names.
    names: HashMap<String, u32>,
}

/// What stands in a class, or behind a backslash.
enum Class {
    Char(char),
    /// A set by its letter.
    Set(char),
}

impl Parser {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(n, c)| self.peek(n) == Some(c));
        self.at += if found { text.len() } else { 0 };
        found
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.tree.nodes.push(node);
        self.tree.nodes.len() as u32 - 1
    }

    fn list(&mut self, ids: Vec<NodeId>) -> (u32, u32) {
        let from = self.tree.lists.len() as u32;
        self.tree.lists.extend(ids);
        (from, self.tree.lists.len() as u32)
    }

    fn run(mut self) -> Result<Tree, Problem> {
        // Names of references may stand before their groups.
        let mut references: Vec<(NodeId, String)> = Vec::new();
        while let Some(c) = self.peek(0) {
            let groups = self.groups;
            self.at += 1;
            let node = match c {
                '|' => {
                    let from = self.open.last().map_or(0, |open| open.items);
                    let choice = self.sequence(from);
                    self.choices.push(choice);
                    continue;
                }
                '(' => {
                    self.begin()?;
                    continue;
                }
                ')' => {
                    let Some(open) = self.open.pop() else { return Err("Unmatched ')'") };
                    let body = self.end(open.items, open.choices);
                    let node = match open.kind {
                        Kind::Plain => body,
                        Kind::Group(group) => self.add(Node::Group(group, body)),
                        Kind::Look { behind, negated } => self.add(Node::Look { behind, negated, body }),
                    };
                    if matches!(open.kind, Kind::Look { behind: true, .. }) {
                        self.unquantified(node)?;
                    } else {
                        self.quantified(node, open.groups)?;
                    }
                    continue;
                }
                '^' => {
                    let assert = if self.flags.multi_line { Assert::LineStart } else { Assert::Start };
                    let node = self.add(Node::Assert(assert));
                    self.items.push(node);
                    continue;
                }
                '$' => {
                    let assert = if self.flags.multi_line { Assert::LineEnd } else { Assert::End };
                    let node = self.add(Node::Assert(assert));
                    self.items.push(node);
                    continue;
                }
                '*' | '+' | '?' => return Err("Nothing to repeat"),
                '{' if self.counts().is_some() => return Err("Nothing to repeat"),
                '.' => self.predefined('.'),
                '[' => self.class()?,
                '\\' => match self.peek(0) {
                    None => return Err("\\ at end of pattern"),
                    Some(c @ ('b' | 'B')) => {
                        self.at += 1;
                        let assert = if c == 'b' { Assert::Word } else { Assert::NotWord };
                        let node = self.add(Node::Assert(assert));
                        self.items.push(node);
                        continue;
                    }
                    Some('k') if self.outline.named => {
                        self.at += 1;
                        let name = if self.eat("<") { self.name() } else { None };
                        let node = self.add(Node::Empty);
                        references.push((node, name.ok_or("Invalid named reference")?));
                        node
                    }
                    Some(_) => match self.reference() {
                        Some(group) => self.add(Node::Back(group)),
                        None => match self.escape(false) {
                            Class::Set(letter) => self.predefined(letter),
                            Class::Char(c) => self.char(c),
                        },
                    },
                },
                c => self.char(c),
            };
            self.quantified(node, groups)?;
        }
        if !self.open.is_empty() {
            return Err("Unterminated group");
        }
        for (node, name) in references {
            let group = *self.names.get(&name).ok_or("Invalid named capture referenced")?;
            self.tree.nodes[node as usize] = Node::Back(group);
        }
        self.tree.root = self.end(0, 0);
        Ok(self.tree)
    }

    /// A group, behind its parenthesis.
    fn begin(&mut self) -> Result<(), Problem> {
        let look = |behind, negated| Kind::Look { behind, negated };
        let groups = self.groups;
        let kind = if self.eat("?:") {
            Kind::Plain
        } else if self.eat("?=") {
            look(false, false)
        } else if self.eat("?!") {
            look(false, true)
        } else if self.eat("?<=") {
            look(true, false)
        } else if self.eat("?<!") {
            look(true, true)
        } else {
            self.groups += 1;
            if self.eat("?<") {
                let name = self.name().ok_or("Invalid capture group name")?;
                if self.names.insert(name, self.groups).is_some() {
                    return Err("Duplicate capture group name");
                }
            } else if self.eat("?") {
                return Err("Invalid group");
            }
            Kind::Group(self.groups)
        };
        self.open.push(Open { kind, items: self.items.len(), choices: self.choices.len(), groups });
        Ok(())
    }

    /// The end of a group, or of the whole.
    fn end(&mut self, items: usize, choices: usize) -> NodeId {
        let last = self.sequence(items);
        if self.choices.len() == choices {
            return last;
        }
        self.choices.push(last);
        let choices = self.choices.split_off(choices);
        let (from, to) = self.list(choices);
        self.add(Node::Either(from, to))
    }

    /// The items since `from`, as one node.
    fn sequence(&mut self, from: usize) -> NodeId {
        let items = self.items.split_off(from);
        match items[..] {
            [] => self.add(Node::Empty),
            [item] => item,
            _ => {
                let (from, to) = self.list(items);
                self.add(Node::Sequence(from, to))
            }
        }
    }

    /// The name of a group and its `>`, behind the `<`.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            let mut c = self.peek(0)?;
            self.at += 1;
            if c == '>' {
                return (!name.is_empty()).then_some(name);
            }
            if c == '\\' {
                if !self.eat("u") {
                    return None;
                }
                let code = if self.eat("{") {
                    let digits = self.chars[self.at..].iter().take_while(|c| c.is_ascii_hexdigit()).count();
                    let code = self.hex(digits)?;
                    self.eat("}").then_some(code)?
                } else {
                    self.hex(4)?
                };
                c = char::from_u32(code)?;
            }
            let begins = c.is_alphabetic() || matches!(c, '$' | '_');
            if !begins && (name.is_empty() || !(c.is_alphanumeric() || matches!(c, '\u{200c}' | '\u{200d}')))
            {
                return None;
            }
            name.push(c);
        }
    }

    /// The number of a group, behind a backslash; nothing if there is no such group.
    fn reference(&mut self) -> Option<u32> {
        let (number, end) = self.number(self.at);
        let number = number.filter(|&number| self.peek(0) != Some('0') && number <= self.outline.groups)?;
        self.at = end;
        Some(number)
    }

    /// Adds an item that takes no quantifier.
    fn unquantified(&mut self, node: NodeId) -> Result<(), Problem> {
        self.items.push(node);
        let quantifier = match self.peek(0) {
            Some('*' | '+' | '?') => true,
            Some('{') => {
                self.at += 1;
                let counts = self.counts();
                self.at -= 1;
                counts.is_some()
            }
            _ => false,
        };
        if quantifier { Err("Invalid quantifier") } else { Ok(()) }
    }

    /// Adds an item with the quantifier that follows, if any. It has the groups after `groups`.
    fn quantified(&mut self, node: NodeId, groups: u32) -> Result<(), Problem> {
        let (min, max) = match self.peek(0) {
            Some('*') => (0, UNBOUNDED),
            Some('+') => (1, UNBOUNDED),
            Some('?') => (0, 1),
            Some('{') => {
                self.at += 1;
                let Some((min, max, length)) = self.counts() else {
                    self.at -= 1;
                    self.items.push(node);
                    return Ok(());
                };
                self.at += length - 1;
                (min, max)
            }
            _ => {
                self.items.push(node);
                return Ok(());
            }
        };
        self.at += 1;
        if min > max {
            return Err("numbers out of order in {} quantifier");
        }
        let greedy = !self.eat("?");
        let groups = (groups + 1, self.groups + 1);
        let node = self.add(Node::Repeat(Repeat { body: node, min, max, greedy, groups }));
        self.items.push(node);
        Ok(())
    }

    /// The numbers of a quantifier behind its `{`, and its length; nothing if it has not the syntax of one.
    fn counts(&self) -> Option<(u32, u32, usize)> {
        let (min, mut at) = self.number(self.at);
        let min = min?;
        let mut max = min;
        if self.chars.get(at) == Some(&',') {
            let (high, end) = self.number(at + 1);
            (max, at) = (high.unwrap_or(UNBOUNDED), end);
        }
        (self.chars.get(at) == Some(&'}')).then_some((min, max, at + 1 - self.at))
    }

    /// The decimal number at a place, if there is one, and its end.
    fn number(&self, mut at: usize) -> (Option<u32>, usize) {
        let mut number = None;
        while let Some(digit) = self.chars.get(at).and_then(|c| c.to_digit(10)) {
            number =
                Some(number.map_or(digit, |number: u32| number.saturating_mul(10).saturating_add(digit)));
            at += 1;
        }
        (number, at)
    }

    fn char(&mut self, c: char) -> NodeId {
        if self.flags.any_case {
            let set = Set::new(vec![(u32::from(c), u32::from(c))]).any_case();
            if set.ranges() != [(u32::from(c), u32::from(c))] {
                return self.set(set);
            }
        }
        self.add(Node::Char(c))
    }

    fn set(&mut self, set: Set) -> NodeId {
        self.tree.sets.push(set);
        self.add(Node::Set(self.tree.sets.len() as u32 - 1))
    }

    fn predefined(&mut self, letter: char) -> NodeId {
        if let Some(&(_, set)) = self.predefined.iter().find(|(known, _)| *known == letter) {
            return self.add(Node::Set(set));
        }
        let node = self.set(self.set_of(letter));
        self.predefined.push((letter, self.tree.sets.len() as u32 - 1));
        node
    }

    /// The set of a letter, which has all characters that are equal to one of it without regard to case.
    fn set_of(&self, letter: char) -> Set {
        let code = u32::from;
        let set = Set::new(match letter {
            'd' | 'D' => vec![(code('0'), code('9'))],
            'w' | 'W' => {
                let ranges = [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
                ranges.map(|(low, high)| (code(low), code(high))).to_vec()
            }
            's' | 'S' => self.flags.space.to_vec(),
            _ => vec![(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)],
        });
        if matches!(letter, 'd' | 'w' | 's') { set } else { set.complement() }
    }

    /// A class, behind its `[`.
    fn class(&mut self) -> Result<NodeId, Problem> {
        let negated = self.eat("^");
        let (mut written, mut whole) = (Vec::new(), Vec::new());
        loop {
            let low = self.class_item()?;
            let Some(low) = low else { break };
            if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
                self.at += 1;
                let Some(high) = self.class_item()? else { return Err("Unterminated character class") };
                match (low, high) {
                    (Class::Char(low), Class::Char(high)) if low <= high => {
                        written.push((u32::from(low), u32::from(high)));
                    }
                    (Class::Char(_), Class::Char(_)) => return Err("Range out of order in character class"),
                    // Beside a set, a `-` is a character.
                    (low, high) => {
                        for item in [low, Class::Char('-'), high] {
                            self.include(item, &mut written, &mut whole);
                        }
                    }
                }
            } else {
                self.include(low, &mut written, &mut whole);
            }
        }
        let mut set = Set::new(written);
        if self.flags.any_case {
            set = set.any_case();
        }
        if !whole.is_empty() {
            whole.extend_from_slice(set.ranges());
            set = Set::new(whole);
        }
        Ok(self.set(if negated { set.complement() } else { set }))
    }

    fn include(&self, item: Class, written: &mut Vec<(u32, u32)>, whole: &mut Vec<(u32, u32)>) {
        match item {
            Class::Char(c) => written.push((u32::from(c), u32::from(c))),
            Class::Set(letter) => whole.extend_from_slice(self.set_of(letter).ranges()),
        }
    }

    /// One item of a class; nothing at its end.
    fn class_item(&mut self) -> Result<Option<Class>, Problem> {
        let Some(c) = self.peek(0) else { return Err("Unterminated character class") };
        self.at += 1;
        Ok(match c {
            ']' => None,
            '\\' if self.peek(0).is_none() => return Err("\\ at end of pattern"),
            '\\' => Some(self.escape(true)),
            c => Some(Class::Char(c)),
        })
    }

    /// What an escape means, behind its backslash, which something follows.
    fn escape(&mut self, in_class: bool) -> Class {
        let c = self.chars[self.at];
        self.at += 1;
        Class::Char(match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => return Class::Set(c),
            'b' if in_class => '\u{8}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'c' => match self.peek(0) {
                Some(letter)
                    if letter.is_ascii_alphabetic()
                        || in_class && (letter.is_ascii_digit() || letter == '_') =>
                {
                    self.at += 1;
                    char::from(letter as u8 & 0x1f)
                }
                // The backslash is a character, and what follows it another.
                _ => {
                    self.at -= 1;
                    '\\'
                }
            },
            '0'..='7' => self.octal(c),
            'x' => self.hex(2).and_then(char::from_u32).unwrap_or(c),
            'u' => match self.hex(4) {
                Some(unit) => self.unit(unit),
                None => c,
            },
            c => c,
        })
    }

    /// Up to three octal digits of at most 255, behind the first.
    fn octal(&mut self, first: char) -> char {
        let mut code = u32::from(first) - u32::from('0');
        for _ in 0..2 {
            let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)).filter(|_| code < 32) else { break };
            code = code * 8 + digit;
            self.at += 1;
        }
        char::from(code as u8)
    }

    /// The character of an escaped unit. Two escapes may be the halves of one.
    fn unit(&mut self, unit: u32) -> char {
        let before = self.at;
        if (0xD800..0xDC00).contains(&unit)
            && self.eat("\\u")
            && let Some(low @ 0xDC00..0xE000) = self.hex(4)
        {
            let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        self.at = before;
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text = self.chars.get(self.at..self.at + digits)?;
        let code =
            text.iter().try_fold(0u32, |code, c| code.checked_mul(16)?.checked_add(c.to_digit(16)?))?;
        self.at += digits;
        Some(code)
    }
}
