//! Requests to one service: its endpoint, its region, its signature.

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};

use super::credentials::Source;
use super::net::NetError;
use super::pool::{self, ANSWER_BYTES_MAX, Limits, Reply};
use super::settings::{Endpoint, Settings};
use super::sign::{self, Scope, Signed};

/// Calls one service.
#[derive(Debug)]
pub(super) struct Caller {
    endpoint: Endpoint,
    /// Named by the user: it may be one that wants no signature.
    own_endpoint: bool,
    authority: HeaderValue,
    region: String,
    signing_name: String,
    credentials: Source,
    connections_max: usize,
}

/// A request that is not signed yet.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Percent-encoded, from the service's root.
    pub(super) path: String,
    /// Percent-encoded, sorted by name.
    pub(super) query: String,
    /// Names in lower case.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// Why a service gave no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The answer is longer than any result may be.
    TooLarge,
    /// There are no credentials, or nobody answers.
    Client(String),
}

impl Caller {
    /// Of a service, by its identifier and the name its signatures and hosts have.
    pub(super) fn new(
        settings: &Settings,
        service_id: &str,
        host_prefix: &str,
        signing_name: &str,
        region: Option<&str>,
    ) -> Result<Caller, String> {
        let region = region.filter(|region| !region.is_empty()).unwrap_or(settings.region());
        let own = settings.endpoint(service_id);
        let own_endpoint = own.is_some();
        let endpoint = match own {
            Some(endpoint) => endpoint,
            None => Endpoint::of_aws(host_prefix, region)?,
        };
        let authority = endpoint.origin.authority();
        let authority = HeaderValue::try_from(authority).map_err(|_| "the endpoint's host is no name")?;
        let credentials = settings.credentials();
        let (region, signing_name) = (region.to_owned(), signing_name.to_owned());
        let connections_max = settings.connections_max;
        Ok(Caller { endpoint, own_endpoint, authority, region, signing_name, credentials, connections_max })
    }

    /// Sends a `POST`, signed if there are credentials.
    pub(super) async fn post(self: Arc<Self>, draft: Draft) -> Result<Reply, CallError> {
        let request = self.request(draft).await?;
        let limits = Limits { bytes_max: ANSWER_BYTES_MAX, connections_max: self.connections_max };
        pool::exchange(&self.endpoint.origin, request, limits).await.map_err(|error| match error {
            NetError::TooLarge => CallError::TooLarge,
            NetError::Failed(text) => CallError::Client(format!("Unable to execute HTTP request: {text}")),
        })
    }

    async fn request(&self, draft: Draft) -> Result<pool::Outgoing, CallError> {
        let wrong = |error: hyper::http::Error| CallError::Client(error.to_string());
        let Draft { path, query, headers, body } = draft;
        let path = format!("{}{path}", self.endpoint.base);
        let credentials = self.credentials.get(!self.own_endpoint).await.map_err(CallError::Client)?;
        if credentials.is_none() && !self.own_endpoint {
            let text = "Unable to load credentials from any of the providers in the chain";
            return Err(CallError::Client(text.to_owned()));
        }
        let mut target = path.clone();
        if !query.is_empty() {
            let _ = write!(target, "?{query}");
        }
        let mut request = Request::builder().method(Method::POST).uri(target);
        if let Some(fields) = request.headers_mut() {
            fields.reserve(headers.len() + 6);
            fields.insert(HOST, self.authority.clone());
            fields.insert(
                USER_AGENT,
                HeaderValue::from_static(concat!("expressway/", env!("CARGO_PKG_VERSION"))),
            );
            for (name, value) in &headers {
                let value = HeaderValue::try_from(value).map_err(|error| wrong(error.into()))?;
                fields.insert(HeaderName::from_static(name), value);
            }
        }
        if let Some(credentials) = credentials {
            let date = sign::amz_date(SystemTime::now());
            let mut signed: Vec<(&str, &str)> = Vec::with_capacity(headers.len() + 3);
            signed.push(("host", self.authority.to_str().unwrap_or_default()));
            signed.push(("x-amz-date", &date));
            signed.extend(credentials.session_token.as_deref().map(|token| ("x-amz-security-token", token)));
            signed.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            signed.sort_unstable();
            let it = Signed { method: "POST", path: &path, query: &query, headers: &signed, body: &body };
            let scope = Scope { region: &self.region, service: &self.signing_name };
            request = request.header(AUTHORIZATION, sign::authorization(&credentials, scope, &date, &it));
            if let Some(token) = &credentials.session_token {
                request = request.header("x-amz-security-token", token);
            }
            request = request.header("x-amz-date", date);
        }
        request.body(Full::new(body.into())).map_err(wrong)
    }
}
