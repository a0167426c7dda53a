//! Distributed Map states: the Map Run, whose child executions are not part of this one, is a task of the state
//! (developer guide, "Using Map state in Distributed mode").

use super::context::MapItem;
use super::effect::{Effect, TaskCall};
use super::execution::{Execution, Phase, UNLIMITED};
use super::identity::Token;
use super::record::EventKind;
use super::run::{QueryInputs, Run, StateError};
use super::state::too_large;
use super::turn::Env;
use crate::fault::{self, Fault};
use crate::json::Value;
use crate::limits;
use crate::program::{Distributed, Items, Map, MapId, Program, Seconds, StateKind};

/// The request of a Map Run. The values are in the execution's arena.
#[derive(Clone, Copy, Debug)]
pub struct MapRunRequest {
    /// Its ARN.
    pub arn: Value,
    /// An array or object of items; `Undefined` if they are read.
    pub items: Value,
    /// The arguments of `ItemReader`; `Undefined` without any.
    pub reader: Value,
    /// The arguments of `ResultWriter`; `Undefined` without any.
    pub writer: Value,
    /// `BatchInput`, `Undefined` without it.
    pub batch_input: Value,
    /// Where the items come from: `Map.Item.Source`.
    pub source: Value,
    /// `MaxItems`: negative is refused by the Map Run, and 0 is no limit.
    pub items_max: i64,
    /// `MaxItemsPerBatch`; 0 is no limit.
    pub batch_items_max: u64,
    /// `MaxInputBytesPerBatch`; 0 is no limit.
    pub batch_bytes_max: u64,
    /// `MaxConcurrency`; 0 is no limit.
    pub concurrency_max: u64,
    /// `ToleratedFailureCount`; 0 and absent are the same.
    pub tolerated_count: u64,
    /// `ToleratedFailurePercentage`; 0 and absent are the same.
    pub tolerated_percentage: f64,
    /// How often it was redriven.
    pub redrives: u32,
}

/// The members of a request, which the frame holds as an array.
const MEMBERS: usize = 13;
/// The members of one that is never redriven: an earlier release has written them.
const MEMBERS_BEFORE_REDRIVES: usize = 12;

impl MapRunRequest {
    fn read(execution: &Execution, value: Value) -> MapRunRequest {
        let arena = &execution.arena;
        let &[arn, items, reader, writer, batch_input, source, ref numbers @ ..] = arena.items(value) else {
            unreachable!("a request begins with values");
        };
        let number = |n: usize| match numbers.get(n).and_then(|&number| arena.as_f64(number)) {
            Some(number) => number,
            None => unreachable!("a request has all of its numbers"),
        };
        // They were written as counts.
        let count = |n: usize| number(n) as u64;
        let none = |value: Value| if value.is_null() { Value::UNDEFINED } else { value };
        MapRunRequest {
            arn,
            items: none(items),
            reader: none(reader),
            writer: none(writer),
            batch_input: arena.item(batch_input, 0).unwrap_or(Value::UNDEFINED),
            source: none(source),
            items_max: number(0) as i64,
            batch_items_max: count(1),
            batch_bytes_max: count(2),
            concurrency_max: count(3),
            tolerated_count: count(4),
            tolerated_percentage: number(5),
            redrives: if arena.items(value).len() > MEMBERS_BEFORE_REDRIVES { count(6) as u32 } else { 0 },
        }
    }
}

impl Execution {
    /// The request of a distributed Map's Map Run, by its token.
    pub fn map_run(&self, token: Token) -> MapRunRequest {
        assert!(self.is_current(token), "a Map Run is started in its visit");
        MapRunRequest::read(self, self.frames[token.frame as usize].credentials)
    }
}

impl Run<'_, '_> {
    /// Enters a distributed Map.
    pub(super) fn distributed_map(
        &mut self,
        frame: u32,
        map: MapId,
        distributed: &Distributed,
    ) -> Result<(), StateError> {
        self.execution.visits = self.execution.visits.wrapping_add(1);
        self.execution.frames[frame as usize].visit = self.execution.visits;
        let row = &self.program.maps[map];
        let effective = self.filtered_input(frame)?;
        if self.execution.frames[frame as usize].credentials.is_array() {
            self.redriven_map_run(frame);
            self.map_run_begins(frame, distributed);
            return Ok(());
        }
        let items = match distributed.reader {
            // Recorded: AWS does not evaluate `ItemsPath` then.
            Some(_) => Value::NULL,
            None => match row.items {
                Items::NotInline => unreachable!("it is distributed"),
                items => self.items(frame, items, effective)?,
            },
        };
        let length = if items.is_null() { 0 } else { items.len() as u32 };
        self.chain(frame, EventKind::MapStateStarted { length });
        // Recorded: these are evaluated after the state has started.
        let request = self.map_run_request(frame, row, distributed, (effective, items))?;
        let arn = MapRunRequest::read(self.execution, request).arn;
        self.chain(frame, EventKind::MapRunStarted { map_run: arn });
        self.execution.frames[frame as usize].credentials = request;
        self.map_run_begins(frame, distributed);
        Ok(())
    }

    /// The Map Run that was not over, or failed, when the execution ended goes on, with the same request.
    fn redriven_map_run(&mut self, frame: u32) {
        let before = self.execution.frames[frame as usize].credentials;
        let MapRunRequest { arn, redrives, .. } = MapRunRequest::read(self.execution, before);
        let count = redrives + 1;
        let arena = &mut self.execution.arena;
        let mut members = arena.items(before).to_vec();
        members.truncate(MEMBERS_BEFORE_REDRIVES);
        members.push(Value::int(i64::from(count)));
        self.execution.frames[frame as usize].credentials = arena.array(&members);
        self.chain(frame, EventKind::MapRunRedriven { map_run: arn, count });
    }

    /// The frame waits for the Map Run whose request it has.
    fn map_run_begins(&mut self, frame: u32, distributed: &Distributed) {
        let (token, state) = (self.token(frame), self.state_id(frame));
        let here = &mut self.execution.frames[frame as usize];
        here.phase = Phase::Task;
        (here.is_begun, here.is_submitted) = (true, false);
        here.timeout_at_ms = u64::MAX;
        (here.timeout_ms, here.heartbeat_ms) = (UNLIMITED, UNLIMITED);
        let attempt = here.retries;
        self.env.effects.push(Effect::Task(TaskCall {
            token,
            task: distributed.task,
            state,
            attempt,
            timeout_seconds: None,
            heartbeat_seconds: None,
        }));
    }

    fn map_run_request(
        &mut self,
        frame: u32,
        row: &Map,
        distributed: &Distributed,
        (effective, items): (Value, Value),
    ) -> Result<Value, StateError> {
        let concurrency = self.concurrency_asked(frame, row.max_concurrency, effective)?;
        let tolerated_count = match row.tolerated_count {
            Some(count) => self.tolerated_count(frame, count, effective)?,
            None => 0,
        };
        let tolerated_percentage = match row.tolerated_percentage {
            Some(percentage) => self.tolerated_percentage(frame, percentage, effective)?,
            None => 0.0,
        };
        let inputs = QueryInputs::of(effective);
        let (reader, writer) = (distributed.reader.as_ref(), distributed.writer.as_ref());
        let (mut reader_arguments, mut writer_arguments) = (Value::NULL, Value::NULL);
        if let Some(template) = reader.and_then(|reader| reader.arguments) {
            reader_arguments = self.template(frame, template, inputs)?;
        }
        if let Some(template) = writer.and_then(|writer| writer.arguments) {
            writer_arguments = self.template(frame, template, inputs)?;
        }
        let mark = self.execution.arena.begin();
        let nothing = self.execution.arena.end_array(mark);
        let (mut batch_input, mut batch_items, mut batch_bytes) = (nothing, 0, 0);
        if let Some(batcher) = &distributed.batcher {
            if let Some(template) = batcher.batch_input {
                let input = self.template(frame, template, inputs)?;
                batch_input = self.execution.arena.array(&[input]);
            }
            batch_items = self.batch_bound(frame, batcher.items_max, effective, "MaxItemsPerBatch")?;
            batch_bytes =
                self.batch_bound(frame, batcher.input_bytes_max, effective, "MaxInputBytesPerBatch")?;
        }
        let items_max = match reader.and_then(|reader| reader.items_max) {
            Some(most) => self.items_max(frame, most, effective)?,
            None => 0,
        };
        let arn = self.map_run_arn(&distributed.label);
        let source = self.items_source(reader.is_some(), reader_arguments);
        let arena = &mut self.execution.arena;
        let count = |count: u64| Value::int(i64::try_from(count).unwrap_or(i64::MAX));
        let percentage = Value::float(tolerated_percentage);
        let members: [Value; MEMBERS] = [
            arn,
            items,
            reader_arguments,
            writer_arguments,
            batch_input,
            source,
            Value::int(items_max),
            count(batch_items),
            count(batch_bytes),
            count(concurrency),
            count(tolerated_count),
            percentage,
            Value::int(0),
        ];
        let request = arena.array(&members);
        self.check_memory(frame)?;
        Ok(request)
    }

    /// `Map.Item.Source`, null if the arguments of `ItemReader` name nothing: then the Map Run fails (measured of S3;
    /// developer guide, "Accessing execution data from the Context object").
    fn items_source(&mut self, is_read: bool, arguments: Value) -> Value {
        let arena = &mut self.execution.arena;
        if !is_read {
            return arena.string("STATE_DATA");
        }
        let argument = |name: &str| arena.get_str(arguments, name).and_then(|value| arena.as_str(value));
        let source = match (argument("Bucket"), argument("Key"), argument("Path")) {
            (Some(bucket), Some(key), _) => format!("s3://{bucket}/{key}"),
            (Some(bucket), None, _) => format!("s3://{bucket}"),
            (None, _, Some(path)) => path.to_owned(),
            (None, _, None) => return Value::NULL,
        };
        arena.string(&source)
    }

    /// `…:mapRun:<machine>/<label>:<uuid>`
    fn map_run_arn(&mut self, label: &str) -> Value {
        let uuid = super::identity::uuid(self.execution.random());
        let machine = self.execution.identity.state_machine_arn.replacen(":stateMachine:", ":mapRun:", 1);
        // The machine of a child of another Map Run already has a label.
        self.execution.arena.string(&format!("{machine}/{label}:{uuid}"))
    }

    /// A bound of `ItemBatcher`: 0 means no bound.
    fn batch_bound(
        &mut self,
        frame: u32,
        bound: Option<Seconds>,
        effective: Value,
        field: &str,
    ) -> Result<u64, StateError> {
        match bound {
            None => Ok(0),
            Some(Seconds::Literal(bound)) => Ok(bound),
            Some(Seconds::Expression(template)) => self.expression_seconds(frame, template, field),
            Some(Seconds::Path(path)) => {
                let value = self.path(frame, path, QueryInputs::of(effective))?;
                let bound = self.integer(frame, path, value, &format!("{field}Path"))?;
                u64::try_from(bound)
                    .map_err(|_| self.runtime(frame, &format!("{field} cannot be negative.")).into())
            }
        }
    }

    /// `MaxItems`. Recorded: a negative one fails the Map Run, and one that is too large counts as the largest.
    fn items_max(&mut self, frame: u32, most: Seconds, effective: Value) -> Result<i64, StateError> {
        let most = match most {
            Seconds::Literal(most) => i64::try_from(most).unwrap_or(i64::MAX),
            Seconds::Expression(template) => {
                i64::try_from(self.expression_seconds(frame, template, "MaxItems")?).unwrap_or(i64::MAX)
            }
            Seconds::Path(path) => {
                let value = self.path(frame, path, QueryInputs::of(effective))?;
                self.integer(frame, path, value, "MaxItemsPath")?
            }
        };
        Ok(most.min(limits::MAP_RUN_ITEMS_MAX))
    }

    /// The Map Run is over.
    pub(super) fn map_run_over(&mut self, frame: u32, result: Result<Value, Fault>) {
        let token = self.token(frame);
        self.env.effects.push(Effect::Cancel(token));
        self.execution.visits = self.execution.visits.wrapping_add(1);
        self.execution.frames[frame as usize].visit = self.execution.visits;
        match result {
            Ok(output) => {
                self.execution.frames[frame as usize].credentials = Value::UNDEFINED;
                self.map_run_succeeded(frame, output);
            }
            Err(fault) => {
                self.chain(frame, EventKind::MapRunFailed { fault: &fault });
                // If that ends the execution, its redrive goes on with this Map Run; a retry begins another one.
                self.failed(frame, fault);
                self.execution.frames[frame as usize].credentials = Value::UNDEFINED;
            }
        }
        self.resume(frame);
    }

    fn map_run_succeeded(&mut self, frame: u32, output: Value) {
        let last = self.execution.frames[frame as usize].last_event;
        // Measured: the next event follows the start of the Map Run.
        let run = self.emit(last, EventKind::MapRunSucceeded);
        if self.execution.arena.size(output) > limits::PAYLOAD_BYTES_MAX {
            let fault = too_large(self.program.name(self.state_id(frame)));
            return self.failed(frame, fault);
        }
        let succeeded = self.emit(run, EventKind::MapStateSucceeded);
        match self.leave_with(frame, output) {
            Ok(()) => {}
            Err(stop) => {
                if let StateError::Failed(_) = stop {
                    self.execution.frames[frame as usize].last_event = succeeded;
                }
                self.stopped(frame, stop);
            }
        }
    }
}

/// An item of a distributed Map.
#[derive(Clone, Copy, Debug)]
pub enum Item {
    /// The item at this index of the state's items.
    At(u32),
    /// An item that was read, with its index.
    Read(u32, Value),
    /// The same, of this [source](MapRunRequest::source).
    ReadFrom(u32, Value, Value),
}

/// Copies the part of an execution that is needed for the inputs of a Map Run's children.
pub fn for_items(execution: &Execution, token: Token) -> Execution {
    let mut copy = execution.clone();
    for (n, frame) in copy.frames.iter_mut().enumerate() {
        if n as u32 != token.frame {
            frame.phase = Phase::Free;
        }
    }
    copy.joins.clear();
    copy.clear_ready();
    // The rest of its arena is freed when the first item is made.
    copy.compact_beyond(0);
    copy
}

/// The input of a child, after `ItemSelector`: made in the copy from [`for_items`], and valid until the next call.
///
/// # Errors
/// Why the item's input cannot be made: then the Map Run fails. `None` when the work was cut.
pub fn item_input(
    program: &Program,
    execution: &mut Execution,
    token: Token,
    item: impl FnOnce(&mut Execution) -> Result<Item, Fault>,
    env: &mut Env<'_>,
) -> Result<Value, Option<Fault>> {
    let mut run = Run::new(program, execution, env);
    run.compact_if_grown();
    let item = item(run.execution)?;
    run.item_input(token, item).map_err(|stop| match stop {
        StateError::Failed(fault) | StateError::Evaluation { fault, .. } => Some(fault),
        StateError::Cut => None,
    })
}

impl Run<'_, '_> {
    fn item_input(&mut self, token: Token, item: Item) -> Result<Value, StateError> {
        let frame = token.frame;
        let StateKind::Map(map) = self.state(frame).kind else {
            unreachable!("the token is one of a distributed Map");
        };
        let request = MapRunRequest::read(self.execution, self.execution.frames[frame as usize].credentials);
        let source = match item {
            Item::ReadFrom(_, _, source) => source,
            _ => request.source,
        };
        let (index, key, value) = match item {
            Item::Read(index, value) | Item::ReadFrom(index, value, _) => (index, Value::UNDEFINED, value),
            Item::At(index) => {
                let arena = &self.execution.arena;
                let found = if request.items.is_object() {
                    arena.entry(request.items, index as usize)
                } else {
                    arena.item(request.items, index as usize).map(|value| (Value::UNDEFINED, value))
                };
                match found {
                    Some((key, value)) => (index, key, value),
                    None => unreachable!("it is one of the items"),
                }
            }
        };
        match self.program.maps[map].selector {
            Some(selector) => {
                let effective = self.execution.frames[frame as usize].effective;
                self.refuse_null(frame, selector, effective)?;
                let item = MapItem { index, value, key, source };
                let inputs = QueryInputs { item: Some(&item), ..QueryInputs::of(effective) };
                self.template(frame, selector, inputs)
            }
            None if !key.is_undefined() => Ok(self.pair(key, value)),
            None => Ok(value),
        }
    }
}

/// The fault of a Map whose result is too large.
pub fn too_large_result(state: &str) -> Fault {
    too_large(state)
}

/// The fault of a Map Run with more failed items than it tolerates.
pub fn threshold_exceeded() -> Fault {
    Fault::new(
        fault::EXCEED_TOLERATED_FAILURE_THRESHOLD,
        "The specified tolerated failure threshold was exceeded",
    )
}
