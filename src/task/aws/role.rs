//! Tasks with `Credentials`: they run as a role, which is assumed with the credentials of all other tasks (developer
//! guide, "Accessing resources in other AWS accounts").

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::credential_source::Source;
use super::providers::{Provided, Role, Way};
use super::resolve;
use super::settings::Settings;
use crate::fault;
use crate::program::{Resource, ResourceKind};
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

/// Roles whose credentials are cached: limited, because a workflow may take the role from its input.
const ROLES_MAX: usize = 1_024;

type ByRole = HashMap<(String, String), Arc<Provided>>;

/// The credentials of roles, by role and state machine. All tasks of all executions share them, and one of them
/// fetches.
#[derive(Clone, Default)]
pub(super) struct Roles(Arc<Mutex<ByRole>>);

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roles").finish_non_exhaustive()
    }
}

impl Roles {
    fn provided(&self, settings: &Settings, role: &str, machine: &str) -> Arc<Provided> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (role.to_owned(), machine.to_owned());
        if let Some(provided) = known.get(&key) {
            return Arc::clone(provided);
        }
        if known.len() >= ROLES_MAX {
            known.clear();
        }
        // With it, the role's trust policy can restrict which state machines may assume the role.
        let external_id = Some(machine.to_owned()).filter(|machine| !machine.is_empty());
        let role = Role { arn: role.to_owned(), external_id, is_of_task: true, ..Role::default() };
        let provided = Provided::by(Way::Role {
            role,
            of: settings.credentials(),
            settings: Box::new(settings.clone()),
        });
        known.insert(key, Arc::clone(&provided));
        provided
    }
}

/// Runs a task as the role that its `Credentials` evaluate to.
pub(super) struct InRole {
    pub(super) settings: Settings,
    pub(super) roles: Roles,
    pub(super) resource: Resource,
    /// The same task, with the engine's own credentials.
    pub(super) plain: Arc<dyn AsyncHandler>,
}

impl InRole {
    /// Whether the request would not be signed: there are no credentials, and it goes to a server that the user named.
    fn is_unsigned(&self) -> bool {
        let has_none = matches!(self.settings.credentials().known(false), Some(Ok(None)));
        has_none && !self.plain.calls_out() && self.settings.endpoint("STS").is_none()
    }
}

impl AsyncHandler for InRole {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let role = attempt.role_arn().filter(|role| !role.is_empty()).map(str::to_owned);
        let Some(role) = role else {
            let cause = "The value for the field 'RoleArn' of Credentials must be a STRING that is not empty";
            return Err(TaskError::new(fault::RUNTIME, cause));
        };
        if self.is_unsigned() {
            return self.plain.begin(call, attempt);
        }
        let provided = self.roles.provided(&self.settings, &role, &machine_arn(attempt.execution_arn()));
        let credentials = Source::Provided(Arc::clone(&provided));
        let settings = Settings { credentials, ..self.settings.clone() };
        let Resource { arn, kind, .. } = &self.resource;
        let handler = resolve(&settings, kind, arn).map_err(|why| TaskError::new(fault::RUNTIME, why))?;
        let work = handler.begin(call, attempt)?;
        Ok(Box::pin(async move {
            // The request is sent only after the role is assumed.
            provided.get().await.map_err(|why| TaskError::new(fault::TASK_FAILED, why))?;
            work.await
        }))
    }

    fn wants_attempt(&self) -> bool {
        true
    }

    fn calls_out(&self) -> bool {
        self.plain.calls_out()
    }
}

/// Whether a process of this machine does the task. No role is assumed for it.
pub(super) fn is_local(settings: &Settings, kind: &ResourceKind) -> bool {
    #[cfg(feature = "functions")]
    let has_functions = settings.functions.is_some();
    #[cfg(not(feature = "functions"))]
    let has_functions = {
        let _ = settings;
        false
    };
    let is_lambda = match kind {
        ResourceKind::Service { service, .. } => matches!(&**service, "lambda" | "aws-sdk:lambda"),
        _ => true,
    };
    has_functions && is_lambda
}

/// The ARN of an execution's state machine; for a child execution of a Map Run, that of the machine with the Map.
fn machine_arn(execution_arn: &str) -> String {
    let mut parts: Vec<&str> = execution_arn.split(':').take(7).collect();
    let [.., kind, name] = &mut parts[..] else { return String::new() };
    *kind = "stateMachine";
    *name = name.split('/').next().unwrap_or(name);
    parts.join(":")
}
