//! What the tasks of a state machine may call: no more than its author may.

use std::borrow::Cow;
use std::sync::Arc;

use super::Service;
use super::grant::{Grant, made_by, names_resource};
use super::inner::Inner;
use super::settings::Settings;
use crate::json::{Arena, Value};
use crate::program::Task;
use crate::task::{Call, Permit, TaskError};

/// The resource of an operation that names none.
const ANYTHING: &str = "*";
/// Operations that make a definition run with the permissions of the caller.
const OF_DEFINITIONS: [&str; 3] = ["CreateStateMachine", "TestState", "UpdateStateMachine"];

impl Service {
    /// The same service, used by a known caller: state machines whose definition it writes carry its permissions, and
    /// `TestState` is limited to them. Whether it may call an operation at all is for the caller of this to check.
    #[must_use]
    pub fn on_behalf_of(&self, caller: Arc<Grant>) -> Service {
        Service { caller: Some(caller), ..self.clone() }
    }

    /// Whether the caller may do an action with a resource; without authentication, every caller may do everything.
    ///
    /// # Errors
    /// AWS's message for what is not allowed.
    #[cfg(feature = "console")]
    pub(crate) fn may(&self, action: &str, resource: &str) -> Result<(), String> {
        self.caller.as_ref().map_or(Ok(()), |grant| grant.check_own(action, resource))
    }
}

impl Inner {
    /// The permit for a machine's tasks, if its maker is known.
    pub(super) fn permit(&self, maker: Option<&Arc<Grant>>) -> Option<Arc<dyn Permit>> {
        let maker = Arc::clone(maker?);
        // With the colon in front of the name.
        let Settings { partition, region, account, .. } = &self.settings;
        let arns =
            |resource_type: &str| format!("arn:{partition}:states:{region}:{account}:{resource_type}:");
        Some(Arc::new(MakerPermit { maker, machines: arns("stateMachine"), activities: arns("activity") }))
    }
}

/// Limits tasks of a machine to its maker's permissions.
#[derive(Debug)]
struct MakerPermit {
    maker: Arc<Grant>,
    /// The prefix of the ARNs of state machines and activities.
    machines: String,
    activities: String,
}

impl Permit for MakerPermit {
    fn concerns(&self, task: &Task) -> bool {
        operation_of(&task.resource.arn).is_some()
    }

    fn check(&self, call: &Call<'_>) -> Result<(), TaskError> {
        let Some((operation, is_optimised)) = operation_of(call.resource) else { return Ok(()) };
        let mut resources = Vec::new();
        self.name(&operation, call.arena, call.input, &mut resources);
        let mut checked = self.maker.check(&operation, resources);
        if checked.is_ok() && OF_DEFINITIONS.contains(&&*operation) {
            // The request is signed by this server, so the definition would run with the server's permissions.
            checked = self.maker.check(ANYTHING, [Cow::Borrowed(ANYTHING)]);
        }
        checked.map_err(|message| refused(&message, is_optimised))
    }
}

impl MakerPermit {
    /// The names in the task's input. Members are capitalized, as in the SDK for Java.
    fn name<'a>(&self, operation: &str, arena: &'a Arena, input: Value, found: &mut Vec<Cow<'a, str>>) {
        let text = |value: Value| arena.as_str(value).unwrap_or(ANYTHING);
        for (name, value) in arena.entries(input).filter(|(_, value)| !value.is_null()) {
            let member = uncapitalized(arena.str(name));
            match (&*member, made_by(operation)) {
                ("name", Some("activity")) => found.push([&*self.activities, text(value)].concat().into()),
                ("name", Some(_)) => found.push([&*self.machines, text(value)].concat().into()),
                ("routingConfiguration", _) if value.is_array() => {
                    for &route in arena.items(value).iter().filter(|route| route.is_object()) {
                        let arns = arena.entries(route).filter(|(name, value)| {
                            !value.is_null() && names_resource(&uncapitalized(arena.str(*name)))
                        });
                        found.extend(arns.map(|(_, value)| Cow::Borrowed(text(value))));
                    }
                }
                (member, _) if names_resource(member) => found.push(Cow::Borrowed(text(value))),
                _ => {}
            }
        }
    }
}

/// The operation of this API that tasks with a resource call, and whether by the optimised integration.
fn operation_of(arn: &str) -> Option<(String, bool)> {
    let (_, integration) = arn.split_once(":states:::")?;
    let (action, is_optimised) = match integration.strip_prefix("states:") {
        Some(action) => (action, true),
        None => (integration.strip_prefix("aws-sdk:sfn:")?, false),
    };
    let action = action.split_once('.').map_or(action, |(action, _)| action);
    let mut operation = action.to_owned();
    operation.get_mut(..1)?.make_ascii_uppercase();
    Some((operation, is_optimised))
}

fn uncapitalized(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

/// The fault of a task whose role lacks a permission.
fn refused(message: &str, is_optimised: bool) -> TaskError {
    const REQUEST: &str = "00000000-0000-0000-0000-000000000000";
    if is_optimised {
        let cause = format!(
            "{message} (Service: AWSStepFunctions; Status Code: 400; Error Code: AccessDeniedException; Request ID: \
             {REQUEST}; Proxy: null)"
        );
        return TaskError::new("StepFunctions.AWSStepFunctionsException", cause);
    }
    let cause =
        format!("{message} (Service: Sfn, Status Code: 400, Request ID: {REQUEST}) (SDK Attempt Count: 1)");
    TaskError::new("Sfn.SfnException", cause)
}
