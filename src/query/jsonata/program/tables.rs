//! The tables of a compiled expression, and their typed indices.

use crate::json::{Key, Value};
use crate::query::jsonata::functions::Builtin;
use crate::query::jsonata::syntax::{BinaryOp, Signature};
use crate::query::{ContextField, Slot};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::query::jsonata) struct $name(pub(in crate::query::jsonata) u32);

        impl $name {
            #[inline]
            pub(in crate::query::jsonata) const fn index(self) -> usize {
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
pub(in crate::query::jsonata) struct Span {
    pub(in crate::query::jsonata) from: u32,
    pub(in crate::query::jsonata) to: u32,
}

impl Span {
    #[inline]
    pub(in crate::query::jsonata) const fn range(self) -> std::ops::Range<usize> {
        self.from as usize..self.to as usize
    }

    pub(in crate::query::jsonata) const fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// A node's operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) enum Node {
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
pub(in crate::query::jsonata) enum ChainRoot {
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
pub(in crate::query::jsonata) struct Chain {
    pub(in crate::query::jsonata) root: ChainRoot,
    pub(in crate::query::jsonata) keys: Span,
}

/// A node evaluated in a new frame, or in the enclosing frame (`slots` is `None`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Framed {
    pub(in crate::query::jsonata) node: NodeId,
    pub(in crate::query::jsonata) slots: Option<u16>,
}

/// A path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Path {
    /// The plain names at its beginning.
    pub(in crate::query::jsonata) prefix: Option<ChainId>,
    pub(in crate::query::jsonata) steps: Span,
    pub(in crate::query::jsonata) keep_singleton: bool,
    pub(in crate::query::jsonata) keep_array: bool,
    /// Its value is the stream of items with their bindings.
    pub(in crate::query::jsonata) tuple: bool,
    /// Begins with a variable: the context is one item even when it is an array.
    pub(in crate::query::jsonata) absolute: bool,
    pub(in crate::query::jsonata) schema: SchemaId,
    pub(in crate::query::jsonata) group: Option<Span>,
    pub(in crate::query::jsonata) group_end: u32,
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Step {
    pub(in crate::query::jsonata) what: StepKind,
    pub(in crate::query::jsonata) stages: Span,
    /// Carries bindings: from here on the path is a stream of items with their bindings.
    pub(in crate::query::jsonata) tuple: bool,
    /// An array constructor that begins the path: evaluated once for the whole context.
    pub(in crate::query::jsonata) cons_array: bool,
    /// Columns of the row, 0 for none.
    pub(in crate::query::jsonata) focus: u16,
    pub(in crate::query::jsonata) index: u16,
    pub(in crate::query::jsonata) ancestor: u16,
}

/// A step's operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) enum StepKind {
    Eval(Framed),
    Sort(Span),
}

/// An operation on a step's items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) enum Stage {
    Filter(Framed),
    /// Writes the item's number into the row.
    Index(u16),
}

/// A sort term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Term {
    pub(in crate::query::jsonata) key: Framed,
    pub(in crate::query::jsonata) descending: bool,
}

/// A member of an object constructor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Member {
    pub(in crate::query::jsonata) key: Framed,
    pub(in crate::query::jsonata) value: Framed,
}

/// An item of an array constructor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Item {
    pub(in crate::query::jsonata) node: NodeId,
    /// Itself an array constructor: it stays one item.
    pub(in crate::query::jsonata) nested: bool,
}

/// A call, or a partial application.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Call {
    pub(in crate::query::jsonata) procedure: NodeId,
    /// The built-in function, when no variable can hide it.
    pub(in crate::query::jsonata) direct: Option<Builtin>,
    /// `direct` folds the numbers of its one argument, a path without bindings.
    pub(in crate::query::jsonata) fold: Option<Builtin>,
    pub(in crate::query::jsonata) arguments: Span,
    /// The name in messages.
    pub(in crate::query::jsonata) name: Option<TextId>,
    /// The procedure is a bare name that is also a variable's: "did you mean `$name`?".
    pub(in crate::query::jsonata) bare: bool,
    pub(in crate::query::jsonata) end: u32,
}

/// A function definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Lambda {
    pub(in crate::query::jsonata) params: u16,
    pub(in crate::query::jsonata) slots: u16,
    pub(in crate::query::jsonata) signature: Option<u32>,
    pub(in crate::query::jsonata) body: NodeId,
}

/// Consecutive expressions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Block {
    pub(in crate::query::jsonata) items: Span,
    /// Slots of its frame; 0 when it needs none.
    pub(in crate::query::jsonata) slots: u16,
}

/// A transform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Transform {
    pub(in crate::query::jsonata) pattern: NodeId,
    pub(in crate::query::jsonata) update: NodeId,
    pub(in crate::query::jsonata) delete: Option<NodeId>,
}

/// A node with predicates, grouping or `[]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Wrap {
    pub(in crate::query::jsonata) inner: NodeId,
    pub(in crate::query::jsonata) predicates: Span,
    pub(in crate::query::jsonata) group: Option<Span>,
    pub(in crate::query::jsonata) group_end: u32,
    pub(in crate::query::jsonata) keep_array: bool,
}

/// The possible places of a variable, in order, and the fallback when none of them is bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::query::jsonata) struct Variable {
    pub(in crate::query::jsonata) places: Span,
    pub(in crate::query::jsonata) slot: Option<Slot>,
    pub(in crate::query::jsonata) otherwise: NodeId,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(in crate::query::jsonata) struct Program {
    pub(in crate::query::jsonata) source: Box<str>,
    pub(in crate::query::jsonata) nodes: Vec<Node>,
    /// The end of each node's token, for errors.
    pub(in crate::query::jsonata) ends: Vec<u32>,
    pub(in crate::query::jsonata) lists: Vec<NodeId>,
    pub(in crate::query::jsonata) items: Vec<Item>,
    pub(in crate::query::jsonata) members: Vec<Member>,
    pub(in crate::query::jsonata) keys: Vec<Key>,
    pub(in crate::query::jsonata) texts: Vec<Box<str>>,
    pub(in crate::query::jsonata) numbers: Vec<Value>,
    pub(in crate::query::jsonata) regexes: Vec<std::sync::Arc<crate::query::regex::Regex>>,
    pub(in crate::query::jsonata) places: Vec<(u16, u16)>,
    pub(in crate::query::jsonata) variables: Vec<Variable>,
    pub(in crate::query::jsonata) chains: Vec<Chain>,
    pub(in crate::query::jsonata) paths: Vec<Path>,
    pub(in crate::query::jsonata) steps: Vec<Step>,
    pub(in crate::query::jsonata) stages: Vec<Stage>,
    pub(in crate::query::jsonata) terms: Vec<Term>,
    pub(in crate::query::jsonata) calls: Vec<Call>,
    pub(in crate::query::jsonata) signatures: Vec<Signature>,
    pub(in crate::query::jsonata) lambdas: Vec<Lambda>,
    pub(in crate::query::jsonata) blocks: Vec<Block>,
    pub(in crate::query::jsonata) transforms: Vec<Transform>,
    pub(in crate::query::jsonata) wraps: Vec<Wrap>,
    /// The names carried along each path; a row has the item, then these.
    pub(in crate::query::jsonata) schemas: Vec<Vec<Box<str>>>,
    pub(in crate::query::jsonata) root: NodeId,
    /// Slots of the outermost frame.
    pub(in crate::query::jsonata) slots: u16,
}

impl Program {
    #[inline]
    pub(in crate::query::jsonata) fn node(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }
}
