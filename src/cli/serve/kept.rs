//! What `serve` stores, and where.

use expressway::runtime::DurabilityMode;
use expressway::service::{Builder, Service};

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::arguments::Arguments;
use crate::cli::stop::Stop;
use crate::cli::streams::counted;

/// What remains of executions after a crash.
pub(super) fn durability(arguments: &Arguments) -> String {
    match (arguments.is_kept(), arguments.memory.durability) {
        (false, _) => {
            "STANDARD executions are in memory, not durable: without --state, they end with the process".to_owned()
        }
        (true, DurabilityMode::Memory) => {
            "STANDARD executions are in memory, not durable (--durability memory): they end with the process, and those \
             that the folder has do not go on"
                .to_owned()
        }
        (true, DurabilityMode::Relaxed(loss)) => {
            let ms = loss.as_millis();
            format!("STANDARD executions are durable, but for the last {ms} ms before a crash (--durability relaxed)")
        }
        (true, _) => "STANDARD executions are durable".to_owned(),
    }
}

/// What is stored of the API's resources, and where.
pub(super) fn kept(arguments: &Arguments) -> Result<Builder, Stop> {
    let builder = Service::builder().durability(arguments.memory.durability);
    match &arguments.memory.state {
        Some(folder) if folder.is_file() => {
            let file = folder.display();
            let text = format!("--state {file}: that is a file; name a folder, which is made if need be");
            Err(Stop::failed(text))
        }
        Some(folder) => Ok(builder.state(folder)),
        None => Ok(builder),
    }
}

/// State machines whose lost executions are counted each; the others are counted together.
const MACHINES_MAX: usize = 10;

/// What is lost of Standard executions, which are counted by the ARN of their state machine; `None` if nothing is.
pub(super) fn lost(by_machine: &BTreeMap<String, usize>) -> Option<String> {
    let all: usize = by_machine.values().sum();
    if all == 0 {
        return None;
    }
    let mut machines: Vec<(&str, usize)> =
        by_machine.iter().map(|(arn, n)| (arn.rsplit(':').next().unwrap_or(arn), *n)).collect();
    machines.sort_by_key(|(name, n)| (Reverse(*n), *name));
    let rest = machines.split_off(machines.len().min(MACHINES_MAX));
    let mut named: Vec<String> = machines.iter().map(|(name, n)| format!("{name} {n}")).collect();
    if !rest.is_empty() {
        let executions: usize = rest.iter().map(|(_, n)| n).sum();
        named.push(format!("{} more {executions}", counted(rest.len(), "state machine")));
    }
    let (executions, are) = (counted(all, "STANDARD execution"), if all == 1 { "is" } else { "are" });
    Some(format!(
        "{executions} {are} lost ({}); with --state FOLDER they go on after a start",
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_executions_are_counted_by_state_machine() {
        let of = |machines: std::ops::Range<usize>| -> BTreeMap<String, usize> {
            machines.map(|n| (format!("arn:aws:states:r:1:stateMachine:m{n}"), n)).collect()
        };
        assert_eq!(lost(&of(0..1)), None);
        let advice = "; with --state FOLDER they go on after a start";
        assert_eq!(lost(&of(1..2)), Some(format!("1 STANDARD execution is lost (m1 1){advice}")));
        assert_eq!(lost(&of(1..3)), Some(format!("3 STANDARD executions are lost (m2 2, m1 1){advice}")));
        let many = lost(&of(0..1_000)).expect("some are lost");
        assert!(many.ends_with(&format!("m990 990, 990 state machines more 489555){advice}")), "{many}");
    }
}
