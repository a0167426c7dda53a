//! Aliases: names that route to one or two versions by weight.

use std::sync::Arc;

use super::machine::{Alias, StateMachine};
use super::names::{machine_arn, no_label};
use super::page::{Page, Part};
use super::versions::Qualified;
use super::{Error, Exception, Service, limits};
use crate::arn::Arn;

/// A version that an alias routes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `stateMachineVersionArn`
    pub version_arn: String,
    /// `weight`, of 100.
    pub weight: u32,
}

/// An alias, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasDescription {
    /// `stateMachineAliasArn`
    pub arn: String,
    /// `name`
    pub name: String,
    /// `description`
    pub description: Option<String>,
    /// `routingConfiguration`
    pub routes: Vec<Route>,
    /// `creationDate`, in milliseconds since 1970.
    pub created_ms: u64,
    /// `updateDate`, in milliseconds since 1970.
    pub updated_ms: u64,
}

impl Service {
    /// Creates an alias. A request with the same content as an earlier one changes nothing and gets the same answer.
    ///
    /// # Errors
    /// `InvalidArn`, `ValidationException`, `ResourceNotFound`, `ConflictException`, `ServiceQuotaExceededException`.
    pub fn create_state_machine_alias(
        &self,
        name: &str,
        description: Option<String>,
        routes: &[Route],
    ) -> Result<Qualified, Error> {
        let inner = &*self.inner;
        let machine_arn = machine_of(routes)?;
        let _writing = inner.writing();
        let existing = inner.machines.get(&machine_arn).ok_or_else(missing)?;
        existing.refuse_deleting()?;
        let routes = resolve(&existing, routes)?;
        let arn = format!("{machine_arn}:{name}");
        if let Some(alias) = existing.aliases.get(name) {
            if alias.routes == routes && alias.description == description {
                return Ok(Qualified { arn, created_ms: alias.created_ms });
            }
            // AWS uses this message when the description differs, too.
            let message = "Failed to create alias because an alias with the same name and a different routing \
                           configuration already exists.";
            return Err(Error::new(Exception::ConflictException, message));
        }
        if existing.aliases.len() >= limits::ALIASES_MAX {
            let message = "The maximum number of aliases of this state machine has been reached";
            return Err(Error::new(Exception::ServiceQuotaExceededException, message));
        }
        let created_ms = inner.now_ms();
        let alias = Alias { name: name.to_owned(), description, created_ms, updated_ms: created_ms, routes };
        let mut machine = (*existing).clone();
        machine.aliases.insert(name.to_owned(), Arc::new(alias));
        inner.keep_machine(machine)?;
        Ok(Qualified { arn, created_ms })
    }

    /// Describes an alias.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`.
    pub fn describe_state_machine_alias(&self, alias_arn: &str) -> Result<AliasDescription, Error> {
        let (arn, name) = alias_of(alias_arn)?;
        let machine = self.inner.machines.get(&arn.unqualified()).ok_or_else(missing)?;
        let alias = machine.aliases.get(name).ok_or_else(missing)?;
        let route =
            |&(version, weight): &(u32, u32)| Route { version_arn: machine.version_arn(version), weight };
        Ok(AliasDescription {
            arn: alias_arn.to_owned(),
            name: alias.name.clone(),
            description: alias.description.clone(),
            routes: alias.routes.iter().map(route).collect(),
            created_ms: alias.created_ms,
            updated_ms: alias.updated_ms,
        })
    }

    /// Changes an alias; returns when that was.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`, `ValidationException`.
    pub fn update_state_machine_alias(
        &self,
        alias_arn: &str,
        description: Option<String>,
        routes: Option<&[Route]>,
    ) -> Result<u64, Error> {
        let inner = &*self.inner;
        let (arn, name) = alias_of(alias_arn)?;
        if description.is_none() && routes.is_none() {
            return Err(Error::validation(
                "Either the description or the routing configuration must be specified",
            )
            .because("MISSING_REQUIRED_PARAMETER"));
        }
        let routed = routes.map(machine_of).transpose()?;
        let _writing = inner.writing();
        let existing = inner.machines.get(&arn.unqualified()).ok_or_else(missing)?;
        let mut alias = (**existing.aliases.get(name).ok_or_else(missing)?).clone();
        if let (Some(routed), Some(routes)) = (routed, routes) {
            if *routed != *existing.arn {
                return Err(Error::validation(format!(
                    "Routing configuration must contain versions of the state machine of the alias. Received: [{}]",
                    arns(routes)
                ))
                .because("INVALID_ROUTING_CONFIGURATION"));
            }
            alias.routes = resolve(&existing, routes)?;
        }
        alias.description = description.or(alias.description);
        alias.updated_ms = inner.now_ms();
        let updated_ms = alias.updated_ms;
        let mut machine = (*existing).clone();
        machine.aliases.insert(name.to_owned(), Arc::new(alias));
        inner.keep_machine(machine)?;
        Ok(updated_ms)
    }

    /// Deletes an alias. One that does not exist is deleted already.
    ///
    /// # Errors
    /// `InvalidArn`
    pub fn delete_state_machine_alias(&self, alias_arn: &str) -> Result<(), Error> {
        let inner = &*self.inner;
        let (arn, name) = alias_of(alias_arn)?;
        let _writing = inner.writing();
        let Some(existing) = inner.machines.get(&arn.unqualified()) else { return Ok(()) };
        let mut machine = (*existing).clone();
        match machine.aliases.remove(name) {
            Some(_) => inner.keep_machine(machine),
            None => Ok(()),
        }
    }

    /// Lists the aliases of a state machine, or those that route to a version of it, by their names.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidToken`, `StateMachineDoesNotExist`.
    pub fn list_state_machine_aliases(&self, arn: &str, page: &Page) -> Result<Part<Qualified>, Error> {
        let parsed = machine_arn(arn)?;
        no_label(&parsed)?;
        let inner = &*self.inner;
        let now_ms = inner.now_ms();
        let list = format!("ListStateMachineAliases {arn}");
        let (results_max, after) = inner.tokens.read(page, &list, now_ms)?;
        let machine = inner.machines.get(&parsed.unqualified()).ok_or_else(|| Error::no_machine(arn))?;
        let version: Option<u32> = match parsed.qualifier() {
            None => None,
            Some(qualifier) => Some(qualifier.parse().map_err(|_| Error::no_machine(arn))?),
        };
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let found: Vec<_> = machine
            .aliases
            .range::<String, _>((from, std::ops::Bound::Unbounded))
            .map(|(_, alias)| Arc::clone(alias))
            .filter(|alias| version.is_none_or(|version| alias.routes.iter().any(|&(to, _)| to == version)))
            .take(results_max + 1)
            .collect();
        let show = |alias: Arc<Alias>| Qualified {
            arn: format!("{}:{}", machine.arn, alias.name),
            created_ms: alias.created_ms,
        };
        Ok(inner.tokens.part(found, results_max, &list, now_ms, |alias| alias.name.clone(), show))
    }
}

fn missing() -> Error {
    Error::new(Exception::ResourceNotFound, "Request references a resource that does not exist.")
}

/// Parses the ARN of an alias.
fn alias_of(alias_arn: &str) -> Result<(Arn<'_>, &str), Error> {
    let arn = machine_arn(alias_arn)?;
    no_label(&arn)?;
    let is_alias = |name: &&str| !name.bytes().all(|byte| byte.is_ascii_digit());
    match arn.qualifier().filter(is_alias) {
        Some(name) => Ok((arn, name)),
        None => {
            Err(Error::validation(format!("State machine alias ARN must be provided. Received: {alias_arn}")))
        }
    }
}

fn arns(routes: &[Route]) -> String {
    routes.iter().map(|route| &*route.version_arn).collect::<Vec<_>>().join(", ")
}

/// The state machine to whose versions all routes lead.
fn machine_of(routes: &[Route]) -> Result<String, Error> {
    let refuse = |message: String| Err(Error::validation(message).because("INVALID_ROUTING_CONFIGURATION"));
    let mut machines = Vec::new();
    for route in routes {
        let arn = machine_arn(&route.version_arn)?;
        no_label(&arn)?;
        if arn.qualifier().and_then(|qualifier| qualifier.parse::<u32>().ok()).is_none() {
            return refuse(format!(
                "Routing configuration must contain state machine version ARNs. Received: [{}]",
                arns(routes)
            ));
        }
        machines.push(arn.unqualified());
    }
    if matches!(routes, [a, b] if a.version_arn == b.version_arn) {
        return refuse(format!(
            "Routing configuration must contain distinct state machine version ARNs. Received: [{}]",
            arns(routes)
        ));
    }
    let weights: Vec<String> = routes.iter().map(|route| route.weight.to_string()).collect();
    if routes.iter().map(|route| u64::from(route.weight)).sum::<u64>() != 100 {
        return refuse(format!(
            "Sum of routing configuration weights must equal 100. Received: [{}]",
            weights.join(", ")
        ));
    }
    match &*machines {
        [machine] => Ok(machine.clone()),
        [a, b] if a == b => Ok(a.clone()),
        _ => refuse(format!(
            "Routing configuration must contain versions of the same state machine. Received: [{}]",
            arns(routes)
        )),
    }
}

/// The routes as numbers of versions that exist.
fn resolve(machine: &StateMachine, routes: &[Route]) -> Result<Vec<(u32, u32)>, Error> {
    let resolved = |route: &Route| {
        let number = Arn::parse(&route.version_arn)?.qualifier()?.parse().ok()?;
        machine.versions.contains_key(&number).then_some((number, route.weight))
    };
    routes.iter().map(resolved).collect::<Option<Vec<_>>>().ok_or_else(missing)
}
