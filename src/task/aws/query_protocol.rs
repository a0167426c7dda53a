//! AWS's query protocol: parameters to forms, and XML to results, by the shapes of a model.

use serde_json::{Map, Value as Json};

use super::percent::pair;
use super::wire;
use crate::json::{Arena, Value};
use crate::models::{Location, Operation, Shape, Type};

/// Adds a value to a form, under a name.
///
/// # Errors
/// What is wrong with it, in AWS's words.
pub(super) fn write(
    operation: &Operation,
    arena: &Arena,
    kind: Type,
    value: Value,
    name: &str,
    out: &mut String,
) -> Result<(), String> {
    let Type::Shape(shape) = kind else {
        let text = wire::scalar_text(arena, kind, value, name)?;
        pair(name, &text, out);
        return Ok(());
    };
    match &operation.service.shapes[shape] {
        Shape::Structure(members) if value.is_object() => {
            for (key, value) in arena.entries(value) {
                let key = arena.str(key);
                let member = members.iter().find(|member| member.name(operation.naming) == key);
                let member = member.ok_or_else(|| wire::unknown(key))?;
                // Members for the SDK only are not sent.
                if !value.is_null() && !member.wire.is_empty() {
                    let name = if name.is_empty() {
                        member.wire.to_owned()
                    } else {
                        format!("{name}.{}", member.wire)
                    };
                    write(operation, arena, member.value.kind, value, &name, out)?;
                }
            }
        }
        Shape::List { element, flat, name: inner } if value.is_array() => {
            let items = arena.items(value);
            // The protocol's form of an empty list.
            if items.is_empty() {
                pair(name, "", out);
            }
            for (n, item) in items.iter().enumerate() {
                let name =
                    if *flat { format!("{name}.{}", n + 1) } else { format!("{name}.{inner}.{}", n + 1) };
                write(operation, arena, element.kind, *item, &name, out)?;
            }
        }
        Shape::Map { value: inner, flat, key_name, value_name } if value.is_object() => {
            for (n, (key, value)) in arena.entries(value).enumerate() {
                let entry = if *flat { "" } else { ".entry" };
                let entry = format!("{name}{entry}.{}", n + 1);
                pair(&format!("{entry}.{key_name}"), arena.str(key), out);
                write(operation, arena, inner.kind, value, &format!("{entry}.{value_name}"), out)?;
            }
        }
        _ => return Err(wire::invalid(name)),
    }
    Ok(())
}

/// An element of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

/// The only attribute that services use: the type of a value.
pub(super) const TYPE: &str = "xsi:type";
/// Nesting of elements in an answer.
const DEPTH_MAX: usize = 64;

impl Element {
    /// Parses an answer; `None` when it is not XML. Attributes other than the type of a value, comments and instructions
    /// are ignored; a document that declares entities is refused.
    pub(super) fn parse(text: &[u8]) -> Option<Element> {
        use quick_xml::events::Event;
        let text = std::str::from_utf8(text).ok()?;
        let mut reader = quick_xml::Reader::from_str(text);
        let mut open = vec![Element::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(tag) => {
                    if open.len() > DEPTH_MAX {
                        return None;
                    }
                    open.push(Element::of(&tag)?);
                }
                Event::Empty(tag) => {
                    open.last_mut()?.children.push(Element::of(&tag)?);
                }
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::GeneralRef(entity) => {
                    let char = match entity.resolve_char_ref().ok()? {
                        Some(char) => char,
                        None => predefined(&entity)?,
                    };
                    open.last_mut()?.text.push(char);
                }
                Event::DocType(_) => return None,
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        let [document] = &mut open[..] else { return None };
        let [root] = &mut document.children[..] else { return None };
        Some(std::mem::take(root))
    }

    /// An element without its content. Its type is a child, as the models of services have it.
    fn of(tag: &quick_xml::events::BytesStart<'_>) -> Option<Element> {
        let mut element = Element::named(tag.local_name().as_ref())?;
        if let Some(kind) = tag.try_get_attribute(TYPE).ok()? {
            let text = std::str::from_utf8(&kind.value).ok()?.to_owned();
            element.children.push(Element { text, ..Element::named(TYPE.as_bytes())? });
        }
        Some(element)
    }

    fn named(name: &[u8]) -> Option<Element> {
        Some(Element { name: std::str::from_utf8(name).ok()?.to_owned(), ..Element::default() })
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(super) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }
}

fn predefined(entity: &[u8]) -> Option<char> {
    Some(match entity {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"apos" => '\'',
        b"quot" => '"',
        _ => return None,
    })
}

/// The value of an element, for workflows. `None` when it does not match its type.
pub(super) fn read(operation: &Operation, kind: Type, element: &Element) -> Option<Json> {
    let text = &element.text;
    let Type::Shape(shape) = kind else {
        return match kind {
            Type::Integer => text.trim().parse::<i64>().ok().map(Json::from),
            Type::Float => text.trim().parse::<f64>().ok().map(Json::from),
            Type::Boolean => text.trim().parse::<bool>().ok().map(Json::from),
            Type::Bytes => Some(wire::decoded(text).unwrap_or_else(|| text.clone()).into()),
            Type::Time | Type::HttpDate => Some(time(text).into()),
            Type::Text | Type::Seconds | Type::Any | Type::Shape(_) => Some(text.as_str().into()),
        };
    };
    match &operation.service.shapes[shape] {
        Shape::Structure(members) => {
            let mut object = Map::new();
            for member in members.iter().filter(|member| member.location == Location::Body) {
                let kind = member.value.kind;
                let flat = matches!(kind, Type::Shape(at) if is_flat(&operation.service.shapes[at]));
                let value = if flat {
                    // Its elements are among the structure's own.

                    let own = element.children.iter().filter(|child| child.name == member.wire);
                    let own = Element { children: own.cloned().collect(), ..Element::default() };
                    if own.children.is_empty() { None } else { read(operation, kind, &own) }
                } else {
                    match element.child(member.wire) {
                        Some(child) => Some(read(operation, kind, child)?),
                        None => None,
                    }
                };
                object.extend(value.map(|value| (member.name(operation.naming).to_owned(), value)));
            }
            Some(Json::Object(object))
        }
        Shape::List { element: inner, .. } => {
            element.children.iter().map(|child| read(operation, inner.kind, child)).collect()
        }
        Shape::Map { value, key_name, value_name, .. } => {
            let entries = element.children.iter().map(|entry| {
                let inner = read(operation, value.kind, entry.child(value_name)?)?;
                Some((entry.text_of(key_name).to_owned(), inner))
            });
            entries.collect::<Option<Map<_, _>>>().map(Json::Object)
        }
    }
}

/// A time as the SDK prints it: without a fraction of zeros. What is not a time is returned unchanged, as users set some.
pub(super) fn time(text: &str) -> String {
    let time = text.parse::<jiff::Timestamp>().ok();
    let time = time.or_else(|| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp()));
    time.map_or_else(|| text.to_owned(), |time| time.to_string())
}

fn is_flat(shape: &Shape) -> bool {
    matches!(shape, Shape::List { flat: true, .. } | Shape::Map { flat: true, .. })
}
