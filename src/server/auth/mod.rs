//! Authentication: requests are signed with AWS's Signature Version 4, as every SDK does it, and keys have lists of the
//! actions and resources that they are allowed.
//!
//! What this is not: IAM. There are no roles, no conditions, no temporary credentials; what is not allowed is denied.

mod signature;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::http::request::Parts;
use serde::Deserialize;

use super::Place;
use crate::misspelt;
use crate::service::{Grant, Rule};

/// Keys, and their permissions. Read from JSON:
///
/// ```
/// use expressway::server::Auth;
///
/// Auth::parse(br#"{"keys": [{
///     "accessKeyId": "AKIDORDERS", "secretAccessKey": "a long secret",
///     "allow": [{"actions": ["states:StartSyncExecution", "states:Describe*"],
///                "resources": ["arn:aws:states:us-east-1:123456789012:stateMachine:orders*"]}]
/// }]}"#)?;
/// # Ok::<(), expressway::server::AuthError>(())
/// ```
#[derive(Clone)]
pub struct Auth {
    keys: HashMap<String, Known>,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It is not JSON of the required form.
    #[error("the key file cannot be parsed: {0}")]
    Form(String),
    /// It has no key, a key twice, or a key without a secret.
    #[error("cannot read the key file: {0}")]
    Keys(String),
}

/// A key that may sign requests.
#[derive(Clone)]
struct Known {
    secret: String,
    grant: Arc<Grant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Key {
    access_key_id: String,
    secret_access_key: String,
    allow: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Auth {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// How much a client's clock may differ.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// Why a request is denied: AWS's name of the error, and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) error: &'static str,
    pub(super) message: String,
}

fn denied<T>(error: &'static str, message: impl Into<String>) -> Result<T, Denied> {
    Err(Denied { error, message: message.into() })
}

impl Auth {
    /// Reads keys from JSON text.
    ///
    /// # Errors
    /// When the text has another form, or its keys are invalid.
    pub fn parse(text: &[u8]) -> Result<Auth, AuthError> {
        let file: File = serde_json::from_slice(text)
            .map_err(|error| AuthError::Form(misspelt::explained(&error.to_string())))?;
        let mut keys = HashMap::new();
        for key in file.keys {
            if key.access_key_id.is_empty() || key.secret_access_key.is_empty() {
                return Err(AuthError::Keys("a key has no name or no secret".to_owned()));
            }
            let grant = Grant { holder: (*key.access_key_id).into(), rules: key.allow };
            let known = Known { secret: key.secret_access_key, grant: Arc::new(grant) };
            if let Some(twice) = keys.insert(key.access_key_id, known) {
                return Err(AuthError::Keys(format!("{} is there twice", twice.grant.holder)));
            }
        }
        if keys.is_empty() {
            return Err(AuthError::Keys("it has no keys".to_owned()));
        }
        Ok(Auth { keys })
    }

    /// The grant of a key.
    #[cfg(feature = "cluster")]
    pub(super) fn grant(&self, access_key_id: &str) -> Option<&Arc<Grant>> {
        self.keys.get(access_key_id).map(|key| &key.grant)
    }

    /// The grant of the key that signed the request.
    pub(super) fn check(
        &self,
        head: &Parts,
        body: &[u8],
        place: &Place,
        now: SystemTime,
    ) -> Result<&Arc<Grant>, Denied> {
        let claim = signature::Claim::of(head)?;
        let Some(key) = self.keys.get(claim.access_key_id) else {
            return denied(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            );
        };
        claim.check_region(&place.region)?;
        claim.check_time(now, SKEW_MAX)?;
        claim.verify(head, body, &key.secret)?;
        Ok(&key.grant)
    }
}
