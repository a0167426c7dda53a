//! Versions: snapshots of a state machine, and aliases that route to one or two of them by weight (developer guide,
//! "Manage continuous deployments with versions and aliases").

use std::sync::Arc;

use super::machine::{Alias, Version};
use super::names::{machine_arn, no_label};
use super::page::{Page, Part};
use super::{Error, Exception, Service};

/// A version or alias, as listed or created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qualified {
    /// Its ARN.
    pub arn: String,
    /// `creationDate`, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Service {
    /// Makes a version of the current revision. The same revision is published once.
    ///
    /// # Errors
    /// `InvalidArn`, `StateMachineDoesNotExist`, `ConflictException` when `revision_id` is not the current one,
    /// `ServiceQuotaExceededException`.
    pub fn publish_state_machine_version(
        &self,
        arn: &str,
        revision_id: Option<&str>,
        description: Option<String>,
    ) -> Result<Qualified, Error> {
        no_label(&machine_arn(arn)?)?;
        let inner = &*self.inner;
        let _writing = inner.writing();
        let mut machine = (*inner.machines.get(arn).ok_or_else(|| Error::no_machine(arn))?).clone();
        machine.refuse_deleting()?;
        let current = machine.current.id.as_deref().unwrap_or("INITIAL");
        if let Some(wanted) = revision_id
            && wanted != current
        {
            let message = format!(
                "Failed to publish the State Machine version for revision {wanted}. The current State Machine \
                 revision is {current}."
            );
            return Err(Error::new(Exception::ConflictException, message));
        }
        let (version_arn, created_ms) = machine.publish(description, inner.now_ms())?;
        inner.keep_machine(machine)?;
        Ok(Qualified { arn: version_arn, created_ms })
    }

    /// Lists the versions of a state machine, newest first.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidToken`.
    pub fn list_state_machine_versions(&self, arn: &str, page: &Page) -> Result<Part<Qualified>, Error> {
        no_label(&machine_arn(arn)?)?;
        let inner = &*self.inner;
        let now_ms = inner.now_ms();
        let list = format!("ListStateMachineVersions {arn}");
        let (results_max, after) = inner.tokens.read(page, &list, now_ms)?;
        // AWS has no exception for a machine that does not exist.
        let Some(machine) = inner.machines.get(arn) else {
            return Ok(Part { items: Vec::new(), next_token: None });
        };
        let before = after.and_then(|number| number.parse().ok()).unwrap_or(u32::MAX);
        let versions = machine.versions.range(..before).rev().take(results_max + 1);
        let found: Vec<_> = versions.map(|(_, version)| Arc::clone(version)).collect();
        let show = |version: Arc<Version>| Qualified {
            arn: machine.version_arn(version.number),
            created_ms: version.created_ms,
        };
        Ok(inner.tokens.part(found, results_max, &list, now_ms, |version| version.number.to_string(), show))
    }

    /// Deletes a version. One that does not exist is deleted already.
    ///
    /// # Errors
    /// `InvalidArn`, `ValidationException` when it is not the ARN of a version, `ConflictException` while an alias
    /// leads to it.
    pub fn delete_state_machine_version(&self, version_arn: &str) -> Result<(), Error> {
        let arn = machine_arn(version_arn)?;
        no_label(&arn)?;
        let Some(number) = arn.qualifier().and_then(|qualifier| qualifier.parse::<u32>().ok()) else {
            return Err(Error::validation(format!(
                "State machine version ARN must be provided. Received: {version_arn}"
            )));
        };
        let inner = &*self.inner;
        let _writing = inner.writing();
        let Some(existing) = inner.machines.get(&arn.unqualified()) else { return Ok(()) };
        let leads_here = |alias: &&Arc<Alias>| alias.routes.iter().any(|&(version, _)| version == number);
        let aliases: Vec<&str> =
            existing.aliases.values().filter(leads_here).map(|alias| &*alias.name).collect();
        if !aliases.is_empty() {
            let message = format!(
                "Version to be deleted must not be referenced by an alias. Current list of aliases referencing \
                 this version: [{}]",
                aliases.join(", ")
            );
            return Err(Error::new(Exception::ConflictException, message));
        }
        let mut machine = (*existing).clone();
        match machine.versions.remove(&number) {
            Some(_) => inner.keep_machine(machine),
            None => Ok(()),
        }
    }
}
