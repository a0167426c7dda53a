//! A service, and what it shares.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;
use super::activity::Activity;
use super::cold::Cold;
use super::executions::Executions;
use super::grant::Grant;
use super::ids::IdSource;
use super::machine::{Revision, StateMachine, Target};
use super::mocks::Mocks;
use super::names::{machine_arn, no_label};
#[cfg(feature = "clustered")]
use super::node::Node;
use super::page::Tokens;
use super::registry::Registry;
use super::settings::{Scope, Settings};
use super::spread::Spread;
use super::store::Store;
use crate::memory::Share;
use crate::runtime::{Engine, Time};

/// AWS's API. Clones are the same service.
///
/// ```
/// use expressway::service::{CreateStateMachine, Service};
///
/// let service = Service::builder().build()?;
/// let created = service.create_state_machine(CreateStateMachine {
///     name: "hello".to_owned(),
///     definition: r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "End": true}}}"#.to_owned(),
///     role_arn: "arn:aws:iam::123456789012:role/hello".to_owned(),
///     express: true,
///     ..CreateStateMachine::default()
/// })?;
/// assert_eq!(created.arn, "arn:aws:states:us-east-1:123456789012:stateMachine:hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Service {
    pub(super) inner: Arc<Inner>,
    /// The caller, if known.
    pub(super) caller: Option<Arc<Grant>>,
    /// The caller's region and account, if they are not the service's own.
    pub(super) scope: Option<Arc<Scope>>,
    /// Set when the caller no longer waits for the operation.
    pub(super) departed: Option<Arc<AtomicBool>>,
    /// Whether another node has forwarded the call, so that it is not forwarded again.
    pub(super) is_forwarded: bool,
}

pub(crate) struct Inner {
    pub(super) engine: Engine,
    pub(super) time: Arc<dyn Time>,
    pub(super) settings: Settings,
    pub(super) ids: IdSource,
    pub(super) tokens: Tokens,
    pub(super) machines: Arc<Registry<StateMachine>>,
    pub(super) activities: Arc<Registry<Activity>>,
    pub(super) executions: Arc<Executions>,
    /// Executions that are not in memory, if they are stored on disk.
    pub(super) cold: Option<Arc<Cold>>,
    /// Revisions of executions that no state machine has any more, by the keys of their notes.
    pub(super) revisions: Mutex<Revisions>,
    pub(super) mocks: Mocks,
    pub(super) store: Option<Store>,
    /// Where executions are, if they are spread over several nodes.
    pub(super) spread: Option<Arc<Spread>>,
    #[cfg(feature = "clustered")]
    pub(super) node: Option<Node>,
    /// The memory of definitions and their programs.
    pub(super) definitions: Arc<Share>,
    /// Held while the registry is changed.
    pub(super) writing: Mutex<()>,
}

pub(super) type Revisions = HashMap<String, (Arc<StateMachine>, Arc<Revision>)>;

impl Inner {
    pub(super) fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }

    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        // The registry is consistent between any two statements.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a state machine, or its change.
    pub(super) fn keep_machine(&self, machine: StateMachine) -> Result<(), Error> {
        self.charge_machine(&machine)?;
        if let Some(store) = &self.store {
            store.keep_machine(&machine)?;
        }
        let arn = machine.arn.clone();
        self.machines.put(&arn, Arc::new(machine));
        Ok(())
    }

    pub(super) fn keep_activity(&self, activity: Activity) -> Result<(), Error> {
        self.charge_activity(&activity)?;
        if let Some(store) = &self.store {
            store.keep_activity(&activity)?;
        }
        let arn = activity.arn.clone();
        self.activities.put(&arn, Arc::new(activity));
        Ok(())
    }

    pub(super) fn forget_activity(&self, arn: &str) -> Result<(), Error> {
        if let Some(store) = &self.store {
            store.forget_activity(arn)?;
        }
        self.activities.remove(arn);
        Ok(())
    }

    /// The target of the ARN of a state machine, a version or an alias.
    pub(super) fn target(&self, arn: &str) -> Result<Target, Error> {
        if let Some(machine) = self.machines.get(arn) {
            let revision = Arc::clone(&machine.current);
            return Ok(Target { machine, revision, version: None, alias: None });
        }
        let parsed = machine_arn(arn)?;
        no_label(&parsed)?;
        let missing = || Error::no_machine(arn);
        let machine = self.machines.get(&parsed.unqualified()).ok_or_else(missing)?;
        let qualifier = parsed.qualifier().ok_or_else(missing)?;
        let (number, alias) = match machine.aliases.get(qualifier) {
            Some(alias) => (self.route(&alias.routes), Some(qualifier.to_owned())),
            None => (qualifier.parse().map_err(|_| missing())?, None),
        };
        let version = Arc::clone(machine.versions.get(&number).ok_or_else(missing)?);
        let revision = Arc::clone(&version.revision);
        Ok(Target { machine, revision, version: Some(version), alias })
    }

    /// One of the versions, by weight.
    fn route(&self, routes: &[(u32, u32)]) -> u32 {
        let total: u32 = routes.iter().map(|(_, weight)| weight).sum();
        let mut at = self.ids.below(u64::from(total)) as u32;
        for &(version, weight) in routes {
            if at < weight {
                return version;
            }
            at -= weight;
        }
        routes.first().map_or(0, |&(version, _)| version)
    }
}
