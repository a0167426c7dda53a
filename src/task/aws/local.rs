//! Lambda's API answered by local processes: requests, and replies in the form of HTTP (Lambda API reference,
//! `Invoke`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::answer::is_json;
use super::fields::Fields;
use super::http1::Reply;
use super::request::Draft;
use crate::program::ResourceKind;
use crate::task::functions::{Functions, Invocation, Refusal};
use crate::{random, uuid};

/// The destination of tasks with a resource: for people.
pub(super) fn destination(functions: &Functions, arn: &str, kind: &ResourceKind) -> Result<String, String> {
    let names = || functions.names().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    if let ResourceKind::Service { .. } = kind {
        return Ok(format!("processes of this machine: {}", names()));
    }
    let found = functions.find(arn).and_then(|found| functions.names().find(|(name, _)| *name == found));
    match found {
        Some((_, shown)) => Ok(format!("a process of this machine: {shown}")),
        None => Err(format!("the function is none of those that are answered here: {}", names())),
    }
}

/// Answers a request.
pub(super) async fn answer(functions: &Functions, draft: Draft) -> Reply {
    invoke(functions, draft).await.unwrap_or_else(|refusal| refused(&refusal))
}

async fn invoke(functions: &Functions, draft: Draft) -> Result<Reply, Refusal> {
    let Draft { path, query, headers, body, .. } = draft;
    let header = |name: &str| headers.iter().find(|(it, _)| *it == name).map(|(_, value)| &**value);
    let function = path.strip_prefix("/2015-03-31/functions/").and_then(|it| it.strip_suffix("/invocations"));
    let Some(function) = function else {
        let message = format!("Of Lambda's API, functions of this machine answer Invoke only, not {path}");
        return Err(Refusal { status: 404, kind: "UnknownOperationException", message });
    };
    let function = percent_decode_str(function).decode_utf8_lossy();
    let qualifier = query.strip_prefix("Qualifier=");
    let qualifier = qualifier.map(|qualifier| percent_decode_str(qualifier).decode_utf8_lossy());
    if !body.is_empty() && !is_json(&body) {
        let message = "Could not parse request body into json: it is not JSON".to_owned();
        return Err(Refusal { status: 400, kind: "InvalidRequestContentException", message });
    }
    let kind = header("x-amz-invocation-type").unwrap_or("RequestResponse");
    let (status, is_event) = match kind {
        "RequestResponse" => (StatusCode::OK, false),
        "Event" => (StatusCode::ACCEPTED, true),
        "DryRun" if functions.find(&function).is_some() => {
            return Ok(reply(StatusCode::NO_CONTENT, Vec::new(), &[]));
        }
        "DryRun" => (StatusCode::OK, false),
        kind => return Err(invalid(format!("'{kind}' is no type of invocation"))),
    };
    let client_context = header("x-amz-client-context").map(client_context).transpose()?;
    let wants_log = match header("x-amz-log-type") {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(kind) => return Err(invalid(format!("'{kind}' is no type of log"))),
    };
    let (function, qualifier) = (&*function, qualifier.as_deref());
    let invocation = Invocation { function, qualifier, payload: body, client_context, is_event };
    let answer = functions.invoke(invocation).await?;
    let log = BASE64.encode(&answer.log_tail);
    let fields = [
        ("x-amz-executed-version", (!is_event).then_some("$LATEST")),
        ("x-amz-function-error", answer.is_error.then_some("Unhandled")),
        ("x-amz-log-result", (wants_log && !is_event).then_some(&*log)),
    ];
    let fields: Vec<_> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    Ok(reply(status, answer.payload, &fields))
}

fn invalid(message: String) -> Refusal {
    Refusal { status: 400, kind: "InvalidParameterValueException", message }
}

/// The client context comes as JSON in Base64, and is passed on as JSON.
fn client_context(text: &str) -> Result<String, Refusal> {
    let told = BASE64.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    told.filter(|told| is_json(told.as_bytes()) && !told.contains(['\r', '\n'])).ok_or_else(|| Refusal {
        status: 400,
        kind: "InvalidRequestContentException",
        message: "Client context must be a valid Base64-encoded JSON object.".to_owned(),
    })
}

fn refused(refusal: &Refusal) -> Reply {
    let Refusal { status, kind, message } = refusal;
    let body = json!({"Type": "User", "Message": message}).to_string();
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply(status, body.into_bytes(), &[("x-amzn-errortype", kind)])
}

fn reply(status: StatusCode, body: Vec<u8>, fields: &[(&str, &str)]) -> Reply {
    let id = String::from_utf8_lossy(&uuid::text(random::next(), random::next())).into_owned();
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let length = body.len().to_string();
    let usual = [
        ("connection", "keep-alive"),
        ("content-length", &*length),
        ("content-type", "application/json"),
        ("date", &*date),
        ("x-amzn-requestid", &*id),
    ];
    let headers: Vec<httparse::Header<'_>> = usual
        .iter()
        .chain(fields)
        .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
        .collect();
    Reply { status, fields: Fields::of(&headers), body }
}
