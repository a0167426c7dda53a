//! A compiled expression: flat tables with typed indices. Names are slots, constants are interned, plain chains such as
//! `$states.input.order.id` are direct steps. Immutable; all mutable state is in the evaluator's scratch.
//!
//! It has no values except numbers, so one program works with any arena.

mod chain;
mod draft;
mod emit;
mod regex;
mod scope;

use super::functions::Builtin;
use super::syntax::{BinaryOp, CompileError, Signature, parse};
use crate::json::{Key, Value};
use crate::query::{ContextField, Names, Slot};

pub use emit::{Allowed, Profile};
pub use regex::Regexes;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) struct $name(pub(super) u32);

        impl $name {
            #[inline]
            pub(super) const fn index(self) -> usize {
                self.0 as usize
            }
        })*
    };
}

ids! {
    /// A node.
    NodeId;
    /// A prepared member name.
    KeyId;
    /// A text constant.
    TextId;
    /// A number constant.
    NumberId;
    /// A compiled regular expression.
    RegexId;
    /// A variable with several possible places.
    VariableId;
    /// A chain of member names.
    ChainId;
    /// A path.
    PathId;
    /// A function call.
    CallId;
    /// A function definition.
    LambdaId;
    /// A block.
    BlockId;
    /// A transform.
    TransformId;
    /// A node with predicates, grouping or `[]`.
    WrapId;
    /// Variables carried along a path.
    SchemaId;
}

/// A range of entries in one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Span {
    #[inline]
    pub(super) const fn range(self) -> std::ops::Range<usize> {
        self.from as usize..self.to as usize
    }

    pub(super) const fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// A node's operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Node {
    Undefined,
    Null,
    Bool(bool),
    Number(NumberId),
    Text(TextId),
    Regex(RegexId),
    /// A member of the context.
    Name(KeyId),
    Wildcard,
    Descendant,
    /// `$`.
    Input,
    /// `$$`.
    Root,
    /// A parameter or another variable that is certainly bound: frames outwards, then the slot.
    Local {
        hops: u16,
        slot: u16,
    },
    Variable(VariableId),
    Builtin(Builtin),
    /// The whole `$states`.
    States {
        has_result: bool,
    },
    Chain(ChainId),
    Path(PathId),
    Negate(NodeId),
    /// The items; the second means that the array stays one item of the enclosing sequence.
    Array(Span, bool),
    /// The members; the second means that the keys are different constants.
    Object(Span, bool),
    Binary(BinaryOp, NodeId, NodeId),
    Condition(NodeId, NodeId, NodeId),
    Block(BlockId),
    Bind {
        slot: u16,
        value: NodeId,
    },
    Call(CallId),
    /// A call whose value is that of the enclosing function.
    TailCall(CallId),
    Partial(CallId),
    Lambda(LambdaId),
    Apply(NodeId, NodeId),
    Transform(TransformId),
    Wrap(WrapId),
    /// The missing argument of a partial application.
    Placeholder,
}

const _: () = assert!(size_of::<Node>() <= 16);

/// The start of a chain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ChainRoot {
    /// The context.
    Context,
    /// The value of a node; such paths do not use the context.
    Node(NodeId),
    StatesInput,
    StatesResult,
    StatesErrorOutput,
    StatesContext(ContextField),
    /// A member of `$states` that does not exist.
    Nowhere,
}

/// Consecutive member names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Chain {
    pub(super) root: ChainRoot,
    pub(super) keys: Span,
}

/// A node evaluated in a new frame, or in the enclosing frame (`slots` is `None`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Framed {
    pub(super) node: NodeId,
    pub(super) slots: Option<u16>,
}

/// A path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Path {
    /// The plain names at its beginning.
    pub(super) prefix: Option<ChainId>,
    pub(super) steps: Span,
    pub(super) keep_singleton: bool,
    pub(super) keep_array: bool,
    /// Its value is the stream of items with their bindings.
    pub(super) tuple: bool,
    /// Begins with a variable: the context is one item even when it is an array.
    pub(super) absolute: bool,
    pub(super) schema: SchemaId,
    pub(super) group: Option<Span>,
    pub(super) group_end: u32,
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) what: StepKind,
    pub(super) stages: Span,
    /// Carries bindings: from here on the path is a stream of items with their bindings.
    pub(super) tuple: bool,
    /// An array constructor that begins the path: evaluated once for the whole context.
    pub(super) cons_array: bool,
    /// Columns of the row, 0 for none.
    pub(super) focus: u16,
    pub(super) index: u16,
    pub(super) ancestor: u16,
}

/// A step's operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StepKind {
    Eval(Framed),
    Sort(Span),
}

/// An operation on a step's items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    Filter(Framed),
    /// Writes the item's number into the row.
    Index(u16),
}

/// A sort term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) key: Framed,
    pub(super) descending: bool,
}

/// A member of an object constructor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) key: Framed,
    pub(super) value: Framed,
}

/// An item of an array constructor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) node: NodeId,
    /// Itself an array constructor: it stays one item.
    pub(super) nested: bool,
}

/// A call, or a partial application.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) procedure: NodeId,
    /// The built-in function, when no variable can hide it.
    pub(super) direct: Option<Builtin>,
    /// `direct` folds the numbers of its one argument, a path without bindings.
    pub(super) fold: Option<Builtin>,
    pub(super) arguments: Span,
    /// The name in messages.
    pub(super) name: Option<TextId>,
    /// The procedure is a bare name that is also a variable's: "did you mean `$name`?".
    pub(super) bare: bool,
    pub(super) end: u32,
}

/// A function definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lambda {
    pub(super) params: u16,
    pub(super) slots: u16,
    pub(super) signature: Option<u32>,
    pub(super) body: NodeId,
}

/// Consecutive expressions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Block {
    pub(super) items: Span,
    /// Slots of its frame; 0 when it needs none.
    pub(super) slots: u16,
}

/// A transform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Transform {
    pub(super) pattern: NodeId,
    pub(super) update: NodeId,
    pub(super) delete: Option<NodeId>,
}

/// A node with predicates, grouping or `[]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wrap {
    pub(super) inner: NodeId,
    pub(super) predicates: Span,
    pub(super) group: Option<Span>,
    pub(super) group_end: u32,
    pub(super) keep_array: bool,
}

/// The possible places of a variable, in order, and the fallback when none of them is bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Variable {
    pub(super) places: Span,
    pub(super) slot: Option<Slot>,
    pub(super) otherwise: NodeId,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) source: Box<str>,
    pub(super) nodes: Vec<Node>,
    /// The end of each node's token, for errors.
    pub(super) ends: Vec<u32>,
    pub(super) lists: Vec<NodeId>,
    pub(super) items: Vec<Item>,
    pub(super) members: Vec<Member>,
    pub(super) keys: Vec<Key>,
    pub(super) texts: Vec<Box<str>>,
    pub(super) numbers: Vec<Value>,
    pub(super) regexes: Vec<std::sync::Arc<crate::query::regex::Regex>>,
    pub(super) places: Vec<(u16, u16)>,
    pub(super) variables: Vec<Variable>,
    pub(super) chains: Vec<Chain>,
    pub(super) paths: Vec<Path>,
    pub(super) steps: Vec<Step>,
    pub(super) stages: Vec<Stage>,
    pub(super) terms: Vec<Term>,
    pub(super) calls: Vec<Call>,
    pub(super) signatures: Vec<Signature>,
    pub(super) lambdas: Vec<Lambda>,
    pub(super) blocks: Vec<Block>,
    pub(super) transforms: Vec<Transform>,
    pub(super) wraps: Vec<Wrap>,
    /// The names carried along each path; a row has the item, then these.
    pub(super) schemas: Vec<Vec<Box<str>>>,
    pub(super) root: NodeId,
    /// Slots of the outermost frame.
    pub(super) slots: u16,
}

impl Program {
    #[inline]
    pub(super) fn node(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }
}

/// Compiles an expression.
pub(super) fn compile(
    source: &str,
    names: &mut dyn Names,
    profile: Profile,
) -> Result<Program, CompileError> {
    let result = parse(source).and_then(|tree| {
        let drafts = draft::draft(&tree)?;
        emit::emit(source, &drafts, names, profile)
    });
    result.map_err(|error| error.located(source))
}
