//! Checks parameters against the model of their operation: of a definition, where not every value is known yet, and of
//! a task that is about to begin.

use super::service::{Bounded, Extent, Naming, Need, Operation, Shape, Type};
use crate::json::source::{Node, NodeValue};
use crate::json::{Arena, Value};

/// Problems that are reported for one task's parameters.
const PROBLEMS_MAX: usize = 20;

/// A problem of parameters, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// Of an unknown member: its name, and the known ones.
    pub(crate) unknown: Option<(String, Vec<String>)>,
}

/// Data of a definition, or of an execution.
trait Data<'d>: Copy {
    fn kind(self) -> Kind;
    fn items(self) -> impl Iterator<Item = Self>;
    /// Members of an object, and whether a name is that of a value known at run time.
    fn members(self) -> impl Iterator<Item = (&'d str, Option<Self>)>;
    fn text(self) -> Option<&'d str>;
}

/// The kind of data, by Jackson's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
    /// Known at run time.
    Unknown,
}

/// Of a definition.
#[derive(Clone, Copy)]
struct Written<'d> {
    node: &'d Node,
    is_jsonata: bool,
}

/// Of an execution.
#[derive(Clone, Copy)]
struct Given<'d> {
    arena: &'d Arena,
    value: Value,
}

/// What is wrong with parameters of a definition.
pub(crate) fn definition(operation: &Operation, node: &Node, is_jsonata: bool) -> Vec<Problem> {
    check(operation, Written { node, is_jsonata })
}

/// What is wrong with parameters of a task that is about to begin.
pub(crate) fn task(operation: &Operation, arena: &Arena, value: Value) -> Vec<Problem> {
    if !value.is_object() {
        return vec![Problem { message: "The value must be an object".to_owned(), unknown: None }];
    }
    check(operation, Given { arena, value })
}

/// Whether all parameters of a definition are constant.
pub(crate) fn is_written(node: &Node, is_jsonata: bool) -> bool {
    fn all<'d>(data: impl Data<'d>) -> bool {
        data.kind() != Kind::Unknown
            && data.items().all(|item| all(item))
            && data.members().all(|(_, value)| value.is_some_and(|value| all(value)))
    }
    all(Written { node, is_jsonata })
}

fn check<'d>(operation: &Operation, data: impl Data<'d>) -> Vec<Problem> {
    let mut problems = Problems { operation, found: Vec::new() };
    match (operation.input, data.kind()) {
        (Some(input), Kind::Object) => {
            problems.structure(input, data, false);
            problems.own_rules(data);
        }
        (None, Kind::Object) => problems.no_members(data),
        _ => {}
    }
    problems.found
}

struct Problems<'o> {
    operation: &'o Operation,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, message: String) {
        self.found.push(Problem { message, unknown: None });
    }

    fn structure<'d>(&mut self, shape: usize, data: impl Data<'d>, is_inside: bool) {
        let (naming, members) = (self.operation.naming, self.operation.members(shape));
        let is_sdk = naming == Naming::Java;
        for member in members {
            let needed = match member.need {
                Need::Required => true,
                Need::Token => is_sdk,
                Need::Optional | Need::OptionalToken => false,
            };
            let name = member.name(naming);
            // Recorded: null counts as present, for the service to refuse.
            if needed && !data.members().any(|(given, _)| self.operation.is_called(member, given, is_inside))
            {
                self.add(format!("The field '{name}' is required but was missing"));
            }
        }
        for (name, value) in data.members() {
            if self.found.len() >= PROBLEMS_MAX {
                return;
            }
            // Values known at run time are checked then, including their names: as on AWS.
            let Some(value) = value else { continue };
            match members.iter().find(|member| self.operation.is_called(member, name, is_inside)) {
                Some(member) => self.value(name, member.value, value),
                None => {
                    let known = members.iter().map(|member| member.name(naming).to_owned()).collect();
                    let message = format!("The field \"{name}\" is not supported by Step Functions");
                    self.found.push(Problem { message, unknown: Some((name.to_owned(), known)) });
                }
            }
        }
    }

    fn no_members<'d>(&mut self, data: impl Data<'d>) {
        for (name, _) in data.members().filter(|(_, value)| value.is_some()).take(PROBLEMS_MAX) {
            self.add(format!("The field \"{name}\" is not supported by Step Functions"));
        }
    }

    /// The readers of definitions and of JSON bound the depth.
    fn value<'d>(&mut self, name: &str, expected: Bounded, data: impl Data<'d>) {
        if self.found.len() >= PROBLEMS_MAX {
            return;
        }
        let kind = data.kind();
        if matches!(kind, Kind::Null | Kind::Unknown) {
            return;
        }
        let fits = match expected.kind {
            Type::Any => true,
            // Objects and arrays are sent as JSON text (recorded of several services).
            Type::Text | Type::Bytes => matches!(kind, Kind::Text | Kind::Object | Kind::Array),
            // A text with a value is accepted as that value (published: `"BOOL": "false"`).
            Type::Integer | Type::Float => {
                kind == Kind::Number || data.text().is_some_and(|text| text.parse::<f64>().is_ok())
            }
            Type::Boolean => kind == Kind::Boolean || matches!(data.text(), Some("true" | "false")),
            Type::Seconds | Type::Time | Type::HttpDate => matches!(kind, Kind::Text | Kind::Number),
            Type::Shape(shape) => match (&self.operation.service.shapes[shape], kind) {
                (Shape::Structure(_), Kind::Text) => self.operation.is_text_too(shape),
                (Shape::Structure(_), Kind::Object) => {
                    self.structure(shape, data, true);
                    true
                }
                (Shape::List { element, .. }, Kind::Array) => {
                    data.items().for_each(|item| self.value(name, *element, item));
                    true
                }
                (Shape::Map { value, .. }, Kind::Object) => {
                    for (key, inner) in data.members() {
                        if let Some(inner) = inner {
                            self.value(key, *value, inner);
                        }
                    }
                    true
                }
                _ => false,
            },
        };
        if !fits {
            let must_be = self.json_type(expected.kind);
            self.add(format!("The value for the field '{name}' must be a {must_be}"));
        }
    }

    /// Jackson's name for the required type.
    fn json_type(&self, kind: Type) -> &'static str {
        match kind {
            Type::Text | Type::Bytes | Type::Seconds | Type::Time | Type::HttpDate | Type::Any => "STRING",
            Type::Integer | Type::Float => "NUMBER",
            Type::Boolean => "BOOLEAN",
            Type::Shape(shape) => match self.operation.service.shapes[shape] {
                Shape::List { .. } => "ARRAY",
                Shape::Structure(_) | Shape::Map { .. } => "OBJECT",
            },
        }
    }

    /// Required and forbidden members of calls over HTTP, those of EKS clusters among them.
    fn own_rules<'d>(&mut self, data: impl Data<'d>) {
        if self.operation.service.extent != Extent::Own {
            return;
        }
        let is_gateway = self.operation.service.id == "API Gateway task";
        let has = |name: &str| data.members().any(|(given, _)| given == name);
        let is_http = self.operation.service.id == "HTTP task";
        if is_http && !has("Authentication") && !has("InvocationConfig") {
            self.add("The field 'Authentication' is required but was missing".to_owned());
        }
        for (name, value) in data.members() {
            let Some(value) = value.filter(|value| !matches!(value.kind(), Kind::Null | Kind::Unknown))
            else {
                continue;
            };
            match name {
                "Headers" => self.headers(value, is_gateway),
                "QueryParameters" if value.kind() != Kind::Object => {
                    self.add(format!("The value of the field '{name}' has an invalid format"));
                }
                _ => {}
            }
        }
    }

    /// Headers are an object, for API Gateway of lists; some are reserved for AWS.
    fn headers<'d>(&mut self, headers: impl Data<'d>, is_gateway: bool) {
        let is_list = |value: Option<_>| {
            value.is_none_or(|value| matches!(Data::kind(value), Kind::Array | Kind::Unknown))
        };
        let fits = headers.kind() == Kind::Object
            && (!is_gateway || headers.members().all(|(_, value)| is_list(value)));
        if !fits {
            self.add("The value of the field 'Headers' has an invalid format".to_owned());
            return;
        }
        let refused: Vec<String> = (headers.members().map(|(name, _)| name.to_ascii_lowercase()))
            .filter(|name| is_forbidden_header(name, is_gateway))
            .take(PROBLEMS_MAX)
            .collect();
        if !refused.is_empty() {
            let refused = refused.join(", ");
            self.add(format!("The 'Headers' field contains unsupported values: [{refused}]"));
        }
    }
}

/// Headers that a task must not set, and prefixes of others.
struct Forbidden {
    names: &'static [&'static str],
    prefixes: &'static [&'static str],
}

/// Of an HTTP task (developer guide, "Call HTTPS APIs"; that `Authorization` is among them was measured).
const FORBIDDEN_IN_HTTP: Forbidden = Forbidden {
    names: &[
        "a-im",
        "accept-charset",
        "accept-datetime",
        "accept-encoding",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-md5",
        "date",
        "expect",
        "forwarded",
        "from",
        "host",
        "http2-settings",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-authorization",
        "referer",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "warning",
    ],
    prefixes: &["x-forwarded-", "x-amz-", "x-amzn-"],
};

/// Of a call of API Gateway (developer guide, "Create API Gateway REST APIs").
const FORBIDDEN_IN_GATEWAY: Forbidden = Forbidden {
    names: &[
        "authorization",
        "connection",
        "content-md5",
        "expect",
        "host",
        "max-forwards",
        "proxy-authenticate",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "www-authenticate",
    ],
    prefixes: &["x-forwarded", "x-amz"],
};

/// Whether a task must not set a header. `name` is in lower case.
pub(crate) fn is_forbidden_header(name: &str, is_gateway: bool) -> bool {
    let Forbidden { names, prefixes } = if is_gateway { FORBIDDEN_IN_GATEWAY } else { FORBIDDEN_IN_HTTP };
    names.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

impl<'d> Data<'d> for Written<'d> {
    fn kind(self) -> Kind {
        match &self.node.value {
            NodeValue::Null => Kind::Null,
            NodeValue::Bool(_) => Kind::Boolean,
            NodeValue::Number(_) => Kind::Number,
            NodeValue::String(text) if self.is_jsonata && text.starts_with("{%") => Kind::Unknown,
            NodeValue::String(_) => Kind::Text,
            NodeValue::Array(_) => Kind::Array,
            NodeValue::Object(_) => Kind::Object,
        }
    }

    fn items(self) -> impl Iterator<Item = Self> {
        self.node.items().unwrap_or_default().iter().map(move |node| Written { node, ..self })
    }

    fn members(self) -> impl Iterator<Item = (&'d str, Option<Self>)> {
        self.node.members().unwrap_or_default().iter().map(move |member| {
            match member.key.value.strip_suffix(".$") {
                Some(name) if !self.is_jsonata => (name, None),
                _ => (&*member.key.value, Some(Written { node: &member.value, ..self })),
            }
        })
    }

    fn text(self) -> Option<&'d str> {
        self.node.as_str()
    }
}

impl<'d> Data<'d> for Given<'d> {
    fn kind(self) -> Kind {
        let value = self.value;
        if value.is_object() {
            Kind::Object
        } else if value.is_array() {
            Kind::Array
        } else if value.is_number() {
            Kind::Number
        } else if value.is_string() {
            Kind::Text
        } else if value.as_bool().is_some() {
            Kind::Boolean
        } else {
            Kind::Null
        }
    }

    fn items(self) -> impl Iterator<Item = Self> {
        let Given { arena, value } = self;
        arena.items(value).iter().map(move |&value| Given { arena, value })
    }

    fn members(self) -> impl Iterator<Item = (&'d str, Option<Self>)> {
        let Given { arena, value } = self;
        arena.entries(value).map(move |(name, value)| (arena.str(name), Some(Given { arena, value })))
    }

    fn text(self) -> Option<&'d str> {
        self.arena.as_str(self.value)
    }
}
