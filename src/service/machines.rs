//! State machines: creating, describing, updating, deleting, listing (API reference, the actions of these names).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Activity;
use super::configuration::{Encryption, Logging, Tag};
use super::inner::Inner;
use super::machine::{Revision, Settings, StateMachine, StateMachineDescription};
use super::names::{machine_arn, name, no_label, role};
use super::page::{Page, Part};
use super::{Error, Exception, Service, limits, tags};
use crate::asl::MachineType;
use crate::memory::{Charge, OwnCharge};
use crate::runtime::{DefinitionError, MachineSpec, Published};

impl Inner {
    /// Charges a state machine that is to be registered.
    pub(super) fn charge_machine(&self, machine: &StateMachine) -> Result<(), Error> {
        machine.charge.keep(self.definitions.take(machine.bytes()).ok_or_else(no_room)?);
        Ok(())
    }

    /// The same of an activity.
    pub(super) fn charge_activity(&self, activity: &Activity) -> Result<(), Error> {
        activity.charge.keep(self.definitions.take(activity.bytes()).ok_or_else(no_room)?);
        Ok(())
    }

    /// Registers a stored state machine, even beyond the limit.
    pub(super) fn put_machine(&self, machine: StateMachine) {
        machine.charge.keep(self.definitions.take_anyway(machine.bytes()));
        let arn = machine.arn.clone();
        self.machines.put(&arn, Arc::new(machine));
    }

    /// The same of an activity.
    pub(super) fn put_activity(&self, activity: Activity) {
        activity.charge.keep(self.definitions.take_anyway(activity.bytes()));
        let arn = activity.arn.clone();
        self.activities.put(&arn, Arc::new(activity));
    }
}

/// A request to create a state machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CreateStateMachine {
    /// `name`
    pub name: String,
    /// `definition`
    pub definition: String,
    /// `roleArn`
    pub role_arn: String,
    /// Whether `type` is `EXPRESS`; `STANDARD` is AWS's default.
    pub express: bool,
    /// `loggingConfiguration`
    pub logging: Option<Logging>,
    /// `tracingConfiguration`: `enabled`
    pub tracing: Option<bool>,
    /// `encryptionConfiguration`
    pub encryption: Option<Encryption>,
    /// `tags`
    pub tags: Vec<Tag>,
    /// `publish`
    pub publish: bool,
    /// `versionDescription`
    pub version_description: Option<String>,
}

/// A state machine that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedStateMachine {
    /// `stateMachineArn`
    pub arn: String,
    /// `creationDate`, in milliseconds since 1970.
    pub created_ms: u64,
    /// `stateMachineVersionArn`, when it was published.
    pub version_arn: Option<String>,
}

/// A request to update a state machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateStateMachine {
    /// `stateMachineArn`
    pub arn: String,
    /// `definition`
    pub definition: Option<String>,
    /// `roleArn`
    pub role_arn: Option<String>,
    /// `loggingConfiguration`
    pub logging: Option<Logging>,
    /// `tracingConfiguration`: `enabled`
    pub tracing: Option<bool>,
    /// `encryptionConfiguration`
    pub encryption: Option<Encryption>,
    /// `publish`
    pub publish: bool,
    /// `versionDescription`
    pub version_description: Option<String>,
}

/// The result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedStateMachine {
    /// `updateDate`, in milliseconds since 1970.
    pub updated_ms: u64,
    /// `revisionId`
    pub revision_id: Option<String>,
    /// `stateMachineVersionArn`, when it was published.
    pub version_arn: Option<String>,
}

/// An entry of a list of state machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMachineItem {
    /// `stateMachineArn`
    pub arn: String,
    /// `name`
    pub name: String,
    /// `type`
    pub machine_type: MachineType,
    /// `creationDate`, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Service {
    /// Creates a state machine. A request with the same content as an earlier one changes nothing and gets the same
    /// answer.
    ///
    /// # Errors
    /// `InvalidName`, `InvalidDefinition`, `InvalidLoggingConfiguration`, `InvalidEncryptionConfiguration`,
    /// `StateMachineAlreadyExists`, `StateMachineDeleting`, `StateMachineLimitExceeded`, `StateMachineTypeNotSupported`,
    /// `TooManyTags`, `ValidationException`.
    pub fn create_state_machine(&self, request: CreateStateMachine) -> Result<CreatedStateMachine, Error> {
        let inner = &*self.inner;
        name(&request.name)?;
        role(&request.role_arn)?;
        let machine_type = if request.express { MachineType::Express } else { MachineType::Standard };
        if inner.settings.express_only && !request.express {
            let message = "State machine type STANDARD is not supported: this server runs EXPRESS only";
            return Err(Error::new(Exception::StateMachineTypeNotSupported, message));
        }
        if !request.publish && request.version_description.is_some() {
            return Err(Error::validation("Version description can only be set when publish is true"));
        }
        let settings = Settings {
            definition: request.definition.into(),
            role_arn: request.role_arn.into(),
            logging: request.logging.unwrap_or_default(),
            tracing: request.tracing.unwrap_or_default(),
            encryption: request.encryption.map(Encryption::settled),
            maker: self.caller.clone(),
        };
        let arn = self.arn("stateMachine", &request.name);
        settings.check(&arn)?;
        tags::check(&arn, &request.tags)?;
        let mut charge = inner.charge(&settings.definition)?;
        let machine = inner.compile(&arn, &request.name, machine_type, &settings)?;
        charge_program(&mut charge, &machine)?;

        let _writing = inner.writing();
        let published = request.publish.then_some(request.version_description);
        if let Some(existing) = inner.machines.get(&arn) {
            existing.refuse_deleting()?;
            let same = existing.current.settings.same(&settings)
                && existing.machine_type == machine_type
                && existing.published_at_creation == published;
            if !same {
                let message = format!("State Machine Already Exists: '{arn}'");
                return Err(Error::new(Exception::StateMachineAlreadyExists, message));
            }
            let version_arn = published.map(|_| existing.version_arn(1));
            return Ok(CreatedStateMachine { arn, created_ms: existing.created_ms, version_arn });
        }
        if inner.machines.len() >= limits::STATE_MACHINES_MAX {
            let message =
                "State Machine Limit Exceeded: 'The maximum number of state machines has been reached'";
            return Err(Error::new(Exception::StateMachineLimitExceeded, message));
        }
        let created_ms = inner.now_ms();
        let current = Arc::new(Revision {
            number: 0,
            id: None,
            updated_ms: created_ms,
            settings,
            machine: Ok(machine),
            charge,
        });
        let mut created = StateMachine {
            arn: (*arn).into(),
            name: request.name.into(),
            machine_type,
            created_ms,
            current,
            last_version: 0,
            versions: BTreeMap::new(),
            aliases: BTreeMap::new(),
            tags: request.tags,
            published_at_creation: published.clone(),
            is_deleting: false,
            charge: OwnCharge::default(),
        };
        let version_arn = match published {
            Some(description) => Some(created.publish(description, created_ms)?.0),
            None => None,
        };
        inner.keep_machine(created)?;
        Ok(CreatedStateMachine { arn, created_ms, version_arn })
    }

    /// Describes a state machine, or a version of it.
    ///
    /// # Errors
    /// `InvalidArn`, `StateMachineDoesNotExist`, `ValidationException` for the ARN of a Map state.
    pub fn describe_state_machine(&self, arn: &str) -> Result<StateMachineDescription, Error> {
        Ok(StateMachineDescription::of(&self.inner.target(arn)?, arn))
    }

    /// Changes a state machine. Running executions keep the definition they began with.
    ///
    /// # Errors
    /// As [`create_state_machine`](Service::create_state_machine), and `InvalidArn`, `MissingRequiredParameter`,
    /// `StateMachineDoesNotExist`, `ServiceQuotaExceededException`.
    pub fn update_state_machine(&self, request: UpdateStateMachine) -> Result<UpdatedStateMachine, Error> {
        let inner = &*self.inner;
        let arn = machine_arn(&request.arn)?;
        no_label(&arn)?;
        let nothing = request.definition.is_none()
            && request.role_arn.is_none()
            && request.logging.is_none()
            && request.tracing.is_none()
            && request.encryption.is_none();
        if nothing {
            let message = "Either the definition, the role ARN, the LoggingConfiguration, or the \
                           TracingConfiguration must be specified";
            return Err(Error::new(Exception::MissingRequiredParameter, message));
        }
        if !request.publish && request.version_description.is_some() {
            return Err(Error::validation("Version description can only be set when publish is true"));
        }
        if request.encryption.is_some() && request.definition.is_none() {
            let message = "The definition must be specified when updating the EncryptionConfiguration";
            return Err(Error::new(Exception::MissingRequiredParameter, message));
        }
        let _writing = inner.writing();
        let existing = inner.machines.get(&request.arn).ok_or_else(|| Error::no_machine(&request.arn))?;
        existing.refuse_deleting()?;
        let before = &existing.current;
        let mut settings = before.settings.clone();
        if let Some(role_arn) = request.role_arn {
            role(&role_arn)?;
            settings.role_arn = role_arn.into();
        }
        if let Some(definition) = request.definition {
            settings.definition = definition.into();
            settings.maker.clone_from(&self.caller);
        }
        if let Some(logging) = request.logging {
            settings.logging = logging;
        }
        settings.tracing = request.tracing.unwrap_or(settings.tracing);
        if let Some(encryption) = request.encryption {
            settings.encryption = Some(encryption.settled());
        }
        settings.check(&existing.arn)?;
        let updated_ms = inner.now_ms();
        let mut machine = (*existing).clone();
        // Recorded: an unchanged machine is not published again; verified: unless its description differs.
        let described = request.publish && request.version_description.is_some();
        let redescribed = described
            && machine.published().is_some_and(|version| version.description != request.version_description);
        if settings != before.settings || redescribed {
            let mut charge = inner.charge(&settings.definition)?;
            let compiled = inner.compile(&existing.arn, &existing.name, existing.machine_type, &settings)?;
            charge_program(&mut charge, &compiled)?;
            let (number, id) = (before.number + 1, Some(inner.ids.uuid()));
            let compiled = Ok(compiled);
            machine.current =
                Arc::new(Revision { number, id, updated_ms, settings, machine: compiled, charge });
        }
        let version_arn = if request.publish {
            Some(machine.publish(request.version_description, updated_ms)?.0)
        } else {
            None
        };
        let revision_id = machine.current.id.clone();
        inner.keep_machine(machine)?;
        Ok(UpdatedStateMachine { updated_ms, revision_id, version_arn })
    }

    /// Deletes a state machine with its versions and aliases. Its Standard executions are aborted before they enter
    /// their next state, its Express ones run to their end; until all are over its status is `DELETING`. One that does
    /// not exist is deleted already.
    ///
    /// # Errors
    /// `InvalidArn`, `ValidationException` for the ARN of a Map state.
    pub fn delete_state_machine(&self, arn: &str) -> Result<(), Error> {
        no_label(&machine_arn(arn)?)?;
        let inner = &*self.inner;
        let _writing = inner.writing();
        let Some(machine) = inner.machines.get(arn) else { return Ok(()) };
        if let Some(store) = &inner.store {
            store.forget_machine(arn)?;
        }
        inner.begin_deleting(&machine);
        Ok(())
    }

    /// Lists state machines by their names.
    ///
    /// # Errors
    /// `InvalidToken`
    pub fn list_state_machines(&self, page: &Page) -> Result<Part<StateMachineItem>, Error> {
        const LIST: &str = "ListStateMachines";
        let inner = &*self.inner;
        let now_ms = inner.now_ms();
        let (results_max, after) = inner.tokens.read(page, LIST, now_ms)?;
        let found = inner.machines.after(self.list_after(after).as_deref(), results_max + 1);
        let found = found.into_iter().take_while(|machine| self.is_here(&machine.arn)).collect();
        let show = |machine: Arc<StateMachine>| StateMachineItem {
            arn: machine.arn.to_string(),
            name: machine.name.to_string(),
            machine_type: machine.machine_type,
            created_ms: machine.created_ms,
        };
        Ok(inner.tokens.part(found, results_max, LIST, now_ms, |machine| machine.arn.to_string(), show))
    }
}

impl Inner {
    /// Charges the memory of a compiled definition.
    pub(super) fn charge(&self, definition: &str) -> Result<Charge, Error> {
        self.definitions.take(bytes_of(definition)).ok_or_else(no_room)
    }

    /// Charges a stored definition, and its program if it compiles, even beyond the limit.
    pub(super) fn charge_anyway<E>(&self, definition: &str, machine: &Result<Published, E>) -> Charge {
        let program = machine.as_ref().map_or(0, |machine| machine.program().bytes());
        self.definitions.take_anyway(bytes_of(definition) + program)
    }

    /// A state machine was deleted: its executions end, and then it is forgotten.
    pub(super) fn begin_deleting(&self, machine: &StateMachine) {
        let (versions, aliases) = Default::default();
        let deleting = StateMachine { is_deleting: true, versions, aliases, ..machine.clone() };
        self.machines.put(&machine.arn, Arc::new(deleting));
        // Either this or the end of its last execution comes last, and sees the other.
        self.executions.end_if_deleting(&machine.arn);
    }

    /// A machine that runs these settings.
    pub(super) fn compile(
        &self,
        arn: &str,
        name: &str,
        machine_type: MachineType,
        settings: &Settings,
    ) -> Result<Published, Error> {
        let invalid = |message: String| Error::new(Exception::InvalidDefinition, message);
        let spec = MachineSpec {
            arn: Some(arn),
            role_arn: Some(&settings.role_arn),
            machine_type,
            permit: self.permit(settings.maker.as_ref()),
            ..MachineSpec::new(name, &settings.definition)
        };
        let created = self.engine.create(&spec).map_err(|error| match error {
            DefinitionError::Invalid(problems) => Error::invalid_definition(&problems),
            DefinitionError::Unsupported(errors) => {
                let errors: Vec<String> =
                    errors.iter().map(|error| format!("UNSUPPORTED_FEATURE: {error}")).collect();
                invalid(format!("Invalid State Machine Definition: '{}'", errors.join(", ")))
            }
            other => invalid(other.to_string()),
        })?;
        created.set_logging(settings.logging.level.into(), settings.logging.include_execution_data);
        Ok(created.publish())
    }
}

/// Charges what a compiled definition takes beside its text: its program.
fn charge_program(charge: &mut Charge, machine: &Published) -> Result<(), Error> {
    if charge.grow(machine.program().bytes()) { Ok(()) } else { Err(no_room()) }
}

fn no_room() -> Error {
    let message = "Rate exceeded: the memory for state machines is used up: delete some, or see --memory";
    let error = Error::new(Exception::ThrottlingException, message);
    Error { retry_after: Some(Duration::from_secs(1)), ..error }
}

fn bytes_of(definition: &str) -> usize {
    limits::STATE_MACHINE_BYTES + limits::DEFINITION_BYTES_FACTOR * definition.len()
}
