//! Admission: executions and bytes are counted, for the whole engine and for each machine. Starts that do not fit are
//! refused at once; no queue is unbounded.
//!
//! While there is room, a machine may take as much as it likes. When three quarters are taken, none gets more than its
//! share: the whole, divided by the machines that have executions now. So a flood of one leaves room for the others.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::limits;

/// Limits of what may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Executions of the whole engine that have begun or wait to.
    pub executions_max: usize,
    /// Bytes they take, as far as they are known: inputs, and what is kept of those that are parked.
    pub bytes_max: usize,
    /// Executions of one machine.
    pub machine_executions_max: usize,
    /// Bytes of one machine's executions.
    pub machine_bytes_max: usize,
    /// Executions that may wait for a shard to begin them, for each shard. When three quarters of the places are taken, no
    /// machine gets more than its share.
    pub queue_max: usize,
}

impl Default for Budgets {
    /// Ten million executions in eight gigabytes, any of which one machine may have; 65,536 waiting for each shard.
    fn default() -> Budgets {
        Budgets {
            executions_max: 10_000_000,
            bytes_max: 8 << 30,
            machine_executions_max: usize::MAX,
            machine_bytes_max: usize::MAX,
            queue_max: 65_536,
        }
    }
}

impl Budgets {
    /// Bytes of all executions up to which a machine with so many bytes may begin more. A machine with little memory
    /// may begin even when the budget is used up, because running executions grow: all such machines together take a
    /// sixteenth.
    fn bytes_for(&self, machine_bytes: usize, machines: usize) -> usize {
        let has_little = machine_bytes <= self.bytes_max / 16 / machines;
        if has_little { self.bytes_max.saturating_add(self.bytes_max / 4) } else { self.bytes_max }
    }
}

/// What an execution is billed beside its bytes: its entry, its timer, its share of tables.
pub(super) const ENTRY_BYTES: usize = 192;
/// The same for what it has by itself: a completion that its handle shares, names, its place in the table of ARNs.
pub(super) const LABEL_BYTES: usize = 512;

/// The start was refused, without side effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused: {limit}{}", retry(*retry_after))]
pub struct Throttled {
    /// What is used up.
    pub limit: Limit,
    /// When to retry, as an estimate.
    pub retry_after: Duration,
}

/// When to retry, if retrying makes sense: an engine that drains accepts no more.
fn retry(after: Duration) -> String {
    if after >= NEVER { String::new() } else { format!("; try again in {} ms", after.as_millis()) }
}

/// Reported as the time to wait when waiting does not help.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Budgets::executions_max`]
    #[error("the engine is at its limit of executions")]
    Executions,
    /// [`Budgets::bytes_max`]
    #[error("the engine's executions are at their limit of memory")]
    Bytes,
    /// [`Budgets::machine_executions_max`]
    #[error("the state machine is at its limit of executions")]
    MachineExecutions,
    /// [`Budgets::machine_bytes_max`]
    #[error("the state machine's executions are at their limit of memory")]
    MachineBytes,
    /// The engine is nearly full, and the machine has its share.
    #[error("the engine is nearly full and the state machine has used its share")]
    Share,
    /// [`Budgets::queue_max`]
    #[error("too many executions are queued")]
    Queue,
    /// The engine is being drained or dropped: do not try again.
    #[error("the engine accepts no more executions")]
    Draining,
}

impl Limit {
    pub(super) const ALL: [Limit; 7] = [
        Limit::Executions,
        Limit::Bytes,
        Limit::MachineExecutions,
        Limit::MachineBytes,
        Limit::Share,
        Limit::Queue,
        Limit::Draining,
    ];
}

/// What is taken of a budget.
#[derive(Debug, Default)]
pub(super) struct Usage {
    executions: AtomicUsize,
    bytes: AtomicUsize,
    /// Executions in the queues of shards.
    pub(super) queued: AtomicUsize,
}

impl Usage {
    pub(super) fn executions(&self) -> usize {
        self.executions.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct Admission {
    pub(super) budgets: Budgets,
    pub(super) total: CachePadded<Usage>,
    /// Machines that have executions.
    machines: CachePadded<AtomicUsize>,
}

impl Admission {
    pub(super) fn new(budgets: Budgets) -> Admission {
        let (total, machines) = Default::default();
        Admission { budgets, total, machines }
    }

    /// Takes room for `executions` of a machine, all or none; `bytes` without their entries.
    pub(super) fn admit(&self, machine: &Usage, executions: usize, bytes: usize) -> Result<(), Limit> {
        let bytes = bytes + executions * ENTRY_BYTES;
        let before = machine.executions.fetch_add(executions, Relaxed);
        let machines = if before == 0 && executions > 0 {
            self.machines.fetch_add(1, Relaxed) + 1
        } else {
            self.machines.load(Relaxed).max(1)
        };
        let machine_bytes = machine.bytes.fetch_add(bytes, Relaxed) + bytes;
        let total = self.total.executions.fetch_add(executions, Relaxed) + executions;
        let total_bytes = self.total.bytes.fetch_add(bytes, Relaxed) + bytes;
        let (own, budgets) = (before + executions, &self.budgets);
        // Machines that begin at the same time may count a few other machines too many; that delays a refusal, and is
        // never wrong.
        let limit = if total > budgets.executions_max {
            Limit::Executions
        } else if total_bytes > budgets.bytes_for(machine_bytes, machines) {
            Limit::Bytes
        } else if own > budgets.machine_executions_max {
            Limit::MachineExecutions
        } else if machine_bytes > budgets.machine_bytes_max {
            Limit::MachineBytes
        } else if (total > budgets.executions_max / 4 * 3 && own > budgets.executions_max / machines)
            || (total_bytes > budgets.bytes_max / 4 * 3 && machine_bytes > budgets.bytes_max / machines)
        {
            Limit::Share
        } else {
            return Ok(());
        };
        self.release(machine, executions, bytes);
        Err(limit)
    }

    /// Takes room for `executions` of a machine, whether there is any or not; `bytes` without their entries.
    pub(super) fn admit_anyway(&self, machine: &Usage, executions: usize, bytes: usize) {
        let bytes = bytes + executions * ENTRY_BYTES;
        if machine.executions.fetch_add(executions, Relaxed) == 0 && executions > 0 {
            self.machines.fetch_add(1, Relaxed);
        }
        machine.bytes.fetch_add(bytes, Relaxed);
        self.total.executions.fetch_add(executions, Relaxed);
        self.total.bytes.fetch_add(bytes, Relaxed);
    }

    /// Whether a machine's execution with an input of so many bytes would be refused now.
    pub(super) fn is_full(&self, machine: &Usage, bytes: usize) -> Option<Limit> {
        let Admission { budgets, total, .. } = self;
        let bytes = bytes + ENTRY_BYTES;
        let machines = self.machines.load(Relaxed).max(1);
        if total.executions() >= budgets.executions_max {
            Some(Limit::Executions)
        } else if total.bytes() + bytes > budgets.bytes_for(machine.bytes() + bytes, machines) {
            Some(Limit::Bytes)
        } else if machine.executions() >= budgets.machine_executions_max {
            Some(Limit::MachineExecutions)
        } else if machine.bytes() + bytes > budgets.machine_bytes_max {
            Some(Limit::MachineBytes)
        } else {
            None
        }
    }

    /// Whether a machine that has `of_machine` executions in queues may put more into one that has `queued`, of `shards`.
    pub(super) fn may_queue(&self, queued: usize, of_machine: usize, shards: usize) -> Result<(), Limit> {
        let queue_max = self.budgets.queue_max;
        if queued >= queue_max {
            return Err(Limit::Queue);
        }
        let machines = self.machines.load(Relaxed).max(1);
        let share = (queue_max.saturating_mul(shards) / machines).max(1);
        if queued >= queue_max - queue_max / 4 && of_machine >= share { Err(Limit::Share) } else { Ok(()) }
    }

    /// Gives back what was taken; `bytes` with the entries.
    pub(super) fn release(&self, machine: &Usage, executions: usize, bytes: usize) {
        self.total.bytes.fetch_sub(bytes, Relaxed);
        machine.bytes.fetch_sub(bytes, Relaxed);
        if machine.executions.fetch_sub(executions, Relaxed) == executions && executions > 0 {
            self.machines.fetch_sub(1, Relaxed);
        }
        self.total.executions.fetch_sub(executions, Relaxed);
    }

    /// The bytes of an execution under way have changed.
    pub(super) fn adjust(&self, machine: &Usage, from: usize, to: usize) {
        // Wrapping turns a negative difference into a subtraction.
        self.total.bytes.fetch_add(to.wrapping_sub(from), Relaxed);
        machine.bytes.fetch_add(to.wrapping_sub(from), Relaxed);
    }

    /// Whether a running execution of a machine, which takes so many bytes, gets no more memory: only the reserve for
    /// executions that begin elsewhere is left, and the machine has more than half of its share. Small ones may still
    /// grow, as long as the reserve is not touched.
    pub(super) fn has_enough(&self, machine: &Usage, bytes: usize) -> bool {
        let (machines, total) = (self.machines.load(Relaxed).max(1), self.total.bytes());
        let is_large = bytes > limits::REFUSED_BYTES_MIN as usize || total > self.budgets.bytes_max;
        is_large
            && total > self.budgets.bytes_max / 8 * 7
            && machine.bytes().saturating_mul(2 * machines) > total
    }

    pub(super) fn throttled(&self, limit: Limit) -> Throttled {
        let retry_after = match limit {
            Limit::Draining => NEVER,
            // A full queue is worked off within some tens of milliseconds.
            Limit::Queue => Duration::from_millis(10),
            _ => Duration::from_millis(100),
        };
        Throttled { limit, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(Budgets { executions_max: 100, bytes_max: 1 << 20, ..Budgets::default() })
    }

    #[test]
    fn a_refusal_leaves_nothing_behind() {
        let (admission, machine) = (admission(), Usage::default());
        assert_eq!(admission.admit(&machine, 101, 0), Err(Limit::Executions));
        assert_eq!(admission.admit(&machine, 1, 2 << 20), Err(Limit::Bytes));
        assert_eq!((machine.executions(), machine.bytes()), (0, 0));
        assert_eq!((admission.total.executions(), admission.total.bytes()), (0, 0));
        assert_eq!(admission.machines.load(Relaxed), 0);
    }

    #[test]
    fn a_flood_of_one_machine_leaves_room_for_another() {
        let (admission, flood, other) = (admission(), Usage::default(), Usage::default());
        assert_eq!(admission.admit(&other, 1, 0), Ok(()));
        let admitted = (0..1_000).filter(|_| admission.admit(&flood, 1, 0).is_ok()).count();
        assert!(admitted < 100);
        assert_eq!(admission.admit(&flood, 1, 0), Err(Limit::Share));
        assert_eq!(admission.admit(&other, 1, 0), Ok(()));
    }

    #[test]
    fn one_machine_alone_may_have_everything() {
        let (admission, machine) = (admission(), Usage::default());
        assert_eq!((0..1_000).filter(|_| admission.admit(&machine, 1, 0).is_ok()).count(), 100);
        admission.release(&machine, 100, 100 * ENTRY_BYTES);
        assert_eq!(admission.admit(&machine, 100, 0), Ok(()));
    }
}
