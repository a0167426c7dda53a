//! How executions begin.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Body, Job, Opened, Resident, STARTS_PER_TURN, Shard, TRANSITIONS_PER_TURN};
use crate::engine::{Event, Start, Turn};
use crate::fault::{self, Fault};
use crate::json::{self, Value};
use crate::runtime::admission::ENTRY_BYTES;
use crate::runtime::arms::Arms;
use crate::runtime::inbox::{Mail, Parcel};
use crate::runtime::seat::Seat;
use crate::runtime::showing::may_be_watched;
use crate::runtime::slab::Key;
use crate::runtime::ticket::Reply;

impl Shard {
    pub(super) fn begin_some(&mut self) {
        let mut begun = 0;
        while begun < STARTS_PER_TURN && self.transitions < TRANSITIONS_PER_TURN {
            let Some(mut opened) = self.parcel.take().or_else(|| self.open_parcel()) else { break };
            let before = opened.next;
            self.began_us = self.shared.elapsed_us();
            while opened.next < opened.parcel.len()
                && begun < STARTS_PER_TURN
                && self.transitions < TRANSITIONS_PER_TURN
            {
                self.begin(&mut opened);
                begun += 1;
            }
            let ran = opened.next - before;
            self.tell_parcel(&mut opened, ran);
            if opened.next < opened.parcel.len() {
                self.parcel = Some(opened);
            }
        }
    }

    /// The next parcel: of its own, or one that nobody else has opened.
    fn open_parcel(&mut self) -> Option<Opened> {
        let own = self.remote.take_parcel();
        let parcel = own.or_else(|| {
            let (before, after) = self.shared.remotes.split_at(usize::from(self.index));
            let stolen = after.iter().skip(1).chain(before).find_map(|remote| remote.take_parcel())?;
            self.remote.gauges.steals.fetch_add(1, Ordering::Relaxed);
            Some(stolen)
        })?;
        Some(Opened::new(parcel))
    }

    fn begin(&mut self, opened: &mut Opened) {
        let (n, from) = (opened.next, opened.at);
        let to = opened.parcel.ends.get(n).map_or(opened.parcel.text.len(), |&end| end as usize);
        (opened.next, opened.at) = (n + 1, to);
        let watch = opened.parcel.watch.take();
        let Parcel { version, text, reply, seed, .. } = &opened.parcel;
        let mut seat = self.bench.seat();
        seat.watch = watch;
        seat.x.reset();
        seat.identify(version, reply.called().names());
        let (event, input) = match json::read(&mut seat.x.arena, &text[from..to]) {
            _ if let Reply::One(ticket) = reply
                && let Some(fault) = ticket.begin() =>
            {
                (Event::Abort(fault), Value::NULL)
            }
            Ok(input) => (Event::Go, input),
            Err(error) => {
                let cause = format!("The execution's input is not JSON: {error}");
                (Event::Fail(Fault::new(fault::RUNTIME, cause)), Value::NULL)
            }
        };
        let seed = self.shared.seed(seed.wrapping_add(n as u64));
        let start =
            Start { seed, now_ms: self.now_ms, seconds_max: version.seconds_max, ..self.shared.start };
        seat.x.begin(&version.program, &start, input);
        let trace_header = reply.called().label.as_ref().and_then(|label| label.trace_header.as_deref());
        if may_be_watched(&self.shared, version, trace_header) {
            seat.observe(&self.shared, &mut self.scribe, version, trace_header);
        }
        let mut job = Job { version, called: reply.called(), seat, key: None, arms: Arms::default() };
        let turn = self.drive(&mut job, event);
        let Job { seat, key, mut arms, .. } = job;
        if let Ok(turn @ (Turn::Parked | Turn::Yielded)) = turn {
            let key = key.unwrap_or_else(|| self.residents.reserve());
            return self.move_in(key, &opened.parcel, n, to - from, arms, seat, turn == Turn::Yielded);
        }
        if let Some(key) = key {
            self.disarm_all(&mut arms, key, turn.is_err());
            self.residents.release(key);
        }
        self.end_started(opened, n, seat, turn.is_err(), to - from + ENTRY_BYTES);
    }

    #[allow(clippy::too_many_arguments)]
    fn move_in(
        &mut self,
        key: Key,
        parcel: &Parcel,
        n: usize,
        bytes: usize,
        arms: Arms,
        seat: Box<Seat>,
        goes_on: bool,
    ) {
        let reply = match &parcel.reply {
            Reply::Batch(batch, first) => Reply::Batch(Arc::clone(batch), first + n as u32),
            reply => reply.clone(),
        };
        let deadline_ms = seat.x.deadline_ms();
        let (due_before, due_after) = self.join_queue(key.slot, deadline_ms);
        let billed = u32::try_from(bytes + ENTRY_BYTES).unwrap_or(u32::MAX);
        let (version, body) = (Arc::clone(&parcel.version), Body::Packed(Box::default()));
        let mut resident =
            Resident { version, body, reply, arms, deadline_ms, due_before, due_after, billed, watch: None };
        self.settle(key, &mut resident, seat, goes_on);
        if let Reply::One(ticket) = &resident.reply
            && let Some(fault) = ticket.park(self.place(key))
        {
            self.remote.send(Mail::Abort(key, fault));
        }
        self.residents.put(key, resident);
    }
}
