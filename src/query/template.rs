//! Payload templates and JSONata values: JSON whose marked parts are evaluated (specification, "Payload Template";
//! developer guide, "Transforming data with JSONata").
//!
//! A template is a flat table of nodes. Its constant texts are in one string, so that an evaluation copies them into
//! the arena at once and builds containers of plain 16-byte records.

mod dump;

use super::intrinsic::Call;
use super::jsonata::{Allowed, Expr};
use super::path::{Path, PathFault, SyntaxError};
use super::{ContextField, Env, Names, Scope, intrinsic, java, jsonata};
use crate::json::source::{Node as Source, NodeValue};
use crate::json::{Arena, TextMark, Value};

/// A template, compiled.
#[derive(Debug)]
pub struct Template {
    root: Node,
    /// Children of arrays; keys and children of objects.
    children: Vec<Child>,
    /// All texts, concatenated; leaves and keys are spans of it.
    text: Box<str>,
    queries: Vec<Query>,
    /// The fields of the queries.
    places: Vec<Place>,
    /// Members of the whole that depend on a Map's item.
    blanks: Vec<Blank>,
    /// Work of making it beside that of its queries.
    work: u64,
}

/// A field, with AWS's name for causes: a step from the enclosing field. Complete paths would take their number times
/// their length.
#[derive(Debug)]
struct Place {
    around: Option<PlaceId>,
    step: Step<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
enum Step<T> {
    Field(T),
    Item(u32),
}

#[derive(Debug, Clone, Copy)]
struct PlaceId(u32);

/// The path of a field.
fn field(places: &[Place], place: PlaceId) -> String {
    let mut steps = Vec::new();
    let mut next = Some(place);
    while let Some(PlaceId(at)) = next {
        steps.push(&places[at as usize].step);
        next = places[at as usize].around;
    }
    let mut text = String::new();
    for step in steps.into_iter().rev() {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.extend(["/", name]),
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// A member that is the index, value or key of a Map's item.
#[derive(Debug, Clone, Copy)]
struct Blank {
    member: u32,
    field: ContextField,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    /// A scalar, relative to the template's text.
    Leaf(Value),
    Array(Span),
    /// `size` is that of keys, colons, commas and braces; `distinct` means that no two keys are equal.
    Object {
        members: Span,
        size: u32,
        distinct: bool,
    },
    Query(u32),
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    fn of(self, children: &[Child]) -> &[Child] {
        &children[self.from as usize..self.to as usize]
    }
}

#[derive(Debug, Clone, Copy)]
struct Child {
    /// Of an object's member, relative to the template's text.
    key: Value,
    node: Node,
}

/// Work of making a node.
const NODE: usize = 4;
/// Bytes of an input up to which following a path in it is negligible work.
const LARGE_BYTES: u32 = 4_096;

/// A query, and its field, as AWS names it in causes.
#[derive(Debug)]
struct Query {
    place: PlaceId,
    what: What,
}

#[derive(Debug)]
enum What {
    Path(Path),
    Call(Call),
    Expr(Box<Expr>),
}

/// A template's value, without the parts that depend on a Map's items.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prepared {
    /// An array of keys and values, a value `Undefined` where the item decides; `Undefined` when nothing is prepared.
    /// Compaction of the arena must visit it.
    pub row: Value,
    /// Bytes of the object without the missing values.
    size: u32,
    /// Depth of the deepest present value.
    depth: u16,
}

/// The language of the marked parts.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    /// Members whose key ends in `.$`.
    JsonPath,
    /// Strings in `{% %}`, with the references that `Allowed` permits.
    Jsonata(Allowed),
    /// None: the JSON unchanged.
    Literal,
}

/// Why a template cannot be compiled: the field and the problem.
#[derive(Debug)]
pub struct CompileError {
    /// The field, as AWS names it in causes.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// Why a template has no value.
#[derive(Debug)]
pub enum Fault<'t> {
    /// A path of a payload template selects nothing.
    Path {
        /// The path.
        path: &'t Path,
        /// The member, with its `.$`.
        field: String,
        /// Jayway's fault.
        fault: PathFault,
    },
    /// An intrinsic function failed.
    Call {
        /// The call.
        call: &'t Call,
        /// The member, with its `.$`.
        field: String,
        /// Why.
        fault: intrinsic::Fault,
    },
    /// The work was cut from outside: the execution is over.
    Cut,
    /// A JSONata expression failed.
    Expr {
        /// The expression between the marks.
        expression: &'t str,
        /// The field, from the state down: `Output/a[0]`.
        field: String,
        /// Why; `None` when it returned nothing.
        fault: Option<jsonata::EvalError>,
    },
}

impl Template {
    /// Compiles `source`, the value of `field`.
    ///
    /// # Errors
    /// The first marked part that is not a path, call or expression. Definitions are checked before.
    pub fn compile(
        source: &Source,
        field: &str,
        language: Language,
        names: &mut dyn Names,
    ) -> Result<Template, CompileError> {
        let mut build = Build::new(language, names);
        let root = build.node(source, None, Step::Field(field))?;
        Ok(build.finish(root))
    }

    /// Compiles one JSONata expression, the value of `field`.
    ///
    /// # Errors
    /// When it is not an expression.
    pub fn expression(
        expression: &str,
        field: &str,
        allowed: Allowed,
        names: &mut dyn Names,
    ) -> Result<Template, CompileError> {
        let mut build = Build::new(Language::Jsonata(allowed), names);
        let place = build.place(None, Step::Field(field));
        let root = build.marked_expression(expression, place)?;
        Ok(build.finish(root))
    }

    /// How many values it is made of.
    pub fn parts(&self) -> usize {
        1 + self.children.len() + self.queries.len()
    }

    /// Whether its values are found by following names, without computation.
    pub fn is_light(&self) -> bool {
        self.queries.iter().all(|query| match &query.what {
            What::Path(path) => path.is_direct(),
            What::Call(_) => false,
            What::Expr(expr) => expr.is_path(),
        })
    }

    /// Roughly its bytes, without the automata of regular expressions.
    pub fn bytes(&self) -> usize {
        let queries = self.queries.iter().map(|query| match &query.what {
            What::Path(path) => path.bytes(),
            What::Call(call) => 8 * call.source().len(),
            What::Expr(expr) => expr.bytes(),
        });
        let rows = self.children.len() * size_of::<Child>()
            + self.queries.len() * size_of::<Query>()
            + self.places.len() * size_of::<Place>();
        size_of::<Template>() + rows + self.text.len() + queries.sum::<usize>()
    }

    /// The expression, when the whole template is one.
    pub fn as_expression(&self) -> Option<(&str, String)> {
        match self.root {
            Node::Query(query) => match &self.queries[query as usize] {
                Query { place, what: What::Expr(expr) } => Some((expr.source(), field(&self.places, *place))),
                _ => None,
            },
            _ => None,
        }
    }

    /// Makes the value.
    ///
    /// # Errors
    /// The first part that cannot be evaluated. The arena may have [`overflowed`](Arena::overflowed) without an error.
    #[inline]
    pub fn eval<'t>(
        &'t self,
        arena: &mut Arena,
        scope: &Scope<'_>,
        env: &mut Env<'_>,
    ) -> Result<Value, Box<Fault<'t>>> {
        if !arena.reserve(self.text.len()) {
            return Ok(Value::NULL);
        }
        let base = arena.append_text(&self.text);
        env.fuel.note(self.work);
        let large = arena.size(scope.input) > LARGE_BYTES;
        let mut maker = Evaluator { template: self, base, arena, scope, env, large, fault: None };
        let made = maker.make(self.root);
        match maker.fault {
            None => Ok(made),
            Some(fault) => Err(fault),
        }
    }

    /// Prepares what is the same when the template is [completed](Template::complete) for each item of a Map. Only if
    /// every member is a scalar, a path with a value, or the item's index, value or key.
    pub fn prepare(&self, arena: &mut Arena, input: Value) -> Prepared {
        let Node::Object { members, size, distinct: true } = self.root else { return Prepared::default() };
        if !arena.reserve(self.text.len()) {
            return Prepared::default();
        }
        let base = arena.append_text(&self.text);
        let mark = arena.begin();
        let (mut size, mut depth) = (size, 0u16);
        for child in members.of(&self.children) {
            let value = match child.node {
                Node::Leaf(value) => Arena::rebased(value, base),
                node => match self.path(node).map(|path| path.follow(arena, input)) {
                    Some(found) if !found.is_undefined() => found,
                    Some(_) if item_field(&self.queries, node).is_some() => Value::UNDEFINED,
                    _ => {
                        arena.cancel(mark);
                        arena.cancel_text(base);
                        return Prepared::default();
                    }
                },
            };
            if !value.is_undefined() {
                size = size.saturating_add(arena.size(value));
                depth = depth.max(value.depth());
            }
            arena.push_member(Arena::rebased(child.key, base), value);
        }
        Prepared { row: arena.end_array(mark), size, depth }
    }

    /// The value for one item, looking up only what depends on the item; `Undefined` if the template must be
    /// [evaluated](Template::eval).
    #[inline]
    pub fn complete(
        &self,
        arena: &mut Arena,
        prepared: Prepared,
        item: impl Fn(ContextField) -> Value,
    ) -> Value {
        let known = (prepared.size as usize, prepared.depth);
        let blanks = self.blanks.iter().map(|blank| (blank.member as usize, item(blank.field)));
        arena.fill_object(prepared.row, known, blanks)
    }

    /// The names in the template's object, in order; empty if it is not an object.
    pub fn keys(&self) -> Vec<String> {
        let Node::Object { members, .. } = self.root else { return Vec::new() };
        let mut arena = Arena::new();
        arena.append_text(&self.text);
        members.of(&self.children).iter().map(|child| arena.str(child.key).to_owned()).collect()
    }

    /// Whether one of its paths reads the input.
    pub fn reads_input(&self) -> bool {
        self.queries.iter().any(|query| match &query.what {
            What::Path(path) => path.is_of_input(),
            What::Call(call) => call.paths().any(Path::is_of_input),
            What::Expr(_) => false,
        })
    }

    fn path(&self, node: Node) -> Option<&Path> {
        path(&self.queries, node)
    }
}

/// One evaluation. Its functions return only the value, which fits two registers, and `Undefined` after a fault: no
/// part of a template may be undefined.
struct Evaluator<'t, 'a, 's, 'e> {
    template: &'t Template,
    base: TextMark,
    arena: &'a mut Arena,
    scope: &'a Scope<'s>,
    env: &'a mut Env<'e>,
    /// Whether the input is so large that following a path in it is charged.
    large: bool,
    fault: Option<Box<Fault<'t>>>,
}

impl<'t> Evaluator<'t, '_, '_, '_> {
    /// A part of a template. The most frequent kinds are made without a call.
    #[inline(always)]
    fn make(&mut self, node: Node) -> Value {
        match node {
            Node::Leaf(value) => Arena::rebased(value, self.base),
            Node::Query(query) => {
                let query = &self.template.queries[query as usize];
                if let What::Path(path) = &query.what {
                    if self.large {
                        self.env.fuel.note(path.work(self.arena, self.scope.input));
                    }
                    let found = path.follow(self.arena, self.scope.input);
                    if !found.is_undefined() {
                        return found;
                    }
                }
                self.evaluate(query)
            }
            Node::Array(span) => self.array(span),
            Node::Object { members, size, distinct: true } => self.distinct_object(members, size),
            Node::Object { members, .. } => self.object(members),
        }
    }

    /// The depth is bounded by the reader of definitions.
    #[inline(never)]
    fn array(&mut self, span: Span) -> Value {
        let mark = self.arena.begin();
        let template = self.template;
        for child in span.of(&template.children) {
            let value = self.make(child.node);
            if value.is_undefined() {
                self.arena.cancel(mark);
                return value;
            }
            self.arena.push(value);
        }
        self.arena.end_array(mark)
    }

    #[inline(never)]
    fn object(&mut self, span: Span) -> Value {
        let mark = self.arena.begin();
        let template = self.template;
        for child in span.of(&template.children) {
            let value = self.make(child.node);
            if value.is_undefined() {
                self.arena.cancel(mark);
                return value;
            }
            self.arena.push_member(Arena::rebased(child.key, self.base), value);
        }
        self.arena.end_object(mark)
    }

    /// The same without equal keys. `size` is that without the values; computed with the values at hand, because
    /// reading them back from memory stalled.
    #[inline(never)]
    fn distinct_object(&mut self, span: Span, size: u32) -> Value {
        let mark = self.arena.begin();
        let template = self.template;
        let (mut size, mut depth) = (size as usize, 0);
        for child in span.of(&template.children) {
            let value = self.make(child.node);
            if value.is_undefined() {
                self.arena.cancel(mark);
                return value;
            }
            size += self.arena.size(value) as usize;
            depth = depth.max(value.depth());
            self.arena.push_member(Arena::rebased(child.key, self.base), value);
        }
        self.arena.end_measured_object(mark, size, depth)
    }

    #[inline(never)]
    fn evaluate(&mut self, query: &'t Query) -> Value {
        if self.env.fuel.cut().is_some() {
            self.fault = Some(Box::new(Fault::Cut));
            return Value::UNDEFINED;
        }
        let field = || field(&self.template.places, query.place);
        let (arena, scope) = (&mut *self.arena, self.scope);
        let fault = match &query.what {
            What::Path(path) => match path.eval(arena, scope, self.env.fuel) {
                Ok(value) => return value,
                Err(fault) => Fault::Path { path, field: field(), fault },
            },
            What::Call(call) => match call.eval(arena, scope, self.env.random, self.env.fuel) {
                Ok(value) => return value,
                Err(fault) => Fault::Call { call, field: field(), fault },
            },
            What::Expr(expr) => match expr.eval(arena, scope, &mut self.env.jsonata()) {
                Ok(value) if value.is_undefined() => {
                    Fault::Expr { expression: expr.source(), field: field(), fault: None }
                }
                Ok(value) => return value,
                Err(fault) => Fault::Expr { expression: expr.source(), field: field(), fault: Some(fault) },
            },
        };
        self.fault = Some(Box::new(fault));
        Value::UNDEFINED
    }
}

fn path(queries: &[Query], node: Node) -> Option<&Path> {
    match node {
        Node::Query(query) => match &queries[query as usize].what {
            What::Path(path) => Some(path),
            _ => None,
        },
        _ => None,
    }
}

fn item_field(queries: &[Query], node: Node) -> Option<ContextField> {
    let field = path(queries, node)?.as_context_field()?;
    use ContextField::{MapItemIndex, MapItemKey, MapItemValue};
    matches!(field, MapItemIndex | MapItemValue | MapItemKey).then_some(field)
}

fn blanks(queries: &[Query], members: &[Child]) -> Vec<Blank> {
    let blank = |(member, child): (usize, &Child)| {
        item_field(queries, child.node).map(|field| Blank { member: member as u32, field })
    };
    members.iter().enumerate().filter_map(blank).collect()
}

struct Build<'n> {
    children: Vec<Child>,
    /// Holds the texts.
    arena: Arena,
    queries: Vec<Query>,
    places: Vec<Place>,
    language: Language,
    names: &'n mut dyn Names,
}

impl<'n> Build<'n> {
    fn new(language: Language, names: &'n mut dyn Names) -> Build<'n> {
        Build {
            children: Vec::new(),
            arena: Arena::new(),
            queries: Vec::new(),
            places: Vec::new(),
            language,
            names,
        }
    }

    fn finish(mut self, root: Node) -> Template {
        let mut text = std::mem::take(self.arena.text());
        if !text.is_empty() {
            // Padding behind the last text, so that it is copied into an output like those before it.
            text.extend(std::iter::repeat_n(' ', crate::json::COPIED_AT_ONCE));
        }
        let blanks = match root {
            Node::Object { members, .. } => blanks(&self.queries, members.of(&self.children)),
            _ => Vec::new(),
        };
        Template {
            root,
            work: (self.children.len() * NODE + text.len() / 8) as u64,
            children: self.children,
            text: text.into(),
            queries: self.queries,
            places: self.places,
            blanks,
        }
    }

    /// Adds a place: a step from the enclosing field.
    fn place(&mut self, around: Option<PlaceId>, step: Step<&str>) -> PlaceId {
        let step = match step {
            Step::Field(name) => Step::Field(name.into()),
            Step::Item(index) => Step::Item(index),
        };
        self.places.push(Place { around, step });
        PlaceId(self.places.len() as u32 - 1)
    }

    fn error(&self, place: PlaceId, error: impl ToString) -> CompileError {
        CompileError { field: field(&self.places, place), message: error.to_string() }
    }

    /// A value at a step from the enclosing field.
    fn node(
        &mut self,
        source: &Source,
        around: Option<PlaceId>,
        step: Step<&str>,
    ) -> Result<Node, CompileError> {
        let node = match &source.value {
            NodeValue::Null => Node::Leaf(Value::NULL),
            NodeValue::Bool(value) => Node::Leaf(Value::bool(*value)),
            NodeValue::Number(number) => match crate::json::read(&mut self.arena, number.as_bytes()) {
                Ok(number) => Node::Leaf(number),
                Err(error) => {
                    let place = self.place(around, step);
                    return Err(self.error(place, error));
                }
            },
            NodeValue::String(text) => match self.marked(text) {
                Some(expression) => {
                    let place = self.place(around, step);
                    self.marked_expression(expression, place)?
                }
                None => Node::Leaf(self.arena.quoted_string(text, false)),
            },
            NodeValue::Array(items) => {
                let place = self.place(around, step);
                let mut children = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let node = self.node(item, Some(place), Step::Item(i as u32))?;
                    children.push(Child { key: Value::UNDEFINED, node });
                }
                Node::Array(self.children(children))
            }
            NodeValue::Object(members) => {
                let place = self.place(around, step);
                let mut children = Vec::with_capacity(members.len());
                for member in members {
                    children.push(self.member(&member.key.value, &member.value, place)?);
                }
                if matches!(self.language, Language::JsonPath) {
                    self.order(&mut children);
                }
                self.object(children)
            }
        };
        Ok(node)
    }

    fn object(&mut self, children: Vec<Child>) -> Node {
        let keys = || children.iter().map(|child| child.key);
        let punctuation = 2 + children.len() + children.len().saturating_sub(1);
        let size = keys().map(|key| self.arena.size(key)).sum::<u32>() + punctuation as u32;
        let texts: std::collections::HashSet<&str> = keys().map(|key| self.arena.str(key)).collect();
        let distinct = texts.len() == children.len();
        Node::Object { members: self.children(children), size, distinct }
    }

    /// AWS's order of a payload template: first literals in their order, then the `.$` members in the order of a Java
    /// `HashMap`.
    fn order(&self, children: &mut [Child]) {
        let buckets = java::buckets(children.len());
        children.sort_by_cached_key(|child| match child.node {
            Node::Query(_) => 1 + java::bucket(java::hash_text(self.arena.str(child.key)), buckets),
            _ => 0,
        });
    }

    fn children(&mut self, children: Vec<Child>) -> Span {
        let from = self.children.len() as u32;
        self.children.extend(children);
        Span { from, to: self.children.len() as u32 }
    }

    fn member(&mut self, key: &str, value: &Source, around: PlaceId) -> Result<Child, CompileError> {
        if let (Language::JsonPath, Some(name)) = (self.language, key.strip_suffix(".$")) {
            let what = match value.as_str() {
                Some(text) => path_or_call(text, self.names)
                    .map_err(|error| CompileError { field: key.to_owned(), message: error.to_string() })?,
                None => {
                    return Err(CompileError {
                        field: key.to_owned(),
                        message: "a string is required".to_owned(),
                    });
                }
            };
            // In a payload template the path is only the member's name.
            let place = self.place(None, Step::Field(key));
            let node = self.query(place, what);
            return Ok(Child { key: self.arena.quoted_string(name, true), node });
        }
        let node = self.node(value, Some(around), Step::Field(key))?;
        Ok(Child { key: self.arena.quoted_string(key, true), node })
    }

    fn query(&mut self, place: PlaceId, what: What) -> Node {
        self.queries.push(Query { place, what });
        Node::Query(self.queries.len() as u32 - 1)
    }

    /// The expression in a text, if it is marked as one.
    fn marked<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self.language {
            Language::Jsonata(_) => {
                text.strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}")).map(str::trim)
            }
            _ => None,
        }
    }

    fn marked_expression(&mut self, expression: &str, place: PlaceId) -> Result<Node, CompileError> {
        let allowed = match self.language {
            Language::Jsonata(allowed) => allowed,
            _ => Allowed::default(),
        };
        let expr = Expr::compile(expression, self.names, jsonata::Profile::StepFunctions(allowed))
            .map_err(|error| self.error(place, error))?;
        Ok(self.query(place, What::Expr(Box::new(expr))))
    }
}

fn path_or_call(text: &str, names: &mut dyn Names) -> Result<What, SyntaxError> {
    if text.starts_with('$') {
        return Path::parse(text, names).map(What::Path);
    }
    Call::parse(text, names).map(What::Call)
}
