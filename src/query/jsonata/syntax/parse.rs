//! The operator-precedence parser.

use super::signature::signature_error;
use super::token::{Literal, Token, TokenKind, Tokens, quote};
use super::{CompileError, Signature};
use crate::limits;

/// A node of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query::jsonata) struct SyntaxId(u32);

/// A node of the syntax tree.
#[derive(Clone, Debug)]
pub(in crate::query::jsonata) struct SyntaxNode {
    pub(in crate::query::jsonata) kind: Syntax,
    /// Byte offset of the end of its token.
    pub(in crate::query::jsonata) end: u32,
    /// Whether `[]` follows it: a sequence of one stays an array.
    pub(in crate::query::jsonata) keep_array: bool,
    /// Levels below it.
    depth: u32,
}

/// The syntactic forms of the language.
#[derive(Clone, Debug)]
pub(in crate::query::jsonata) enum Syntax {
    Name(String),
    Variable(String),
    Literal(Literal),
    Regex {
        pattern: String,
        flags: String,
    },
    Wildcard,
    Descendant,
    Parent,
    /// The `?` of a partial application.
    Placeholder,
    /// An operand was expected, but the expression ends.
    End,
    Negate(SyntaxId),
    Array(Vec<SyntaxId>),
    Object(Vec<(SyntaxId, SyntaxId)>),
    Dot(SyntaxId, SyntaxId),
    Predicate(SyntaxId, SyntaxId),
    Group(SyntaxId, Vec<(SyntaxId, SyntaxId)>),
    /// The terms with whether they are descending.
    Sort(SyntaxId, Vec<(SyntaxId, bool)>),
    Focus(SyntaxId, String),
    Index(SyntaxId, String),
    Bind(String, SyntaxId),
    Apply(SyntaxId, SyntaxId),
    Binary(BinaryOp, SyntaxId, SyntaxId),
    Condition(SyntaxId, SyntaxId, Option<SyntaxId>),
    Block(Vec<SyntaxId>),
    Call(SyntaxId, Vec<SyntaxId>),
    Partial(SyntaxId, Vec<SyntaxId>),
    Lambda {
        params: Vec<String>,
        signature: Option<Signature>,
        body: SyntaxId,
    },
    Transform {
        pattern: SyntaxId,
        update: SyntaxId,
        delete: Option<SyntaxId>,
    },
}

/// The binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query::jsonata) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Concat,
    And,
    Or,
    In,
    Range,
}

impl BinaryOp {
    /// Its source text.
    pub(in crate::query::jsonata) const fn text(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Concat => "&",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::In => "in",
            BinaryOp::Range => "..",
        }
    }

    fn of(text: &str) -> Option<BinaryOp> {
        Some(match text {
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Subtract,
            "*" => BinaryOp::Multiply,
            "/" => BinaryOp::Divide,
            "%" => BinaryOp::Remainder,
            "=" => BinaryOp::Equal,
            "!=" => BinaryOp::NotEqual,
            "<" => BinaryOp::Less,
            "<=" => BinaryOp::LessEqual,
            ">" => BinaryOp::Greater,
            ">=" => BinaryOp::GreaterEqual,
            "&" => BinaryOp::Concat,
            "and" => BinaryOp::And,
            "or" => BinaryOp::Or,
            "in" => BinaryOp::In,
            _ => return None,
        })
    }
}

/// The left binding power of an operator; 0 if it does not continue an expression.
fn binding_power(operator: &str) -> u32 {
    match operator {
        "[" | "(" | "@" | "#" => 80,
        "." => 75,
        "{" => 70,
        "*" | "/" | "%" => 60,
        "+" | "-" | "&" => 50,
        "=" | "!=" | "<" | "<=" | ">" | ">=" | "^" | "~>" | "in" => 40,
        "and" => 30,
        "or" => 25,
        "?" => 20,
        ":=" => 10,
        _ => 0,
    }
}

/// A parsed expression. Children come before their parents; the last node is the root.
#[derive(Clone, Debug)]
pub(in crate::query::jsonata) struct Tree {
    nodes: Vec<SyntaxNode>,
    /// The whole expression.
    pub(in crate::query::jsonata) root: SyntaxId,
}

impl Tree {
    /// The node `id`.
    pub(in crate::query::jsonata) fn node(&self, id: SyntaxId) -> &SyntaxNode {
        &self.nodes[id.0 as usize]
    }
}

/// Parses an expression.
pub(in crate::query::jsonata) fn parse(source: &str) -> Result<Tree, CompileError> {
    if source.len() > limits::JSONATA_SOURCE_BYTES_MAX {
        return Err(too_deep(0));
    }
    let mut tokens = Tokens::new(source);
    let token = known(tokens.next(true)?)?;
    let mut parser = Parser { tokens, token, nodes: Vec::new(), depth: 0 };
    let root = parser.expression(0)?;
    if parser.token.kind != TokenKind::End {
        return Err(parser.syntax_error());
    }
    Ok(Tree { nodes: parser.nodes, root })
}

/// Refuses characters that are reserved but have no meaning.
fn known(token: Token) -> Result<Token, CompileError> {
    match token.kind {
        TokenKind::Operator(operator @ ("!" | "~")) => {
            let message = format!("Unknown operator: {}", quote(operator));
            Err(CompileError::new("S0204", token.end as usize, Some(operator), message))
        }
        _ => Ok(token),
    }
}

fn too_deep(offset: usize) -> CompileError {
    let message = format!("Expression is nested deeper than {} levels", limits::JSONATA_SYNTAX_DEPTH_MAX);
    CompileError::new("U1001", offset, None, message)
}

struct Parser<'s> {
    tokens: Tokens<'s>,
    /// The next token.
    token: Token,
    nodes: Vec<SyntaxNode>,
    depth: u32,
}

type Parsed = Result<SyntaxId, CompileError>;

impl Parser<'_> {
    fn add(&mut self, kind: Syntax, end: u32) -> Parsed {
        let depth = 1 + self.deepest(&kind);
        if depth > limits::JSONATA_SYNTAX_DEPTH_MAX {
            return Err(too_deep(end as usize));
        }
        self.nodes.push(SyntaxNode { kind, end, keep_array: false, depth });
        Ok(SyntaxId(self.nodes.len() as u32 - 1))
    }

    /// The depth of the deepest child.
    fn deepest(&self, kind: &Syntax) -> u32 {
        let depth = |id: &SyntaxId| self.nodes[id.0 as usize].depth;
        let list = |ids: &[SyntaxId]| ids.iter().map(depth).max().unwrap_or(0);
        let pairs = |pairs: &[(SyntaxId, SyntaxId)]| {
            pairs.iter().map(|(key, value)| depth(key).max(depth(value))).max().unwrap_or(0)
        };
        match kind {
            Syntax::Name(_)
            | Syntax::Variable(_)
            | Syntax::Literal(_)
            | Syntax::Regex { .. }
            | Syntax::Wildcard
            | Syntax::Descendant
            | Syntax::Parent
            | Syntax::Placeholder
            | Syntax::End => 0,
            Syntax::Negate(a) | Syntax::Focus(a, _) | Syntax::Index(a, _) | Syntax::Bind(_, a) => depth(a),
            Syntax::Lambda { body, .. } => depth(body),
            Syntax::Array(items) | Syntax::Block(items) => list(items),
            Syntax::Object(members) => pairs(members),
            Syntax::Dot(a, b) | Syntax::Predicate(a, b) | Syntax::Apply(a, b) | Syntax::Binary(_, a, b) => {
                depth(a).max(depth(b))
            }
            Syntax::Group(a, members) => depth(a).max(pairs(members)),
            Syntax::Sort(a, terms) => depth(a).max(terms.iter().map(|(id, _)| depth(id)).max().unwrap_or(0)),
            Syntax::Condition(a, b, c) => depth(a).max(depth(b)).max(c.as_ref().map_or(0, depth)),
            Syntax::Call(a, items) | Syntax::Partial(a, items) => depth(a).max(list(items)),
            Syntax::Transform { pattern, update, delete } => {
                depth(pattern).max(depth(update)).max(delete.as_ref().map_or(0, depth))
            }
        }
    }

    fn is(&self, operator: &str) -> bool {
        matches!(&self.token.kind, TokenKind::Operator(text) if *text == operator)
    }

    /// Consumes the current token; `operand` means that a regular expression may follow.
    fn next(&mut self, operand: bool) -> Result<Token, CompileError> {
        let next = known(self.tokens.next(operand)?)?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn require(&mut self, operator: &str, operand: bool) -> Result<Token, CompileError> {
        if self.is(operator) {
            return self.next(operand);
        }
        let expected = quote(operator);
        let offset = self.token.end as usize;
        let token = self.token.kind.quoted();
        Err(match self.token.kind {
            TokenKind::End => {
                let message = format!("Expected {expected} before end of expression");
                CompileError::new("S0203", offset, Some("(end)"), message)
            }
            _ => {
                let message = format!("Expected {expected}, got {token}");
                CompileError::new("S0202", offset, Some(&self.token.kind.text()), message)
            }
        })
    }

    fn syntax_error(&self) -> CompileError {
        let message = format!("Syntax error: {}", self.token.kind.quoted());
        CompileError::new("S0201", self.token.end as usize, Some(&self.token.kind.text()), message)
    }

    fn expression(&mut self, right_power: u32) -> Parsed {
        self.depth += 1;
        if self.depth > limits::JSONATA_SYNTAX_DEPTH_MAX {
            return Err(too_deep(self.token.end as usize));
        }
        // After the first token of an operand comes an operator: there a `/` divides. (So it does behind `(` as well.)
        let token = self.next(false)?;
        let mut left = self.prefix(token)?;
        while let TokenKind::Operator(operator) = self.token.kind {
            if binding_power(operator) <= right_power {
                break;
            }
            let token = self.next(true)?;
            left = self.infix(operator, token.end, left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefix(&mut self, token: Token) -> Parsed {
        let end = token.end;
        match token.kind {
            TokenKind::Name(name) => self.add(Syntax::Name(name), end),
            TokenKind::Variable(name) => self.add(Syntax::Variable(name), end),
            TokenKind::Literal(literal) => self.add(Syntax::Literal(literal), end),
            TokenKind::Regex { pattern, flags } => self.add(Syntax::Regex { pattern, flags }, end),
            TokenKind::End => self.add(Syntax::End, end),
            TokenKind::Operator(operator) => match operator {
                "and" | "or" | "in" => self.add(Syntax::Name(operator.to_owned()), end),
                "*" => self.add(Syntax::Wildcard, end),
                "**" => self.add(Syntax::Descendant, end),
                "%" => self.add(Syntax::Parent, end),
                "-" => {
                    let operand = self.expression(70)?;
                    self.add(Syntax::Negate(operand), end)
                }
                "(" => self.block(end),
                "[" => self.array(end),
                "{" => {
                    let members = self.members()?;
                    self.add(Syntax::Object(members), end)
                }
                "|" => self.transform(end),
                _ => {
                    let message =
                        format!("The symbol {} cannot be used as a unary operator", quote(operator));
                    Err(CompileError::new("S0211", end as usize, Some(operator), message))
                }
            },
        }
    }

    fn block(&mut self, end: u32) -> Parsed {
        let mut items = Vec::new();
        while !self.is(")") {
            items.push(self.expression(0)?);
            if !self.is(";") {
                break;
            }
            self.next(true)?;
        }
        self.require(")", false)?;
        self.add(Syntax::Block(items), end)
    }

    fn array(&mut self, end: u32) -> Parsed {
        let mut items = Vec::new();
        if !self.is("]") {
            loop {
                let mut item = self.expression(0)?;
                if self.is("..") {
                    let range = self.next(true)?;
                    let last = self.expression(0)?;
                    item = self.add(Syntax::Binary(BinaryOp::Range, item, last), range.end)?;
                }
                items.push(item);
                if !self.is(",") {
                    break;
                }
                self.next(true)?;
            }
        }
        self.require("]", false)?;
        self.add(Syntax::Array(items), end)
    }

    fn members(&mut self) -> Result<Vec<(SyntaxId, SyntaxId)>, CompileError> {
        let mut members = Vec::new();
        if !self.is("}") {
            loop {
                let key = self.expression(0)?;
                self.require(":", true)?;
                let value = self.expression(0)?;
                members.push((key, value));
                if !self.is(",") {
                    break;
                }
                self.next(true)?;
            }
        }
        self.require("}", false)?;
        Ok(members)
    }

    fn transform(&mut self, end: u32) -> Parsed {
        let pattern = self.expression(0)?;
        self.require("|", true)?;
        let update = self.expression(0)?;
        let mut delete = None;
        if self.is(",") {
            self.next(true)?;
            delete = Some(self.expression(0)?);
        }
        self.require("|", true)?;
        self.add(Syntax::Transform { pattern, update, delete }, end)
    }

    fn infix(&mut self, operator: &'static str, end: u32, left: SyntaxId) -> Parsed {
        let power = binding_power(operator);
        let kind = match operator {
            "." => Syntax::Dot(left, self.expression(power)?),
            "~>" => Syntax::Apply(left, self.expression(power)?),
            "[" if self.is("]") => return self.keep_array(left),
            "[" => {
                let predicate = self.expression(0)?;
                self.require("]", false)?;
                Syntax::Predicate(left, predicate)
            }
            "{" => Syntax::Group(left, self.members()?),
            "^" => Syntax::Sort(left, self.sort_terms()?),
            "@" => Syntax::Focus(left, self.bound_variable(operator, power)?),
            "#" => Syntax::Index(left, self.bound_variable(operator, power)?),
            "?" => {
                let then = self.expression(0)?;
                let mut otherwise = None;
                if self.is(":") {
                    self.next(true)?;
                    otherwise = Some(self.expression(0)?);
                }
                Syntax::Condition(left, then, otherwise)
            }
            ":=" => {
                let node = &self.nodes[left.0 as usize];
                let Syntax::Variable(name) = &node.kind else {
                    let message = "The left side of := must be a variable name (start with $)".to_owned();
                    let token = self.token_text(left);
                    return Err(CompileError::new("S0212", node.end as usize, token.as_deref(), message));
                };
                let name = name.clone();
                Syntax::Bind(name, self.expression(power - 1)?)
            }
            "(" => return self.call(left, end),
            _ => match BinaryOp::of(operator) {
                Some(op) => Syntax::Binary(op, left, self.expression(power)?),
                // Every operator with a binding power is listed above.
                None => return Err(self.syntax_error()),
            },
        };
        self.add(kind, end)
    }

    fn keep_array(&mut self, left: SyntaxId) -> Parsed {
        let mut step = left;
        while let Syntax::Predicate(inner, _) = self.nodes[step.0 as usize].kind {
            step = inner;
        }
        self.nodes[step.0 as usize].keep_array = true;
        self.next(true)?;
        Ok(left)
    }

    fn sort_terms(&mut self) -> Result<Vec<(SyntaxId, bool)>, CompileError> {
        self.require("(", true)?;
        let mut terms = Vec::new();
        loop {
            let descending = self.is(">");
            if descending || self.is("<") {
                self.next(true)?;
            }
            terms.push((self.expression(0)?, descending));
            if !self.is(",") {
                break;
            }
            self.next(true)?;
        }
        self.require(")", true)?;
        Ok(terms)
    }

    fn bound_variable(&mut self, operator: &str, power: u32) -> Result<String, CompileError> {
        let right = self.expression(power)?;
        let node = &self.nodes[right.0 as usize];
        match &node.kind {
            Syntax::Variable(name) => Ok(name.clone()),
            _ => {
                let message =
                    format!("The right side of {} must be a variable name (start with $)", quote(operator));
                Err(CompileError::new("S0214", node.end as usize, Some(operator), message))
            }
        }
    }

    fn token_text(&self, id: SyntaxId) -> Option<String> {
        match &self.nodes[id.0 as usize].kind {
            Syntax::Name(name) => Some(name.clone()),
            Syntax::Literal(literal) => Some(TokenKind::Literal(literal.clone()).text()),
            _ => None,
        }
    }

    fn call(&mut self, procedure: SyntaxId, end: u32) -> Parsed {
        let (mut arguments, mut partial) = (Vec::new(), false);
        if !self.is(")") {
            loop {
                if self.is("?") {
                    partial = true;
                    let token = self.next(true)?;
                    arguments.push(self.add(Syntax::Placeholder, token.end)?);
                } else {
                    arguments.push(self.expression(0)?);
                }
                if !self.is(",") {
                    break;
                }
                self.next(true)?;
            }
        }
        self.require(")", false)?;
        if arguments.len() > limits::JSONATA_ARGUMENTS_MAX {
            let message = format!("A call takes at most {} arguments", limits::JSONATA_ARGUMENTS_MAX);
            return Err(CompileError::new("S0201", end as usize, None, message));
        }
        let is_lambda = matches!(&self.nodes[procedure.0 as usize].kind,
            Syntax::Name(name) if name == "function" || name == "λ");
        if is_lambda {
            return self.lambda(&arguments, end);
        }
        let kind =
            if partial { Syntax::Partial(procedure, arguments) } else { Syntax::Call(procedure, arguments) };
        self.add(kind, end)
    }

    /// A function definition, behind its parameters.
    fn lambda(&mut self, arguments: &[SyntaxId], end: u32) -> Parsed {
        let mut params = Vec::with_capacity(arguments.len());
        for (index, &argument) in arguments.iter().enumerate() {
            let node = &self.nodes[argument.0 as usize];
            let Syntax::Variable(name) = &node.kind else {
                let message = format!(
                    "Parameter {} of function definition must be a variable name (start with $)",
                    index + 1
                );
                let token = self.token_text(argument);
                return Err(CompileError::new("S0208", node.end as usize, token.as_deref(), message));
            };
            params.push(name.clone());
        }
        let signature = if self.is("<") { Some(self.signature()?) } else { None };
        self.require("{", true)?;
        let body = self.expression(0)?;
        self.require("}", true)?;
        self.add(Syntax::Lambda { params, signature, body }, end)
    }

    fn signature(&mut self) -> Result<Signature, CompileError> {
        let start = self.token.end as usize;
        let (mut text, mut depth) = ("<".to_owned(), 1);
        while depth > 0 {
            self.next(true)?;
            match &self.token.kind {
                TokenKind::End | TokenKind::Operator("{") => break,
                TokenKind::Operator(">") => depth -= 1,
                TokenKind::Operator("<") => depth += 1,
                _ => {}
            }
            text.push_str(&self.token.kind.text());
        }
        self.require(">", true)?;
        Signature::parse(text.as_bytes()).map_err(|(code, offset)| signature_error(code, start + offset))
    }
}
