//! Where credentials come from.

use std::sync::Arc;

use super::credentials::Credentials;
use super::providers::Provided;

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
