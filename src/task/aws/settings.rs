//! Endpoints and credentials of services.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::connections::Connections;
use super::credential_source::Source;
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::ssrf_policy::HttpPolicy;
use crate::{asl, models};

/// The pauses between polls of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// After its start. Each pause is one and a half times the one before.
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

/// The settings of [`Integrations`](super::Integrations).
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) region: Option<String>,
    pub(super) credentials: Source,
    /// By the service's identifier, as in the names of environment variables: `DYNAMODB`, `SECRETS_MANAGER`.
    pub(super) endpoints: HashMap<String, Endpoint>,
    /// For services without a separate one.
    pub(super) endpoint: Option<Endpoint>,
    /// The source of endpoints: an environment variable, the profile; by the service's identifier, which is empty for
    /// all others. Endpoints that are not here were set by the program.
    pub(super) named_by: HashMap<String, String>,
    pub(super) http: HttpPolicy,
    pub(super) connections: Connections,
    /// Of one shard to one host.
    pub(super) connections_max: usize,
    /// The pauses between polls of jobs.
    pub(super) pauses: Pauses,
    /// Lambda functions that local processes answer.
    #[cfg(feature = "functions")]
    pub(super) functions: Option<crate::task::functions::Functions>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            region: None,
            credentials: Source::None,
            endpoints: HashMap::new(),
            endpoint: None,
            named_by: HashMap::new(),
            http: HttpPolicy::default(),
            connections: Connections::default(),
            connections_max: 256,
            pauses: Pauses::default(),
            #[cfg(feature = "functions")]
            functions: None,
        }
    }
}

impl Settings {
    pub(super) fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }

    pub(super) fn credentials(&self) -> Source {
        self.credentials.clone()
    }

    /// Whether credentials are given, so that none need be fetched.
    pub(super) fn has_credentials(&self) -> bool {
        matches!(self.credentials, Source::Fixed(_))
    }

    pub(super) fn set_credentials(&mut self, credentials: Credentials) {
        self.credentials = Source::Fixed(Arc::new(credentials));
    }

    /// The user's endpoint of a service.
    pub(super) fn endpoint(&self, service_id: &str) -> Option<Endpoint> {
        self.endpoints.get(&variable(service_id)).or(self.endpoint.as_ref()).cloned()
    }
}

/// What was probably meant by a service's identifier that AWS does not have.
pub(super) fn meant(service: &str) -> Option<String> {
    let plain = |id: &str| variable(id).to_ascii_lowercase();
    let (asked, known): (_, Vec<String>) = (plain(service), models::identifiers().map(plain).collect());
    let package = asked.replace('_', "");
    if known.contains(&asked) || models::is_service(&package) {
        return None;
    }
    let other = models::other_name(&package);
    let meant = other.and_then(|name| known.iter().find(|known| known.replace('_', "") == name));
    match meant {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None => asl::did_you_mean(&asked, known.iter().map(String::as_str)),
    }
}

/// A service's identifier in names of environment variables: `Secrets Manager` is `SECRETS_MANAGER`.
pub(super) fn variable(service_id: &str) -> String {
    service_id.replace([' ', '-'], "_").to_ascii_uppercase()
}
