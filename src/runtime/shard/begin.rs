//! How executions begin.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::resident::is_over;
use super::{Body, Job, Opened, Resident, START_BATCHES_PER_TURN, Shard};
use crate::engine::{Event, Start};
use crate::fault::{self, Fault};
use crate::json::{self, Value};
use crate::limits;
use crate::runtime::clock;
use crate::runtime::completion::Reply;
use crate::runtime::context::ExecutionBuffer;
use crate::runtime::durable::start_base;
use crate::runtime::inbox::{ShardMessage, StartBatch};
use crate::runtime::job::{Drove, Stopped, Work};
use crate::runtime::observation::may_be_watched;
use crate::runtime::pending::PendingOps;
use crate::runtime::slab::Key;

/// What a start costs beside what the engine charges; each byte of its input costs one more.
const START_WORK: u64 = 200;

impl Shard {
    /// Takes start batches out of the inbox. Those of machines that have work left in this round begin at once; the
    /// others wait for their machine's turn.
    pub(super) fn open_start_batches(&mut self) {
        for _ in 0..START_BATCHES_PER_TURN {
            if self.left <= 0 {
                break;
            }
            let Some(start_batch) = self.take_start_batch() else { break };
            self.made_room = true;
            let flow = self.turns.flow(&start_batch.version.usage);
            let opened = Opened::new(start_batch, flow);
            if self.turns.is_free(flow) || opened.is_aborted() {
                self.begin_some(opened)
            } else {
                self.put_in_line(opened)
            }
        }
    }

    /// The next start batch: of its own, or, when it is idle, an unopened one of another shard.
    fn take_start_batch(&mut self) -> Option<StartBatch> {
        if let Some(start_batch) = self.remote.take_start_batch() {
            return Some(start_batch);
        }
        if !self.turns.is_empty() {
            return None;
        }
        let (before, after) = self.shared.remotes.split_at(usize::from(self.index));
        let stolen = after.iter().skip(1).chain(before).find_map(|remote| remote.take_start_batch())?;
        self.remote.gauges.steals.fetch_add(1, Ordering::Relaxed);
        Some(stolen)
    }

    /// Queues a start batch for its machine's turn; it counts among those that wait to begin.
    pub(super) fn put_in_line(&mut self, opened: Opened) {
        let flow = opened.flow;
        self.count_waiting(&opened);
        self.turns.push_starts(flow, Box::new(opened));
    }

    pub(super) fn count_waiting(&mut self, opened: &Opened) {
        let left = opened.start_batch.len() - opened.next;
        self.waiting_starts += left;
        self.remote.queued.fetch_add(left, Ordering::Relaxed);
    }

    /// Begins a start batch at its machine's turn.
    pub(super) fn begin_opened(&mut self, opened: Opened) {
        self.uncount_waiting(&opened);
        self.begin_some(opened);
    }

    /// Begins those that are to be aborted, which ends them: they do not wait for their machine's turn.
    pub(super) fn begin_aborted(&mut self) {
        for opened in self.turns.take_aborted(limits::ABORTED_LOOKED_AT_MAX, |opened| opened.is_aborted()) {
            self.begin_opened(*opened);
        }
    }

    pub(super) fn uncount_waiting(&mut self, opened: &Opened) {
        let left = opened.start_batch.len() - opened.next;
        self.waiting_starts -= left;
        self.remote.queued.fetch_sub(left, Ordering::Relaxed);
    }

    /// Begins executions of a start batch, as long as their machine has work left in this round.
    fn begin_some(&mut self, mut opened: Opened) {
        if self.start_has_left(&opened) {
            return;
        }
        if self.start_is_paused(&opened) {
            return self.pause_start(opened);
        }
        let (flow, before) = (opened.flow, opened.next);
        let is_light = opened.start_batch.version.is_light;
        let is_aborted = opened.is_aborted();
        self.began_us = self.shared.elapsed_us();
        while opened.next < opened.start_batch.len()
            && (is_aborted
                || (self.left > 0
                    && self.turns.credit(flow) > 0
                    && (is_light || self.turns.may_suspend(flow))))
        {
            self.begin(&mut opened);
        }
        let ran = opened.next - before;
        self.report_start_batch(&mut opened, ran);
        self.look_at_clock(flow);
        if opened.next == opened.start_batch.len() {
            return;
        }
        if is_light || self.turns.may_suspend(flow) {
            self.put_in_line(opened)
        } else {
            self.count_waiting(&opened);
            self.turns.hold_starts(flow, Box::new(opened));
        }
    }

    /// Gives waiting start batches to idle shards.
    pub(super) fn share_start_batches(&mut self) {
        if self.waiting_starts == 0 {
            return;
        }
        let shared = Arc::clone(&self.shared);
        for (index, remote) in shared.remotes.iter().enumerate() {
            if index == usize::from(self.index)
                || !remote.wakeup.is_asleep()
                || !remote.start_batches.is_empty()
            {
                continue;
            }
            let Some(opened) = self.turns.take_last_starts() else { break };
            if opened.next > 0 {
                self.turns.push_starts(opened.flow, opened);
                continue;
            }
            self.uncount_waiting(&opened);
            let executions = opened.start_batch.len();
            remote.queued.fetch_add(executions, Ordering::Relaxed);
            opened.start_batch.version.usage.queued.fetch_add(executions, Ordering::Relaxed);
            remote.start_batches.push(opened.start_batch);
            remote.wakeup.wake();
        }
    }

    /// Whether an accepted start is in a partition that was released meanwhile, where it begins in another process.
    fn start_has_left(&mut self, opened: &Opened) -> bool {
        let Some(durability) = &self.shared.durability else { return false };
        let start_batch = &opened.start_batch;
        let Some(ledger) = start_batch.reply.start_identity().ledger() else { return false };
        if durability.lasts(ledger.id, ledger.tenure) {
            return false;
        }
        durability.absent.fetch_add(1, Ordering::Relaxed);
        let charged = start_batch.text.len() + start_batch.reply.start_identity().entry_bytes();
        self.shared.admission.release(&start_batch.version.usage, 1, charged);
        self.made_room = true;
        true
    }

    fn begin(&mut self, opened: &mut Opened) {
        let (n, from) = (opened.next, opened.at);
        let to = opened.start_batch.ends.get(n).map_or(opened.start_batch.text.len(), |&end| end as usize);
        (opened.next, opened.at) = (n + 1, to);
        let watch = opened.start_batch.watch.take();
        let flow = opened.flow;
        let StartBatch { version, text, reply, number, seed, .. } = &opened.start_batch;
        let mut buffer = self.worker_scratch.buffer();
        buffer.watch = watch;
        buffer.execution.reset();
        if reply.start_identity().ledger().is_some() {
            buffer.forget_staged();
            let arn = reply.start_identity().names().arn.expect("a durable execution has an ARN");
            start_base(&mut buffer.recorded, arn, &text[from..to]);
        }
        buffer.identify(version, reply.start_identity().names());
        let (event, input) = match json::read(&mut buffer.execution.arena, &text[from..to]) {
            // Its history and its redrive need the input, too.
            Ok(input) => (reply.begin().map_or(Event::Go, Event::Abort), input),
            Err(_) if let Some(fault) = reply.begin() => (Event::Abort(fault), Value::NULL),
            Err(error) => {
                let cause = format!("The execution's input {}: {error}", error.verdict());
                (Event::Fail(Fault::new(fault::RUNTIME, cause)), Value::NULL)
            }
        };
        let seed = seed.unwrap_or_else(|| self.shared.seed(number.wrapping_add(n as u64)));
        let requested_ms = reply.start_identity().label.as_ref().and_then(|label| label.requested_ms);
        let start = Start {
            seed,
            now_ms: self.now_ms,
            ahead_ms: clock::not_before(self.ahead_ms, self.now_ms, requested_ms),
            seconds_max: version.seconds_max,
            ..self.shared.start
        };
        buffer.execution.begin(&version.program, &start, input);
        let trace_header =
            reply.start_identity().label.as_ref().and_then(|label| label.trace_header.as_deref());
        if may_be_watched(&self.shared, version, trace_header) {
            buffer.observe(&self.shared, &mut self.log_buffer, version, trace_header);
        }
        let deadline_ms = buffer.execution.deadline_ms();
        self.spend(flow, START_WORK + (to - from) as u64);
        let mut job = Job { version, reply, flow, buffer, key: None, pending: PendingOps::default() };
        let drove = self.drive(&mut job, Work::Event(event));
        let drove = self.recorded(&mut job, drove);
        let Job { buffer, key, mut pending, .. } = job;
        if !is_over(&drove) {
            let key = key.unwrap_or_else(|| self.residents.reserve());
            return self.move_in(key, opened, n, to - from, pending, buffer, deadline_ms, drove);
        }
        let is_bug = matches!(drove, Err(Stopped::Bug));
        if let Some(key) = key {
            self.disarm_all(&mut pending, key, is_bug);
            self.residents.release(key);
        }
        let charged = to - from + opened.start_batch.reply.start_identity().entry_bytes();
        self.end_started(opened, n, buffer, is_bug, charged);
    }

    #[allow(clippy::too_many_arguments)]
    fn move_in(
        &mut self,
        key: Key,
        opened: &Opened,
        n: usize,
        bytes: usize,
        pending: PendingOps,
        buffer: Box<ExecutionBuffer>,
        deadline_ms: u64,
        drove: Drove,
    ) {
        let Opened { start_batch, flow, .. } = opened;
        let flow = *flow;
        let reply = match &start_batch.reply {
            Reply::Batch(batch, first) => Reply::Batch(Arc::clone(batch), first + n as u32),
            reply => reply.clone(),
        };
        let (due_before, due_after) = self.join_queue(key.slot, deadline_ms);
        let charged = u32::try_from(bytes + reply.start_identity().entry_bytes()).unwrap_or(u32::MAX);
        let (version, body) = (Arc::clone(&start_batch.version), Body::Packed(Box::default()));
        let mut resident = Resident {
            version,
            body,
            reply,
            pending,
            deadline_ms,
            due_before,
            due_after,
            charged,
            flow,
            is_queued: false,
            is_idle: false,
            watch: None,
        };
        self.turns.join(flow);
        self.settle(key, &mut resident, buffer, drove);
        if let Some(fault) = resident.reply.park(self.place(key)) {
            self.remote.send(ShardMessage::Abort(key, fault));
        }
        self.residents.put(key, resident);
    }
}
