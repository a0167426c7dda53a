//! A state machine: its revisions, versions and aliases, and its description.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::configuration::{ENTRY_BYTES, Encryption, Logging, Tag, bytes_of_tags};
use super::grant::Grant;
use super::{Error, Exception, limits, reference};
use crate::asl::MachineType;
use crate::memory::{Charge, OwnCharge};
use crate::runtime::Published;

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

/// A revision under a number.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) description: Option<String>,
    pub(super) created_ms: u64,
    pub(super) revision: Arc<Revision>,
}

/// A name that routes to versions.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Alias {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) created_ms: u64,
    pub(super) updated_ms: u64,
    /// Versions and their weights, which add up to 100.
    pub(super) routes: Vec<(u32, u32)>,
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

    /// The version of the current revision.
    pub(super) fn published(&self) -> Option<&Arc<Version>> {
        let current = self.current.number;
        self.versions.values().rev().find(|version| version.revision.number == current)
    }

    /// Makes a version of the current revision, if it has none: its ARN, and when it was made.
    pub(super) fn publish(
        &mut self,
        description: Option<String>,
        now_ms: u64,
    ) -> Result<(String, u64), Error> {
        if let Some(version) = self.published() {
            return Ok((self.version_arn(version.number), version.created_ms));
        }
        if self.versions.len() >= limits::VERSIONS_MAX {
            let message = "The maximum number of versions of this state machine has been reached";
            return Err(Error::new(Exception::ServiceQuotaExceededException, message));
        }
        self.last_version += 1;
        let number = self.last_version;
        let revision = Arc::clone(&self.current);
        let version = Version { number, description, created_ms: now_ms, revision };
        self.versions.insert(number, Arc::new(version));
        Ok((self.version_arn(number), now_ms))
    }

    /// The memory of what it has beside its revisions.
    pub(super) fn bytes(&self) -> usize {
        let described = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let versions = self.versions.values().map(|version| ENTRY_BYTES + described(&version.description));
        let aliases = self.aliases.values().map(|alias| 2 * ENTRY_BYTES + described(&alias.description));
        bytes_of_tags(&self.tags) + versions.sum::<usize>() + aliases.sum::<usize>()
    }
}

impl Settings {
    /// Whether AWS would accept them for the state machine with this ARN.
    pub(super) fn check(&self, arn: &str) -> Result<(), Error> {
        self.logging.check(arn)?;
        self.encryption.as_ref().map_or(Ok(()), Encryption::check)
    }

    /// Whether a request to create the machine again has the same content: the role and the caller do not count.
    pub(super) fn same(&self, other: &Settings) -> bool {
        let (role_arn, maker) = (self.role_arn.clone(), self.maker.clone());
        let key = |settings: &Settings| settings.encryption.clone().unwrap_or_default();
        let encryption = self.encryption.clone();
        // No encryption configuration and AWS's own key are equal.
        key(self) == key(other) && *self == Settings { role_arn, maker, encryption, ..other.clone() }
    }
}

/// The resource that an ARN leads to.
pub(crate) struct Target {
    pub(super) machine: Arc<StateMachine>,
    pub(super) revision: Arc<Revision>,
    pub(super) version: Option<Arc<Version>>,
    /// The alias through which it was reached.
    pub(super) alias: Option<String>,
}

impl Target {
    pub(super) fn version_arn(&self) -> Option<String> {
        self.version.as_ref().map(|version| self.machine.version_arn(version.number))
    }

    pub(super) fn alias_arn(&self) -> Option<String> {
        self.alias.as_ref().map(|alias| format!("{}:{alias}", self.machine.arn))
    }
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
