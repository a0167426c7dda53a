//! State machines: creating, describing, updating, deleting, listing (API reference, the actions of these names).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::activities::Activity;
use super::configuration::{Encryption, Logging, Tag};
use super::page::{Page, Part};
use super::versions::{Alias, Version};
use super::{Error, Exception, Grant, Inner, Service, Target, limits, reference, tags};
use crate::arn::{self, Arn};
use crate::asl::MachineType;
use crate::memory::{Charge, OwnCharge};
use crate::runtime::{DefinitionError, MachineSpec, Published};

/// A state machine. Immutable; a change replaces it as a whole.
#[derive(Clone, Debug)]
pub(super) struct StateMachine {
    pub(super) arn: Box<str>,
    pub(super) name: Box<str>,
    pub(super) machine_type: MachineType,
    pub(super) created_ms: u64,
    /// What executions of the unqualified ARN run.
    pub(super) current: Arc<Revision>,
    pub(super) last_version: u32,
    pub(super) versions: BTreeMap<u32, Arc<Version>>,
    pub(super) aliases: BTreeMap<String, Arc<Alias>>,
    pub(super) tags: Vec<Tag>,
    /// Whether it was created with `publish`, and the description given then: a request to create it again must match.
    pub(super) published_at_creation: Option<Option<String>>,
    /// It is deleted as soon as the last of its executions is over.
    pub(super) is_deleting: bool,
    /// The memory of what it has beside its revisions.
    pub(super) charge: OwnCharge,
}

/// Bytes, about, of an activity, of a version, an alias or a tag beside their texts.
const ACTIVITY_BYTES: usize = 512;
const ENTRY_BYTES: usize = 128;

/// The memory of tags.
fn bytes_of_tags(tags: &[Tag]) -> usize {
    tags.iter().map(|tag| ENTRY_BYTES + tag.key.len() + tag.value.len()).sum()
}

impl StateMachine {
    /// The memory of what it has beside its revisions.
    fn bytes(&self) -> usize {
        let described = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let versions = self.versions.values().map(|version| ENTRY_BYTES + described(&version.description));
        let aliases = self.aliases.values().map(|alias| 2 * ENTRY_BYTES + described(&alias.description));
        bytes_of_tags(&self.tags) + versions.sum::<usize>() + aliases.sum::<usize>()
    }
}

impl Activity {
    fn bytes(&self) -> usize {
        ACTIVITY_BYTES + bytes_of_tags(&self.tags)
    }
}

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

/// A revision of a state machine.
#[derive(Debug)]
pub(super) struct Revision {
    /// Counts the machine's revisions, from 0.
    pub(super) number: u64,
    /// `revisionId`; the first revision has none.
    pub(super) id: Option<String>,
    pub(super) updated_ms: u64,
    pub(super) settings: Settings,
    /// The compiled definition; of one that was stored and no longer compiles, why.
    pub(super) machine: Result<Published, Box<str>>,
    /// The memory it is charged, as long as it exists.
    #[expect(dead_code, reason = "it is given back when it is dropped")]
    pub(super) charge: Charge,
}

impl Revision {
    /// The published machine that executions run.
    pub(super) fn runnable(&self) -> Result<&Published, Error> {
        self.machine.as_ref().map_err(|why| {
            Error::validation(format!(
                "This revision of the state machine cannot be run by this server: {why}"
            ))
        })
    }
}

/// The content of a revision.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Settings {
    pub(super) definition: Arc<str>,
    pub(super) role_arn: Box<str>,
    pub(super) logging: Logging,
    pub(super) tracing: bool,
    pub(super) encryption: Option<Encryption>,
    /// The permissions of the definition's author, if the caller was authenticated. What it starts is limited to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) maker: Option<Arc<Grant>>,
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

/// The description of a state machine.
#[derive(Clone, Debug, PartialEq)]
pub struct StateMachineDescription {
    /// `stateMachineArn`: as in the request.
    pub arn: String,
    /// `name`
    pub name: String,
    /// `definition`
    pub definition: Arc<str>,
    /// `roleArn`
    pub role_arn: String,
    /// `type`
    pub machine_type: MachineType,
    /// `creationDate` in milliseconds since 1970: of the version, when that is described.
    pub created_ms: u64,
    /// When the revision was made, in milliseconds since 1970.
    pub updated_ms: u64,
    /// `loggingConfiguration`
    pub logging: Logging,
    /// `tracingConfiguration`: `enabled`
    pub tracing: bool,
    /// `encryptionConfiguration`
    pub encryption: Encryption,
    /// `revisionId`
    pub revision_id: Option<String>,
    /// `description` of a version.
    pub description: Option<String>,
    /// `variableReferences`: state names and the variables they refer to.
    pub variable_references: Vec<(String, Vec<String>)>,
    /// `status` is `DELETING`: some of its executions still run.
    pub is_deleting: bool,
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

impl StateMachine {
    /// The ARN of one of its resources, in its region and account.
    pub(super) fn arn_of(&self, resource_type: &str, resource: &str) -> String {
        let arn = self.arn.replacen(":stateMachine:", &format!(":{resource_type}:"), 1);
        format!("{arn}:{resource}")
    }

    pub(super) fn version_arn(&self, version: u32) -> String {
        format!("{}:{version}", self.arn)
    }

    pub(super) fn is_express(&self) -> bool {
        self.machine_type == MachineType::Express
    }

    /// A machine that is being deleted cannot be changed or started.
    pub(super) fn refuse_deleting(&self) -> Result<(), Error> {
        if !self.is_deleting {
            Ok(())
        } else {
            let message = format!("State Machine is being deleted: '{}'", self.arn);
            Err(Error::new(Exception::StateMachineDeleting, message))
        }
    }
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

impl StateMachineDescription {
    /// The description of a target, under this ARN.
    pub(super) fn of(target: &Target, arn: &str) -> StateMachineDescription {
        let (revision, version) = (&target.revision, target.version.as_deref());
        StateMachineDescription {
            arn: arn.to_owned(),
            variable_references: reference::variables(&revision.settings.definition),
            definition: Arc::clone(&revision.settings.definition),
            name: target.machine.name.to_string(),
            role_arn: revision.settings.role_arn.to_string(),
            machine_type: target.machine.machine_type,
            created_ms: version.map_or(target.machine.created_ms, |version| version.created_ms),
            updated_ms: revision.updated_ms,
            logging: revision.settings.logging.clone(),
            tracing: revision.settings.tracing,
            encryption: revision.settings.encryption.clone().unwrap_or_default(),
            revision_id: revision.id.clone(),
            description: version.and_then(|version| version.description.clone()),
            is_deleting: target.machine.is_deleting,
        }
    }
}

impl Settings {
    /// Whether AWS would accept them for the state machine with this ARN.
    fn check(&self, arn: &str) -> Result<(), Error> {
        self.logging.check(arn)?;
        self.encryption.as_ref().map_or(Ok(()), Encryption::check)
    }

    /// Whether a request to create the machine again has the same content: the role and the caller do not count.
    fn same(&self, other: &Settings) -> bool {
        let (role_arn, maker) = (self.role_arn.clone(), self.maker.clone());
        let key = |settings: &Settings| settings.encryption.clone().unwrap_or_default();
        let encryption = self.encryption.clone();
        // No encryption configuration and AWS's own key are equal.
        key(self) == key(other) && *self == Settings { role_arn, maker, encryption, ..other.clone() }
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

/// Parses the ARN of a state machine.
pub(super) fn machine_arn(text: &str) -> Result<Arn<'_>, Error> {
    arn_of(text, "stateMachine")
}

/// Parses an ARN that must be of this resource type.
pub(super) fn arn_of<'a>(text: &'a str, resource_type: &str) -> Result<Arn<'a>, Error> {
    let arn = Arn::parse(text).ok_or_else(|| Error::invalid_arn(&format!("Invalid ARN prefix: {text}")))?;
    if arn.resource_type != resource_type {
        let why = format!("Resource type not valid in this context: {}", arn.resource_type);
        return Err(Error::invalid_arn(&why));
    }
    Ok(arn)
}

/// Refuses the ARN of a Map state inside a state machine.
pub(super) fn no_label(arn: &Arn<'_>) -> Result<(), Error> {
    if !arn.is_labelled() {
        Ok(())
    } else {
        Err(Error::validation("This API does not support labelled state machine ARNs")
            .because("API_DOES_NOT_SUPPORT_LABELED_ARNS"))
    }
}

pub(super) fn name(name: &str) -> Result<(), Error> {
    if arn::is_name(name) {
        Ok(())
    } else {
        Err(Error::new(Exception::InvalidName, format!("Invalid Name: '{name}'")))
    }
}

fn role(arn: &str) -> Result<(), Error> {
    let parts = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":iam::"));
    let of_account = parts.and_then(|(_, rest)| rest.split_once(":role/"));
    let is_role = of_account.is_some_and(|(account, role)| {
        account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && !role.is_empty()
    });
    if is_role {
        Ok(())
    } else {
        Err(Error::new(Exception::InvalidArn, format!("Invalid Role Arn: '{arn}'")))
    }
}
