//! Service tasks on the command line: which may be called, and their endpoints.

use std::path::PathBuf;

use expressway::program::{ResourceKind, Task};
use expressway::task::AsyncHandler;
use expressway::task::aws::{Connections, HttpPolicy, Integrations, SettingsError};
use expressway::task::functions::Functions;

use super::hosts::host_maybe_port;
use super::{Stop, files};

/// Settings of service tasks.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// Where a service is, as `Lambda=http://localhost:9001`; the variables LAMBDA_ENDPOINT, SQS_ENDPOINT and so on, and
    /// AWS_ENDPOINT_URL, say the same
    #[arg(long, value_name = "SERVICE=URL", value_parser = endpoint)]
    endpoint: Vec<(String, String)>,
    /// Let HTTP tasks call this host wherever it is, also without TLS: loopback, link-local and private addresses are
    /// refused otherwise
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host_maybe_port)]
    pub(super) http_allow: Vec<String>,
    /// The connections that HTTP tasks may name: a JSON object by ARN, with AuthorizationType and AuthParameters
    #[arg(long, value_name = "FILE")]
    pub(super) connections: Option<PathBuf>,
}

fn endpoint(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(service, url)| (service.to_owned(), url.to_owned()));
    pair.ok_or_else(|| "an endpoint is SERVICE=URL, such as Lambda=http://localhost:9001".to_owned())
}

/// What a file of connections is.
const CONNECTIONS: &str = "; it is a JSON object by the connections' ARNs: {\"arn:…:connection/NAME/ID\": \
    {\"AuthorizationType\": \"API_KEY\", \"AuthParameters\": {…}}}";

impl Settings {
    /// Settings of the environment (region, credentials, endpoints), and of the command line; Lambda functions are the
    /// given ones, if there are any.
    pub(super) fn integrations(&self, functions: Option<&Functions>) -> Result<Integrations, Stop> {
        let wrong = |error: SettingsError| Stop::failed(error.to_string());
        let mut integrations = Integrations::from_env().map_err(wrong)?;
        for (service, url) in &self.endpoint {
            if functions.is_some() && service.eq_ignore_ascii_case("Lambda") {
                return Err(Stop::failed(format!(
                    "--endpoint Lambda={url} does not go with --lambda and --lambda-dir, which say where functions are"
                )));
            }
            let wrong = |error| Stop::failed(format!("--endpoint {service}={url}: {error}"));
            integrations = integrations.endpoint(service, url).map_err(wrong)?;
        }
        if let Some(file) = &self.connections {
            let text = files::text(file)?;
            let wrong = |error| {
                let form = match serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(&text) {
                    Ok(_) => "",
                    Err(_) => CONNECTIONS,
                };
                Stop::failed(format!("--connections {}: {error}{form}", file.display()))
            };
            let connections = Connections::parse(&text).map_err(wrong)?;
            integrations = integrations.connections(connections);
        }
        let policy = HttpPolicy { allowed_hosts: self.http_allow.clone(), ..HttpPolicy::default() };
        let integrations = integrations.http(policy);
        Ok(match functions {
            Some(functions) => integrations.functions(functions.clone()),
            None => integrations,
        })
    }
}

/// Why a service's task is not done, if it is not.
pub(super) fn refuses(integrations: &Integrations, task: &Task) -> Option<String> {
    let is_asked = match &task.resource.kind {
        // Brokers of this program's user, and what the server does itself.
        ResourceKind::Service { service, action, .. } => !matches!(
            (&**service, action.split('.').next()),
            ("kafka" | "nats", _) | ("states", Some("startExecution"))
        ),
        kind => *kind == ResourceKind::Function,
    };
    is_asked.then(|| integrations.resolve(task).err()).flatten()
}
