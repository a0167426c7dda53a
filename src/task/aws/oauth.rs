//! Tokens of connections with OAuth 2.0 (RFC 6749, section 4.4): fetched with the client's credentials, and kept until
//! they are about to expire or are rejected.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use tokio::sync::Mutex;

use super::endpoint::Endpoint;
use super::http1::Message;
use super::net::NetError;
use super::percent;
use super::pool::{self, Limits};

/// The provider of tokens, and the parameters of its requests.
pub(super) struct OAuth {
    pub(super) method: Method,
    pub(super) endpoint: Endpoint,
    /// The query of the endpoint's URL, percent-encoded.
    pub(super) query: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) parameters: Parameters,
    /// Locked while one is fetched: other callers wait for that one.
    pub(super) last: Mutex<Option<Token>>,
}

/// Names and values that are added to a request.
#[derive(Clone, Default)]
pub(super) struct Parameters {
    pub(super) headers: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Vec<(String, String)>,
}

#[derive(Clone)]
pub(super) struct Token {
    /// With its type, as in a header.
    pub(super) authorization: Arc<str>,
    until: Option<Instant>,
}

/// The values are secret.
impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A new one is fetched so long before the old one expires, or after nine tenths of a short one's lifetime.
const AHEAD: Duration = Duration::from_secs(60);
/// The time limit for fetching one.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
const FETCH: Limits = Limits { bytes_max: 64 * 1_024, connections_max: 4 };

impl OAuth {
    /// A token other than `refused`, which was rejected.
    ///
    /// # Errors
    /// When no token is available, with the reason.
    pub(super) async fn token(&self, refused: Option<&Token>) -> Result<Token, String> {
        let mut last = self.last.lock().await;
        if let Some(token) = &*last
            && token.until.is_none_or(|until| Instant::now() < until)
            && refused.is_none_or(|refused| !Arc::ptr_eq(&refused.authorization, &token.authorization))
        {
            return Ok(token.clone());
        }
        *last = None;
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch()).await;
        let token = fetched.map_err(|_| self.failed("no response in time"))??;
        *last = Some(token.clone());
        Ok(token)
    }

    async fn fetch(&self) -> Result<Token, String> {
        let asked = Instant::now();
        let message = self.message().map_err(|why| self.failed(why))?;
        let reply = pool::exchange(&self.endpoint.origin, message, FETCH).await;
        let reply = reply.map_err(|error| match error {
            NetError::Failed(text) => self.failed(text),
            NetError::TooLarge => self.failed("the response is too large"),
        })?;
        if !reply.status.is_success() {
            let text = String::from_utf8_lossy(&reply.body);
            return Err(self.failed(format!("{}: {text}", reply.status.as_u16())));
        }
        let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(token) = told.get("access_token").and_then(|it| it.as_str()) else {
            return Err(self.failed("the response has no access_token"));
        };
        if !token.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
            return Err(self.failed("the access_token has characters that are not allowed in a header"));
        }
        // Some servers send the number as text.
        let seconds = told.get("expires_in");
        let seconds = seconds.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
        let until = seconds
            .map(Duration::from_secs)
            .and_then(|life| asked.checked_add(life.saturating_sub(AHEAD.min(life / 10))));
        Ok(Token { authorization: format!("Bearer {token}").into(), until })
    }

    /// The request for a token. Its parameters are in the body, or in the query if there is no body.
    fn message(&self) -> Result<Message, &'static str> {
        let Parameters { headers, query, body } = &self.parameters;
        let mut form = String::new();
        let given = |name: &str| body.iter().chain(query).any(|(other, _)| other == name);
        let own = [
            ("grant_type", "client_credentials"),
            ("client_id", &*self.client_id),
            ("client_secret", &*self.client_secret),
        ];
        own.iter()
            .filter(|(name, _)| !given(name))
            .for_each(|(name, value)| percent::pair(name, value, &mut form));
        body.iter().for_each(|(name, value)| percent::pair(name, value, &mut form));
        let mut target = self.query.clone();
        query.iter().for_each(|(name, value)| percent::pair(name, value, &mut target));
        let has_body = self.method != Method::GET;
        if !has_body {
            let mark = if target.is_empty() { "" } else { "&" };
            target.extend([mark, &form]);
        }
        let mark = if target.is_empty() { "" } else { "?" };
        let mut message = Message::new(self.method.as_str(), &[&self.endpoint.base, mark, &target], 512);
        message.field("host", &self.endpoint.origin.authority())?;
        message.field("accept", "application/json")?;
        for (name, value) in headers {
            message.field(name, value)?;
        }
        if !has_body {
            return Ok(message.without_body());
        }
        message.field("content-type", "application/x-www-form-urlencoded")?;
        Ok(message.with_body(form.as_bytes()))
    }

    fn failed(&self, why: impl fmt::Display) -> String {
        format!("No token from {}: {why}", self.endpoint.origin.authority())
    }
}
