//! Connections: the credentials of HTTP Tasks (EventBridge API reference, `CreateConnection`). On AWS they are in
//! EventBridge; here, in a file of the user.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use super::endpoint::{Endpoint, SettingsError};
use super::oauth::{OAuth, Parameters};
use crate::misspelt;

/// Connections by ARN.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    by_arn: HashMap<String, Connection>,
}

/// What a connection adds to a request.
#[derive(Clone, Default)]
pub(super) struct Connection {
    /// They take precedence over the task's own.
    pub(super) parameters: Parameters,
    /// The provider of tokens for it.
    pub(super) oauth: Option<Arc<OAuth>>,
}

/// The values are secret.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    authorization_type: String,
    auth_parameters: AuthParameters,
    #[serde(default)]
    #[allow(dead_code, reason = "a description may stand in the file")]
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AuthParameters {
    basic_auth_parameters: Option<Basic>,
    api_key_auth_parameters: Option<ApiKey>,
    #[serde(rename = "OAuthParameters")]
    oauth_parameters: Option<OAuthParameters>,
    #[serde(default)]
    invocation_http_parameters: HttpParameters,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Basic {
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ApiKey {
    api_key_name: String,
    api_key_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OAuthParameters {
    authorization_endpoint: String,
    http_method: String,
    client_parameters: Client,
    #[serde(default, rename = "OAuthHttpParameters")]
    oauth_http_parameters: HttpParameters,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    #[serde(rename = "ClientID")]
    id: String,
    #[serde(rename = "ClientSecret")]
    secret: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct HttpParameters {
    header_parameters: Vec<Pair>,
    query_string_parameters: Vec<Pair>,
    body_parameters: Vec<Pair>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    value: String,
    #[serde(default)]
    #[allow(dead_code, reason = "AWS's way to say which are secrets; here all are")]
    is_value_secret: bool,
}

impl Connections {
    /// Parses a file: a JSON object of connections by ARN, each with `AuthorizationType` (`BASIC`, `API_KEY` or
    /// `OAUTH_CLIENT_CREDENTIALS`) and `AuthParameters`, as in `CreateConnection`.
    ///
    /// An OAuth token is fetched when it is first needed, and again when it is about to expire or a call is answered
    /// with 401 or 407; the call is then repeated once. The request to its endpoint has a form (RFC 6749, section 4.4),
    /// in the query for `GET`: `grant_type`, `client_id`, `client_secret`, unless `OAuthHttpParameters` set others.
    ///
    /// ```
    /// let connections = expressway::task::aws::Connections::parse(br#"{
    ///     "arn:aws:events:us-east-1:123456789012:connection/shop/c1": {
    ///         "AuthorizationType": "API_KEY",
    ///         "AuthParameters": {"ApiKeyAuthParameters": {"ApiKeyName": "x-api-key", "ApiKeyValue": "secret"}}
    ///     }
    /// }"#)?;
    /// # Ok::<(), expressway::task::aws::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// When it is not such an object, or has values that are invalid in requests.
    pub fn parse(text: &[u8]) -> Result<Connections, SettingsError> {
        let wrong = |what: String| SettingsError::Connections(what);
        let entries: HashMap<String, &RawValue> =
            serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        let mut by_arn = HashMap::new();
        for (arn, entry) in entries {
            let entry: Entry = serde_json::from_str(entry.get()).map_err(|error| {
                let before = entry.get().as_ptr() as usize - text.as_ptr() as usize;
                let line = text[..before].iter().filter(|byte| **byte == b'\n').count() + error.line();
                let message = error.to_string();
                // The line is that of the file.
                let message = message.rfind(" at line ").map_or(&*message, |at| &message[..at]);
                wrong(format!("line {line}: {arn}: {}", misspelt::explained(message)))
            })?;
            let connection = entry.read().map_err(|what| wrong(format!("{arn}: {what}")))?;
            by_arn.insert(arn, connection);
        }
        Ok(Connections { by_arn })
    }

    pub(super) fn find(&self, arn: &str) -> Option<&Connection> {
        self.by_arn.get(arn)
    }
}

impl Entry {
    fn read(self) -> Result<Connection, String> {
        let AuthParameters {
            basic_auth_parameters,
            api_key_auth_parameters,
            oauth_parameters,
            invocation_http_parameters,
        } = self.auth_parameters;
        let all = (basic_auth_parameters, api_key_auth_parameters, oauth_parameters);
        let mut parameters = invocation_http_parameters.read();
        let mut oauth = None;
        match (&*self.authorization_type, all) {
            ("BASIC", (Some(Basic { username, password }), None, None)) => {
                let value = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
                parameters.headers.insert(0, ("Authorization".to_owned(), value));
            }
            ("API_KEY", (None, Some(key), None)) => {
                parameters.headers.insert(0, (key.api_key_name, key.api_key_value));
            }
            ("OAUTH_CLIENT_CREDENTIALS", (None, None, Some(it))) => oauth = Some(Arc::new(it.read()?)),
            ("BASIC" | "API_KEY" | "OAUTH_CLIENT_CREDENTIALS", _) => {
                let kind = self.authorization_type;
                return Err(format!("the AuthorizationType '{kind}' has not the parameters it needs"));
            }
            (kind, _) => return Err(format!("the AuthorizationType '{kind}' is not supported")),
        }
        check(&parameters)?;
        Ok(Connection { parameters, oauth })
    }
}

impl OAuthParameters {
    fn read(self) -> Result<OAuth, String> {
        let url = self.authorization_endpoint;
        let wrong = |error: SettingsError| format!("AuthorizationEndpoint: {error}");
        let uri: Uri = url.parse().map_err(|_| wrong(SettingsError::NotAnEndpoint(url.clone())))?;
        let endpoint = Endpoint::parse_exactly(&url).map_err(wrong)?;
        let method = match &*self.http_method {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            other => return Err(format!("the HttpMethod '{other}' is not GET, POST or PUT")),
        };
        let parameters = self.oauth_http_parameters.read();
        check(&parameters)?;
        let Client { id: client_id, secret: client_secret } = self.client_parameters;
        let query = uri.query().unwrap_or_default().to_owned();
        Ok(OAuth { method, endpoint, query, client_id, client_secret, parameters, last: Mutex::default() })
    }
}

impl HttpParameters {
    fn read(self) -> Parameters {
        let pairs = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
        Parameters {
            headers: pairs(self.header_parameters),
            query: pairs(self.query_string_parameters),
            body: pairs(self.body_parameters),
        }
    }
}

/// Checks that the headers are valid.
fn check(parameters: &Parameters) -> Result<(), String> {
    let wrong = parameters
        .headers
        .iter()
        .find(|(name, value)| HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err());
    wrong.map_or(Ok(()), |(name, _)| Err(format!("invalid header name or value: '{name}'")))
}
