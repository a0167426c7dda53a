//! The in-line driver of commands: what its executions are called, and their clock.

use std::path::Path;
use std::time::SystemTime;

use expressway::engine::Identity;
use expressway::runtime::{Clock, RealClock, VirtualClock};

/// The machine is named as in its project, or after the definition's file.
pub(super) fn identity(machine: Option<&str>, file: &Path, is_standard: bool) -> Identity {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.split('.').find(|part| !part.is_empty() && *part != "-").unwrap_or("workflow");
    let name = machine.unwrap_or(name);
    Identity {
        state_machine_arn: format!("arn:aws:states:us-east-1:123456789012:stateMachine:{name}").into(),
        state_machine_name: name.into(),
        role_arn: "arn:aws:iam::123456789012:role/expressway".into(),
        is_standard,
        ..Identity::default()
    }
}

/// The clock of an execution.
pub(super) enum AnyClock {
    Real(RealClock),
    Virtual(VirtualClock),
}

impl Clock for AnyClock {
    #[inline]
    fn now_ms(&mut self) -> u64 {
        match self {
            AnyClock::Real(clock) => clock.now_ms(),
            AnyClock::Virtual(clock) => clock.now_ms(),
        }
    }

    #[inline]
    fn steady_ms(&mut self) -> u64 {
        match self {
            AnyClock::Real(clock) => clock.steady_ms(),
            AnyClock::Virtual(clock) => clock.steady_ms(),
        }
    }

    fn wait_until(&mut self, at_ms: u64) {
        match self {
            AnyClock::Real(clock) => clock.wait_until(at_ms),
            AnyClock::Virtual(clock) => clock.wait_until(at_ms),
        }
    }
}

/// A clock on which waiting takes no time; it begins now.
pub(super) fn virtual_clock() -> VirtualClock {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    VirtualClock::at(u64::try_from(since.as_millis()).unwrap_or(0))
}
