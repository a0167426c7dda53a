//! Executions that failed, were aborted or timed out continue where they stopped.

use super::completion::{Completion, IdentityOverrides, StartIdentity};
use super::context::ExecutionBuffer;
use super::durable::{ResumeError, ResumeOrigin, not_durable};
use super::engine::Engine;
use super::handle::Handle;
use super::machine::Target;
use super::start::StartError;
use crate::engine::SnapshotError;
use crate::limits;
use crate::observe::{Watch, Watcher};

/// An ended execution that is to continue.
#[derive(Clone, Copy, Debug)]
pub struct Redrive<'r> {
    /// Its name, as it was started.
    pub name: &'r str,
    /// Its ARN.
    pub arn: &'r str,
    /// `X-Amzn-Trace-Id`
    pub trace_header: Option<&'r str>,
    /// Its [state when it stopped](super::Outcome::stopped).
    pub stopped: &'r [u8],
    /// Its number in the journal, if it is [durable](Handle::recorded_id).
    pub recorded: Option<u64>,
}

/// An execution that continues.
#[derive(Debug)]
pub struct Redriven {
    /// The execution.
    pub handle: Handle,
    /// When it was redriven, in milliseconds since 1970: as the journal has it.
    pub date_ms: u64,
}

impl Engine {
    /// Continues an execution that did not succeed where it stopped: states that were entered and not exited are run
    /// again, with their inputs. If it is durable, the redrive is durable when [`Handle::recorded`] completes.
    ///
    /// # Errors
    /// When it was an execution of another program, an execution of its ARN runs, or there is no room for it.
    pub fn redrive<'t>(
        &self,
        machine: impl Into<Target<'t>>,
        redrive: Redrive<'_>,
        watcher: Option<Box<dyn Watcher>>,
    ) -> Result<Redriven, ResumeError> {
        let version = self.own_version(machine.into()).map_err(ResumeError::Start)?;
        let Redrive { name, arn, trace_header, stopped, recorded } = redrive;
        let shared = self.shared();
        if shared.by_arn.contains_key(arn) {
            return Err(ResumeError::Start(StartError::AlreadyRuns(arn.to_owned())));
        }
        let mut buffer = Box::<ExecutionBuffer>::default();
        buffer.execution.restore(stopped, version.fingerprint)?;
        buffer.execution.identity.is_redrivable = true;
        let floor_ms = shared.durability.as_ref().map_or(0, |durability| durability.floor_ms());
        let now_ms = shared.time.steady_ms().max(floor_ms);
        buffer.execution.redrive(&version.program, now_ms, limits::STANDARD_SECONDS_MAX * 1_000);
        let redrives = buffer.execution.redrives();
        let watcher_bytes = watcher.as_ref().map_or(0, |watcher| watcher.kept_bytes());
        buffer.watch = watcher.map(|watcher| Box::new(Watch::by(watcher)));
        let charged = buffer.execution.arena.capacity_bytes();
        let throttled = |limit| ResumeError::Start(self.refuse(Some(&version), limit, 1).into());
        if let Some(limit) = self.full(&version, charged) {
            return Err(throttled(limit));
        }
        let ledger = match (&shared.durability, recorded) {
            (Some(durability), Some(id)) => {
                let mut state = Vec::new();
                let written = buffer.execution.snapshot(version.fingerprint, &mut state);
                written.map_err(|_| SnapshotError::Malformed)?;
                let recorded = durability.redrive(id, now_ms, (redrives.count, redrives.last_ms), &state);
                buffer.recorded = state;
                Some(recorded.map_err(|why| ResumeError::Start(not_durable(why)))?)
            }
            _ => None,
        };
        let label = IdentityOverrides {
            name: Some(name.into()),
            arn: Some(arn.into()),
            trace_header: trace_header.map(Into::into),
            tasks: None,
            ledger,
            requested_ms: None,
            redrivable: true,
            watcher_bytes,
        };
        let start_identity = StartIdentity { synchronous: false, label: Some(Box::new(label)) };
        shared.admission.admit_anyway(&version.usage, 1, charged + start_identity.kept_bytes());
        let handle = self.place_on_shard(
            version,
            Completion::new(start_identity),
            buffer,
            (arn.into(), ResumeOrigin::default(), charged),
            Vec::new(),
        );
        Ok(Redriven { handle, date_ms: redrives.last_ms })
    }
}
