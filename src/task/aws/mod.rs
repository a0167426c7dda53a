//! Service tasks: tasks with `arn:aws:states:::…` and Lambda functions, over HTTP, against AWS or compatible services
//! (developer guide, "Integrating services").
//!
//! ```no_run
//! use expressway::runtime::Engine;
//! use expressway::task::aws::Integrations;
//!
//! let integrations = Integrations::new().endpoint("Lambda", "http://localhost:9001")?;
//! let engine = Engine::builder().aws(integrations).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A task's call is determined when its state machine is created; a task that is not supported is refused then. Calls
//! are made on the shard that runs the execution, over its own connections; they end with the task's timeout, and with
//! the execution.

mod answer;
mod bedrock;
mod body;
mod caller;
#[cfg(any(feature = "sqs", feature = "service"))]
mod client;
mod config;
mod connections;
mod credential_source;
mod credentials;
mod eks;
mod emr;
mod endpoint;
mod event_stream;
mod failure;
mod fields;
mod harness;
mod http;
mod http1;
mod idempotency;
mod in_line;
mod jobs;
mod lambda;
#[cfg(feature = "functions")]
mod local;
mod model;
mod net;
mod oauth;
mod parameters;
mod percent;
mod pool;
mod providers;
mod query_protocol;
mod request;
mod rest;
mod rest_xml;
mod role;
mod route53;
mod s3;
mod service;
mod settings;
mod sign;
mod ssrf_policy;
mod wire;

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "sqs", feature = "service"))]
pub(crate) use client::{Client, ClientError};
pub use connections::Connections;
pub use credentials::Credentials;
pub use endpoint::SettingsError;
pub use in_line::InLine;
pub use ssrf_policy::HttpPolicy;

use super::data::DataStore;
use super::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};
use crate::fault;
use crate::program::{ResourceKind, Task};
use caller::Caller;
use endpoint::Endpoint;
use settings::Settings;

/// The services that tasks may call, with their endpoints and credentials. Passed to
/// [`Builder::aws`](crate::runtime::Builder::aws).
#[derive(Clone, Debug, Default)]
pub struct Integrations {
    settings: Settings,
    roles: role::Roles,
    #[cfg(feature = "functions")]
    only_functions: bool,
    accept_unsupported: bool,
    mocked: bool,
}

/// The endpoint of a service, if it is not AWS's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointInUse {
    /// The service, as in names of environment variables; `None` for all services without a separate endpoint.
    pub service: Option<String>,
    /// Its URL.
    pub url: String,
    /// The environment variable, or the profile, that sets it; `None` if the program did.
    pub named_by: Option<String>,
}

impl Integrations {
    /// AWS's services in the region `us-east-1`, and no credentials; nothing is taken from the environment.
    pub fn new() -> Integrations {
        Integrations::default()
    }

    /// The default region of services.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Integrations {
        self.settings.region = Some(region.into());
        self
    }

    /// Signs requests with these. Without any, requests to endpoints set here are unsigned, and others are not sent.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Integrations {
        self.settings.set_credentials(credentials);
        self
    }

    /// Sets the endpoint of a service, by AWS's identifier for it, such as `Lambda`, `DynamoDB`, `SQS`, `SNS`,
    /// `EventBridge`, `SFN`, `Secrets Manager`; case is ignored, and blanks may be written as underscores.
    ///
    /// # Errors
    /// When it is not an `http` or `https` URL, or the identifier is unknown and like a known one.
    pub fn endpoint(mut self, service: &str, url: &str) -> Result<Integrations, SettingsError> {
        if let Some(advice) = settings::meant(service) {
            return Err(SettingsError::Misspelt(service.to_owned(), advice));
        }
        self.settings.endpoints.insert(settings::variable(service), Endpoint::parse(url)?);
        self.settings.named_by.remove(&settings::variable(service));
        Ok(self)
    }

    /// Has all Lambda functions answered by local processes: a function that is not among these does not exist.
    #[cfg(feature = "functions")]
    #[must_use]
    pub fn functions(mut self, functions: super::functions::Functions) -> Integrations {
        let lambda = settings::variable("Lambda");
        self.settings.endpoints.remove(&lambda);
        self.settings.named_by.remove(&lambda);
        self.settings.functions = Some(functions);
        self
    }

    /// Like [`functions`](Integrations::functions), but no other service is called: state machines with tasks of other
    /// services are refused.
    #[cfg(feature = "functions")]
    #[must_use]
    pub fn only_functions(self, functions: super::functions::Functions) -> Integrations {
        Integrations { only_functions: true, ..self.functions(functions) }
    }

    /// Sets the endpoint of all services without a separate one.
    ///
    /// # Errors
    /// When it is not an `http` or `https` URL.
    pub fn endpoint_url(mut self, url: &str) -> Result<Integrations, SettingsError> {
        self.settings.endpoint = Some(Endpoint::parse(url)?);
        self.settings.named_by.remove("");
        Ok(self)
    }

    /// Settings from the environment, as in AWS's SDKs, and from its shared files: region, credentials, endpoints.
    /// Beside `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` there is `<SERVICE>_ENDPOINT`, as in Step Functions
    /// Local: `LAMBDA_ENDPOINT`, `DYNAMODB_ENDPOINT`, `STEP_FUNCTIONS_ENDPOINT`.
    ///
    /// # Errors
    /// When an endpoint is not an `http` or `https` URL.
    pub fn from_env() -> Result<Integrations, SettingsError> {
        Integrations::from_variables(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// As [`from_env`](Integrations::from_env), with these variables.
    ///
    /// # Errors
    /// When an endpoint is not an `http` or `https` URL.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Integrations, SettingsError> {
        let settings = config::settings(&variables.into_iter().collect())?;
        Ok(Integrations { settings, ..Integrations::default() })
    }

    /// The endpoints that are not AWS's own, by service.
    pub fn endpoints(&self) -> Vec<EndpointInUse> {
        let settings = &self.settings;
        let mut rows: Vec<EndpointInUse> = (settings.endpoints.iter())
            .map(|(service, endpoint)| (service.as_str(), endpoint))
            .chain(settings.endpoint.iter().map(|endpoint| ("", endpoint)))
            .map(|(service, endpoint)| EndpointInUse {
                service: (!service.is_empty()).then(|| service.to_owned()),
                url: endpoint.to_string(),
                named_by: settings.named_by.get(service).cloned(),
            })
            .collect();
        // The one for all others comes last.
        rows.sort_by(|a, b| (a.service.is_none(), &a.service).cmp(&(b.service.is_none(), &b.service)));
        rows
    }

    /// Whether this service has a separate endpoint.
    pub fn has_endpoint(&self, service: &str) -> bool {
        self.settings.endpoints.contains_key(&settings::variable(service))
    }

    /// The destination of tasks with this resource, for display.
    ///
    /// # Errors
    /// When nothing does these tasks, with the reason, such as an unsupported service.
    pub fn destination(&self, arn: &str, kind: &ResourceKind) -> Result<String, String> {
        if !Integrations::is_service(arn) {
            return Err("no service has such an ARN".to_owned());
        }
        resolve(&self.settings, kind, arn)?;
        let service = match kind {
            ResourceKind::Service { service, action } => match &**service {
                "eks" if action.starts_with("call") || action.starts_with("runJob") => {
                    return Ok("the cluster that the task names".to_owned());
                }
                "http" | "apigateway" => return Ok("the address that the task names".to_owned()),
                "lambda" | "aws-sdk:lambda" => "Lambda".to_owned(),
                service => service::identifier(service, action)?,
            },
            _ => "Lambda".to_owned(),
        };
        #[cfg(feature = "functions")]
        if let Some(functions) = self.settings.functions.as_ref().filter(|_| service == "Lambda") {
            return local::destination(functions, arn, kind);
        }
        Ok(match self.settings.endpoint(&service) {
            Some(endpoint) => endpoint.to_string(),
            None => {
                let region = self.settings.region();
                let name = settings::variable(&service);
                format!("AWS in {region} (AWS_ENDPOINT_URL_{name} sets another place)")
            }
        })
    }

    /// The policy of `http:invoke` and `apigateway:invoke`.
    #[must_use]
    pub fn http(mut self, policy: HttpPolicy) -> Integrations {
        self.settings.http = policy;
        self
    }

    /// The connections that HTTP Tasks may name.
    #[must_use]
    pub fn connections(mut self, connections: Connections) -> Integrations {
        self.settings.connections = connections;
        self
    }

    /// How many connections one shard may have to one host; 256 by default. Further calls wait for their turn.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Integrations {
        self.settings.connections_max = connections.clamp(1, 65_536);
        self
    }

    /// The pauses between polls of jobs (`.sync`): first so long after their start, then growing by half up to the
    /// longest. One second and 30 seconds by default.
    #[must_use]
    pub fn job_pauses(mut self, first: Duration, longest: Duration) -> Integrations {
        self.settings.pauses = settings::Pauses { first, longest };
        self
    }

    /// Accepts state machines with tasks that AWS has and this library does not support: services it does not model,
    /// optimised integrations. Tasks that AWS does not have either, such as a misspelt service or action,
    /// are still refused. Of services that are not modelled, the names of actions are unknown, and accepted unchecked.
    /// Such a task fails with `States.Runtime` when it begins, unless it has another answer, such as a mock.
    #[must_use]
    pub fn accept_unsupported(mut self) -> Integrations {
        self.accept_unsupported = true;
        self
    }

    pub(crate) fn accepts_unsupported(&self) -> bool {
        self.accept_unsupported
    }

    /// For use with mocks: as [`accept_unsupported`](Integrations::accept_unsupported), and no credentials are fetched.
    /// A task that would be sent to AWS without any fails with `States.Runtime`.
    #[must_use]
    pub fn beside_mocks(mut self) -> Integrations {
        self.mocked = true;
        self.accept_unsupported()
    }

    /// The handlers, by prefix of the ARNs.
    pub(crate) fn handlers(self) -> impl Iterator<Item = (String, Arc<dyn AsyncHandler>)> {
        let any: Arc<dyn AsyncHandler> = Arc::new(self);
        PREFIXES.into_iter().map(move |prefix| (prefix.to_owned(), Arc::clone(&any)))
    }

    /// The data stores of distributed Maps, by resource. With mocks, only if an endpoint of S3 or credentials were set.
    pub(crate) fn data_stores(&self) -> Vec<(String, Arc<dyn DataStore>)> {
        let settings = &self.settings;
        if self.mocked && !settings.has_credentials() && settings.endpoint("S3").is_none() {
            return Vec::new();
        }
        s3::stores(&Arc::new(settings.clone()))
    }

    /// Whether tasks with this resource are service tasks.
    fn is_service(arn: &str) -> bool {
        PREFIXES.iter().any(|prefix| arn.starts_with(prefix))
    }

    /// The handler for a task.
    fn handler(&self, task: &Task) -> Result<Arc<dyn AsyncHandler>, String> {
        #[cfg(feature = "functions")]
        if self.only_functions && !role::is_local(&self.settings, &task.resource.kind) {
            let arn = &task.resource.arn;
            return Err(format!(
                "Of services, only Lambda functions of this machine are called here, not {arn}"
            ));
        }
        let handler = resolve(&self.settings, &task.resource.kind, &task.resource.arn)?;
        let is_http =
            matches!(&task.resource.kind, ResourceKind::Service { service, .. } if &**service == "http");
        if self.mocked && handler.calls_out() && !is_http && !self.settings.has_credentials() {
            Ok(Arc::new(NotMocked))
        } else if task.credentials.is_some() && !role::is_local(&self.settings, &task.resource.kind) {
            let (settings, roles) = (self.settings.clone(), self.roles.clone());
            let resource = task.resource.clone();
            Ok(Arc::new(role::InRole { settings, roles, resource, plain: handler }))
        } else {
            Ok(handler)
        }
    }
}

/// The prefixes of its resources.
const PREFIXES: [&str; 6] = [
    "arn:aws:states:::",
    "arn:aws:lambda:",
    "arn:aws-cn:states:::",
    "arn:aws-cn:lambda:",
    "arn:aws-us-gov:states:::",
    "arn:aws-us-gov:lambda:",
];

/// Provides the handler of each task; does none itself.
impl AsyncHandler for Integrations {
    fn resolve(&self, task: &Task) -> Result<Option<Arc<dyn AsyncHandler>>, String> {
        match self.handler(task) {
            Err(why) if self.accept_unsupported && is_on_aws(task) => Ok(Some(Arc::new(Unsupported(why)))),
            handler => handler.map(Some),
        }
    }

    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let missing = super::missing(call.resource, call.state, call.attempt);
        Err(TaskError::new(fault::RUNTIME, missing.cause.unwrap_or_default()))
    }

    fn wants_attempt(&self) -> bool {
        false
    }
}

/// A task that is not mocked and has no destination.
#[derive(Debug)]
struct NotMocked;

impl AsyncHandler for NotMocked {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let cause = format!(
            "The task {} of the state '{}' (invocation {}) has no mock: the execution names no test case. Start it with \
             #TestCase behind the state machine's ARN, name an endpoint of the service, or give credentials to call AWS \
             with.",
            call.resource, call.state, call.attempt
        );
        Err(TaskError::new(fault::RUNTIME, cause))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        true
    }
}

/// Whether AWS has the call of a task that is not supported.
fn is_on_aws(task: &Task) -> bool {
    let ResourceKind::Service { service, action } = &task.resource.kind else { return true };
    let action = action.strip_suffix(".waitForTaskToken").unwrap_or(action);
    match service.strip_prefix("aws-sdk:") {
        Some(name) => crate::models::refusal(name, action).is_none(),
        // The names of optimised integrations were checked with the definition.
        None => !["kafka", "nats"].contains(&&**service),
    }
}

/// Reports why it does not do a task.
#[derive(Debug)]
struct Unsupported(String);

impl AsyncHandler for Unsupported {
    fn begin(&self, _: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        Err(TaskError::new(fault::RUNTIME, self.0.as_str()))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        true
    }
}

fn resolve(settings: &Settings, kind: &ResourceKind, arn: &str) -> Result<Arc<dyn AsyncHandler>, String> {
    let ResourceKind::Service { service, action } = kind else {
        let region = arn.split(':').nth(3);
        let caller = Arc::new(Caller::new(settings, "Lambda", "lambda", "lambda", region)?);
        return Ok(Arc::new(lambda::Function { caller, arn: arn.to_owned() }));
    };
    let (action, pattern) = match action.find('.') {
        Some(at) => action.split_at(at),
        None => (&**action, ""),
    };
    match (&**service, action, pattern) {
        ("eks", "call", "" | ".waitForTaskToken") => {
            return Ok(Arc::new(eks::Call(Arc::new(settings.clone()))));
        }
        ("eks", "runJob", "" | ".sync" | ".waitForTaskToken") => {
            let (settings, waits) = (Arc::new(settings.clone()), pattern == ".sync");
            return Ok(Arc::new(eks::RunJob { settings, waits }));
        }
        _ => {}
    }
    if let Some(job) = jobs::handler(settings, service, action, pattern) {
        return Ok(Arc::new(job.map_err(|why| format!("The service task {arn} is not supported. {why}"))?));
    }
    if pattern.starts_with(".sync") {
        return Err(format!("The service task {arn} is not supported. Jobs of it cannot be waited for"));
    }
    match (&**service, action) {
        ("lambda", "invoke") => {
            let caller = Caller::new(settings, "Lambda", "lambda", "lambda", None)?;
            Ok(Arc::new(lambda::Invoke(Arc::new(caller))))
        }
        ("bedrock", "invokeModel") => {
            let caller = Caller::new(settings, "Bedrock Runtime", "bedrock-runtime", "bedrock", None)?;
            let (caller, settings) = (Arc::new(caller), Arc::new(settings.clone()));
            Ok(Arc::new(bedrock::Invoke { caller, settings }))
        }
        ("aws-sdk:lambda", "invoke") => {
            let caller = Caller::new(settings, "Lambda", "lambda", "lambda", None)?;
            Ok(Arc::new(lambda::SdkInvoke(Arc::new(caller))))
        }
        ("http", "invoke") => Ok(Arc::new(http::Invoke(Arc::new(settings.clone())))),
        ("apigateway", "invoke") => Ok(Arc::new(http::Gateway(Arc::new(settings.clone())))),
        ("elasticmapreduce", action) => {
            let emr = emr::handler(settings, service::integration_of(service)?, action);
            let emr = emr.ok_or_else(|| format!("EMR has no action {action}"))?;
            Ok(Arc::new(emr.map_err(|why| format!("The service task {arn} is not supported. {why}"))?))
        }
        ("bedrockagentcore", "invokeHarness") => {
            let harness = service::integration_of(service)?.operation(settings, action);
            let harness = harness.map_err(|why| format!("The service task {arn} is not supported. {why}"))?;
            Ok(Arc::new(harness::Invoke(harness)))
        }
        (service, action) => {
            let handler = match service.strip_prefix("aws-sdk:") {
                Some(service) => service::sdk(settings, service, action),
                None => (service::optimised(settings, service, action))
                    .unwrap_or_else(|| Err(format!("The integration {service} has no action {action}"))),
            };
            let handler = handler.map_err(|why| format!("The service task {arn} is not supported. {why}"))?;
            Ok(Arc::new(handler))
        }
    }
}
