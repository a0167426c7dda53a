//! Credentials: access keys, and their sources.

use std::sync::Arc;

use super::providers::Provided;

/// An access key (AWS General Reference, "AWS security credentials").
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
}

impl Credentials {
    /// A key, with the session's token if it is a temporary one.
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Credentials {
        Credentials {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token,
        }
    }
}

/// The secret is not shown.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The source of credentials.
#[derive(Clone, Debug, Default)]
pub(super) enum Source {
    /// No credentials: requests to endpoints set by the user are unsigned, others are not sent.
    #[default]
    None,
    Fixed(Arc<Credentials>),
    /// They are configured in a way that is not supported, or incompletely.
    Unsupported(Arc<str>),
    /// A provider issues temporary ones.
    Provided(Arc<Provided>),
    /// The machine issues them, if it is one of AWS's.
    Machine(Arc<Provided>),
}

impl Source {
    /// As [`get`](Source::get), if no request is needed.
    pub(super) fn known(&self, to_aws: bool) -> Option<Result<Option<Arc<Credentials>>, String>> {
        match self {
            Source::None => Some(Ok(None)),
            Source::Machine(_) if !to_aws => Some(Ok(None)),
            Source::Fixed(credentials) => Some(Ok(Some(Arc::clone(credentials)))),
            Source::Provided(provided) | Source::Machine(provided) => {
                provided.known().map(|known| Ok(Some(known)))
            }
            Source::Unsupported(_) => None,
        }
    }

    /// The credentials, if there are any. The machine is only asked for requests to AWS itself: elsewhere there may be
    /// no such service.
    pub(super) async fn get(&self, to_aws: bool) -> Result<Option<Arc<Credentials>>, String> {
        let found = match self {
            Source::Provided(provided) | Source::Machine(provided) if self.known(to_aws).is_none() => {
                provided.get().await.map(Some)
            }
            Source::Unsupported(why) => Err(why.to_string()),
            _ => return self.known(to_aws).unwrap_or(Ok(None)),
        };
        found.map_err(|why| match self {
            Source::Machine(_) => format!(
                "Unable to load credentials from any of the providers in the chain: the environment and the profile have \
                 none, and the machine gives none ({why}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in \
                 AWS_ENDPOINT_URL where the service is, if it is not AWS's own"
            ),
            _ => format!("Unable to load credentials: {why}"),
        })
    }
}
