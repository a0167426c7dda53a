//! Fair scheduling on a shard: state machines take turns by the work they do (deficit round robin), so that a thousand
//! busy executions of one leave the others their share.
//!
//! In each round a machine may do so much work. As long as it has some left and nothing of it waits, its work is done
//! at once; the rest waits in its queue. Executions that begin wait apart from those that continue, and both take
//! turns, so neither keeps the other waiting. A round is over when every waiting machine had its share, and at once
//! when none waits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::admission::Usage;
use crate::limits;

/// A machine on this shard.
#[derive(Debug)]
struct Flow<G, S> {
    machine: Arc<Usage>,
    /// Up to which round it got its shares.
    round: u64,
    /// Work it may do in this round; negative by what it did too much.
    credit: i64,
    /// Executions of it on this shard.
    users: u32,
    going: VecDeque<G>,
    starts: VecDeque<S>,
    /// Work that waits until fewer executions of the machine are suspended.
    held_going: Vec<G>,
    held_starts: Vec<S>,
    suspended: u32,
    in_ring: bool,
    /// Whether one of those that wait to begin is to be aborted.
    has_aborted: bool,
    /// Whether one that begins is next.
    start_next: bool,
}

/// What is next: a resident that continues, or starts.
#[derive(Debug)]
pub(super) enum Next<G, S> {
    Going(G),
    Starts(S),
}

#[derive(Debug)]
pub(super) struct Turns<G, S> {
    flows: Vec<Option<Flow<G, S>>>,
    free: Vec<u32>,
    by_machine: HashMap<usize, u32>,
    /// Machines that have something in their queues.
    retained: VecDeque<u32>,
    round: u64,
    /// How many of the ring had their share in this round.
    visited: usize,
    /// How many machines there are before idle ones are dropped.
    sweep_at: usize,
    suspended: u32,
    /// Machines that hold something back only because all machines together have too many suspended.
    starved: VecDeque<u32>,
    /// Machines of which executions that wait to begin are to be aborted.
    aborted: VecDeque<u32>,
}

const SHARE: i64 = limits::MACHINE_SHARE_WORK as i64;
/// Machines that are kept at least, however idle.
const SWEEP_MIN: usize = 64;

impl<G, S> Turns<G, S> {
    pub(super) fn new() -> Turns<G, S> {
        Turns {
            flows: Vec::new(),
            free: Vec::new(),
            by_machine: HashMap::new(),
            retained: VecDeque::new(),
            round: 0,
            visited: 0,
            sweep_at: SWEEP_MIN,
            suspended: 0,
            starved: VecDeque::new(),
            aborted: VecDeque::new(),
        }
    }

    fn at(&mut self, flow: u32) -> &mut Flow<G, S> {
        self.flows[flow as usize].as_mut().expect("a machine is forgotten when nothing names it any more")
    }

    /// The number of a machine.
    pub(super) fn flow(&mut self, machine: &Arc<Usage>) -> u32 {
        let address = Arc::as_ptr(machine) as usize;
        if let Some(&flow) = self.by_machine.get(&address) {
            return flow;
        }
        let flow = Flow {
            machine: Arc::clone(machine),
            round: self.round,
            credit: SHARE,
            users: 0,
            going: VecDeque::new(),
            starts: VecDeque::new(),
            held_going: Vec::new(),
            held_starts: Vec::new(),
            suspended: 0,
            in_ring: false,
            has_aborted: false,
            start_next: true,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.flows[number as usize] = Some(flow);
                number
            }
            None => {
                self.flows.push(Some(flow));
                self.flows.len() as u32 - 1
            }
        };
        self.by_machine.insert(address, number);
        number
    }

    /// One more execution of the machine.
    pub(super) fn join(&mut self, flow: u32) {
        self.at(flow).users += 1;
    }

    /// One execution less.
    pub(super) fn leave(&mut self, flow: u32) {
        self.at(flow).users -= 1;
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.retained.is_empty()
    }

    /// A new turn of the shard begins.
    pub(super) fn begin(&mut self) {
        if self.retained.is_empty() {
            self.round += 1;
            self.visited = 0;
        }
        if self.by_machine.len() > self.sweep_at {
            self.sweep();
        }
    }

    /// Drops machines that have no executions here and no debt.
    fn sweep(&mut self) {
        let round = self.round;
        for (number, row) in self.flows.iter_mut().enumerate() {
            let is_idle = row.as_ref().is_some_and(|flow| {
                let has_none = flow.held_going.is_empty() && flow.held_starts.is_empty();
                let credit = flow.credit.saturating_add(shares(round - flow.round));
                flow.users == 0 && !flow.in_ring && has_none && credit >= SHARE
            });
            if is_idle && let Some(flow) = row.take() {
                self.by_machine.remove(&(Arc::as_ptr(&flow.machine) as usize));
                self.free.push(number as u32);
            }
        }
        self.sweep_at = SWEEP_MIN.max(2 * self.by_machine.len());
    }

    /// The work that the machine may still do in this round.
    pub(super) fn credit(&mut self, flow: u32) -> i64 {
        let round = self.round;
        let flow = self.at(flow);
        if flow.round != round {
            flow.credit = flow.credit.saturating_add(shares(round - flow.round)).min(SHARE);
            flow.round = round;
        }
        flow.credit
    }

    /// Whether the machine's work is done at once.
    pub(super) fn is_free(&mut self, flow: u32) -> bool {
        self.credit(flow) > 0 && !self.at(flow).in_ring
    }

    /// The machine did so much work.
    pub(super) fn charge(&mut self, flow: u32, work: u64) {
        let flow = self.at(flow);
        let work = i64::try_from(work).unwrap_or(i64::MAX);
        flow.credit = flow.credit.saturating_sub(work).max(-limits::MACHINE_DEBT_SHARES_MAX * SHARE);
    }

    pub(super) fn push_going(&mut self, flow: u32, going: G) {
        self.at(flow).going.push_back(going);
        self.join_round(flow);
    }

    pub(super) fn push_starts(&mut self, flow: u32, starts: S) {
        self.at(flow).starts.push_back(starts);
        self.join_round(flow);
    }

    fn join_round(&mut self, number: u32) {
        if !std::mem::replace(&mut self.at(number).in_ring, true) {
            self.retained.push_back(number);
        }
    }

    /// What is next.
    pub(super) fn next(&mut self) -> Option<(u32, Next<G, S>)> {
        loop {
            let &number = self.retained.front()?;
            let has_credit = self.credit(number) > 0;
            let flow = self.at(number);
            if flow.going.is_empty() && flow.starts.is_empty() {
                flow.in_ring = false;
                self.retained.pop_front();
                continue;
            }
            if has_credit {
                let starts = !flow.starts.is_empty() && (flow.start_next || flow.going.is_empty());
                flow.start_next = !starts;
                let next = if starts {
                    flow.starts.pop_front().map(Next::Starts)
                } else {
                    flow.going.pop_front().map(Next::Going)
                };
                return next.map(|next| (number, next));
            }
            self.retained.rotate_left(1);
            self.visited += 1;
            if self.visited >= self.retained.len() {
                self.visited = 0;
                self.round += 1;
            }
        }
    }

    /// Takes starts from the end of the queue.
    pub(super) fn take_last_starts(&mut self) -> Option<S> {
        let retained = std::mem::take(&mut self.retained);
        let found = retained.iter().take(8).find_map(|&number| self.at(number).starts.pop_back());
        self.retained = retained;
        found
    }

    /// Takes all starts.
    pub(super) fn take_all_starts(&mut self) -> Vec<S> {
        let mut all = Vec::new();
        for flow in self.flows.iter_mut().flatten() {
            all.extend(flow.starts.drain(..));
            all.append(&mut flow.held_starts);
        }
        all
    }

    // ---- executions that are aborted before they begin ----

    /// One of a machine's executions is to be aborted, and waits to begin, if it is on this shard.
    pub(super) fn abort_start(&mut self, machine: &Arc<Usage>) {
        let number = self.by_machine.get(&(Arc::as_ptr(machine) as usize)).copied();
        if let Some(number) = number
            && !std::mem::replace(&mut self.at(number).has_aborted, true)
        {
            self.aborted.push_back(number);
        }
    }

    /// Takes starts that are to be aborted, as far as they are among the first `looked_at_max` of those that wait.
    pub(super) fn take_aborted(&mut self, looked_at_max: usize, is_aborted: impl Fn(&S) -> bool) -> Vec<S> {
        let (mut taken, mut left) = (Vec::new(), looked_at_max);
        while left > 0
            && let Some(number) = self.aborted.pop_front()
        {
            // One that was forgotten meanwhile held nothing.
            let Some(Some(flow)) = self.flows.get_mut(number as usize) else { continue };
            flow.has_aborted = false;
            let looked_at = left.min(flow.held_starts.len());
            taken.extend(flow.held_starts.extract_if(..looked_at, |starts| is_aborted(starts)));
            left -= looked_at;
            let looked_at = left.min(flow.starts.len());
            if flow.starts.iter().take(looked_at).any(&is_aborted) {
                let behind = flow.starts.split_off(looked_at);
                for starts in std::mem::take(&mut flow.starts) {
                    if is_aborted(&starts) { taken.push(starts) } else { flow.starts.push_back(starts) }
                }
                flow.starts.extend(behind);
            }
            left -= looked_at;
        }
        taken
    }

    // ---- suspended executions: each holds a stack ----

    /// Whether one more execution of the machine may be suspended.
    pub(super) fn may_suspend(&mut self, flow: u32) -> bool {
        self.at(flow).suspended < limits::FIBERS_PER_MACHINE_MAX && self.suspended < limits::FIBERS_MAX
    }

    pub(super) fn suspended(&mut self, flow: u32) {
        self.at(flow).suspended += 1;
        self.suspended += 1;
    }

    /// A suspended execution ran to its end: those that were held back may try again.
    pub(super) fn resumed(&mut self, flow: u32) {
        self.at(flow).suspended -= 1;
        self.suspended -= 1;
        self.release(flow);
        if let Some(starved) = self.starved.pop_front() {
            self.release(starved);
        }
    }

    pub(super) fn hold_going(&mut self, flow: u32, going: G) {
        self.at(flow).held_going.push(going);
        self.note_starved(flow);
    }

    pub(super) fn hold_starts(&mut self, flow: u32, starts: S) {
        self.at(flow).held_starts.push(starts);
        self.note_starved(flow);
    }

    fn note_starved(&mut self, number: u32) {
        if self.at(number).suspended == 0 && !self.starved.contains(&number) {
            self.starved.push_back(number);
        }
    }

    fn release(&mut self, number: u32) {
        // Dropped meanwhile: it held nothing.
        let Some(Some(flow)) = self.flows.get_mut(number as usize) else { return };
        if flow.held_going.is_empty() && flow.held_starts.is_empty() {
            return;
        }
        flow.going.extend(flow.held_going.drain(..));
        flow.starts.extend(flow.held_starts.drain(..));
        self.join_round(number);
    }
}

/// The work of so many rounds.
fn shares(rounds: u64) -> i64 {
    i64::try_from(rounds).unwrap_or(i64::MAX).saturating_mul(SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves until `work` was done; how much of it was each machine's. Each entry takes `cost` and comes again.
    fn serve(turns: &mut Turns<(u32, u64), ()>, mut left: i64) -> HashMap<u32, u64> {
        let mut served = HashMap::new();
        while left > 0 {
            let (flow, next) = turns.next().expect("all come again");
            let Next::Going((machine, cost)) = next else { panic!("nothing begins") };
            turns.charge(flow, cost);
            left -= cost as i64;
            *served.entry(machine).or_default() += cost;
            turns.push_going(flow, (machine, cost));
        }
        served
    }

    #[test]
    fn a_thousand_of_one_machine_leave_the_other_its_half() {
        let mut turns = Turns::new();
        let machines: [Arc<Usage>; 2] = Default::default();
        let flows = machines.each_ref().map(|machine| turns.flow(machine));
        for _ in 0..1_000 {
            turns.push_going(flows[0], (0, 200_000));
        }
        turns.push_going(flows[1], (1, 1_000));
        let served = serve(&mut turns, 1_000_000_000);
        let share = served[&1] as f64 / 1e9;
        assert!((0.45..0.55).contains(&share), "{served:?}");
    }

    #[test]
    fn what_begins_takes_turns_with_what_goes_on() {
        let mut turns: Turns<u32, u32> = Turns::new();
        let machine = Arc::default();
        let flow = turns.flow(&machine);
        for n in 0..4 {
            turns.push_going(flow, n);
        }
        turns.push_starts(flow, 0);
        let first: Vec<_> = std::iter::from_fn(|| turns.next()).take(2).collect();
        assert!(first.iter().any(|(_, next)| matches!(next, Next::Starts(_))), "{first:?}");
    }

    #[test]
    fn machines_that_have_nothing_are_forgotten() {
        let mut turns: Turns<u32, u32> = Turns::new();
        for _ in 0..10_000 {
            turns.flow(&Arc::default());
            turns.begin();
        }
        assert!(turns.by_machine.len() < 1_000);
    }
}
