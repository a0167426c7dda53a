//! Service tasks: what a Task state does with `arn:aws:states:::…` and with Lambda functions, over HTTP, against AWS or
//! anything that speaks like it (developer guide, "Integrating services").
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
//! Which call a task makes is decided once, when its state machine is created; a task that is not supported is refused
//! then. Calls are made on the shard that runs the execution, over connections of its own; they end with the task's
//! time, and with the execution.

mod answer;
mod caller;
mod credentials;
mod failure;
mod lambda;
mod net;
mod parameters;
mod pool;
mod settings;
mod sign;

use std::sync::Arc;

pub use credentials::Credentials;
pub use settings::SettingsError;

use super::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};
use crate::program::{ResourceKind, Task};
use caller::Caller;
use settings::{Endpoint, Settings};

/// Which services tasks may call, where they are, and in whose name. Given to
/// [`Builder::aws`](crate::runtime::Builder::aws).
#[derive(Clone, Debug, Default)]
pub struct Integrations {
    settings: Settings,
}

impl Integrations {
    /// AWS's services in the region `us-east-1`, and no credentials; nothing is taken from the environment.
    pub fn new() -> Integrations {
        Integrations::default()
    }

    /// The region of services that are not named with one.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Integrations {
        self.settings.region = Some(region.into());
        self
    }

    /// Signs requests with these. Without any, requests go unsigned to endpoints that were set here, and are not sent
    /// to others.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Integrations {
        self.settings.set_credentials(credentials);
        self
    }

    /// Where a service is. It is named by AWS's identifier for it, such as `Lambda`, `DynamoDB`, `SQS`, `SNS`,
    /// `EventBridge`, `SFN`, `Secrets Manager`; case does not matter, nor whether blanks are written as underscores.
    ///
    /// # Errors
    /// When it is not an `http` or `https` URL.
    pub fn endpoint(mut self, service: &str, url: &str) -> Result<Integrations, SettingsError> {
        self.settings.endpoints.insert(settings::variable(service), Endpoint::parse(url)?);
        Ok(self)
    }

    /// Where all services are that have no endpoint of their own.
    ///
    /// # Errors
    /// When it is not an `http` or `https` URL.
    pub fn endpoint_url(mut self, url: &str) -> Result<Integrations, SettingsError> {
        self.settings.endpoint = Some(Endpoint::parse(url)?);
        Ok(self)
    }

    /// The prefixes of ARNs it does tasks of.
    pub(crate) fn handlers(self) -> impl Iterator<Item = (String, Arc<dyn AsyncHandler>)> {
        let any: Arc<dyn AsyncHandler> = Arc::new(Any(self.settings));
        ["aws", "aws-cn", "aws-us-gov"].into_iter().flat_map(move |partition| {
            let services = (format!("arn:{partition}:states:::"), Arc::clone(&any));
            [services, (format!("arn:{partition}:lambda:"), Arc::clone(&any))]
        })
    }
}

/// Hands out the handler of each task; does none itself.
#[derive(Debug)]
struct Any(Settings);

impl AsyncHandler for Any {
    fn resolve(&self, task: &Task) -> Result<Option<Arc<dyn AsyncHandler>>, String> {
        if task.credentials.is_some() {
            return Err(
                "Credentials of a task are not supported: calls are made in the name of the engine".into()
            );
        }
        resolve(&self.0, &task.resource.kind, &task.resource.arn).map(Some)
    }

    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        Err(super::missing_error(call.resource))
    }

    fn wants_attempt(&self) -> bool {
        false
    }
}

fn resolve(settings: &Settings, kind: &ResourceKind, arn: &str) -> Result<Arc<dyn AsyncHandler>, String> {
    let ResourceKind::Service { service, action } = kind else {
        let region = arn.split(':').nth(3);
        let caller = Arc::new(Caller::new(settings, "Lambda", "lambda", "lambda", region)?);
        return Ok(Arc::new(lambda::Function { caller, arn: arn.to_owned() }));
    };
    let action = action.strip_suffix(".waitForTaskToken").unwrap_or(action);
    match (&**service, action) {
        ("lambda", "invoke") => {
            let caller = Caller::new(settings, "Lambda", "lambda", "lambda", None)?;
            Ok(Arc::new(lambda::Invoke(Arc::new(caller))))
        }
        _ => Err(format!("The service task {arn} is not supported")),
    }
}
