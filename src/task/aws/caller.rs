//! Requests to one service: its endpoint, its region, its signature.

use std::sync::Arc;
use std::time::SystemTime;

use super::credential_source::Source;
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::http1::{Message, Reply};
use super::net::NetError;
use super::pool::{self, ANSWER_BYTES_MAX, Limits};
use super::request::{CallError, Draft};
use super::settings::Settings;
use super::sign::{self, Body, Scope, Signed};

/// Calls one service.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    endpoint: Endpoint,
    /// It was set by the user: it may need no signature.
    pub(super) own_endpoint: bool,
    authority: String,
    /// The fields of all requests.
    fields: String,
    region: String,
    signing_name: String,
    credentials: Source,
    connections_max: usize,
    /// What answers in place of the service.
    #[cfg(feature = "functions")]
    local: Option<crate::task::functions::Functions>,
}

/// The fields of all requests to a host.
fn fields(authority: &str) -> String {
    format!("host: {authority}\r\nuser-agent: expressway/{}\r\n", env!("CARGO_PKG_VERSION"))
}

impl Caller {
    /// Of a service, by its identifier and its name in signatures and hosts.
    pub(super) fn new(
        settings: &Settings,
        service_id: &str,
        host_prefix: &str,
        signing_name: &str,
        region: Option<&str>,
    ) -> Result<Caller, String> {
        let region = region.filter(|region| !region.is_empty()).unwrap_or(settings.region());
        let own = settings.endpoint(service_id);
        #[cfg(feature = "functions")]
        let local = settings.functions.clone().filter(|_| service_id == "Lambda");
        #[cfg(feature = "functions")]
        let own_endpoint = own.is_some() || local.is_some();
        #[cfg(not(feature = "functions"))]
        let own_endpoint = own.is_some();
        let endpoint = match own {
            Some(endpoint) => endpoint,
            None => Endpoint::of_aws(host_prefix, region)?,
        };
        let authority = endpoint.origin.authority();
        let fields = fields(&authority);
        let credentials = settings.credentials();
        let (region, signing_name) = (region.to_owned(), signing_name.to_owned());
        let connections_max = settings.connections_max;
        Ok(Caller {
            endpoint,
            own_endpoint,
            authority,
            fields,
            region,
            signing_name,
            credentials,
            connections_max,
            #[cfg(feature = "functions")]
            local,
        })
    }

    /// The same service at another host of AWS: the bucket's, in front of the service's own.
    pub(super) fn at_host(&self, host_prefix: &str) -> Result<Caller, String> {
        let endpoint = Endpoint::of_aws(host_prefix, &self.region)?;
        let authority = endpoint.origin.authority();
        let fields = fields(&authority);
        Ok(Caller { endpoint, authority, fields, ..self.clone() })
    }

    /// Sends a `POST`, signed if there are credentials.
    pub(super) async fn post(self: Arc<Self>, draft: Draft) -> Result<Reply, CallError> {
        #[cfg(feature = "functions")]
        if let Some(functions) = &self.local {
            // Rarely needed, and large beside the future that waits for an answer.
            return Ok(Box::pin(super::local::answer(functions, draft)).await);
        }
        self.send("POST", &draft, ANSWER_BYTES_MAX).await
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// What its requests are signed with.
    pub(super) async fn credentials(&self) -> Result<Option<Arc<Credentials>>, String> {
        self.credentials.get(!self.own_endpoint).await
    }

    /// Sends a request, signed if there are credentials; the answer's body may have `bytes_max` bytes.
    pub(super) async fn send(
        &self,
        method: &str,
        draft: &Draft,
        bytes_max: usize,
    ) -> Result<Reply, CallError> {
        let credentials = match self.credentials.known(!self.own_endpoint) {
            Some(known) => known,
            None => Box::pin(self.credentials.get(!self.own_endpoint)).await,
        };
        let message = self.message(method, draft, credentials.map_err(CallError::Client)?.as_deref())?;
        let limits = Limits { bytes_max, connections_max: self.connections_max };
        pool::exchange(&self.endpoint.origin, message, limits).await.map_err(|error| match error {
            NetError::TooLarge => CallError::TooLarge,
            NetError::Failed(text) => CallError::Client(format!("Unable to execute HTTP request: {text}")),
        })
    }

    fn message(
        &self,
        method: &str,
        draft: &Draft,
        credentials: Option<&Credentials>,
    ) -> Result<Message, CallError> {
        if credentials.is_none() && !self.own_endpoint {
            let text = "Unable to load credentials from any of the providers in the chain";
            return Err(CallError::Client(text.to_owned()));
        }
        let Draft { path, query, headers, named, body } = draft;
        let named = || named.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let (base, mark) = (&*self.endpoint.base, if query.is_empty() { "" } else { "?" });
        // A signature takes some 400, a session's token as much again.
        let bytes = self.fields.len() + body.len() + if credentials.is_some() { 1_024 } else { 256 };
        let mut message = Message::new(method, &[base, path, mark, query], bytes);
        message.fields(&self.fields);
        let mut add = |name: &str, value: &str| {
            message.field(name, value).map_err(|why| CallError::Client(format!("{name}: {why}")))
        };
        for (name, value) in headers {
            add(name, value)?;
        }
        for (name, value) in named() {
            add(name, value)?;
        }
        if let Some(credentials) = credentials {
            let date = sign::amz_date(SystemTime::now());
            let mut signed: Vec<(&str, &str)> = Vec::with_capacity(headers.len() + 3);
            signed.push(("host", &self.authority));
            signed.push(("x-amz-date", &date));
            signed.extend(credentials.session_token.as_deref().map(|token| ("x-amz-security-token", token)));
            signed.extend(headers.iter().map(|(name, value)| (*name, &**value)));
            signed.extend(named());
            signed.sort_unstable();
            let hashed = headers.iter().find(|(name, _)| *name == "x-amz-content-sha256");
            let body = hashed.map_or(Body::Bytes(body), |(_, hash)| Body::Hashed(hash));
            let path = [base, path.as_str()];
            let it = Signed { method, path: &path, query, headers: &signed, body };
            let scope = Scope { region: &self.region, service: &self.signing_name };
            add("authorization", &sign::authorization(credentials, scope, &date, &it))?;
            if let Some(token) = &credentials.session_token {
                add("x-amz-security-token", token)?;
            }
            add("x-amz-date", &date)?;
        }
        Ok(if body.is_empty() && matches!(method, "GET" | "DELETE" | "HEAD") {
            message.without_body()
        } else {
            message.with_body(body)
        })
    }
}
