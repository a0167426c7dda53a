//! The inputs of a Map Run's children: from the state's own items, or from what its `ItemReader` reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::super::drive::TurnScratch;
use super::super::machine::Version;
use super::reader::Items;
use super::{Batcher, Setup};
use crate::engine::{self, Execution, Item, MapRunRequest, TaskCall, Token};
use crate::fault::{self, Fault};
use crate::fuel::Fuel;
use crate::json::{self, Arena};
use crate::limits;
use crate::program::{Distributed, Format};
use crate::random;
use crate::task::Handlers;
use crate::task::data::DataStore;

/// The input of a child.
#[derive(Debug)]
pub(crate) struct Input {
    /// JSON text.
    pub(crate) text: Vec<u8>,
    /// How many items it has.
    pub(crate) items: u32,
}

/// What comes next.
pub(super) enum Next {
    Input(Input),
    /// The task is woken when there may be one.
    Later,
    Over,
}

/// Makes inputs, one after the other.
pub(super) struct Inputs {
    version: Arc<Version>,
    /// What inputs are made of.
    execution: Execution,
    scratch: TurnScratch,
    token: Token,
    /// How many of the state's items there are, and how many were made into inputs.
    count: u32,
    next: u32,
    reader: Option<Reader>,
    /// Whether inputs are other than items that are read.
    selects: bool,
    batcher: Option<Batcher>,
    /// Those that could not be started yet.
    back: VecDeque<Input>,
    /// An item that is being made into an input.
    text: Vec<u8>,
    ahead_ms: i64,
    is_over: bool,
}

impl Inputs {
    pub(super) fn new(
        setup: &Setup,
        distributed: &Distributed,
        execution: &Execution,
        call: &TaskCall,
        request: &MapRunRequest,
    ) -> Inputs {
        let version = Arc::clone(&setup.parent);
        let maps = version.program.maps.iter();
        let selects = maps.into_iter().any(|(_, map)| {
            map.selector.is_some() && map.distributed.as_ref().is_some_and(|it| it.task == call.task)
        });
        let batcher = distributed.batcher.as_ref().map(|_| {
            let input = (!request.batch_input.is_undefined())
                .then(|| json::to_string(&execution.arena, request.batch_input).into_bytes());
            Batcher::new(input.as_deref(), request.batch_items_max, request.batch_bytes_max)
        });
        let count = if request.items.is_undefined() { 0 } else { request.items.len() as u32 };
        let reader = distributed.reader.as_ref().map(|reader| {
            let arguments = super::arguments(execution, request.reader);
            Reader {
                resource: reader.resource.clone(),
                format: reader.format.clone(),
                pointer: reader.pointer.clone(),
                arguments,
                items_max: request.items_max,
                stores: Arc::clone(&setup.stores),
                items: None,
                check: Arena::new(),
            }
        });
        Inputs {
            reader,
            selects,
            execution: engine::for_items(execution, call.token),
            version,
            scratch: TurnScratch::default(),
            token: call.token,
            count,
            next: 0,
            batcher,
            back: VecDeque::new(),
            text: Vec::new(),
            ahead_ms: setup.ahead_ms,
            is_over: false,
        }
    }

    /// Whether all inputs were made, and started.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.back.is_empty()
    }

    /// They are to come once more, before all others.
    pub(super) fn give_back(&mut self, inputs: Vec<Input>) {
        inputs.into_iter().rev().for_each(|input| self.back.push_front(input));
    }

    pub(super) fn next(&mut self, context: &mut Context<'_>, now_ms: u64) -> Result<Next, Fault> {
        if let Some(input) = self.back.pop_front() {
            return Ok(Next::Input(input));
        }
        while self.next < self.count {
            let at = self.next;
            self.next += 1;
            self.make(now_ms, |_| Ok(Item::At(at)))?;
            if let Some(input) = self.batched()? {
                return Ok(Next::Input(input));
            }
        }
        loop {
            match self.read(context, now_ms)? {
                Poll::Pending => return Ok(Next::Later),
                Poll::Ready(false) => break,
                Poll::Ready(true) => {}
            }
            if let Some(input) = self.batched()? {
                return Ok(Next::Input(input));
            }
        }
        self.is_over = true;
        Ok(self.batcher.as_mut().and_then(Batcher::finish).map_or(Next::Over, Next::Input))
    }

    /// Reads an item and makes it into the text of an input; false when there is none any more.
    fn read(&mut self, context: &mut Context<'_>, now_ms: u64) -> Poll<Result<bool, Fault>> {
        let Some(mut reader) = self.reader.take() else { return Poll::Ready(Ok(false)) };
        let read = self.read_with(context, &mut reader, now_ms);
        // When it is at its end it is not asked again.
        self.reader = matches!(read, Poll::Pending | Poll::Ready(Ok(true))).then_some(reader);
        read
    }

    fn read_with(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut Reader,
        now_ms: u64,
    ) -> Poll<Result<bool, Fault>> {
        let mut item = std::mem::take(&mut self.text);
        if !ready!(reader.poll_next(context, &mut item))? {
            return Poll::Ready(Ok(false));
        }
        let at = self.next;
        self.next += 1;
        if self.selects {
            self.make(now_ms, |execution| {
                let value = json::read(&mut execution.arena, &item).map_err(|error| not_json(at, &error))?;
                Ok(Item::Read(at, value))
            })?;
        } else {
            reader.check.clear();
            json::read(&mut reader.check, &item).map_err(|error| not_json(at, &error))?;
            self.text = item;
        }
        Poll::Ready(Ok(true))
    }

    /// Makes an item into the text of an input.
    fn make(
        &mut self,
        now_ms: u64,
        item: impl FnOnce(&mut Execution) -> Result<Item, Fault>,
    ) -> Result<(), Fault> {
        let fuel = Fuel::unlimited();
        let mut env = self.scratch.env(now_ms, 0, &fuel);
        env.ahead_ms = self.ahead_ms;
        env.random = Some(random::next);
        let program = &self.version.program;
        let value = engine::item_input(program, &mut self.execution, self.token, item, &mut env)?;
        self.text.clear();
        json::write(&self.execution.arena, value, &mut self.text);
        Ok(())
    }

    /// The item alone, or the batch that is full with it.
    fn batched(&mut self) -> Result<Option<Input>, Fault> {
        if self.text.len() > limits::PAYLOAD_BYTES_MAX as usize {
            let cause = "An item is larger than the maximum number of bytes of an execution's input.";
            return Err(Fault::new(fault::DATA_LIMIT_EXCEEDED, cause));
        }
        Ok(match &mut self.batcher {
            Some(batcher) => batcher.add(&self.text),
            None => Some(Input { text: std::mem::take(&mut self.text), items: 1 }),
        })
    }
}

/// Where items are read from.
struct Reader {
    resource: Box<str>,
    format: Format,
    pointer: Option<Box<str>>,
    arguments: serde_json::Value,
    items_max: i64,
    stores: Arc<Handlers<dyn DataStore>>,
    /// Opened when the first item is wanted.
    items: Option<Items>,
    /// Where items are looked through that become inputs as they are.
    check: Arena,
}

impl Reader {
    fn poll_next(&mut self, context: &mut Context<'_>, item: &mut Vec<u8>) -> Poll<Result<bool, Fault>> {
        let items = match &mut self.items {
            Some(items) => items,
            None => {
                let items = self.open()?;
                self.items.insert(items)
            }
        };
        items.poll_next(context, item)
    }

    fn open(&self) -> Result<Items, Fault> {
        let failed = |cause: String| Fault::new(fault::ITEM_READER_FAILED, cause);
        // Recorded.
        let positive = || failed("field MaxItems must be positive".to_owned());
        let items_max = u64::try_from(self.items_max).map_err(|_| positive())?;
        let store = self.stores.find(&self.resource);
        let nobody = || failed(format!("Nothing reads items of the resource {} here", self.resource));
        let data = store.ok_or_else(nobody)?.read(&self.arguments).map_err(failed)?;
        Items::new(data, &self.format, self.pointer.as_deref(), items_max)
    }
}

fn not_json(at: u32, error: &json::ReadError) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, format!("The item {at} {}: {error}", error.verdict()))
}
