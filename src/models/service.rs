//! Services, their operations, and the shapes of requests and responses, as the table has them.

use std::fmt;
use std::sync::{LazyLock, OnceLock};

use super::names;

/// See `generate.py` for its form. Without the feature there are no services, and nothing is checked.
#[cfg(feature = "models")]
const SERVICES: &[u8] = include_bytes!("services.table");
#[cfg(not(feature = "models"))]
const SERVICES: &[u8] = b"\n";

/// The protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `application/x-amz-json-1.0` or `-1.1`
    Json,
    /// Requests as forms, responses as XML.
    Query,
    /// The same, with names and lists of its own, which the table has.
    Ec2,
    /// A path and a method for each operation, JSON in bodies.
    Rest,
    /// A path and a method for each operation, XML in bodies, or texts and bytes.
    RestXml,
}

/// What a part of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It is a service.
    Whole,
    /// It is an integration, not a service's operation.
    Own,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    /// AWS's identifier: `Secrets Manager`.
    pub(crate) id: String,
    /// `None` if it cannot be called: only parameters and mocks are checked.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) extent: Extent,
    /// Its host prefix.
    pub(crate) host: &'static str,
    /// Its name in signatures.
    pub(crate) signing: &'static str,
    /// The part before the operation's name in `X-Amz-Target`; of REST with XML, the namespace of elements.
    pub(crate) target: &'static str,
    /// Of the JSON protocol, or of the query API.
    pub(crate) version: &'static str,
    /// Its errors: the shape's name, and the code on the wire.
    pub(crate) errors: Vec<(&'static str, &'static str)>,
    pub(crate) shapes: Vec<Shape>,
    pub(crate) bounds: Vec<Bounds>,
    operations: Vec<Row>,
}

/// An operation of a service's table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    input: Option<usize>,
    output: Option<usize>,
    wrapper: Option<&'static str>,
    root: Option<&'static str>,
    has_checksum: bool,
    is_stream: bool,
    host: Option<&'static str>,
}

/// An operation, with its service, and the naming of its members in workflows.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) service: &'static Service,
    pub(crate) name: &'static str,
    pub(crate) input: Option<usize>,
    pub(crate) output: Option<usize>,
    /// The element around the result, in the query protocol. For REST, method and path.
    pub(crate) wrapper: Option<&'static str>,
    /// The element around the members of a request's body, in REST with XML.
    pub(crate) root: Option<&'static str>,
    /// Whether the service wants a checksum of the body, in REST with XML.
    pub(crate) has_checksum: bool,
    /// Whether its answer is a stream of events.
    pub(crate) is_stream: bool,
    /// What stands before the service's host, with members in braces.
    pub(crate) host: Option<&'static str>,
    pub(crate) naming: Naming,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Integer,
    Float,
    Boolean,
    /// Seconds since 1970.
    Seconds,
    /// ISO 8601.
    Time,
    /// As in headers of HTTP.
    HttpDate,
    Bytes,
    /// Any JSON.
    Any,
    Shape(usize),
}

/// A composite value.
#[derive(Debug)]
pub(crate) enum Shape {
    Structure(Vec<Member>),
    List { element: Bounded, flat: bool, name: &'static str },
    Map { value: Bounded, flat: bool, key_name: &'static str, value_name: &'static str },
}

/// A type, with the number of the bounds of its values, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounded {
    pub(crate) kind: Type,
    pub(crate) bounds: Option<usize>,
}

/// A member of a structure.
#[derive(Debug)]
pub(crate) struct Member {
    service_name: String,
    java_name: String,
    /// The service's name for it; empty for what is not sent.
    pub(crate) wire: &'static str,
    /// Its location in the request or the response.
    pub(crate) location: Location,
    pub(crate) value: Bounded,
    pub(crate) need: Need,
}

/// The location of a member in a request or a response: outside of REST, always in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Body,
    Path,
    Query,
    /// A header; if the member is a map, all headers whose names begin with its own.
    Header,
    /// The whole body.
    Payload,
}

/// Whether a member is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Optional,
    Required,
    /// It makes the call idempotent, and is required: SDKs fill it in, and workflows that call them must give it.
    Token,
    /// Another that SDKs fill in.
    OptionalToken,
}

/// Bounds of values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Of a number, or of a length.
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// A regular expression that a text must match.
    pub(crate) pattern: Option<&'static str>,
    /// All possible texts, separated by bars.
    pub(crate) names: Option<&'static str>,
}

/// The naming of members in workflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The service's names, capitalized: the optimised integrations.
    Service,
    /// The names of AWS's SDK for Java, capitalized: the SDK integrations.
    Java,
}

/// Why there is no such operation.
#[derive(Debug)]
pub(crate) enum NotFound {
    /// The service is not modelled.
    Service,
    /// The service has no such operation. Its identifier, and its actions as resources name them.
    Action(&'static Service),
}

impl Member {
    /// Its name in workflows.
    pub(crate) fn name(&self, naming: Naming) -> &str {
        match naming {
            Naming::Service => &self.service_name,
            Naming::Java => &self.java_name,
        }
    }
}

impl Operation {
    /// Whether this is the member's name in workflows. The optimised integration of Batch also accepts nested members
    /// by the service's own name (documented: `"RetryStrategy": {"attempts": 5}`).
    pub(crate) fn is_called(&self, member: &Member, name: &str, is_inside: bool) -> bool {
        let by_own_name = is_inside && self.naming == Naming::Service && self.service.id == "Batch";
        member.name(self.naming) == name || (by_own_name && member.wire == name)
    }

    /// Whether a text is accepted in place of the structure: in the optimised integration of DynamoDB, for an attribute
    /// value that is one (published: `":status": "done"`).
    pub(crate) fn is_text_too(&self, shape: usize) -> bool {
        let is_table = self.naming == Naming::Service && self.service.id == "DynamoDB";
        is_table && self.members(shape).first().is_some_and(|member| member.wire == "S")
    }

    /// The members of a structure; empty for other shapes.
    pub(crate) fn members(&self, shape: usize) -> &'static [Member] {
        match &self.service.shapes[shape] {
            Shape::Structure(members) => members,
            Shape::List { .. } | Shape::Map { .. } => &[],
        }
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Operation) -> bool {
        (&self.service.id, self.name, self.naming) == (&other.service.id, other.name, other.naming)
    }
}

impl Eq for Operation {}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service.id, self.name)
    }
}

impl Service {
    /// Its actions, as resources name them.
    pub(crate) fn actions(&self) -> Vec<String> {
        self.operations.iter().map(|row| names::action(row.name)).collect()
    }

    /// Operations are sorted, and an action is an operation whose name begins with a small letter.
    fn operation(&'static self, action: &str, naming: Naming) -> Option<Operation> {
        let (first, rest) =
            action.as_bytes().split_first().filter(|(first, _)| first.is_ascii_lowercase())?;
        let of_row = |row: &Row| {
            let (head, tail) = row.name.as_bytes().split_first()?;
            Some(head.cmp(&first.to_ascii_uppercase()).then_with(|| tail.cmp(rest)))
        };
        let at = self.operations.binary_search_by(|row| match of_row(row) {
            Some(order) => order,
            None => unreachable!("generate.py writes the names of operations"),
        });
        let Row { name, input, output, wrapper, root, has_checksum, is_stream, host } =
            self.operations[at.ok()?];
        Some(Operation {
            service: self,
            name,
            input,
            output,
            wrapper,
            root,
            has_checksum,
            is_stream,
            host,
            naming,
        })
    }
}

/// A service's part of the table.
struct Section {
    /// Its name in resources.
    package: &'static str,
    id: &'static str,
    protocol: &'static str,
    packed: &'static [u8],
    size: usize,
    service: OnceLock<Service>,
}

static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| {
    let wrong = |what: &str| -> ! { unreachable!("generate.py writes the table: {what}") };
    let end = SERVICES.windows(2).position(|pair| pair == b"\n\n").map_or(0, |at| at + 1);
    let Ok(index) = std::str::from_utf8(&SERVICES[..end]) else { wrong("the index is text") };
    let mut rest = &SERVICES[end + 1..];
    let sections = index.lines().map(|line| {
        let words: Vec<&'static str> = line.split(' ').collect();
        let &[package, id, protocol, packed, size] = &words[..] else { wrong(line) };
        let (Ok(packed), Ok(size)) = (packed.parse(), size.parse()) else { wrong(line) };
        let Some((packed, others)) = rest.split_at_checked(packed) else { wrong(line) };
        rest = others;
        Section { package, id, protocol, packed, size, service: OnceLock::new() }
    });
    sections.collect()
});

impl Section {
    /// Its text, which is kept.
    #[cfg(feature = "models")]
    fn text(&self) -> &'static str {
        use std::io::Read as _;
        let mut text = String::with_capacity(self.size);
        match flate2::read::ZlibDecoder::new(self.packed).read_to_string(&mut text) {
            Ok(_) => text.leak(),
            Err(error) => unreachable!("generate.py packs the text of {}: {error}", self.id),
        }
    }

    #[cfg(not(feature = "models"))]
    fn text(&self) -> &'static str {
        unreachable!("there is no section: {} {:?} {}", self.id, self.packed, self.size)
    }
}

/// A service by its name in resources of the SDK integrations.
pub(super) fn modelled(package: &str) -> Option<&'static Service> {
    let at = SECTIONS.binary_search_by(|section| section.package.cmp(package)).ok()?;
    let section = &SECTIONS[at];
    Some(section.service.get_or_init(|| read_service(section.text())))
}

/// The names of the services that can be called, as in `aws-sdk` resources.
pub(crate) fn called() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().filter(|section| protocol(section.protocol).is_some()).map(|section| section.package)
}

/// AWS's identifiers of the modelled services, with underscores for blanks.
pub(crate) fn identifiers() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.id)
}

/// AWS's identifier of a modelled service.
pub(crate) fn identifier(package: &str) -> Option<&'static str> {
    modelled(package).map(|service| service.id.as_str())
}

/// An operation by its service's name as in a resource, and its own, such as `putItem`.
pub(crate) fn find(package: &str, action: &str, naming: Naming) -> Result<Operation, NotFound> {
    let service = modelled(package).filter(|it| it.extent != Extent::Own).ok_or(NotFound::Service)?;
    service.operation(action, naming).ok_or(NotFound::Action(service))
}

/// The service and action of a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'r> {
    pub(crate) service: &'r str,
    pub(crate) action: &'r str,
    /// `aws-sdk:<service>:<action>`
    pub(crate) is_sdk: bool,
}

/// The operation of a call, if it is modelled: an optimised integration takes the parameters of the operation it stands
/// for, with few exceptions.
pub(crate) fn operation(call: Call<'_>) -> Option<Operation> {
    let Call { service, action, is_sdk } = call;
    if is_sdk {
        return find(service, action, Naming::Java).ok();
    }
    let package = match (service, action) {
        ("http", _) => return modelled("httptask")?.operation(action, Naming::Service),
        ("apigateway", _) => return modelled("apigatewaytask")?.operation(action, Naming::Service),
        ("eks", "call" | "runJob") => {
            return modelled("ekstask")?.operation(action, Naming::Service);
        }
        ("bedrock", "invokeModel") => return modelled("bedrocktask")?.operation(action, Naming::Service),
        ("elasticmapreduce", _) => return modelled("emrtask")?.operation(action, Naming::Service),
        ("states", _) => "sfn",
        ("events", _) => "eventbridge",
        (service, _) => &names::package(service),
    };
    find(package, action, Naming::Service).ok()
}

fn protocol(word: &str) -> Option<Protocol> {
    match word {
        "json" => Some(Protocol::Json),
        "query" => Some(Protocol::Query),
        "ec2" => Some(Protocol::Ec2),
        "rest-json" => Some(Protocol::Rest),
        "rest-xml" => Some(Protocol::RestXml),
        _ => None,
    }
}

fn read_service(text: &'static str) -> Service {
    let mut lines = text.lines();
    let head: Vec<&'static str> = lines.next().map(|head| head.split(' ').collect()).unwrap_or_default();
    let &[id, protocol, host, signing, target, version] = &head[..] else {
        unreachable!("generate.py writes six words: {head:?}")
    };
    let id = id.replace('_', " ");
    let extent = if protocol == "own" { Extent::Own } else { Extent::Whole };
    let protocol = self::protocol(protocol);
    let errors = lines.next().into_iter().flat_map(|errors| errors.split(' ')).filter_map(|error| {
        let error = error.strip_prefix('!')?;
        Some(error.split_once('=').unwrap_or((error, error)))
    });
    let errors = errors.collect();
    let (mut operations, mut shapes, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        match line.as_bytes().first() {
            Some(b'{' | b'|' | b'[' | b'<') => shapes.push(read_shape(line)),
            Some(b'#') => bounds.push(read_bounds(&line[1..])),
            _ => operations.push(read_operation(line)),
        }
    }
    Service { id, protocol, extent, host, signing, target, version, errors, shapes, bounds, operations }
}

fn read_operation(line: &'static str) -> Row {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_else(|| unreachable!("splitting gives a first part"));
    let mut shape = || words.next().and_then(|word| word.parse().ok());
    let (input, output) = (shape(), shape());
    let mut host = None;
    let mut words = words.filter(|word| match word.strip_prefix('@') {
        Some(prefix) => {
            host = Some(prefix);
            false
        }
        None => true,
    });
    let (wrapper, root) = (words.next(), words.next().unwrap_or(""));
    assert!(words.next().is_none(), "generate.py writes two words and a host: {line}");
    let (root, has_checksum) = root.strip_suffix('!').map_or((root, false), |root| (root, true));
    let is_stream = root == "~";
    let root = Some(root).filter(|root| !root.is_empty() && !is_stream);
    Row { name, input, output, wrapper, root, has_checksum, is_stream, host }
}

fn read_shape(line: &'static str) -> Shape {
    let (kind, rest) = line.split_at(1);
    if matches!(kind, "{" | "|") {
        let members = rest.split(' ').filter(|member| !member.is_empty());
        return Shape::Structure(members.map(|member| read_member(member, kind == "|")).collect());
    }
    let flat = rest.starts_with('~');
    let mut words = rest.trim_start_matches('~').split(' ');
    let inner = read_type(words.next().unwrap_or_else(|| unreachable!("splitting gives a first part")));
    match kind {
        "[" => Shape::List { element: inner, flat, name: words.next().unwrap_or("member") },
        _ => {
            let (key_name, value_name) = (words.next().unwrap_or("key"), words.next().unwrap_or("value"));
            Shape::Map { value: inner, flat, key_name, value_name }
        }
    }
}

fn read_member(text: &'static str, union: bool) -> Member {
    let (names, kind) =
        text.rsplit_once(':').unwrap_or_else(|| unreachable!("generate.py writes a type: {text}"));
    const MARKS: [(char, Need); 3] = [('!', Need::Required), ('*', Need::Token), ('+', Need::OptionalToken)];
    let marked = MARKS.iter().find_map(|(mark, need)| Some((names.strip_suffix(*mark)?, *need)));
    let (names, need) = marked.unwrap_or((names, Need::Optional));
    let (names, renamed) = match names.split_once('>') {
        Some((names, renamed)) => (names, Some(renamed)),
        None => (names, None),
    };
    let (name, wire) = names.split_once('=').unwrap_or((names, names));
    let (location, wire) = match wire.split_at_checked(1) {
        Some(("/", wire)) => (Location::Path, wire),
        Some(("?", wire)) => (Location::Query, wire),
        Some(("^", wire)) => (Location::Header, wire),
        Some(("%", wire)) => (Location::Payload, wire),
        _ => (Location::Body, wire),
    };
    Member {
        service_name: names::capitalize(name),
        java_name: names::member(renamed.unwrap_or(name), union),
        wire,
        location,
        value: read_type(kind),
        need,
    }
}

fn read_type(text: &str) -> Bounded {
    let (kind, bounds) = match text.split_once('@') {
        Some((kind, bounds)) => (kind, bounds.parse().ok()),
        None => (text, None),
    };
    let kind = match kind {
        "s" => Type::Text,
        "i" => Type::Integer,
        "f" => Type::Float,
        "b" => Type::Boolean,
        "t" => Type::Seconds,
        "u" => Type::Time,
        "h" => Type::HttpDate,
        "x" => Type::Bytes,
        "d" => Type::Any,
        number => Type::Shape(
            number.parse().unwrap_or_else(|_| unreachable!("generate.py writes no such type: {number}")),
        ),
    };
    Bounded { kind, bounds }
}

fn read_bounds(text: &'static str) -> Bounds {
    if let Some(names) = text.strip_prefix('|') {
        return Bounds { names: Some(names), ..Bounds::default() };
    }
    let (range, pattern) = match text.split_once(' ') {
        Some((range, pattern)) => (range, Some(pattern)),
        None => (text, None),
    };
    let (min, max) = range.split_once("..").unwrap_or(("", ""));
    Bounds { min: min.parse().ok(), max: max.parse().ok(), pattern, names: None }
}

#[cfg(test)]
#[cfg(feature = "models")]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_read() {
        let (mut services, mut operations) = (0, 0);
        for section in SECTIONS.iter() {
            let service = modelled(section.package).expect("a service");
            assert_eq!(
                (section.id, section.package),
                (&*service.id.replace(' ', "_"), &*names::package(section.id))
            );
            assert!(service.operations.is_sorted_by(|one, other| one.name < other.name), "{}", section.id);
            services += 1;
            operations += service.operations.len();
            let in_range = |value: &Bounded| {
                let shape = match value.kind {
                    Type::Shape(at) => at < service.shapes.len(),
                    _ => true,
                };
                shape && value.bounds.is_none_or(|at| at < service.bounds.len())
            };
            for shape in &service.shapes {
                match shape {
                    Shape::Structure(members) => assert!(members.iter().all(|it| in_range(&it.value))),
                    Shape::List { element, .. } => assert!(in_range(element)),
                    Shape::Map { value, .. } => assert!(in_range(value)),
                }
            }
            let sides = service.operations.iter().flat_map(|row| [row.input, row.output]);
            assert!(sides.flatten().all(|at| matches!(service.shapes[at], Shape::Structure(_))));
            assert!(find(section.package, "noSuchAction", Naming::Java).is_err());
        }
        assert!(services > 440 && operations > 20_000, "{services} services, {operations} operations");
    }

    /// `customized.json` has what the SDK's customization files say of the services that it has, and the table has nothing
    /// beside that.
    #[test]
    fn the_sdks_renames_are_known_of_every_service() {
        use std::collections::BTreeSet;
        let known: serde_json::Value = serde_json::from_str(include_str!("customized.json")).expect("JSON");
        let known = known.as_object().expect("services");
        let services: BTreeSet<&str> = SECTIONS.iter().map(|section| section.package).collect();
        assert!(known.keys().all(|package| services.contains(&**package)));
        for package in services {
            let service = modelled(package).expect("a service");
            let members = service.shapes.iter().filter_map(|shape| match shape {
                Shape::Structure(members) => Some(members.iter()),
                _ => None,
            });
            let members: Vec<&Member> = members.flatten().collect();
            let plain = |member: &&&Member| member.java_name == names::member(&member.service_name, false);
            let by_rule = |name: &str| names::member(name, false);
            let of = |service: &str| {
                known.get(service).unwrap_or(&serde_json::Value::Null)["renamed"]
                    .as_object()
                    .cloned()
                    .unwrap_or_default()
            };
            let shared = known.get(package).unwrap_or(&serde_json::Value::Null)["shapes_of"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            let listed: BTreeSet<(String, String)> = std::iter::once(package)
                .chain(shared.keys().map(String::as_str))
                .flat_map(|service| {
                    of(service).into_iter().flat_map(|(_, names)| names.as_object().cloned().expect("names"))
                })
                .map(|(name, java)| (name, by_rule(java.as_str().expect("a name"))))
                .collect();
            let found: BTreeSet<(String, String)> = members
                .iter()
                .filter(|member| !plain(member) && !(member.service_name.eq_ignore_ascii_case("type")))
                .map(|member| (member.service_name.clone(), member.java_name.clone()))
                .collect();
            assert_eq!(found, listed, "{package}");
        }
    }

    #[test]
    fn members_are_called_as_the_sdk_renames_them() {
        for (package, action, shape_of, java, plain) in [
            ("cloudformation", "listStacks", "input", "StackStatusFilters", "StackStatusFilter"),
            ("sns", "addPermission", "input", "AwsAccountIds", "AWSAccountId"),
            ("sns", "addPermission", "input", "ActionNames", "ActionName"),
            ("kinesis", "describeStream", "input", "StreamARN", "StreamARN"),
            ("rds", "describeDBInstances", "output", "DbInstances", "DBInstances"),
            ("rds", "copyDBSnapshot", "input", "SourceRegion", "SourceRegion"),
            ("s3", "copyObject", "input", "DestinationBucket", "Bucket"),
        ] {
            let operation = find(package, action, Naming::Java).expect("an operation");
            let shape = if shape_of == "input" { operation.input } else { operation.output };
            let members = operation.members(shape.expect("a shape"));
            let member = members.iter().find(|member| member.name(Naming::Java) == java).expect(java);
            assert_eq!(member.name(Naming::Service), plain);
        }
        // Only where it is renamed.
        let operation = find("cloudformation", "describeStacks", Naming::Java).expect("an operation");
        assert!(!format!("{:?}", operation.members(operation.output.expect("a shape"))).contains("Filters"));
    }
}
