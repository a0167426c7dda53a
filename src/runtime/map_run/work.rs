//! A Map Run at work: inputs become children, and their outcomes are recorded and collected.

use std::collections::HashSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::children::{Amount, Children, Started, TOGETHER_BYTES_MAX};
use super::inputs::{Input, Inputs, Next, Share};
use super::log::{Entry, Log, MapRunResult, Past};
use super::results::{self, Results};
use super::{MapRun, MapRunSettings, Setup};
use crate::engine;
use crate::fault::{self, Fault};
use crate::limits;
use crate::random;
use crate::runtime::Status;
use crate::runtime::engine::Engine;

/// A Map Run at work.
pub(super) struct Work {
    pub(super) run: Arc<MapRun>,
    pub(super) setup: Rc<Setup>,
    pub(super) inputs: Inputs,
    pub(super) children: Children,
    pub(super) results: Results,
    /// Of a durable one.
    pub(super) log: Option<Log>,
    /// Children that are not kept, and did not succeed before the Map Run was redriven.
    pub(super) waiting: HashSet<u64>,
}

/// Children that are started before it yields.
const STARTS_MAX: usize = 256;
/// Bytes of an earlier process's entries that are read before it yields.
const PAST_BYTES: usize = 1 << 20;

impl Work {
    pub(super) async fn run(mut self, past: Option<Past>) -> MapRunResult {
        let before = match past {
            Some(past) => self.read_past(past).await,
            None => Ok(()),
        };
        let worked = match before {
            Ok(()) => self.work().await,
            Err(fault) => Err(fault),
        };
        if let Err(why) = worked {
            let Work { run, setup, mut inputs, mut results, children, .. } = self;
            // Children that still run are stopped. The outcomes of others are written before the Map Run fails.
            drop(children);
            if results.lists_pending()
                && why.error.as_deref() == Some(fault::EXCEED_TOLERATED_FAILURE_THRESHOLD)
            {
                let _ = list_pending(&run, &setup, &mut inputs, &mut results).await;
            }
            let _ = poll_fn(|context| results.poll_finish(context, &run)).await;
            return Err(why);
        }
        let Work { run, results, .. } = &mut self;
        poll_fn(|context| results.poll_finish(context, run)).await
    }

    /// Takes outcomes of children in an earlier process.
    async fn read_past(&mut self, mut past: Past) -> Result<(), Fault> {
        past.there(self.run.mark).await?;
        let mut bytes = 0;
        while let Some(entry) = past.next()? {
            if self.is_to_take(&entry, &past) {
                self.take(entry)?;
            }
            bytes += past.entry_bytes();
            if bytes > PAST_BYTES {
                bytes = 0;
                if let Some(log) = &mut self.log {
                    log.flush()?;
                }
                self.others_turn().await?;
            }
        }
        if let Some(log) = &mut self.log {
            log.goes_on_behind(&past)?;
        }
        Ok(())
    }

    /// Whether an entry counts. Of those of before a redrive, failures do not; the others are recorded once more.
    fn is_to_take(&mut self, entry: &Entry, past: &Past) -> bool {
        if !past.is_before_redrive() {
            return true;
        }
        if let Entry::Ended(end) = entry
            && end.status != Status::Succeeded
        {
            if !self.setup.keeps_children() {
                self.waiting.insert(end.share.index);
            }
            return false;
        }
        if let Some(log) = &mut self.log {
            log.again(past);
        }
        true
    }

    fn take(&mut self, entry: Entry) -> Result<(), Fault> {
        match entry {
            Entry::Source(version) => self.inputs.was_read(version),
            Entry::Begun(share) => self.inputs.was_begun(share),
            Entry::Settings(settings) => self.run.lock().settings = settings,
            Entry::Ended(end) => {
                self.inputs.was_over(end.share);
                let mut state = self.run.lock();
                state.items.begin(u64::from(end.share.items));
                state.executions.begin(1);
                state.items.end(end.status, u64::from(end.share.items));
                state.executions.end(end.status, 1);
                drop(state);
                self.results.add(end)?;
            }
        }
        Ok(())
    }

    /// Yields, and waits until there is room for collected results.
    async fn others_turn(&mut self) -> Result<(), Fault> {
        let mut had_turn = false;
        poll_fn(|context| {
            let written = match self.results.poll_write(context) {
                Err(fault) => return Poll::Ready(Err(fault)),
                Ok(written) => written,
            };
            if !std::mem::replace(&mut had_turn, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            written.map(Ok)
        })
        .await
    }

    async fn work(&mut self) -> Result<(), Fault> {
        loop {
            self.settle()?;
            let goes_on = poll_fn(|context| Poll::Ready(self.go_on(context))).await?;
            if self.children.running() == 0 && self.inputs.is_over() {
                return self.verdict();
            }
            self.children.changed(goes_on).await;
        }
    }

    /// Writes results and starts children. Whether more could be started at once.
    fn go_on(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        self.inputs.begin_poll();
        match self.results.poll_write(context)? {
            // No child begins without room for its result.
            Poll::Pending => Ok(false),
            Poll::Ready(()) => self.begin_children(context),
        }
    }

    /// Takes outcomes of children.
    fn settle(&mut self) -> Result<(), Fault> {
        let mut ended = self.children.take_ended();
        if !ended.is_empty() && self.setup.is_leaving() {
            // Their outcomes are unknown: the next process starts them once more.
            ended.retain(|end| !matches!(end.status, Status::Aborted | Status::TimedOut));
        }
        if let Some(log) = &mut self.log {
            ended.iter().for_each(|end| log.ended(end));
            log.flush()?;
        }
        if ended.is_empty() {
            return Ok(());
        }
        let mut state = self.run.lock();
        for end in &ended {
            state.items.end(end.status, u64::from(end.share.items));
            state.executions.end(end.status, 1);
        }
        drop(state);
        for end in ended {
            self.results.add(end)?;
        }
        self.verdict()
    }

    /// Fails if more children failed than are tolerated.
    fn verdict(&self) -> Result<(), Fault> {
        let mut state = self.run.lock();
        if self.inputs.is_over() {
            state.items.all_were_redriven();
            state.executions.all_were_redriven();
        }
        let failed = state.items.not_succeeded();
        let MapRunSettings { tolerated_count, tolerated_percentage, .. } = state.settings;
        let counts = tolerated_count > 0;
        let has_share = tolerated_percentage > 0.0;
        let by_count = counts && failed > tolerated_count;
        // The total for a percentage is known when all items are.
        let by_share = has_share
            && self.inputs.is_over()
            && failed as f64 * 100.0 > tolerated_percentage * state.items.total() as f64;
        if by_count || by_share || (failed > 0 && !counts && !has_share) {
            Err(engine::threshold_exceeded())
        } else {
            Ok(())
        }
    }

    /// Starts children as long as there is room. Whether more could be started at once.
    fn begin_children(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        let asked = self.run.lock().settings.concurrency_max;
        let at_once = if asked == 0 { limits::MAP_RUN_CONCURRENCY_MAX } else { asked };
        let at_once = at_once.min(limits::MAP_RUN_CONCURRENCY_MAX);
        let Some(inner) = self.setup.engine.upgrade() else {
            // The engine is dropped, and this execution is about to be stopped.
            return Ok(false);
        };
        let engine = Engine { inner };
        if engine.shared().gate.is_closed() {
            // None begins any more, and this execution ends when the time for draining is over.
            return Ok(false);
        }
        if self.log.as_ref().is_some_and(|log| !log.is_written(context)) {
            // The journal does not take entries at present.
            return Ok(false);
        }
        let room = self.children.room(&engine, &self.setup, at_once);
        let room = usize::try_from(room).unwrap_or(STARTS_MAX).min(STARTS_MAX);
        if room == 0 {
            return Ok(false);
        }
        let (mut inputs, mut bytes, mut goes_on) = (Vec::with_capacity(room), 0, true);
        while inputs.len() < room && bytes < TOGETHER_BYTES_MAX as usize {
            match self.inputs.next(context, self.setup.now_ms)? {
                Next::Input(input) => {
                    bytes += input.text.len();
                    inputs.push(input);
                }
                Next::Later => {
                    goes_on = false;
                    break;
                }
                Next::Over => {
                    // The last batch may have come.
                    goes_on = !self.inputs.is_over();
                    break;
                }
            }
        }
        if inputs.is_empty() {
            return Ok(false);
        }
        self.write_begun(&inputs)?;
        let waiting = &self.waiting;
        let waited: Vec<(usize, Share)> = inputs
            .iter()
            .map(|input| input.share)
            .enumerate()
            .filter(|(_, share)| waiting.contains(&share.index))
            .collect();
        let Started { rest, begun, mut redriven } = self.start(context, &engine, inputs)?;
        // Those that began are the first ones.
        for (_, share) in waited.into_iter().filter(|&(at, _)| (at as u64) < begun.children) {
            self.waiting.remove(&share.index);
            redriven.add(share);
        }
        self.count_begun(begun, redriven);
        let is_refused = !rest.is_empty();
        self.inputs.give_back(rest);
        Ok(if is_refused {
            // There is room again when one of ours ends. Without any, others have to end, and the keeper of children
            // may count them: that is checked at intervals.
            self.children.running() == 0 && Children::are_kept(&engine, &self.setup)
        } else {
            goes_on
        })
    }

    fn count_begun(&self, begun: Amount, redriven: Amount) {
        let mut state = self.run.lock();
        state.executions.redrive(redriven.children);
        state.items.redrive(redriven.items);
        state.executions.begin(begun.children);
        state.items.begin(begun.items);
    }

    /// Records what is to begin, as far as it does not follow from the state.
    fn write_begun(&mut self, inputs: &[Input]) -> Result<(), Fault> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Some(version) = self.inputs.new_version() {
            log.source(&version);
        }
        if self.inputs.is_batched() {
            // A selector's result may be longer the next time, and fewer items be in a batch.
            inputs.iter().for_each(|input| log.begun(input.share));
        }
        log.flush()
    }

    /// Starts children. Without room for any, and without running ones that could free some, the task is woken when
    /// there is room.
    fn start(
        &mut self,
        context: &mut Context<'_>,
        engine: &Engine,
        inputs: Vec<Input>,
    ) -> Result<Started, Fault> {
        let wants_all = self.results.wants_all();
        let started = self.children.start(engine, &self.run, &self.setup, inputs, wants_all)?;
        if started.begun.children > 0
            || self.children.running() > 0
            || Children::are_kept(engine, &self.setup)
        {
            return Ok(started);
        }
        engine.shared().room.wait(context.waker());
        // The start of the whole batch was refused; a single child may still fit.
        let mut inputs = started.rest;
        let later = inputs.split_off(1);
        let mut started = self.children.start(engine, &self.run, &self.setup, inputs, wants_all)?;
        started.rest.extend(later);
        Ok(started)
    }
}

/// Lists the children that never begin, up to the end of the data or to what cannot be read or written.
async fn list_pending(
    run: &MapRun,
    setup: &Setup,
    inputs: &mut Inputs,
    results: &mut Results,
) -> Result<(), Fault> {
    let arn = run.machine_arn().replacen(":stateMachine:", ":execution:", 1);
    let mut together = 0;
    loop {
        let next = poll_fn(|context| {
            inputs.begin_poll();
            match results.poll_write(context) {
                Err(fault) => return Poll::Ready(Err(fault)),
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
            }
            if together >= STARTS_MAX {
                together = 0;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match inputs.next(context, setup.now_ms) {
                Err(fault) => Poll::Ready(Err(fault)),
                Ok(Next::Later) => Poll::Pending,
                Ok(next) => Poll::Ready(Ok(next)),
            }
        });
        match next.await? {
            Next::Input(input) => {
                let name = crate::uuid::text(random::next(), random::next());
                let name = String::from_utf8_lossy(&name);
                let text =
                    results::never_began(&format!("{arn}:{name}"), &name, &input.text, run.machine_arn());
                results.add_pending(&text);
                together += 1;
            }
            Next::Later => unreachable!("it is waited for"),
            Next::Over if inputs.is_over() => return Ok(()),
            // The last batch may have come.
            Next::Over => {}
        }
    }
}
