//! REST services with XML: members of parameters are parts of the path, of the query, headers, or the body, which is an
//! element, a text, or bytes.
//!
//! As AWS's SDK does, a bucket of S3 whose name can be part of a host is called at its own host, S3 Control at that of
//! the account, and their bodies with elements or texts carry a checksum, which S3 requires for some of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::answer;
use super::failure::ServiceError;
use super::http1::Reply;
use super::idempotency::Key;
use super::percent::encode_path;
use super::query_protocol::{self, Element, TYPE};
use super::request::Draft;
use super::rest;
use super::s3;
use super::sign;
use super::wire::{self, text};
use crate::json::{Arena, Value};
use crate::models::{Location, Member, Operation, Shape, Type};

/// The algorithm of checksums that the SDK computes, and the only one that is computed here.
const ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";
const SHA256: &str = "SHA256";
/// Where a copy comes from, in one header.
const COPY_SOURCE: &str = "x-amz-copy-source";

/// A request that is being made.
struct Request<'a> {
    operation: &'a Operation,
    arena: &'a Arena,
    input: Value,
    draft: Draft,
    query: Vec<(&'static str, String)>,
    algorithm: Option<String>,
}

/// What stands before the service's host: `my-bucket.s3` or `123456789012.s3-control`.
type Host = Option<String>;

/// The method, a request with the members in their places and with `key`, which is not among them, and what the host begins with: `by_host` a bucket whose name
/// allows that, or an account.
///
/// # Errors
/// What is wrong with the parameters, in AWS's words.
pub(super) fn draft(
    operation: &Operation,
    arena: &Arena,
    input: Value,
    key: Option<&Key>,
    by_host: bool,
) -> Result<(&'static str, Draft, Host), String> {
    let target = operation.wrapper.and_then(|target| target.split_at_checked(target.find('/')?));
    let Some((method, target)) = target else {
        unreachable!("an operation without method and path is not called: {operation:?}")
    };
    let (path, fixed) = target.split_once('?').unwrap_or((target, ""));
    let fixed = fixed.split('&').filter(|pair| !pair.is_empty());
    let query = fixed.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = query.map(|(name, value)| (name, value.to_owned())).collect();
    let draft = Draft { path: path.to_owned(), ..Draft::default() };
    let mut request = Request { operation, arena, input, draft, query, algorithm: None };
    let members = operation.input.map(|shape| operation.members(shape)).unwrap_or(&[]);
    for (name, _) in arena.entries(input) {
        let name = arena.str(name);
        if !members.iter().any(|member| member.name(operation.naming) == name) {
            return Err(wire::unknown(name));
        }
    }
    let mut host = None;
    for member in members {
        let Some(value) = request.given(member.name(operation.naming)) else { continue };
        if by_host && operation.service.id == "S3 Control" {
            host = s3::control_host(member, &text(arena, value))?.or(host);
        }
        match member.location {
            Location::Path
                if by_host
                    && operation.service.id == "S3"
                    && member.wire == "Bucket"
                    && s3::is_host(&text(arena, value)) =>
            {
                request.draft.path = request.draft.path.replacen("/{Bucket}", "", 1);
                host = Some(format!("{}.s3", text(arena, value)));
            }
            Location::Path if text(arena, value).is_empty() => {}
            Location::Path => rest::put(&mut request.draft.path, member, &text(arena, value)),
            Location::Query if value.is_array() => {
                request.query.extend(arena.items(value).iter().map(|item| (member.wire, text(arena, *item))));
            }
            Location::Query if member.value.kind == Type::HttpDate => {
                let name = member.name(operation.naming);
                request.query.push((member.wire, wire::scalar_text(arena, Type::HttpDate, value, name)?));
            }
            Location::Query => request.query.push((member.wire, text(arena, value))),
            Location::Header => request.header(member, value)?,
            Location::Payload => request.payload(member, value)?,
            // Written together, or for the SDK itself.
            Location::Body => {}
        }
    }
    let is_open = |member: &&Member| {
        member.location == Location::Path && request.draft.path.contains(&format!("{{{}", member.wire))
    };
    if let Some(missing) = members.iter().find(is_open) {
        let name = missing.name(operation.naming);
        return Err(format!("The field '{name}' is required but was missing"));
    }
    if request.draft.path.is_empty() {
        request.draft.path.push('/');
    }
    match key {
        Some(Key { member, text }) if member.location == Location::Query => {
            request.query.push((member.wire, text.clone()));
        }
        Some(Key { member, text }) if member.location == Location::Header => {
            request.draft.headers.push((member.wire, text.clone().into()));
        }
        _ => {}
    }
    if let (Some(root), Some(shape)) = (operation.root, operation.input) {
        request.body(Type::Shape(shape), input, root, key)?;
    }
    request.add_source();
    request.finish().map(|draft| (method, draft, host))
}

impl Request<'_> {
    fn given(&self, name: &str) -> Option<Value> {
        self.arena.get_str(self.input, name).filter(|value| !value.is_null())
    }

    fn has_header(&self, name: &str) -> bool {
        self.draft.headers.iter().any(|(given, _)| *given == name)
    }

    fn header(&mut self, member: &Member, value: Value) -> Result<(), String> {
        let (arena, name) = (self.arena, member.name(self.operation.naming));
        let value = match member.value.kind {
            Type::Shape(shape) => match &self.operation.service.shapes[shape] {
                Shape::Map { .. } if value.is_object() => {
                    for (key, value) in arena.entries(value).filter(|(_, value)| !value.is_null()) {
                        let name = format!("{}{}", member.wire, arena.str(key).to_ascii_lowercase());
                        self.draft.named.push((name, text(arena, value)));
                    }
                    return Ok(());
                }
                Shape::List { .. } if value.is_array() => {
                    let items = arena.items(value).iter().map(|item| text(arena, *item));
                    items.collect::<Vec<_>>().join(",")
                }
                _ => return Err(wire::invalid(name)),
            },
            Type::Bytes => text(arena, value),
            kind => wire::scalar_text(arena, kind, value, name)?,
        };
        match member.wire {
            // That of the body is sent.
            "content-length" => {}
            ALGORITHM => self.algorithm = Some(value),
            name => self.draft.headers.push((name, value.into())),
        }
        Ok(())
    }

    fn payload(&mut self, member: &Member, value: Value) -> Result<(), String> {
        let Type::Shape(_) = member.value.kind else {
            self.draft.body = text(self.arena, value).into_bytes();
            return Ok(());
        };
        self.body(member.value.kind, value, member.wire, None)
    }

    fn body(&mut self, kind: Type, value: Value, root: &str, key: Option<&Key>) -> Result<(), String> {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        let namespace = format!(" xmlns=\"{}\"", self.operation.service.target);
        write(self.operation, self.arena, kind, value, (root, &namespace), key, &mut out)?;
        self.draft.body = out.into_bytes();
        Ok(())
    }

    /// The members that the SDK makes the source of a copy of.
    fn add_source(&mut self) {
        let part = |name: &str| self.given(name).map(|value| text(self.arena, value));
        if let (Some(bucket), Some(key), false) =
            (part("SourceBucket"), part("SourceKey"), self.has_header(COPY_SOURCE))
        {
            let mut source: String = encode_path(&bucket).collect();
            source.push('/');
            source.extend(encode_path(&key));
            if let Some(version) = part("SourceVersionId") {
                source.push_str("?versionId=");
                source.extend(encode_path(&version));
            }
            self.draft.headers.push((COPY_SOURCE, source.into()));
        }
    }

    /// Adds what follows from the other parts: the query's text, the body's type and checksums.
    fn finish(mut self) -> Result<Draft, String> {
        let members = self.operation.input.map(|shape| self.operation.members(shape)).unwrap_or(&[]);
        let payload = members.iter().find(|member| member.location == Location::Payload);
        let root = self.operation.root.and(self.operation.input.map(Type::Shape));
        let content_type = match payload.map(|member| member.value.kind).or(root) {
            Some(Type::Shape(_)) if !self.draft.body.is_empty() => Some("application/xml"),
            Some(Type::Bytes) => Some("application/octet-stream"),
            Some(_) if !self.draft.body.is_empty() => Some("text/plain"),
            _ => None,
        };
        let is_bytes = content_type == Some("application/octet-stream");
        let wants_checksum = match self.operation.service.id.as_str() {
            "S3" => content_type.is_some() && !is_bytes,
            _ => self.operation.has_checksum && !self.draft.body.is_empty(),
        };
        match self.algorithm.as_deref() {
            Some(other) if is_bytes && other != SHA256 => {
                return Err(format!(
                    "The checksum algorithm '{other}' is not supported here, only {SHA256}; a checksum of any \
                     algorithm may be given, such as 'ChecksumCRC32'"
                ));
            }
            algorithm if algorithm.is_some() || wants_checksum => {
                let sum = STANDARD.encode(Sha256::digest(&self.draft.body));
                self.draft.headers.push((ALGORITHM, SHA256.into()));
                self.draft.headers.push(("x-amz-checksum-sha256", sum.into()));
            }
            _ => {}
        }
        if let Some(content_type) = content_type.filter(|_| !self.has_header("content-type")) {
            self.draft.headers.push(("content-type", content_type.into()));
        }
        if self.operation.service.signing == "s3" {
            self.draft.headers.push(("x-amz-content-sha256", sign::body_hash(&self.draft.body).into()));
        }
        rest::write_query(self.query, &mut self.draft.query);
        Ok(self.draft)
    }
}

/// Writes a value as an element; `attributes` follow its name. `key` is a member of its own that `value` does not have.
///
/// # Errors
/// What is wrong with it, in AWS's words.
fn write(
    operation: &Operation,
    arena: &Arena,
    kind: Type,
    value: Value,
    (name, attributes): (&str, &str),
    key: Option<&Key>,
    out: &mut String,
) -> Result<(), String> {
    let Type::Shape(shape) = kind else {
        let text = wire::scalar_text(arena, kind, value, name)?;
        open(name, attributes, out);
        escape(&text, out);
        close(name, out);
        return Ok(());
    };
    match &operation.service.shapes[shape] {
        Shape::Structure(members) if value.is_object() => {
            let mut attributes = attributes.to_owned();
            for (key, value) in arena.entries(value) {
                let key = arena.str(key);
                let member = members.iter().find(|member| member.name(operation.naming) == key);
                let member = member.ok_or_else(|| wire::unknown(key))?;
                if member.wire == TYPE && !value.is_null() {
                    attributes
                        .push_str(" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"");
                    escape(&text(arena, value), &mut attributes);
                    attributes.push('"');
                }
            }
            open(name, &attributes, out);
            // In the order of the model, which the service may insist on. Only those of the request itself are elsewhere.
            let inside = |member: &&Member| member.location == Location::Body && member.wire != TYPE;
            for member in members.iter().filter(inside) {
                let value = arena.get_str(value, member.name(operation.naming));
                if let Some(value) = value.filter(|value| !value.is_null()) {
                    write(operation, arena, member.value.kind, value, (member.wire, ""), None, out)?;
                } else if let Some(key) = key.filter(|key| key.member.wire == member.wire) {
                    open(member.wire, "", out);
                    escape(&key.text, out);
                    close(member.wire, out);
                }
            }
            close(name, out);
        }
        Shape::List { element, flat: true, .. } if value.is_array() => {
            for item in arena.items(value) {
                write(operation, arena, element.kind, *item, (name, ""), None, out)?;
            }
        }
        Shape::List { element, name: inner, .. } if value.is_array() => {
            open(name, attributes, out);
            for item in arena.items(value) {
                write(operation, arena, element.kind, *item, (inner, ""), None, out)?;
            }
            close(name, out);
        }
        Shape::Map { value: inner, key_name, value_name, .. } if value.is_object() => {
            open(name, attributes, out);
            for (key, value) in arena.entries(value) {
                out.push_str("<entry>");
                open(key_name, "", out);
                escape(arena.str(key), out);
                close(key_name, out);
                write(operation, arena, inner.kind, value, (value_name, ""), None, out)?;
                out.push_str("</entry>");
            }
            close(name, out);
        }
        _ => return Err(wire::invalid(name)),
    }
    Ok(())
}

fn open(name: &str, attributes: &str, out: &mut String) {
    for part in ["<", name, attributes, ">"] {
        out.push_str(part);
    }
}

fn close(name: &str, out: &mut String) {
    for part in ["</", name, ">"] {
        out.push_str(part);
    }
}

fn escape(text: &str, out: &mut String) {
    out.push_str(&quick_xml::escape::escape(text));
}

/// The result in an answer, with members by name, and the body last (recorded). `None` when a part of it does not match
/// the model.
pub(super) fn read(operation: &Operation, shape: usize, reply: &Reply) -> Option<Json> {
    let members = operation.members(shape);
    let mut found: Vec<(String, Json)> = Vec::new();
    for member in members.iter().filter(|member| member.location == Location::Header) {
        let value = header(operation, member, reply)?;
        found.extend(value.map(|value| (member.name(operation.naming).to_owned(), value)));
    }
    let payload = members.iter().find(|member| member.location == Location::Payload);
    let mut body = None;
    match payload {
        Some(member) => {
            let value = match member.value.kind {
                Type::Shape(_) if reply.body.is_empty() => None,
                Type::Shape(_) => {
                    let root = Element::parse(&reply.body)?;
                    Some(query_protocol::read(operation, member.value.kind, &root)?)
                }
                // As in all results, bytes that are not text are encoded.
                _ => Some(match std::str::from_utf8(&reply.body) {
                    Ok(text) => text.into(),
                    Err(_) => STANDARD.encode(&reply.body).into(),
                }),
            };
            body = value.map(|value| (member.name(operation.naming).to_owned(), value));
        }
        None if reply.body.is_empty() => {}
        None => {
            let mut root = Element::parse(&reply.body)?;
            // The only member may be the root itself (GetBucketLocation).
            let mut inside = members.iter().filter(|member| member.location == Location::Body);
            if let (Some(only), None) = (inside.next(), inside.next())
                && only.wire == root.name
                && matches!(only.value.kind, Type::Text)
            {
                root = Element { children: vec![root], ..Element::default() };
            }
            if let Json::Object(object) = query_protocol::read(operation, Type::Shape(shape), &root)? {
                found.extend(object);
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found.extend(body);
    Some(Json::Object(found.into_iter().collect::<Map<_, _>>()))
}

/// A member that is a header, if it is there; `None` when it is not what it should be.
pub(super) fn header(operation: &Operation, member: &Member, reply: &Reply) -> Option<Option<Json>> {
    if let Type::Shape(shape) = member.value.kind {
        let Shape::Map { .. } = operation.service.shapes[shape] else {
            let items = |text: &str| text.split(',').map(|item| Json::from(item.trim())).collect();
            return Some(reply.fields.get(member.wire).map(items));
        };
        // Recorded: it is there without headers, too.
        let entries = reply.fields.iter().filter_map(|(name, value)| {
            Some((name.strip_prefix(member.wire)?.to_owned(), Json::from(value)))
        });
        return Some(Some(Json::Object(entries.collect())));
    }
    let Some(text) = reply.fields.get(member.wire) else { return Some(None) };
    let value = match member.value.kind {
        Type::Integer => Json::from(text.trim().parse::<i64>().ok()?),
        Type::Float => Json::from(text.trim().parse::<f64>().ok()?),
        Type::Boolean => Json::from(text.trim().parse::<bool>().ok()?),
        Type::Time | Type::HttpDate => query_protocol::time(text).into(),
        _ => text.into(),
    };
    Some(Some(value))
}

/// The error in an answer of S3. An operation that takes long may fail after a head with success; objects may have any
/// content.
pub(super) fn error_of_s3(operation: &Operation, reply: &Reply) -> Option<ServiceError> {
    let members = operation.output.map(|shape| operation.members(shape)).unwrap_or(&[]);
    let has_object =
        members.iter().any(|it| it.location == Location::Payload && it.value.kind == Type::Bytes);
    if reply.status.is_success() && has_object {
        return None;
    }
    let root = Element::parse(&reply.body).filter(|root| root.name == "Error");
    if root.is_none() && reply.status.is_success() {
        return None;
    }
    let root = root.unwrap_or_default();
    // Answers to HEAD have no body; the SDK knows these classes.
    let code = match (root.text_of("Code"), operation.name, reply.status.as_u16()) {
        ("", "HeadObject", 404) => "NoSuchKey",
        ("", "HeadBucket", 404) => "NoSuchBucket",
        (code, ..) => code,
    };
    Some(ServiceError {
        kind: code.to_owned(),
        code: code.to_owned(),
        message: root.text_of("Message").to_owned(),
        request_id: answer::request_id(&reply.fields).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::models::{self, Naming};

    fn target(action: &str, parameters: &Json, by_host: bool) -> (String, Option<String>) {
        let operation = models::find("s3", action, Naming::Java).expect("an operation");
        let mut arena = Arena::default();
        let input = json::read(&mut arena, parameters.to_string().as_bytes()).expect("JSON");
        let (_, draft, bucket) = super::draft(&operation, &arena, input, None, by_host).expect("a request");
        let mark = if draft.query.is_empty() { "" } else { "?" };
        (format!("{}{mark}{}", draft.path, draft.query), bucket)
    }

    #[test]
    fn a_bucket_is_part_of_the_host_where_its_name_allows_that() {
        for (bucket, by_host, path, host) in [
            ("the-bucket", true, "/a/k?tagging=", Some("the-bucket.s3")),
            ("the-bucket", false, "/the-bucket/a/k?tagging=", None),
            ("the.bucket", true, "/the.bucket/a/k?tagging=", None),
            ("The_Bucket", true, "/The_Bucket/a/k?tagging=", None),
            ("../x", true, "/..%2Fx/a/k?tagging=", None),
        ] {
            let parameters = serde_json::json!({"Bucket": bucket, "Key": "a/k"});
            let found = target("getObjectTagging", &parameters, by_host);
            assert_eq!(found, (path.to_owned(), host.map(str::to_owned)));
        }
        let parameters = serde_json::json!({"Bucket": "the-bucket"});
        assert_eq!(
            target("headBucket", &parameters, true),
            ("/".to_owned(), Some("the-bucket.s3".to_owned()))
        );
        assert_eq!(target("listBuckets", &serde_json::json!({}), true), ("/".to_owned(), None));
    }

    #[test]
    fn every_called_operation_has_a_request_and_a_result() {
        for action in models::actions("s3") {
            let operation = models::find("s3", &action, Naming::Java).expect("an operation");
            let Some(target) = operation.wrapper else { continue };
            assert!(target.contains('/'), "{action}: {target}");
            let bare = serde_json::json!({"Bucket": "b-1", "Key": "k", "UploadId": "u"});
            let mut arena = Arena::default();
            let input = json::read(&mut arena, bare.to_string().as_bytes()).expect("JSON");
            // An error names a member; nothing else comes of parameters that do not belong there.
            if let Err(why) = super::draft(&operation, &arena, input, None, true) {
                assert!(why.contains('\'') || why.contains('"'), "{action}: {why}");
            }
        }
    }
}
