//! Executions of a list, in its order.

use std::sync::Arc;

use super::{Execution, Executions};
use crate::service::closed::Rank;

/// Executions of a list that are read under one lock.
const LISTED_AT_ONCE: usize = 4 * 1_024;

impl Executions {
    /// Up to `max` executions of a machine that come after `after` in its list and pass the filter, newest first.
    pub(in crate::service) fn listed(
        &self,
        machine: &str,
        after: Option<Rank>,
        max: usize,
        filter: impl Fn(&Execution) -> bool,
    ) -> Vec<(Rank, Arc<Execution>)> {
        let mut listed: Vec<(Rank, Arc<Execution>)> = Vec::new();
        let (mut before, newest_first) = (u64::MAX, |&(rank, _): &(Rank, _)| std::cmp::Reverse(rank));
        loop {
            // Some at a time: starts must not wait until all were read.
            let Some(of_machine) = self.by_machine.get(machine) else { break };
            let mut some = of_machine.range(..before).rev().take(LISTED_AT_ONCE).peekable();
            if some.peek().is_none() {
                break;
            }
            for (number, execution) in some {
                before = *number;
                let rank = execution.rank();
                if after.is_none_or(|after| rank < after) && filter(execution) {
                    listed.push((rank, Arc::clone(execution)));
                }
            }
            drop(of_machine);
            if listed.len() > max {
                listed.select_nth_unstable_by_key(max - 1, newest_first);
                listed.truncate(max);
            }
        }
        listed.sort_unstable_by_key(newest_first);
        listed
    }
}
