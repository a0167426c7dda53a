//! The inputs of a Map Run's children: from the state's own items, or from its `ItemReader`.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::super::drive::TurnScratch;
use super::super::errand::{Allowance, Errand, Place, Ticket};
use super::super::machine::Version;
use super::dataset::Reader;
use super::holding::{Bounds, Hold};
use super::{Batcher, Holding, Setup};
use crate::engine::{self, Execution, Item, MapRunRequest, TaskCall, Token};
use crate::fault::{self, Fault};
use crate::fuel::Fuel;
use crate::json::{self, Arena};
use crate::limits;
use crate::program::Distributed;
use crate::random;

/// The input of a child.
#[derive(Debug)]
pub(super) struct Input {
    /// JSON text.
    pub(super) text: Vec<u8>,
    pub(super) share: Share,
}

/// The items of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// The index of the child.
    pub(super) index: u64,
    /// How many there are.
    pub(super) items: u32,
    /// The checksum of those that were read, by which they are recognized after a restart.
    pub(super) mark: u32,
}

/// What an earlier process recorded of a child.
#[derive(Clone, Copy, Default)]
struct Known {
    /// How many items it has; 0, when nothing is known.
    items: u32,
    /// Set when it is over.
    mark: Option<u32>,
}

/// The next input.
pub(super) enum Next {
    Input(Input),
    /// The task is woken when there may be one.
    Later,
    Over,
}

/// Items of ended children that are skipped before it yields.
const SKIPS_MAX: u32 = 1_024;
/// Work of an item beside its bytes, and of reading a byte of JSON.
const ITEM_WORK: u64 = 300;
const BYTE_WORK: u64 = 8;

/// Makes an item into an input.
struct Maker {
    version: Arc<Version>,
    /// The execution's copy from which inputs are made.
    execution: Execution,
    scratch: TurnScratch,
    token: Token,
    ahead_ms: i64,
}

/// An item.
enum Subject {
    /// Of the state's items.
    At(u32),
    /// That was read, with its text and its place.
    Read(u32, Vec<u8>, Option<String>),
}

/// The maker again, and what it made: JSON text. `None` if it was cut.
type Made = (Box<Maker>, Result<Vec<u8>, Option<Fault>>);

/// Makes inputs, one after the other.
pub(super) struct Inputs {
    /// Away while an item is being made into an input, which may take several polls.
    maker: Option<Box<Maker>>,
    making: Option<(Errand<Made>, Place)>,
    /// What is to be made as soon as there is a place for it.
    subject: Option<Subject>,
    ticket: Ticket,
    /// The work that may be done in one poll.
    allowance: Rc<Allowance>,
    /// The memory of the maker, and what any Map Run has.
    hold: Hold,
    _base: Holding,
    /// The number of the state's items, and how many were made into inputs.
    count: u32,
    next: u32,
    reader: Option<Reader>,
    /// Where items that become inputs unchanged are checked.
    check: Arena,
    /// Whether inputs differ from the items.
    selects: bool,
    batcher: Option<Batcher>,
    /// Of the child whose input is being made.
    share: Share,
    /// Children of an earlier process, and the version of the data then.
    known: Vec<Known>,
    source: Option<String>,
    new_version: Option<String>,
    /// Whether the version of the data was checked.
    is_checked: bool,
    /// Whether checksums of items are needed.
    is_durable: bool,
    mark: u32,
    /// Those that could not be started yet.
    back: VecDeque<Input>,
    /// An item that is being made into an input.
    text: Vec<u8>,
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
        let allowance = Rc::<Allowance>::default();
        let count = if request.items.is_undefined() { 0 } else { request.items.len() as u32 };
        let reader = distributed.reader.as_ref().map(|reader| {
            let arguments = super::arguments(execution, request.reader);
            let stores = Arc::clone(&setup.stores);
            let bounds = Bounds {
                allowance: Rc::clone(&allowance),
                hold: Holding::hold(setup),
                #[cfg(feature = "parquet")]
                background: setup.background(),
            };
            Reader::new(reader, arguments, request.items_max, stores, bounds)
        });
        let maker = Maker {
            execution: engine::for_items(execution, call.token),
            version,
            scratch: TurnScratch::default(),
            token: call.token,
            ahead_ms: setup.ahead_ms,
        };
        Inputs {
            maker: Some(Box::new(maker)),
            making: None,
            subject: None,
            ticket: Ticket::new(),
            allowance,
            hold: Holding::hold(setup),
            _base: Holding::base(setup),
            reader,
            check: Arena::new(),
            selects,
            count,
            next: 0,
            batcher,
            share: Share::default(),
            known: Vec::new(),
            source: None,
            new_version: None,
            is_checked: false,
            is_durable: setup.durability.is_some(),
            mark: 0,
            back: VecDeque::new(),
            text: Vec::new(),
            is_over: false,
        }
    }

    /// Another poll of the Map Run begins.
    pub(super) fn begin_poll(&self) {
        self.allowance.renew();
    }

    /// Whether all inputs were made, and started.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.back.is_empty()
    }

    /// Whether a child may have several items.
    pub(super) fn is_batched(&self) -> bool {
        self.batcher.is_some()
    }

    /// They are returned to be started before all others.
    pub(super) fn give_back(&mut self, inputs: Vec<Input>) {
        inputs.into_iter().rev().for_each(|input| self.back.push_front(input));
    }

    /// An earlier process started this child.
    pub(super) fn was_begun(&mut self, share: Share) {
        self.known(share).items = share.items;
    }

    /// A child ended in an earlier process: it is not started again.
    pub(super) fn was_over(&mut self, share: Share) {
        *self.known(share) = Known { items: share.items, mark: Some(share.mark) };
    }

    fn known(&mut self, share: Share) -> &mut Known {
        // At most as many as the file of the Map Run has entries.
        let index = share.index as usize;
        if self.known.len() <= index {
            self.known.resize(index + 1, Known::default());
        }
        &mut self.known[index]
    }

    /// The version of the data in an earlier process.
    pub(super) fn was_read(&mut self, version: String) {
        self.source = Some(version);
    }

    /// The version of the data, once, if no earlier process knew it.
    pub(super) fn new_version(&mut self) -> Option<String> {
        self.new_version.take()
    }

    pub(super) fn next(&mut self, context: &mut Context<'_>, now_ms: u64) -> Result<Next, Fault> {
        if let Some(input) = self.back.pop_front() {
            return Ok(Next::Input(input));
        }
        for _ in 0..SKIPS_MAX {
            if self.allowance.is_spent() {
                break;
            }
            self.allowance.charge(ITEM_WORK);
            let known = self.known.get(self.share.index as usize).copied().unwrap_or(Known::default());
            match self.poll_item(context, now_ms, known.mark.is_some())? {
                Poll::Pending => return Ok(Next::Later),
                Poll::Ready(false) => {
                    self.is_over = true;
                    let made = self.share.index + u64::from(self.share.items > 0);
                    if self.share.items < known.items || made < self.known.len() as u64 {
                        return Err(changed("items that were there are gone"));
                    }
                    let last = self.batcher.as_mut().and_then(Batcher::finish);
                    return Ok(last.map_or(Next::Over, |text| Next::Input(self.end_share(text))));
                }
                Poll::Ready(true) if known.mark.is_some() => self.skipped(known)?,
                Poll::Ready(true) => {
                    if let Some(input) = self.batched(known.items)? {
                        return Ok(Next::Input(input));
                    }
                }
            }
        }
        // Yields.
        context.waker().wake_by_ref();
        Ok(Next::Later)
    }

    /// One more item of an ended child.
    fn skipped(&mut self, known: Known) -> Result<(), Fault> {
        self.share.add(self.mark);
        if self.share.items < known.items {
            return Ok(());
        }
        let share = self.share;
        self.share = Share::at(share.index + 1);
        if known.mark == Some(share.mark) { Ok(()) } else { Err(changed("its items are others")) }
    }

    /// Makes an item into the text of an input, unless it belongs to an ended child; false at the end.
    fn poll_item(
        &mut self,
        context: &mut Context<'_>,
        now_ms: u64,
        is_skipped: bool,
    ) -> Poll<Result<bool, Fault>> {
        if self.making.is_some() {
            return self.poll_made(context);
        }
        if let Some(subject) = self.subject.take() {
            return self.make(context, now_ms, subject);
        }
        if self.next < self.count {
            let at = self.next;
            self.next += 1;
            return if is_skipped {
                Poll::Ready(Ok(true))
            } else {
                self.make(context, now_ms, Subject::At(at))
            };
        }
        let Some(mut reader) = self.reader.take() else { return Poll::Ready(Ok(false)) };
        let read = self.read_with(context, &mut reader, now_ms, is_skipped);
        // It is not polled again after its end.
        self.reader = matches!(read, Poll::Pending | Poll::Ready(Ok(true))).then_some(reader);
        read
    }

    fn read_with(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut Reader,
        now_ms: u64,
        is_skipped: bool,
    ) -> Poll<Result<bool, Fault>> {
        let mut item = std::mem::take(&mut self.text);
        if !ready!(reader.poll_next(context, &mut item))? {
            return Poll::Ready(Ok(false));
        }
        self.check_version(reader)?;
        if self.is_durable {
            self.mark = checksum(&item);
        }
        let at = self.next;
        self.next += 1;
        if is_skipped {
            self.text = item;
        } else if self.selects {
            let place = reader.place().map(str::to_owned);
            return self.make(context, now_ms, Subject::Read(at, item, place));
        } else if is_too_large(&item) {
            return Poll::Ready(Err(too_large()));
        } else {
            self.allowance.charge(BYTE_WORK * item.len() as u64);
            self.check.clear();
            json::read(&mut self.check, &item).map_err(|error| not_json(at, &error))?;
            self.text = item;
        }
        Poll::Ready(Ok(true))
    }

    /// Makes an item into the text of an input.
    fn make(
        &mut self,
        context: &mut Context<'_>,
        now_ms: u64,
        subject: Subject,
    ) -> Poll<Result<bool, Fault>> {
        let Some(mut maker) = self.maker.take() else { unreachable!("one item is made after the other") };
        (self.hold)(maker.execution.arena.capacity_bytes())?;
        let Some(place) = self.ticket.place(&maker.version.usage, context.waker()) else {
            (self.maker, self.subject) = (Some(maker), Some(subject));
            return Poll::Pending;
        };
        let errand = Errand::new(move |fuel| {
            let made = maker.make(now_ms, subject, fuel);
            (maker, made)
        })?;
        self.making = Some((errand, place));
        self.poll_made(context)
    }

    /// Goes on with what is being made.
    fn poll_made(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Fault>> {
        let Some((making, _)) = &mut self.making else { unreachable!("it was begun") };
        let Some((maker, made)) = making.go_on(&self.allowance) else {
            context.waker().wake_by_ref();
            return Poll::Pending;
        };
        (self.maker, self.making) = (Some(maker), None);
        match made {
            Ok(text) => {
                self.text = text;
                Poll::Ready(Ok(true))
            }
            Err(Some(fault)) => Poll::Ready(Err(fault)),
            Err(None) => unreachable!("what is cut is not asked for its result"),
        }
    }

    /// The data that an earlier process began to read must be the same now.
    fn check_version(&mut self, reader: &Reader) -> Result<(), Fault> {
        if self.is_checked {
            return Ok(());
        }
        self.is_checked = true;
        let now = reader.version();
        match &self.source {
            None => self.new_version = now,
            Some(before) if now.as_ref() == Some(before) => {}
            Some(before) => {
                let now = now.as_deref().unwrap_or("unknown");
                return Err(changed(&format!("its version was {before}, and is {now}")));
            }
        }
        Ok(())
    }

    /// A single item, or the batch that it completes: of `known_items`, if that is not 0.
    fn batched(&mut self, known_items: u32) -> Result<Option<Input>, Fault> {
        if is_too_large(&self.text) {
            return Err(too_large());
        }
        let Some(batcher) = &mut self.batcher else {
            self.share.add(self.mark);
            let text = std::mem::take(&mut self.text);
            return Ok(Some(self.end_share(text)));
        };
        if known_items > 0 {
            batcher.push(&self.text);
            self.share.add(self.mark);
            let batch = if self.share.items >= known_items { batcher.finish() } else { None };
            return Ok(batch.map(|text| self.end_share(text)));
        }
        let before = batcher.add(&self.text);
        let before = before.map(|text| self.end_share(text));
        self.share.add(self.mark);
        Ok(before)
    }

    /// This text has all items of a child; the next child's begin.
    fn end_share(&mut self, text: Vec<u8>) -> Input {
        let share = self.share;
        self.share = Share::at(share.index + 1);
        Input { text, share }
    }
}

/// The checksum of an item's bytes. Not cryptographic: it need not resist collisions on purpose.
fn checksum(item: &[u8]) -> u32 {
    crc32c::crc32c(item)
}

fn changed(how: &str) -> Fault {
    let cause = format!("The data changed since the Map Run began to read it: {how}");
    Fault::new(fault::ITEM_READER_FAILED, cause)
}

fn is_too_large(item: &[u8]) -> bool {
    item.len() > limits::PAYLOAD_BYTES_MAX as usize
}

fn too_large() -> Fault {
    let cause = "An item is larger than the maximum number of bytes of an execution's input.";
    Fault::new(fault::DATA_LIMIT_EXCEEDED, cause)
}

impl Maker {
    /// The text of an item's input.
    fn make(&mut self, now_ms: u64, subject: Subject, fuel: &Fuel<'_>) -> Result<Vec<u8>, Option<Fault>> {
        let mut env = self.scratch.env(now_ms, 0, fuel);
        env.ahead_ms = self.ahead_ms;
        env.random = Some(random::next);
        let item = |execution: &mut Execution| match subject {
            Subject::At(at) => Ok(Item::At(at)),
            Subject::Read(at, text, place) => {
                let goes_on = |bytes: usize| fuel.charge(BYTE_WORK * bytes as u64).is_ok();
                let value = json::read_in_pieces(&mut execution.arena, &text, goes_on)
                    .map_err(|error| not_json(at, &error))?;
                Ok(match place {
                    Some(place) => Item::ReadFrom(at, value, execution.arena.string(&place)),
                    None => Item::Read(at, value),
                })
            }
        };
        let program = &self.version.program;
        let value = engine::item_input(program, &mut self.execution, self.token, item, &mut env)?;
        let arena = &self.execution.arena;
        // A value may print as much more than it takes.
        if arena.size(value) > limits::PAYLOAD_BYTES_MAX {
            return Err(Some(too_large()));
        }
        let mut text = Vec::new();
        json::write(arena, value, &mut text);
        fuel.note(text.len() as u64);
        Ok(text)
    }
}

impl Share {
    fn at(index: u64) -> Share {
        Share { index, ..Share::default() }
    }

    /// One more item, with this checksum.
    fn add(&mut self, mark: u32) {
        self.items += 1;
        self.mark = self.mark.rotate_left(1) ^ mark;
    }
}

fn not_json(at: u32, error: &json::ReadError) -> Fault {
    Fault::new(fault::ITEM_READER_FAILED, format!("The item {at} {}: {error}", error.verdict()))
}
