//! Payload templates and JSONata values: JSON whose marked parts are evaluated (specification, "Payload Template";
//! developer guide, "Transforming data with JSONata").
//!
//! A template is a flat table of nodes. The texts it writes stand together in one string, so that evaluating it copies
//! them into the arena at once and builds containers of plain 16-byte records.

use super::intrinsic::Call;
use super::jsonata::{Allowed, Expr};
use super::path::{Path, PathFault, SyntaxError};
use super::{Env, Names, Scope, intrinsic, jsonata};
use crate::json::source::{Node as Source, NodeValue};
use crate::json::{Arena, TextMark, Value};

/// A template, compiled.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<Node>,
    root: u32,
    /// Children of arrays; keys and children of objects.
    children: Vec<Child>,
    /// All texts, one behind the other; leaves and keys are spans of it.
    text: Box<str>,
    queries: Vec<Query>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    /// A scalar, relative to the template's text.
    Leaf(Value),
    Array(Span),
    /// `size` is what keys, colons, commas and braces take; `distinct` says that no two keys are the same.
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

#[derive(Debug, Clone, Copy)]
struct Child {
    /// Of an object's member, relative to the template's text.
    key: Value,
    node: u32,
}

/// Something that is evaluated, and the field it stands in, as AWS names it in causes.
#[derive(Debug)]
struct Query {
    field: Box<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    Path(Path),
    Call(Call),
    Expr(Box<Expr>),
}

/// Which language the marked parts are in.
#[derive(Clone, Copy, Debug)]
pub enum Language {
    /// Members whose key ends in `.$`.
    JsonPath,
    /// Strings in `{% %}`, which may look at what `Allowed` says.
    Jsonata(Allowed),
    /// None: the JSON as it stands.
    Literal,
}

/// Why a template cannot be compiled: the field and what is wrong there.
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
        field: &'t str,
        /// What Jayway says.
        fault: PathFault,
    },
    /// An intrinsic function failed.
    Call {
        /// The call.
        call: &'t Call,
        /// The member, with its `.$`.
        field: &'t str,
        /// Why.
        fault: intrinsic::Fault,
    },
    /// A JSONata expression failed.
    Expr {
        /// The expression as written between the marks.
        expression: &'t str,
        /// The field, from the state down: `Output/a[0]`.
        field: &'t str,
        /// Why; `None` when it returned nothing.
        fault: Option<jsonata::EvalError>,
    },
}

impl Template {
    /// Compiles `source`, the value of `field`.
    ///
    /// # Errors
    /// The first marked part that is no path, call or expression. Definitions are checked before they come here.
    pub fn compile(
        source: &Source,
        field: &str,
        language: Language,
        names: &mut dyn Names,
    ) -> Result<Template, CompileError> {
        let mut build = Build::new(language, names);
        let root = build.node(source, field)?;
        Ok(build.finish(root))
    }

    /// Compiles one JSONata expression, the value of `field`.
    ///
    /// # Errors
    /// When it is no expression.
    pub fn expression(
        expression: &str,
        field: &str,
        allowed: Allowed,
        names: &mut dyn Names,
    ) -> Result<Template, CompileError> {
        let mut build = Build::new(Language::Jsonata(allowed), names);
        let root = build.expression(expression, field)?;
        Ok(build.finish(root))
    }

    /// The expression, when the whole template is one.
    pub fn as_expression(&self) -> Option<(&str, &str)> {
        match self.nodes[self.root as usize] {
            Node::Query(query) => match &self.queries[query as usize] {
                Query { field, what: What::Expr(expr) } => Some((expr.source(), field)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Makes the value.
    ///
    /// # Errors
    /// The first part that cannot be evaluated. The arena may have [`overflowed`](Arena::overflowed) without an error.
    pub fn eval(
        &self,
        arena: &mut Arena,
        scope: &Scope<'_>,
        env: &mut Env<'_>,
    ) -> Result<Value, Box<Fault<'_>>> {
        if !arena.reserve(self.text.len()) {
            return Ok(Value::NULL);
        }
        let base = arena.append_text(&self.text);
        let mark = arena.begin();
        let made = self.make(self.root, base, arena, scope, env);
        let value = arena.pushed(mark).first().copied().unwrap_or_default();
        arena.cancel(mark);
        made.map(|()| value)
    }

    /// Makes one node and pushes it. Recursion is as deep as the template was written, which the reader of definitions
    /// bounds.
    fn make<'t>(
        &'t self,
        node: u32,
        base: TextMark,
        arena: &mut Arena,
        scope: &Scope<'_>,
        env: &mut Env<'_>,
    ) -> Result<(), Box<Fault<'t>>> {
        let value = match self.nodes[node as usize] {
            Node::Leaf(value) => Arena::rebased(value, base),
            Node::Query(query) => self.queries[query as usize].eval(arena, scope, env)?,
            Node::Array(span) => {
                let mark = arena.begin();
                for child in &self.children[span.from as usize..span.to as usize] {
                    self.make(child.node, base, arena, scope, env)?;
                }
                arena.end_array(mark)
            }
            Node::Object { members, size, distinct } => {
                let mark = arena.begin();
                for child in &self.children[members.from as usize..members.to as usize] {
                    arena.push(Arena::rebased(child.key, base));
                    self.make(child.node, base, arena, scope, env)?;
                }
                match distinct {
                    true => arena.end_distinct_object(mark, size as usize),
                    false => arena.end_object(mark),
                }
            }
        };
        arena.push(value);
        Ok(())
    }

    /// Prints the template on one line, for dumps.
    pub fn dump(&self) -> String {
        let mut arena = Arena::new();
        arena.append_text(&self.text);
        let mut out = String::new();
        self.dump_node(self.root, &arena, &mut out);
        out
    }

    fn dump_node(&self, node: u32, arena: &Arena, out: &mut String) {
        match self.nodes[node as usize] {
            Node::Leaf(value) => out.push_str(&crate::json::to_string(arena, value)),
            Node::Query(query) => match &self.queries[query as usize].what {
                What::Path(path) => out.push_str(path.source()),
                What::Call(call) => out.push_str(call.source()),
                What::Expr(expr) => out.push_str(&format!("{{% {} %}}", expr.source())),
            },
            Node::Array(span) | Node::Object { members: span, .. } => {
                let object = matches!(self.nodes[node as usize], Node::Object { .. });
                out.push(if object { '{' } else { '[' });
                for (i, child) in self.children[span.from as usize..span.to as usize].iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    if object {
                        out.push_str(&crate::json::to_string(arena, child.key));
                        out.push_str(": ");
                    }
                    self.dump_node(child.node, arena, out);
                }
                out.push(if object { '}' } else { ']' });
            }
        }
    }
}

impl Query {
    #[inline]
    fn eval(&self, arena: &mut Arena, scope: &Scope<'_>, env: &mut Env<'_>) -> Result<Value, Box<Fault<'_>>> {
        let field = &*self.field;
        match &self.what {
            What::Path(path) => {
                if let Some(found) = path.follow(arena, scope.input) {
                    return Ok(found);
                }
                path.eval(arena, scope).map_err(|fault| Box::new(Fault::Path { path, field, fault }))
            }
            What::Call(call) => call
                .eval(arena, scope, env.random)
                .map_err(|fault| Box::new(Fault::Call { call, field, fault })),
            What::Expr(expr) => {
                let expression = expr.source();
                match expr.eval(arena, scope, env) {
                    Ok(value) if value.is_undefined() => {
                        Err(Box::new(Fault::Expr { expression, field, fault: None }))
                    }
                    Ok(value) => Ok(value),
                    Err(fault) => Err(Box::new(Fault::Expr { expression, field, fault: Some(fault) })),
                }
            }
        }
    }
}

struct Build<'n> {
    nodes: Vec<Node>,
    children: Vec<Child>,
    /// Holds the texts.
    arena: Arena,
    queries: Vec<Query>,
    language: Language,
    names: &'n mut dyn Names,
}

impl<'n> Build<'n> {
    fn new(language: Language, names: &'n mut dyn Names) -> Build<'n> {
        Build {
            nodes: Vec::new(),
            children: Vec::new(),
            arena: Arena::new(),
            queries: Vec::new(),
            language,
            names,
        }
    }

    fn finish(mut self, root: u32) -> Template {
        let text = std::mem::take(self.arena.text()).into();
        Template { nodes: self.nodes, root, children: self.children, text, queries: self.queries }
    }

    fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    fn node(&mut self, source: &Source, field: &str) -> Result<u32, CompileError> {
        let node = match &source.value {
            NodeValue::Null => Node::Leaf(Value::NULL),
            NodeValue::Bool(value) => Node::Leaf(Value::bool(*value)),
            NodeValue::Number(number) => Node::Leaf(
                crate::json::read(&mut self.arena, number.as_bytes())
                    .map_err(|error| CompileError { field: field.to_owned(), message: error.to_string() })?,
            ),
            NodeValue::String(text) => return self.string(text, field),
            NodeValue::Array(items) => {
                let mut children = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let node = self.node(item, &format!("{field}[{i}]"))?;
                    children.push(Child { key: Value::UNDEFINED, node });
                }
                Node::Array(self.children(children))
            }
            NodeValue::Object(members) => {
                let mut children = Vec::with_capacity(members.len());
                for member in members {
                    children.push(self.member(&member.key.value, &member.value, field)?);
                }
                self.object(children)
            }
        };
        Ok(self.add(node))
    }

    fn object(&mut self, children: Vec<Child>) -> Node {
        let keys = || children.iter().map(|child| child.key);
        let punctuation = 2 + children.len() + children.len().saturating_sub(1);
        let size = keys().map(|key| self.arena.size(key)).sum::<u32>() + punctuation as u32;
        let texts: std::collections::HashSet<&str> = keys().map(|key| self.arena.str(key)).collect();
        let distinct = texts.len() == children.len();
        Node::Object { members: self.children(children), size, distinct }
    }

    fn children(&mut self, children: Vec<Child>) -> Span {
        let from = self.children.len() as u32;
        self.children.extend(children);
        Span { from, to: self.children.len() as u32 }
    }

    fn member(&mut self, key: &str, value: &Source, field: &str) -> Result<Child, CompileError> {
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
            let node = self.query(key, what);
            return Ok(Child { key: self.arena.quoted_string(name, true), node });
        }
        let node = self.node(value, &format!("{field}/{key}"))?;
        Ok(Child { key: self.arena.quoted_string(key, true), node })
    }

    fn query(&mut self, field: &str, what: What) -> u32 {
        self.queries.push(Query { field: field.into(), what });
        self.add(Node::Query(self.queries.len() as u32 - 1))
    }

    fn string(&mut self, text: &str, field: &str) -> Result<u32, CompileError> {
        let marked = match self.language {
            Language::Jsonata(_) => text.strip_prefix("{%").and_then(|rest| rest.strip_suffix("%}")),
            _ => None,
        };
        match marked {
            Some(expression) => self.expression(expression.trim(), field),
            None => {
                let leaf = self.arena.quoted_string(text, false);
                Ok(self.add(Node::Leaf(leaf)))
            }
        }
    }

    fn expression(&mut self, expression: &str, field: &str) -> Result<u32, CompileError> {
        let allowed = match self.language {
            Language::Jsonata(allowed) => allowed,
            _ => Allowed::default(),
        };
        let expr = Expr::compile(expression, self.names, jsonata::Profile::StepFunctions(allowed))
            .map_err(|error| CompileError { field: field.to_owned(), message: error.to_string() })?;
        Ok(self.query(field, What::Expr(Box::new(expr))))
    }
}

fn path_or_call(text: &str, names: &mut dyn Names) -> Result<What, SyntaxError> {
    if text.starts_with('$') {
        return Path::parse(text, names).map(What::Path);
    }
    Call::parse(text, names).map(What::Call)
}
