//! The evaluator: walks the program over the arena's values.
//!
//! * Sequences are built on the arena's stack and become arrays only when they leave a path with several items.
//! * Marks on a value encode its kind of array: see [`mark`]. They are part of the handle.
//! * Frames of variables are in one vector; a frame is freed when its creator ends, unless a function was made since
//!   that may refer to it.
//! * Depth is counted as the reference implementation nests its `evaluate`; native recursion has a bound of its own.

mod apply;
mod bounds;
mod equal;
mod error;
mod finish;
mod group;
mod operator;
mod path;
mod sort;
mod text;
mod transform;
mod tuple;
mod validate;
mod wrap;

pub(super) use apply::empty_match;
pub(super) use bounds::{ITEMS_AT_ONCE, TEXT_PIECE, pieces};
pub(super) use equal::Firsts;
pub(super) use error::Failure;
pub use error::{EvalError, EvalErrorKind};

use super::functions::Builtin;
use super::program::*;
use crate::fuel::Fuel;
use crate::json::{Arena, Compactor, Key, Kind, Value};
use crate::limits;
use crate::query::Scope;

/// Kinds of arrays, as marks of values.
pub(super) mod mark {
    /// A sequence: a single item is unwrapped, an empty one is no value.
    pub(in crate::query::jsonata) const SEQUENCE: u8 = 1;
    /// A sequence that stays an array even with one item.
    pub(in crate::query::jsonata) const KEEP: u8 = 2;
    /// Made by an array constructor in a path: not flattened.
    pub(in crate::query::jsonata) const CONS: u8 = 4;
    /// The wrapper around an input that is itself an array.
    pub(in crate::query::jsonata) const OUTER: u8 = 8;
    /// Rows of items and their bindings; the first element is the schema's number.
    pub(in crate::query::jsonata) const TUPLE: u8 = 16;
}

/// The same array with other marks.
fn marked(mut value: Value, marks: u8) -> Value {
    value = value.with_marks(marks);
    value
}

/// A slot that is not bound.
pub(super) const UNBOUND: Value = Value::opaque(u32::MAX);
/// Marks the value as that of the pending tail call.
const TAIL: Value = Value::opaque(u32::MAX - 1);
/// Opaque ids below are built-in functions, up to `LAMBDAS` regular expressions, then functions made during the
/// evaluation.
const REGEXES: u32 = 1 << 10;
const LAMBDAS: u32 = 1 << 24;

/// Up to this many members, objects search for equal keys linearly.
const TWINS_SEARCHED_MAX: usize = 16;

/// The result of evaluating.
pub(super) type Outcome<T = Value> = Result<T, Failure>;

/// Validated arguments of a built-in function; missing ones are `Undefined`.
pub(super) type Args = [Value; 4];

/// A frame: its start in the scratch's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame(u32);

/// Bounds of an evaluation. Reaching one is an error without a code, which a state can catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nested evaluations, counted as JSONata nests them.
    pub depth: u32,
    /// Items of one sequence.
    pub sequence_items: usize,
    /// Characters of one string.
    pub string_chars: usize,
    /// Work, in units of [fuel](crate::fuel).
    pub work: u64,
    /// Bytes one evaluation may add to the arena.
    pub bytes: usize,
}

impl Limits {
    /// AWS's.
    pub const STEP_FUNCTIONS: Limits = Limits {
        depth: limits::JSONATA_DEPTH_MAX as u32,
        sequence_items: limits::JSONATA_SEQUENCE_ITEMS_MAX,
        string_chars: limits::JSONATA_STRING_CHARS_MAX,
        work: limits::JSONATA_WORK_MAX,
        bytes: limits::JSONATA_BYTES_MAX,
    };
    /// The language's own: only what protects the process.
    pub const LANGUAGE: Limits = Limits {
        depth: limits::JSONATA_LANGUAGE_DEPTH_MAX,
        sequence_items: limits::JSONATA_LANGUAGE_SEQUENCE_ITEMS_MAX,
        string_chars: limits::JSONATA_STRING_CHARS_MAX,
        work: limits::JSONATA_WORK_MAX * 2,
        bytes: limits::JSONATA_BYTES_MAX * 8,
    };
}

/// The environment of an evaluation.
pub struct Env<'e> {
    /// `$now()` and `$millis()`: milliseconds since 1970.
    pub now_ms: i64,
    /// The source of bits for `$random()`, `$shuffle` and `$uuid()`.
    pub random: &'e mut dyn FnMut() -> u64,
    /// Memory that is reused from evaluation to evaluation.
    pub scratch: &'e mut Scratch,
    /// Its bounds.
    pub limits: Limits,
    /// The fuel to charge.
    pub fuel: &'e Fuel<'e>,
}

/// Memory of evaluations, reused. Empty between them.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Frames: the enclosing frame, then the slots.
    frames: Vec<Value>,
    functions: Vec<Function>,
    /// Text constants that are already in the arena.
    texts: Vec<Value>,
    collector: Compactor,
    orders: Vec<Vec<u32>>,
    groups: Vec<group::Groups>,
    pub(super) text: String,
    pub(super) text2: String,
}

/// A function made during the evaluation.
#[derive(Clone, Debug)]
enum Function {
    Lambda {
        lambda: LambdaId,
        input: Value,
        frame: Frame,
    },
    /// A function with some of its arguments; `UNBOUND` marks those still missing.
    Partial {
        function: Value,
        arguments: Value,
    },
    Chain(Value, Value),
    Transform {
        transform: TransformId,
        frame: Frame,
    },
    /// The `next` of a match: the rest of the text from a byte offset.
    NextMatch {
        regex: RegexId,
        text: Value,
        from: u32,
    },
}

impl Function {
    /// The values it holds.
    fn values(&mut self) -> [Option<&mut Value>; 2] {
        match self {
            Function::Lambda { input, .. } => [Some(input), None],
            Function::Partial { function, arguments } => [Some(function), Some(arguments)],
            Function::Chain(first, second) => [Some(first), Some(second)],
            Function::NextMatch { text, .. } => [Some(text), None],
            Function::Transform { .. } => [None, None],
        }
    }
}

/// One evaluation.
pub(super) struct Eval<'e> {
    pub(super) program: &'e Program,
    pub(super) arena: &'e mut Arena,
    states: &'e Scope<'e>,
    pub(super) now_ms: i64,
    pub(super) random: &'e mut dyn FnMut() -> u64,
    pub(super) limits: Limits,
    pub(super) scratch: &'e mut Scratch,
    /// `$$`.
    root: Value,
    depth: u32,
    nesting: u32,
    tank: bounds::Tank<'e>,
    bytes_max: usize,
    /// Bytes of the arena from which on a loop checks for garbage.
    reclaim_at: usize,
    /// The function and the number of arguments (on the stack) of the pending tail call.
    tail: (Value, u32),
    tail_depth: u32,
    tail_call: CallId,
    /// Whether something was made that needs cleaning at the end: a function, a non-finite number, a missing array
    /// item.
    pub(super) odd: bool,
    /// Whether Step Functions' dialect applies, where it differs from the language's reference.
    pub(super) aws: bool,
}

/// Evaluates a program.
pub(super) fn run(
    program: &Program,
    profile: Profile,
    arena: &mut Arena,
    states: &Scope<'_>,
    env: &mut Env<'_>,
) -> Result<Value, EvalError> {
    if let Node::Chain(chain) = program.node(program.root) {
        // Three of four expressions in real workflows are a single chain.
        let chain = program.chains[chain.index()];
        let root = match chain.root {
            ChainRoot::StatesInput => Some(states.input),
            ChainRoot::StatesResult => Some(states.result),
            ChainRoot::Node(node) => match program.node(node) {
                Node::Variable(variable) => only_slot(program, variable, arena, states),
                _ => None,
            },
            _ => None,
        };
        if let Some(root) = root {
            let note = |object: Value| {
                if object.len() > bounds::MEMBERS_FREE {
                    env.fuel.note(object.len() as u64);
                }
            };
            let value = plain_members(program, arena, root, chain.keys, note);
            if !is_elsewhere(value) && !value.is_undefined() {
                return Ok(marked(value, 0));
            }
        }
    }
    env.scratch.frames.clear();
    env.scratch.functions.clear();
    env.scratch.texts.clear();
    env.scratch.texts.resize(program.texts.len(), Value::UNDEFINED);
    let arena_bytes = arena.bytes();
    let bytes_max = arena_bytes.saturating_add(env.limits.bytes);
    let stack = arena.begin();
    let mut eval = Eval {
        program,
        arena,
        states,
        now_ms: env.now_ms,
        random: &mut *env.random,
        limits: env.limits,
        scratch: &mut *env.scratch,
        root: Value::UNDEFINED,
        depth: 0,
        nesting: 0,
        tank: bounds::Tank::new(env.fuel, env.limits.work),
        bytes_max,
        reclaim_at: arena_bytes.saturating_add(limits::JSONATA_GARBAGE_BYTES_MIN * 2),
        tail: (Value::UNDEFINED, 0),
        tail_depth: 0,
        tail_call: CallId(0),
        odd: false,
        aws: profile != Profile::Language,
    };
    let result = eval.top(profile);
    eval.tank.close();
    arena.cancel(stack);
    env.scratch.shrink();
    result.map_err(|mut error| {
        error.position = error.position.map(|offset| super::syntax::utf16_offset(&program.source, offset));
        error.without_name();
        error.into_error()
    })
}

/// A chain meets a value that is not an object and needs the general path. Not an `Option`, see [`Arena::member`].
const ELSEWHERE: Value = Value::opaque(u32::MAX - 2);

fn is_elsewhere(value: Value) -> bool {
    value.opaque_id() == ELSEWHERE.opaque_id()
}

/// Follows names through objects; `ELSEWHERE` when another kind of value is on the way.
#[inline]
fn plain_members(
    program: &Program,
    arena: &Arena,
    mut value: Value,
    keys: Span,
    note: impl Fn(Value),
) -> Value {
    for key in &program.keys[keys.range()] {
        if !value.is_object() {
            return if value.is_undefined() { value } else { ELSEWHERE };
        }
        note(value);
        value = arena.member(value, key);
    }
    if value.is_array() && value.marks() & mark::SEQUENCE != 0 { ELSEWHERE } else { value }
}

/// The value of a variable that is always in a slot.
fn only_slot(program: &Program, id: VariableId, arena: &Arena, states: &Scope<'_>) -> Option<Value> {
    let variable = program.variables[id.index()];
    let slot = variable.slot.filter(|_| variable.places.is_empty())?;
    Some(states.variable(arena, slot))
}

impl<'e> Eval<'e> {
    /// A chain that meets only objects.
    #[inline]
    fn plain_chain(&mut self, id: ChainId, input: Value, frame: Frame) -> Value {
        let program = self.program;
        let chain = program.chains[id.index()];
        let root = match chain.root {
            ChainRoot::Context => input,
            ChainRoot::StatesInput => self.states.input,
            ChainRoot::StatesResult => self.states.result,
            ChainRoot::Node(node) => match program.node(node) {
                Node::Local { hops, slot } => self.slot(frame, hops, slot),
                _ => return ELSEWHERE,
            },
            _ => return ELSEWHERE,
        };
        plain_members(program, self.arena, root, chain.keys, |object| self.note_members(object))
    }

    fn top(&mut self, profile: Profile) -> Outcome {
        let mut input = Value::UNDEFINED;
        if profile == Profile::Language {
            input = self.states.input;
            self.root = input;
            if input.is_array() {
                input = self.arena.array(&[input]);
                input = input.with_marks(mark::SEQUENCE | mark::OUTER);
            }
        }
        let since = self.since();
        let frame = self.push_frame(Frame(0), self.program.slots);
        let value = self.eval(self.program.root, input, frame)?;
        let mut value = self.finish(value)?;
        if since.bytes(self.arena) > limits::JSONATA_GARBAGE_BYTES_MIN {
            // Only the result stays: the expressions of a state share its memory.
            self.scratch.frames.clear();
            self.scratch.functions.clear();
            self.scratch.texts.clear();
            self.reclaim_now(since, &mut [&mut value])?;
        }
        Ok(value)
    }

    // ---- frames ----

    /// A frame of unbound slots.
    fn push_frame(&mut self, outside: Frame, slots: u16) -> Frame {
        let frames = &mut self.scratch.frames;
        let at = frames.len();
        frames.push(Value::opaque(outside.0));
        frames.resize(at + 1 + slots as usize, UNBOUND);
        Frame(at as u32)
    }

    /// Frees a frame, unless a function was made since there were `functions`.
    fn pop_frame(&mut self, frame: Frame, functions: usize) {
        if self.scratch.functions.len() == functions {
            self.scratch.frames.truncate(frame.0 as usize);
        }
    }

    fn set_slot(&mut self, frame: Frame, slot: usize, value: Value) {
        if let Some(place) = self.scratch.frames.get_mut(frame.0 as usize + 1 + slot) {
            *place = value;
        }
    }

    #[inline]
    fn slot(&self, mut frame: Frame, hops: u16, slot: u16) -> Value {
        let frames = &self.scratch.frames;
        let at = |index: u32| frames.get(index as usize).copied().unwrap_or(Value::UNDEFINED);
        for _ in 0..hops {
            frame = Frame(at(frame.0).opaque_id().unwrap_or(0));
        }
        debug_assert!(
            frame.0 as usize + 1 + (slot as usize) < frames.len(),
            "the compiler counted frames wrongly"
        );
        at(frame.0 + 1 + u32::from(slot))
    }

    fn variable(&mut self, id: VariableId, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let variable = program.variables[id.index()];
        for &(hops, slot) in &program.places[variable.places.range()] {
            let value = self.slot(frame, hops, slot);
            if value.opaque_id() != UNBOUND.opaque_id() {
                return Ok(value);
            }
        }
        if let Some(slot) = variable.slot {
            let value = self.states.variable(self.arena, slot);
            if !value.is_undefined() {
                return Ok(value);
            }
        }
        match program.node(variable.otherwise) {
            Node::Undefined => Ok(Value::UNDEFINED),
            Node::Builtin(builtin) => Ok(self.builtin(builtin)),
            _ => self.dispatch(variable.otherwise, input, frame),
        }
    }

    // ---- values ----

    /// A function value for a built-in function.
    pub(super) fn builtin(&mut self, builtin: Builtin) -> Value {
        self.odd = true;
        Value::opaque(builtin as u32)
    }

    fn function(&mut self, function: Function) -> Value {
        self.odd = true;
        self.scratch.functions.push(function);
        Value::opaque(LAMBDAS + self.scratch.functions.len() as u32 - 1)
    }

    /// A string.
    #[inline]
    pub(super) fn string(&mut self, text: &str) -> Outcome {
        let value = if text.len() <= TEXT_PIECE {
            self.charge(text.len() as u64)?;
            self.arena.string(text)
        } else {
            self.charge(TEXT_PIECE as u64)?;
            let (arena, tank) = (&mut *self.arena, &self.tank);
            arena.string_in_pieces(text, &mut |work| _ = tank.charge(2 * work))
        };
        self.checked_string(value)
    }

    /// A string just made in the arena.
    #[inline]
    pub(super) fn checked_string(&mut self, value: Value) -> Outcome {
        if value.len() > self.limits.string_chars
            && self.arena.str(value).chars().count() > self.limits.string_chars
        {
            return Err(self.out_of_memory());
        }
        self.check_bytes()?;
        Ok(value)
    }

    /// A constant, copied into the arena at most once per evaluation.
    #[inline]
    fn text(&mut self, id: TextId) -> Outcome {
        let known = self.scratch.texts[id.index()];
        if known.is_string() {
            return Ok(known);
        }
        let program = self.program;
        let value = self.string(&program.texts[id.index()])?;
        self.scratch.texts[id.index()] = value;
        Ok(value)
    }

    /// A computed number.
    #[inline]
    pub(super) fn number(&mut self, float: f64) -> Value {
        self.odd |= !float.is_finite();
        super::number::number(float)
    }

    /// Closes what was pushed since `from` into an array with `marks`.
    pub(super) fn end_array(&mut self, from: crate::json::Mark, marks: u8) -> Outcome {
        let count = self.arena.pushed(from).len();
        self.check_items(count)?;
        self.work(count.min(ITEMS_AT_ONCE))?;
        let mut value =
            if count <= ITEMS_AT_ONCE { self.arena.end_array(from) } else { self.end_large(false, from) };
        self.check_bytes()?;
        self.check_depth(value)?;
        value = value.with_marks(marks);
        Ok(value)
    }

    /// Closes keys and values into an object.
    pub(super) fn end_object(&mut self, from: crate::json::Mark) -> Outcome {
        let count = self.arena.pushed(from).len() / 2;
        self.check_items(count)?;
        self.work(2 * count.min(ITEMS_AT_ONCE))?;
        if count > TWINS_SEARCHED_MAX {
            self.drop_twins(from)?;
        }
        let value =
            if count > TWINS_SEARCHED_MAX { self.end_large(true, from) } else { self.arena.end_object(from) };
        self.check_bytes()?;
        self.check_depth(value)?;
        Ok(value)
    }

    /// The value that a sequence represents.
    #[inline]
    pub(super) fn collapse(&self, value: Value) -> Value {
        if value.marks() & (mark::SEQUENCE | mark::TUPLE) != mark::SEQUENCE || !value.is_array() {
            return value;
        }
        match value.len() {
            0 => Value::UNDEFINED,
            1 if value.marks() & mark::KEEP == 0 => self.arena.item(value, 0).unwrap_or(Value::UNDEFINED),
            _ => value,
        }
    }

    /// The number of items of an array; 1 for other values.
    #[inline]
    pub(super) fn count_of(&self, value: Value) -> usize {
        if value.is_array() { value.len() } else { 1 }
    }

    /// Item `index` of an array, or the value itself.
    #[inline]
    pub(super) fn item_of(&self, value: Value, index: usize) -> Value {
        if value.is_array() { self.arena.item(value, index).unwrap_or(Value::UNDEFINED) } else { value }
    }

    pub(super) fn is_function(&self, value: Value) -> bool {
        value.kind() == Kind::Opaque
    }

    // ---- dispatch ----

    /// The value of a node in a context.
    #[inline]
    pub(super) fn eval(&mut self, id: NodeId, input: Value, frame: Frame) -> Outcome {
        if self.depth >= self.limits.depth || self.nesting >= limits::JSONATA_NESTING_MAX {
            return Err(self.stack_overflow());
        }
        self.charge(bounds::NODE)?;
        match self.program.node(id) {
            Node::Number(number) => Ok(self.program.numbers[number.index()]),
            Node::Text(text) => self.text(text),
            Node::Local { hops, slot } => Ok(self.collapse(self.slot(frame, hops, slot))),
            node => {
                if let Node::Chain(chain) = node
                    && self.depth + 1 < self.limits.depth
                {
                    let value = self.plain_chain(chain, input, frame);
                    if !is_elsewhere(value) {
                        return Ok(value);
                    }
                }
                self.depth += 1;
                self.nesting += 1;
                // Binary operators and single-expression blocks are the most frequent nested nodes.
                let value = match node {
                    Node::Binary(op, left, right) => self.binary(id, op, (left, right), input, frame)?,
                    Node::Block(block) => self.block(block, input, frame)?,
                    _ => self.dispatch(id, input, frame)?,
                };
                self.nesting -= 1;
                self.depth -= 1;
                Ok(self.collapse(value))
            }
        }
    }

    #[inline(never)]
    fn dispatch(&mut self, id: NodeId, input: Value, frame: Frame) -> Outcome {
        match self.program.node(id) {
            Node::Undefined | Node::Placeholder => Ok(Value::UNDEFINED),
            Node::Null => Ok(Value::NULL),
            Node::Bool(value) => Ok(Value::bool(value)),
            Node::Number(number) => Ok(self.program.numbers[number.index()]),
            Node::Text(text) => self.text(text),
            Node::Regex(regex) => {
                self.odd = true;
                Ok(Value::opaque(REGEXES + regex.0))
            }
            Node::Name(key) => self.lookup(input, key),
            Node::Wildcard => self.wildcard(input),
            Node::Descendant => self.descendants(input),
            Node::Input if input.marks() & mark::OUTER != 0 => Ok(self.item_of(input, 0)),
            Node::Input => Ok(input),
            Node::Root => Ok(self.root),
            Node::Local { hops, slot } => Ok(self.slot(frame, hops, slot)),
            Node::Variable(variable) => self.variable(variable, input, frame),
            Node::Builtin(builtin) => Ok(self.builtin(builtin)),
            Node::States { has_result } => self.whole_states(has_result),
            Node::Chain(chain) => self.chain(chain, input, frame),
            Node::Path(path) => self.path(path, input, frame),
            Node::Negate(operand) => self.negate(id, operand, input, frame),
            Node::Array(items, cons) => self.array(items, cons, input, frame),
            Node::Object(members, constant) => self.object(id, (members, constant), input, frame),
            Node::Binary(op, left, right) => self.binary(id, op, (left, right), input, frame),
            Node::Condition(condition, then, otherwise) => {
                let condition = self.eval(condition, input, frame)?;
                let branch = if self.truth(condition)? { then } else { otherwise };
                self.eval(branch, input, frame)
            }
            Node::Block(block) => self.block(block, input, frame),
            Node::Bind { slot, value } => {
                let value = self.eval(value, input, frame)?;
                self.set_slot(frame, slot as usize, value);
                Ok(value)
            }
            Node::Call(call) => self.call(call, None, input, frame),
            Node::TailCall(call) => self.tail_call(call, input, frame),
            Node::Partial(call) => self.partial(call, input, frame),
            Node::Lambda(lambda) => Ok(self.function(Function::Lambda { lambda, input, frame })),
            Node::Apply(left, right) => self.apply_operator(id, (left, right), input, frame),
            Node::Transform(transform) => Ok(self.function(Function::Transform { transform, frame })),
            Node::Wrap(wrap) => self.wrap(wrap, input, frame),
        }
    }

    fn block(&mut self, id: BlockId, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let block = &program.blocks[id.index()];
        let functions = self.scratch.functions.len();
        let inner = if block.slots > 0 { self.push_frame(frame, block.slots) } else { frame };
        let mut value = Value::UNDEFINED;
        for &item in &program.lists[block.items.range()] {
            value = self.eval(item, input, inner)?;
        }
        if block.slots > 0 {
            self.pop_frame(inner, functions);
        }
        Ok(value)
    }

    fn array(&mut self, items: Span, cons: bool, input: Value, frame: Frame) -> Outcome {
        let program = self.program;
        let items = &program.items[items.range()];
        let from = self.arena.begin();
        for (index, item) in items.iter().enumerate() {
            if let Node::Binary(super::syntax::BinaryOp::Range, left, right) = program.node(item.node) {
                // A range is pushed directly onto the stack.
                self.range(item.node, (left, right), input, frame)?;
                continue;
            }
            let value = self.eval(item.node, input, frame)?;
            match value.kind() {
                Kind::Undefined => {}
                Kind::Array if !item.nested => {
                    if index == 0 && items.len() == 1 && !cons {
                        // `[sequence]` has the sequence's items as a plain array; the block can be shared.
                        self.arena.cancel(from);
                        return Ok(marked(value, 0));
                    }
                    self.check_items(value.len())?;
                    self.push_items(value)?;
                }
                _ => self.arena.push(value),
            }
        }
        self.end_array(from, if cons { mark::CONS } else { 0 })
    }

    fn whole_states(&mut self, has_result: bool) -> Outcome {
        let states = self.states;
        self.charge(bounds::CONTEXT)?;
        let context = states.context.field(self.arena, crate::query::ContextField::Whole);
        let from = self.arena.begin();
        let members = [
            ("input", states.input),
            ("result", if has_result { states.result } else { Value::UNDEFINED }),
            ("errorOutput", states.error_output),
            ("context", context),
        ];
        for (name, value) in members {
            if !value.is_undefined() {
                let key = self.string(name)?;
                self.arena.push(key);
                self.arena.push(value);
            }
        }
        self.end_object(from)
    }

    pub(super) fn key(&self, id: KeyId) -> &'e Key {
        &self.program.keys[id.index()]
    }
}
