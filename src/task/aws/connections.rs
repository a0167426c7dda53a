//! Connections: how HTTP Tasks prove who they are (EventBridge API reference, `CreateConnection`). On AWS they lie in
//! EventBridge; here, in a file of the user's.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::settings::SettingsError;

/// Connections by ARN.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    by_arn: HashMap<String, Connection>,
}

/// What a connection adds to a request.
#[derive(Clone, Default)]
pub(super) struct Connection {
    /// Names and values; they go before the task's own.
    pub(super) headers: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Vec<(String, String)>,
}

/// They are secrets.
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
    /// Reads a file: a JSON object of connections by ARN, each with `AuthorizationType` (`BASIC` or `API_KEY`) and
    /// `AuthParameters`, as `CreateConnection` takes them.
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
    /// When it is not such an object, or a connection is of a type that is not supported.
    pub fn parse(text: &[u8]) -> Result<Connections, SettingsError> {
        let wrong = |what: String| SettingsError::Connections(what);
        let entries: HashMap<String, serde_json::Value> =
            serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        let mut by_arn = HashMap::new();
        for (arn, entry) in entries {
            if entry.get("AuthorizationType").is_some_and(|it| it == "OAUTH_CLIENT_CREDENTIALS") {
                return Err(wrong(format!("{arn}: OAUTH_CLIENT_CREDENTIALS is not supported")));
            }
            let entry: Entry =
                serde_json::from_value(entry).map_err(|error| wrong(format!("{arn}: {error}")))?;
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
        let AuthParameters { basic_auth_parameters, api_key_auth_parameters, invocation_http_parameters } =
            self.auth_parameters;
        let mut headers = match (&*self.authorization_type, basic_auth_parameters, api_key_auth_parameters) {
            ("BASIC", Some(Basic { username, password }), None) => {
                let value = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
                vec![("Authorization".to_owned(), value)]
            }
            ("API_KEY", None, Some(key)) => vec![(key.api_key_name, key.api_key_value)],
            (kind, ..) => {
                return Err(format!("the AuthorizationType '{kind}' has not the parameters it needs"));
            }
        };
        let pairs = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| (pair.key, pair.value));
        headers.extend(pairs(invocation_http_parameters.header_parameters));
        let query = pairs(invocation_http_parameters.query_string_parameters).collect();
        let body = pairs(invocation_http_parameters.body_parameters).collect();
        Ok(Connection { headers, query, body })
    }
}
