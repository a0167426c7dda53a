//! Tasks with `Credentials`: they are done in the name of a role, which is taken on with the credentials that all other
//! tasks are done with (developer guide, "Accessing resources in other AWS accounts").

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::credentials::Source;
use super::providers::{Provided, Role, Way};
use super::resolve;
use super::settings::Settings;
use crate::fault;
use crate::program::{Resource, ResourceKind};
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

/// Roles whose credentials are kept. A workflow may name any role, by what it is given.
const ROLES_MAX: usize = 1_024;

type ByRole = HashMap<(String, String), Arc<Provided>>;

/// The credentials of roles, by role and state machine: all tasks of all executions use the same, and one of them fetches.
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
        // By this, the role's account can say which state machines may take it on.
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

/// Does a task in the name of the role that its `Credentials` come to.
pub(super) struct InRole {
    pub(super) settings: Settings,
    pub(super) roles: Roles,
    pub(super) resource: Resource,
    /// The same task, in the name of the engine.
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
            // What is asked for is not sent before there is someone to ask.
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

/// Whether a task is done by a process of this machine, which no role is taken on for.
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

/// The ARN of an execution's state machine; for a child execution of a Map Run, of that which has the Map.
fn machine_arn(execution_arn: &str) -> String {
    let mut parts: Vec<&str> = execution_arn.split(':').take(7).collect();
    let [.., kind, name] = &mut parts[..] else { return String::new() };
    *kind = "stateMachine";
    *name = name.split('/').next().unwrap_or(name);
    parts.join(":")
}
