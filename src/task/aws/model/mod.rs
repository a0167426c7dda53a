//! What services there are: their operations and the shapes of what goes in and comes out, as tables that
//! `generate.py` makes of AWS's own service models. A table is read when a state machine that needs it is created.

pub(super) mod names;

use crate::asl::did_you_mean;

/// See `generate.py` for its form.
const SERVICES: &str = include_str!("services.txt");

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `application/x-amz-json-1.0` or `-1.1`
    Json,
    /// Forms out, XML in.
    Query,
}

/// A service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// AWS's identifier: `Secrets Manager`.
    pub(super) id: String,
    pub(super) protocol: Protocol,
    /// What its hosts are called.
    pub(super) host: &'static str,
    /// What signatures call it.
    pub(super) signing: &'static str,
    /// Before the operation's name in `X-Amz-Target`.
    pub(super) target: &'static str,
    /// Of the JSON protocol, or of the query API.
    pub(super) version: &'static str,
    /// Its errors: the shape's name, and the code on the wire.
    pub(super) errors: Vec<(&'static str, &'static str)>,
}

/// An operation, with all shapes of its service.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) service: Service,
    pub(super) name: &'static str,
    pub(super) input: Option<usize>,
    pub(super) output: Option<usize>,
    /// The element around the result, in the query protocol.
    pub(super) wrapper: Option<&'static str>,
    pub(super) shapes: Vec<Shape>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Integer,
    Float,
    Boolean,
    /// Seconds since 1970.
    Seconds,
    /// ISO 8601.
    Time,
    Bytes,
    /// Any JSON.
    Any,
    Shape(usize),
}

/// A value with values in it.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Structure(Vec<Member>),
    List { element: Type, flat: bool, name: &'static str },
    Map { value: Type, flat: bool, key_name: &'static str, value_name: &'static str },
}

/// A member of a structure.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// As workflows call it.
    pub(super) name: String,
    /// As the service calls it.
    pub(super) wire: &'static str,
    pub(super) kind: Type,
}

/// How workflows call members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// As the service does, with a capital at the beginning: the optimised integrations.
    Service,
    /// As AWS's SDK for Java does, with a capital at the beginning: the SDK integrations.
    Java,
}

/// The names of services as `aws-sdk` resources have them.
pub(super) fn services() -> impl Iterator<Item = String> {
    SERVICES.lines().filter_map(|line| line.strip_prefix('@')?.split(' ').next()).map(names::package)
}

/// What services are called elsewhere: in ARNs, among the optimised integrations, by people.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("events", "eventbridge"),
    ("states", "sfn"),
    ("stepfunctions", "sfn"),
    ("logs", "cloudwatchlogs"),
    ("monitoring", "cloudwatch"),
    ("secrets", "secretsmanager"),
    ("email", "ses"),
];

/// An operation by its service's name as in a resource, and its own, such as `putItem`.
pub(super) fn find(service: &str, action: &str, naming: Naming) -> Result<Operation, String> {
    let mut lines = SERVICES.lines();
    let head = lines.find(|line| {
        (line.strip_prefix('@').and_then(|head| head.split(' ').next()))
            .is_some_and(|id| names::package(id) == service)
    });
    let unsupported = || {
        let services: Vec<String> = services().collect();
        let known =
            OTHER_NAMES.iter().find(|(other, _)| *other == service).map(|(_, name)| (*name).to_owned());
        let advice = known
            .map(|name| format!("did you mean `{name}`?"))
            .or_else(|| did_you_mean(service, services.iter().map(String::as_str)));
        match advice {
            Some(advice) => format!("The service '{service}' is not supported: {advice}"),
            None => format!("The service '{service}' is not supported; these are: {}", services.join(", ")),
        }
    };
    let lines: Vec<&'static str> = lines.take_while(|line| !line.starts_with('@')).collect();
    let (Some(head), Some((errors, rest))) = (head, lines.split_first()) else { return Err(unsupported()) };
    let service = read_service(head, errors).ok_or_else(unsupported)?;
    let is_shape = |line: &&&str| line.starts_with(['{', '[', '<']);
    let name = names::operation(action);
    let line = rest.iter().take_while(|line| !is_shape(line)).find(|line| {
        line.split(' ')
            .next()
            .is_some_and(|it| it == name && action.starts_with(|c: char| c.is_ascii_lowercase()))
    });
    let Some(line) = line else {
        let actions =
            rest.iter().take_while(|line| !is_shape(line)).filter_map(|line| line.split(' ').next());
        let actions: Vec<String> = actions.map(names::action).collect();
        let advice = did_you_mean(action, actions.iter().map(String::as_str));
        let advice = advice.map_or(String::new(), |advice| format!(": {advice}"));
        return Err(format!("The service '{}' has no action '{action}'{advice}", service.id));
    };
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let mut shape = || words.next().and_then(|word| word.parse().ok());
    let (input, output) = (shape(), shape());
    let wrapper = words.next();
    let shapes = rest.iter().filter(is_shape).map(|line| read_shape(line, &service.id, naming)).collect();
    Ok(Operation { service, name, input, output, wrapper, shapes })
}

fn read_service(head: &'static str, errors: &'static str) -> Option<Service> {
    let mut words = head.strip_prefix('@')?.split(' ');
    let id = words.next()?.replace('_', " ");
    let protocol = if words.next()? == "json" { Protocol::Json } else { Protocol::Query };
    let (host, signing, target, version) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let errors = errors.split(' ').filter_map(|error| {
        let error = error.strip_prefix('!')?;
        Some(error.split_once('=').unwrap_or((error, error)))
    });
    Some(Service { id, protocol, host, signing, target, version, errors: errors.collect() })
}

fn read_shape(line: &'static str, service: &str, naming: Naming) -> Shape {
    let (kind, rest) = line.split_at(1);
    if kind == "{" {
        let members = rest.split(' ').filter_map(|member| {
            let (names, kind) = member.rsplit_once(':')?;
            let (name, wire) = names.split_once('=').unwrap_or((names, names));
            let name = match naming {
                Naming::Service => names::capitalize(name),
                Naming::Java => names::member(service, name),
            };
            Some(Member { name, wire, kind: read_type(kind) })
        });
        return Shape::Structure(members.collect());
    }
    let flat = rest.starts_with('~');
    let mut words = rest.trim_start_matches('~').split(' ');
    let inner = read_type(words.next().unwrap_or_default());
    match kind {
        "[" => Shape::List { element: inner, flat, name: words.next().unwrap_or("member") },
        _ => {
            let (key_name, value_name) = (words.next().unwrap_or("key"), words.next().unwrap_or("value"));
            Shape::Map { value: inner, flat, key_name, value_name }
        }
    }
}

fn read_type(text: &str) -> Type {
    match text {
        "s" => Type::Text,
        "i" => Type::Integer,
        "f" => Type::Float,
        "b" => Type::Boolean,
        "t" => Type::Seconds,
        "u" => Type::Time,
        "x" => Type::Bytes,
        "d" => Type::Any,
        number => number.parse().map_or(Type::Any, Type::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_read() {
        let (mut services, mut operations) = (0, 0);
        for line in SERVICES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(head) = line.strip_prefix('@') {
                services += 1;
                assert_eq!(head.split(' ').count(), 6, "{line}");
            } else if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
                operations += 1;
            }
        }
        assert!(services > 30 && operations > 2_000, "{services} services, {operations} operations");
        for service in super::services() {
            let operation = find(&service, "noSuchAction", Naming::Java);
            assert!(operation.is_err_and(|error| error.contains("has no action")), "{service}");
        }
        let operation = find("rds", "describeDBInstances", Naming::Java).expect("an operation");
        let in_range = |kind: &Type| match kind {
            Type::Shape(at) => *at < operation.shapes.len(),
            _ => true,
        };
        for shape in &operation.shapes {
            match shape {
                Shape::Structure(members) => assert!(members.iter().all(|member| in_range(&member.kind))),
                Shape::List { element, .. } => assert!(in_range(element)),
                Shape::Map { value, .. } => assert!(in_range(value)),
            }
        }
    }
}
