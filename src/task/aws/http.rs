//! Calls to HTTP endpoints that workflows name: `http:invoke` (developer guide, "Call HTTPS APIs in Step Functions
//! workflows") and `apigateway:invoke` ("Create API Gateway REST APIs with Step Functions").

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RANGE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};

use super::answer;
use super::body::{self, ArrayFormat};
use super::endpoint::Endpoint;
use super::failure::too_large;
use super::http1::{Message, Reply};
use super::net::{NetError, Origin};
use super::oauth::{OAuth, Token};
use super::parameters::Parameters;
use super::percent;
use super::pool::{self, Limits};
use super::settings::Settings;
use super::sign::{self, Body, Scope, Signed};
use super::ssrf_policy::Denied;
use crate::fault;
use crate::json::{Arena, Value};
use crate::models::check::is_forbidden_header;
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

const HTTP_FIELDS: [&str; 8] = [
    "ApiEndpoint",
    "Method",
    "Authentication",
    "InvocationConfig",
    "Headers",
    "QueryParameters",
    "RequestBody",
    "Transform",
];

const GATEWAY_FIELDS: [&str; 9] = [
    "ApiEndpoint",
    "Method",
    "Headers",
    "Stage",
    "Path",
    "QueryParameters",
    "RequestBody",
    "AllowNullValues",
    "AuthType",
];

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"];

/// Headers that the task may set, and that are otherwise replaced; and the one for content coding, because no answers
/// are decompressed here.
const OVERRIDDEN: [&str; 4] = ["accept-encoding", "content-length", "range", "user-agent"];

const REDIRECTS_MAX: usize = 5;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `http:invoke`.
#[derive(Debug)]
pub(super) struct Invoke(pub(super) Arc<Settings>);

/// `apigateway:invoke`.
#[derive(Debug)]
pub(super) struct Gateway(pub(super) Arc<Settings>);

/// A request to be made.
struct Outgoing {
    method: Method,
    endpoint: Endpoint,
    /// Percent-encoded.
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether it is signed for API Gateway.
    signed: bool,
    /// Whether the endpoint is in the engine's settings.
    trusted: bool,
    /// The provider of a token for it.
    oauth: Option<Arc<OAuth>>,
}

impl Outgoing {
    /// With the header by which the endpoint can recognize a repeated request, unless the task sets it.
    fn with_key(mut self, attempt: &Attempt) -> Outgoing {
        if let Some(Ok(key)) = attempt.idempotency_key().map(HeaderValue::try_from) {
            self.headers.entry(IDEMPOTENCY_KEY).or_insert(key);
        }
        self
    }
}

/// Why there is no answer.
enum Failed {
    Denied(String),
    /// There is no token for the connection.
    Token(String),
    Socket(String),
    TooLarge,
}

impl AsyncHandler for Invoke {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let settings = Arc::clone(&self.0);
        let outgoing = http_request(&settings, &Parameters::read(call, &HTTP_FIELDS)?)?.with_key(&attempt);
        Ok(Box::pin(async move {
            let reply = send(&settings, outgoing).await.map_err(|failed| match failed {
                Failed::Denied(text) => TaskError::new(fault::RUNTIME, text),
                Failed::Token(text) => {
                    TaskError::new("Events.ConnectionResource.InvalidConnectionState", text)
                }
                Failed::Socket(text) => TaskError::new("States.Http.Socket", text),
                Failed::TooLarge => too_large("http"),
            })?;
            if !reply.status.is_success() {
                let error = format!("States.Http.StatusCode.{}", reply.status.as_u16());
                return Err(TaskError::new(error, told(&reply)));
            }
            result(&reply, |name| name)
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn wants_key(&self) -> bool {
        true
    }
}

impl AsyncHandler for Gateway {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let settings = Arc::clone(&self.0);
        let outgoing =
            gateway_request(&settings, &Parameters::read(call, &GATEWAY_FIELDS)?)?.with_key(&attempt);
        Ok(Box::pin(async move {
            let reply = send(&settings, outgoing).await.map_err(|failed| match failed {
                Failed::Denied(text) | Failed::Token(text) => TaskError::new(fault::RUNTIME, text),
                Failed::Socket(text) => {
                    let text = format!("Unable to execute HTTP request: {text}");
                    TaskError::new("ApiGateway.SdkClientException", text)
                }
                Failed::TooLarge => too_large("apigateway"),
            })?;
            if !reply.status.is_success() {
                let cause = String::from_utf8_lossy(&reply.body);
                return Err(TaskError::new(format!("ApiGateway.{}", reply.status.as_u16()), cause));
            }
            result(&reply, answer::header_name)
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn wants_key(&self) -> bool {
        true
    }
}

fn http_request(settings: &Settings, parameters: &Parameters<'_>) -> Result<Outgoing, TaskError> {
    let arena = parameters.arena();
    let url = parameters.required("ApiEndpoint")?;
    let (url, own_query) = url.split_once('?').unwrap_or((url, ""));
    let endpoint = Endpoint::parse_exactly(url).map_err(|_| parameters.misshapen("ApiEndpoint"))?;
    let (mut headers, method) = (HeaderMap::new(), method(parameters)?);
    let mut connection = None;
    for (field, value) in ["Authentication", "InvocationConfig"].map(|field| (field, parameters.get(field))) {
        let Some(value) = value else { continue };
        let arn = arena.get_str(value, "ConnectionArn").and_then(|arn| arena.as_str(arn));
        let arn = arn.ok_or_else(|| parameters.misshapen(field))?;
        let found = settings.connections.find(arn).ok_or_else(|| {
            let text = format!("Connection with arn {arn} does not exist.");
            TaskError::new("Events.ConnectionResource.ResourceNotFound", text)
        })?;
        connection = Some(found);
    }
    if let Some(fields) = parameters.get("Headers") {
        if !fields.is_object() {
            return Err(parameters.misshapen("Headers"));
        }
        for (name, value) in arena.entries(fields) {
            let header = (arena.str(name), &*super::wire::text(arena, value));
            add_header(parameters, &mut headers, header, false)?;
        }
    }
    let mut query = String::from(own_query);
    add_query(parameters, &mut query)?;
    let transform = parameters.get("Transform");
    let mut body = Vec::new();
    let fixed = connection.map_or(&[][..], |connection| &connection.parameters.body);
    if let Some(content) = parameters.get("RequestBody").or_else(|| (!fixed.is_empty()).then(Value::default))
    {
        let encoding = match transform {
            Some(transform) => encoding(parameters, arena, transform)?,
            None => None,
        };
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let written = body::write(arena, content, fixed, kind, encoding);
        let (kind, bytes) = written.map_err(|why| parameters.refuse(why))?;
        body = bytes;
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
    }
    // The connection's values take precedence over the task's.
    for (name, value) in connection.iter().flat_map(|connection| &connection.parameters.headers) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    for (name, value) in connection.iter().flat_map(|connection| &connection.parameters.query) {
        percent::pair(name, value, &mut query);
    }
    let agent = format!("Amazon|StepFunctions|HttpInvoke|{}", settings.region());
    headers.insert(USER_AGENT, HeaderValue::try_from(agent).map_err(|_| parameters.refuse("no region"))?);
    headers.insert(RANGE, HeaderValue::from_static("bytes=0-262144"));
    let oauth = connection.and_then(|connection| connection.oauth.clone());
    Ok(Outgoing { method, endpoint, query, headers, body, signed: false, trusted: false, oauth })
}

fn encoding(
    parameters: &Parameters<'_>,
    arena: &Arena,
    transform: Value,
) -> Result<Option<ArrayFormat>, TaskError> {
    let text = |of: Option<Value>| of.and_then(|value| arena.as_str(value));
    match text(arena.get_str(transform, "RequestBodyEncoding")) {
        Some("NONE") | None => Ok(None),
        Some("URL_ENCODED") => {
            let options = arena.get_str(transform, "RequestEncodingOptions");
            let format = text(options.and_then(|options| arena.get_str(options, "ArrayFormat")));
            let format = ArrayFormat::named(format.unwrap_or("INDICES"));
            format.map(Some).ok_or_else(|| parameters.misshapen("ArrayFormat"))
        }
        Some(_) => Err(parameters.misshapen("RequestBodyEncoding")),
    }
}

fn gateway_request(settings: &Settings, parameters: &Parameters<'_>) -> Result<Outgoing, TaskError> {
    let arena = parameters.arena();
    let host = parameters.required("ApiEndpoint")?;
    let wrong = || parameters.misshapen("ApiEndpoint");
    if host.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let mut endpoint = Endpoint::parse(&format!("https://{host}")).map_err(|_| wrong())?;
    for part in [parameters.text("Stage")?, parameters.text("Path")?].into_iter().flatten() {
        endpoint.base.push('/');
        endpoint.base.extend(percent::encode_path(part.trim_start_matches('/')));
    }
    let mut headers = HeaderMap::new();
    if let Some(fields) = parameters.get("Headers") {
        for (name, values) in arena.entries(fields) {
            for value in arena.items(values) {
                let header = (arena.str(name), &*super::wire::text(arena, *value));
                add_header(parameters, &mut headers, header, true)?;
            }
        }
    }
    let signed = match parameters.text("AuthType")?.unwrap_or("NO_AUTH") {
        "NO_AUTH" => false,
        "IAM_ROLE" | "RESOURCE_POLICY" => true,
        _ => return Err(parameters.misshapen("AuthType")),
    };
    let mut query = String::new();
    add_query(parameters, &mut query)?;
    let mut body = Vec::new();
    if let Some(content) = parameters.get("RequestBody") {
        match parameters.get("AllowNullValues").and_then(Value::as_bool) {
            Some(true) => crate::json::write(arena, content, &mut body),
            _ => write_without_nulls(arena, content, &mut body),
        }
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("Amazon|StepFunctions|ApiGatewayInvoke"));
    let method = method(parameters)?;
    let own = settings.endpoint("API Gateway");
    let trusted = own.is_some();
    if let Some(own) = own {
        headers.insert(HOST, HeaderValue::try_from(host).map_err(|_| wrong())?);
        endpoint = Endpoint { origin: own.origin, base: format!("{}{}", own.base, endpoint.base) };
    }
    Ok(Outgoing { method, endpoint, query, headers, body, signed, trusted, oauth: None })
}

/// Members that are null are not sent, unless the task requests them (developer guide, `AllowNullValues`). The JSON
/// reader bounds the depth.
fn write_without_nulls(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    if value.is_object() {
        out.push(b'{');
        let members = arena.entries(value).filter(|(_, value)| !value.is_null());
        for (n, (name, value)) in members.enumerate() {
            answer::separate(n, out);
            crate::json::write_string(arena.str(name), out);
            out.push(b':');
            write_without_nulls(arena, value, out);
        }
        out.push(b'}');
    } else if value.is_array() {
        out.push(b'[');
        for (n, item) in arena.items(value).iter().enumerate() {
            answer::separate(n, out);
            write_without_nulls(arena, *item, out);
        }
        out.push(b']');
    } else {
        crate::json::write(arena, value, out);
    }
}

fn method(parameters: &Parameters<'_>) -> Result<Method, TaskError> {
    let name = parameters.required("Method")?;
    let known = METHODS.contains(&name).then(|| Method::from_bytes(name.as_bytes()).ok()).flatten();
    known.ok_or_else(|| parameters.misshapen("Method"))
}

fn add_header(
    parameters: &Parameters<'_>,
    headers: &mut HeaderMap,
    (name, value): (&str, &str),
    is_gateway: bool,
) -> Result<(), TaskError> {
    let lower = name.to_ascii_lowercase();
    if is_forbidden_header(&lower, is_gateway) {
        let why = format!("The 'Headers' field contains unsupported values: [{lower}]");
        return Err(parameters.refuse(&why));
    }
    if OVERRIDDEN.contains(&&*lower) {
        return Ok(());
    }
    match (HeaderName::try_from(lower), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => headers.append(name, value),
        _ => return Err(parameters.misshapen("Headers")),
    };
    Ok(())
}

pub(super) fn add_query(parameters: &Parameters<'_>, query: &mut String) -> Result<(), TaskError> {
    let arena = parameters.arena();
    let Some(fields) = parameters.get("QueryParameters") else { return Ok(()) };
    if !fields.is_object() {
        return Err(parameters.misshapen("QueryParameters"));
    }
    for (name, value) in arena.entries(fields) {
        let values = if value.is_array() { arena.items(value) } else { &[value][..] };
        for value in values.iter().filter(|value| !value.is_null()) {
            percent::pair(arena.str(name), &super::wire::text(arena, *value), query);
        }
    }
    Ok(())
}

/// Sends a request, follows redirects on the same host, and retries once with a new token if the present one is
/// rejected.
async fn send(settings: &Settings, outgoing: Outgoing) -> Result<Reply, Failed> {
    match tokio::time::timeout(settings.http.timeout, send_now(settings, outgoing)).await {
        Ok(reply) => reply,
        Err(_) => Err(Failed::Socket("The request timed out".to_owned())),
    }
}

async fn send_now(settings: &Settings, mut outgoing: Outgoing) -> Result<Reply, Failed> {
    let origin = if outgoing.trusted {
        outgoing.endpoint.origin.clone()
    } else {
        settings.http.admit(outgoing.endpoint.origin.clone()).await.map_err(|denied| match denied {
            Denied::Forbidden(text) => Failed::Denied(text),
            Denied::Unknown(text) => Failed::Socket(text),
        })?
    };
    let limits =
        Limits { bytes_max: settings.http.answer_bytes_max, connections_max: settings.connections_max };
    let mut token = authorize(&mut outgoing, None).await?;
    let mut renewed = false;
    let mut redirects = 0;
    while redirects < REDIRECTS_MAX {
        let request = request(settings, &outgoing, &origin).await?;
        let reply = pool::exchange(&origin, request, limits).await;
        let reply = reply.map_err(|error| match error {
            NetError::TooLarge => Failed::TooLarge,
            NetError::Failed(text) => Failed::Socket(text),
        })?;
        if matches!(reply.status.as_u16(), 401 | 407)
            && token.is_some()
            && !std::mem::replace(&mut renewed, true)
        {
            token = authorize(&mut outgoing, token.as_ref()).await?;
            continue;
        }
        let Some(target) = redirect(&reply, &origin) else { return Ok(reply) };
        redirects += 1;
        (outgoing.endpoint.base, outgoing.query) = target;
        let keeps = matches!(reply.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        if !keeps && !matches!(outgoing.method, Method::GET | Method::HEAD) {
            outgoing.method = Method::GET;
            outgoing.body.clear();
            outgoing.headers.remove(CONTENT_TYPE);
        }
    }
    Err(Failed::Socket("There are too many redirects".to_owned()))
}

/// Adds a token, if the connection needs one; `refused` was rejected.
async fn authorize(outgoing: &mut Outgoing, refused: Option<&Token>) -> Result<Option<Token>, Failed> {
    let Some(oauth) = &outgoing.oauth else { return Ok(None) };
    let token = oauth.token(refused).await.map_err(Failed::Token)?;
    let value = HeaderValue::try_from(&*token.authorization);
    let mut value = value.map_err(|error| Failed::Token(error.to_string()))?;
    value.set_sensitive(true);
    outgoing.headers.insert(AUTHORIZATION, value);
    Ok(Some(token))
}

/// The target of a redirect on the same server: path and query.
fn redirect(reply: &Reply, origin: &Origin) -> Option<(String, String)> {
    if !matches!(reply.status.as_u16(), 301 | 302 | 307 | 308) {
        return None;
    }
    let target = reply.fields.get("location")?;
    let (target, query) = target.split('#').next()?.split_once('?').unwrap_or((target, ""));
    if target.starts_with('/') && !target.starts_with("//") {
        return Some((target.to_owned(), query.to_owned()));
    }
    let Endpoint { origin: other, base } = Endpoint::parse_exactly(target).ok()?;
    let same = other.tls == origin.tls && other.host == origin.host && other.port == origin.port;
    same.then(|| (base, query.to_owned()))
}

async fn request(settings: &Settings, outgoing: &Outgoing, origin: &Origin) -> Result<Message, Failed> {
    let wrong = |error: http::Error| Failed::Socket(error.to_string());
    let Outgoing { method, endpoint, query, headers, body, signed, .. } = outgoing;
    let path = if endpoint.base.is_empty() { "/" } else { &endpoint.base };
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut headers = headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::try_from(origin.authority()).map_err(|error| wrong(error.into()))?;
        headers.insert(HOST, host);
    }
    if *signed {
        sign_gateway(settings, method, path, query, &mut headers, body).await.map_err(Failed::Socket)?;
    }
    let mut request = Request::builder().method(method.clone()).uri(target);
    if let Some(fields) = request.headers_mut() {
        *fields = headers;
    }
    request.body(body.clone()).map(|request| Message::of(&request)).map_err(wrong)
}

async fn sign_gateway(
    settings: &Settings,
    method: &Method,
    path: &str,
    query: &str,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), String> {
    let credentials = settings.credentials().get(true).await?;
    let credentials = credentials.ok_or("there are no credentials")?;
    let date = sign::amz_date(SystemTime::now());
    let value = |text: &str| HeaderValue::try_from(text).map_err(|error| error.to_string());
    headers.insert("x-amz-date", value(&date)?);
    if let Some(token) = &credentials.session_token {
        headers.insert("x-amz-security-token", value(token)?);
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let query = pairs.join("&");
    let names = ["host", "x-amz-date", "x-amz-security-token"];
    let signed: Vec<(&str, &str)> =
        names.iter().filter_map(|name| Some((*name, headers.get(*name)?.to_str().ok()?))).collect();
    let path = [path];
    let it = Signed {
        method: method.as_str(),
        path: &path,
        query: &query,
        headers: &signed,
        body: Body::Bytes(body),
    };
    let scope = Scope { region: settings.region(), service: "execute-api" };
    let authorization = sign::authorization(&credentials, scope, &date, &it);
    headers.insert("authorization", value(&authorization)?);
    Ok(())
}

/// An endpoint's description of its failure.
fn told(reply: &Reply) -> String {
    if reply.body.is_empty() {
        reply.status.canonical_reason().unwrap_or_default().to_owned()
    } else {
        String::from_utf8_lossy(&reply.body).into_owned()
    }
}

fn result(reply: &Reply, rename: fn(&str) -> &str) -> Result<Vec<u8>, TaskError> {
    let kind = reply.fields.get("content-type").unwrap_or_default();
    let mut out = Vec::with_capacity(reply.body.len() + 512);
    out.extend_from_slice(b"{\"Headers\":");
    answer::write_lists(&reply.fields, rename, &mut out);
    out.extend_from_slice(b",\"ResponseBody\":");
    body::read(kind, &reply.body, &mut out).map_err(|why| TaskError::new(fault::RUNTIME, why))?;
    out.extend_from_slice(b",\"StatusCode\":");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.extend_from_slice(b",\"StatusText\":");
    crate::json::write_string(reply.status.canonical_reason().unwrap_or_default(), &mut out);
    out.push(b'}');
    Ok(out)
}
