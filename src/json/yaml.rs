//! YAML as JSON: a definition written in YAML becomes the same tree that JSON text becomes, and every node knows its
//! place in the YAML text. So problems are reported at their line, without a detour through JSON.
//!
//! The schema is YAML 1.2's: `yes` and `on` are strings, `null`, `~` and an empty value are null. Aliases are copied,
//! within a bound; `<<` merges. Custom tags are refused by name, except CloudFormation's in its templates.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span as Range, Tag};

use super::number;
use super::source::{Member, Node, NodeValue, Source, Sourced, Span};
use super::write::write_string;
use crate::limits;

/// Why a YAML text cannot become JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// Reads one YAML document.
///
/// ```
/// use expressway::json::yaml;
///
/// let source = yaml::read("StartAt: Hello\nStates:\n  Hello: {Type: Pass, Result: [1, yes], End: true}\n")?;
/// assert_eq!(yaml::to_json(&source.root),
///     r#"{"StartAt":"Hello","States":{"Hello":{"Type":"Pass","Result":[1,"yes"],"End":true}}}"#);
/// # Ok::<(), yaml::YamlError>(())
/// ```
///
/// # Errors
/// What is not YAML, or cannot be JSON, with its place.
pub fn read(text: &str) -> Result<Source, YamlError> {
    read_as(text, Builder::default())
}

/// As [`read`], for templates of CloudFormation: `!Ref x` is `{"Ref": "x"}`, `!Condition x` is `{"Condition": "x"}`, and
/// any other `!Name x` is `{"Fn::Name": x}`.
///
/// # Errors
/// As [`read`].
pub fn read_template(text: &str) -> Result<Source, YamlError> {
    read_as(text, Builder { is_template: true, ..Builder::default() })
}

fn read_as(text: &str, mut builder: Builder) -> Result<Source, YamlError> {
    if text.len() > limits::DEFINITION_BYTES_MAX {
        let message = format!("The text is larger than {} bytes", limits::DEFINITION_BYTES_MAX);
        return Err(YamlError { message, span: Span::default() });
    }
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, range)) => builder.event(event, span(text, &range))?,
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
                let span = Span { start: at as u32, end: (at + 1) as u32 };
                return Err(YamlError { message: error.info(), span });
            }
        }
    }
    let nothing = Node { value: NodeValue::Null, span: Span::default() };
    Ok(Source { root: builder.root.unwrap_or(nothing), duplicates: builder.duplicates })
}

/// The tree as compact JSON text.
pub fn to_json(root: &Node) -> String {
    let mut out = Vec::new();
    write(root, &mut out);
    // Only text was written.
    String::from_utf8(out).unwrap_or_default()
}

/// The depth is bounded by the reader.
fn write(node: &Node, out: &mut Vec<u8>) {
    match &node.value {
        NodeValue::Null => out.extend_from_slice(b"null"),
        NodeValue::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        NodeValue::Number(text) => out.extend_from_slice(text.as_bytes()),
        NodeValue::String(text) => write_string(text, out),
        NodeValue::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        NodeValue::Object(members) => {
            out.push(b'{');
            for (n, member) in members.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_string(&member.key.value, out);
                out.push(b':');
                write(&member.value, out);
            }
            out.push(b'}');
        }
    }
}

fn span(text: &str, range: &Range) -> Span {
    let bytes = range.byte_range().unwrap_or(0..0);
    Span { start: bytes.start.min(text.len()) as u32, end: bytes.end.min(text.len()) as u32 }
}

/// A container that is not closed yet.
struct Open {
    /// The anchor's number, 0 for none.
    anchor: usize,
    start: u32,
    /// The budget spent when it was opened.
    spent: usize,
    depth_below: u16,
    what: What,
    /// The template function whose argument it is.
    function: Option<String>,
}

enum What {
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

#[derive(Default)]
struct Mapping {
    members: Vec<Member>,
    index: HashMap<Box<str>, usize>,
    /// The key whose value comes next, and whether it is a merge.
    key: Option<(Sourced<Box<str>>, bool)>,
    merged: Vec<Member>,
}

/// A node that aliases copy.
struct Anchored {
    node: Node,
    cost: usize,
    depth: u16,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    duplicates: Vec<Sourced<Box<str>>>,
    /// Bytes, roughly, of the tree.
    spent: usize,
    /// Whether custom tags are functions of CloudFormation.
    is_template: bool,
}

/// The cost of a node beside its text.
const NODE_BYTES: usize = 64;

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(YamlError { message: "There is more than one document".to_owned(), span })
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, function) = self.tag(tag.as_deref(), span)?;
                if self.takes_key(&text, style, span) {
                    return Ok(());
                }
                let plain = style == ScalarStyle::Plain && tag != Some("str") && function.is_none();
                let value = if plain { resolve(&text) } else { NodeValue::String(text.as_ref().into()) };
                self.spend(NODE_BYTES + text.len(), span)?;
                let depth = u16::from(function.is_some());
                self.finish(applied(Node { value, span }, function), anchor, NODE_BYTES + text.len(), depth)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let (_, function) = self.tag(tag.as_deref(), span)?;
                self.begin(What::Sequence(Vec::new()), anchor, span, function)
            }
            Event::MappingStart(_, anchor, tag) => {
                let (_, function) = self.tag(tag.as_deref(), span)?;
                self.begin(What::Mapping(Mapping::default()), anchor, span, function)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => {
                let Some(Anchored { node, cost, depth }) = self.anchors.get(&anchor) else {
                    return Err(YamlError {
                        message: "The alias stands inside its own anchor".to_owned(),
                        span,
                    });
                };
                let (cost, depth) = (*cost, *depth);
                if self.spent + cost > limits::YAML_BYTES_MAX
                    || self.open.len() + usize::from(depth) > usize::from(limits::JSON_DEPTH_MAX)
                {
                    return Err(too_large(span));
                }
                let node = node.clone();
                if let NodeValue::String(text) = &node.value
                    && self.takes_key(text, ScalarStyle::DoubleQuoted, span)
                {
                    return Ok(());
                }
                self.spent += cost;
                self.finish(node, 0, cost, depth)
            }
            _ => Ok(()),
        }
    }

    fn spend(&mut self, bytes: usize, span: Span) -> Result<(), YamlError> {
        self.spent += bytes;
        if self.spent > limits::YAML_BYTES_MAX { Err(too_large(span)) } else { Ok(()) }
    }

    /// Whether a scalar is the next key of the open mapping.
    fn takes_key(&mut self, text: &str, style: ScalarStyle, span: Span) -> bool {
        match self.open.last_mut().map(|open| &mut open.what) {
            Some(What::Mapping(mapping)) if mapping.key.is_none() => {
                let merges = style == ScalarStyle::Plain && text == "<<";
                mapping.key = Some((Sourced::new(text.into(), span), merges));
                true
            }
            _ => false,
        }
    }

    /// The core schema's name for a tag, or its function in a template.
    fn tag<'t>(
        &self,
        tag: Option<&'t Tag>,
        span: Span,
    ) -> Result<(Option<&'t str>, Option<String>), YamlError> {
        match tag {
            Some(tag)
                if self.is_template
                    && tag.core_suffix().is_none()
                    && !tag.suffix().is_empty()
                    && tag.suffix() != "!" =>
            {
                Ok((
                    None,
                    Some(match tag.suffix() {
                        name @ ("Ref" | "Condition") => name.to_owned(),
                        name => format!("Fn::{name}"),
                    }),
                ))
            }
            tag => Ok((kind(tag, span)?, None)),
        }
    }

    fn begin(
        &mut self,
        what: What,
        anchor: usize,
        span: Span,
        function: Option<String>,
    ) -> Result<(), YamlError> {
        if let Some(Open { what: What::Mapping(Mapping { key: None, .. }), .. }) = self.open.last() {
            return Err(YamlError { message: "A key must be a scalar".to_owned(), span });
        }
        if self.open.len() >= usize::from(limits::JSON_DEPTH_MAX) {
            return Err(too_large(span));
        }
        let spent = self.spent;
        self.spend(NODE_BYTES, span)?;
        let depth_below = u16::from(function.is_some());
        self.open.push(Open { anchor, start: span.start, spent, depth_below, what, function });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), YamlError> {
        let Some(Open { anchor, start, spent, depth_below, what, function }) = self.open.pop() else {
            return Ok(());
        };
        let value = match what {
            What::Sequence(items) => NodeValue::Array(items),
            What::Mapping(mut mapping) => {
                for member in mapping.merged {
                    if !mapping.index.contains_key(&member.key.value) {
                        mapping.index.insert(member.key.value.clone(), mapping.members.len());
                        mapping.members.push(member);
                    }
                }
                NodeValue::Object(mapping.members)
            }
        };
        let node = applied(Node { value, span: Span { start, end: span.end.max(start + 1) } }, function);
        self.finish(node, anchor, self.spent - spent, depth_below + 1)
    }

    /// Adds a complete node to its parent. It is `depth` containers deep.
    fn finish(&mut self, node: Node, anchor: usize, cost: usize, depth: u16) -> Result<(), YamlError> {
        if anchor > 0 {
            self.spend(cost, node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), cost, depth });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.depth_below = open.depth_below.max(depth);
        let mapping = match &mut open.what {
            What::Sequence(items) => {
                items.push(node);
                return Ok(());
            }
            What::Mapping(mapping) => mapping,
        };
        match mapping.key.take() {
            None => Err(YamlError { message: "A key must be a scalar".to_owned(), span: node.span }),
            Some((_, true)) => mapping.merge(node),
            Some((key, false)) => {
                match mapping.index.get(&key.value) {
                    Some(&at) => {
                        mapping.members[at].value = node;
                        self.duplicates.push(key);
                    }
                    None => {
                        mapping.index.insert(key.value.clone(), mapping.members.len());
                        mapping.members.push(Member { key, value: node });
                    }
                }
                Ok(())
            }
        }
    }
}

impl Mapping {
    /// `<<`: the members of a mapping, or of several; the first of a name counts.
    fn merge(&mut self, node: Node) -> Result<(), YamlError> {
        let span = node.span;
        let parts = match node.value {
            NodeValue::Array(parts) => parts,
            _ => vec![node],
        };
        for part in parts {
            match part.value {
                NodeValue::Object(members) => self.merged.extend(members),
                _ => return Err(YamlError { message: "Only mappings can be merged".to_owned(), span }),
            }
        }
        Ok(())
    }
}

/// A function of a template, applied to a node.
fn applied(node: Node, function: Option<String>) -> Node {
    let Some(function) = function else { return node };
    let span = node.span;
    let key = Sourced::new(function.into(), span);
    Node { value: NodeValue::Object(vec![Member { key, value: node }]), span }
}

fn too_large(span: Span) -> YamlError {
    YamlError { message: "The text stands for too much data, or is nested too deeply".to_owned(), span }
}

/// The core schema's name for a tag.
fn kind(tag: Option<&Tag>, span: Span) -> Result<Option<&str>, YamlError> {
    let Some(tag) = tag else { return Ok(None) };
    match tag.core_suffix() {
        Some(kind) => Ok(Some(kind)),
        // A lone `!` means a string.
        None if tag.handle().is_empty() && tag.suffix() == "!" => Ok(Some("str")),
        None => {
            let (handle, suffix) = (tag.original_handle(), tag.suffix());
            // Those of YAML itself have two marks.
            let advice = if handle == "!" { ": it has a meaning in templates only" } else { "" };
            let message = format!("The tag '{handle}{suffix}' is not supported{advice}");
            Err(YamlError { message, span })
        }
    }
}

/// A plain scalar in the core schema.
fn resolve(text: &str) -> NodeValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeValue::Null,
        "true" | "True" | "TRUE" => return NodeValue::Bool(true),
        "false" | "False" | "FALSE" => return NodeValue::Bool(false),
        _ => {}
    }
    let based = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    if let Some(int) = based("0x", 16).or_else(|| based("0o", 8)) {
        return NodeValue::Number(int.to_string().into());
    }
    if !text.starts_with(['+', '-', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        return NodeValue::String(text.into());
    }
    if super::read(&mut super::Arena::new(), text.as_bytes()).is_ok() {
        return NodeValue::Number(text.into());
    }
    // Forms that JSON writes differently: `+1`, `.5`, `5.`, `007`.
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_number = text.len() - unsigned.len() <= 1
        && unsigned
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse::<f64>() {
        Ok(float) if is_number && float.is_finite() => {
            let mut out = Vec::new();
            match text.parse::<i64>() {
                Ok(int) => out.extend_from_slice(int.to_string().as_bytes()),
                Err(_) => number::shortest(float, &mut out),
            }
            NodeValue::Number(String::from_utf8(out).unwrap_or_default().into())
        }
        _ => NodeValue::String(text.into()),
    }
}
