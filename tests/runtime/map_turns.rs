//! Map Runs take turns: their items are read, unpacked and made into inputs in pieces, with others in between.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use expressway::asl::MachineType;
use expressway::runtime::{
    Budgets, Builder, Engine, Handle, Machine, MachineSpec, ManualTime, Simulation, Status,
};
use expressway::task::data::{DataStore, Sink, Source};
use serde_json::Value as Json;

use super::meter::busy_ns;
use super::required::step;

const NOW_MS: u64 = 1_700_000_000_000;
const RESOURCE: &str = "arn:aws:states:::s3:getObject";
/// Turns of a shard, each of about a millisecond of work.
const TURNS: u32 = 20;
/// Work that takes some ten milliseconds.
const LONG: &str = "$sum([1..200].($sum([1..200].($ * 2))))";

struct World {
    engine: Engine,
    simulation: Simulation,
}

/// A distributed Map with these fields, whose children end at once.
fn map(more: &str) -> String {
    format!(
        r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "End": true, {more}, "ItemProcessor": {{
            "ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}},
            "StartAt": "P", "States": {{"P": {{"Type": "Pass", "End": true}}}}}}}}}}}}"#
    )
}

/// One that reads its items.
fn reads(config: &str) -> String {
    map(&format!(
        r#""ItemReader": {{"Resource": "{RESOURCE}", "ReaderConfig": {config},
            "Parameters": {{"Bucket": "b", "Key": "k"}}}}"#
    ))
}

impl World {
    fn new(build: impl FnOnce(Builder) -> Builder) -> World {
        let builder = Engine::builder().seed(1).shards(1).time(ManualTime::at(NOW_MS));
        let (engine, simulation) = build(builder).simulate().unwrap();
        World { engine, simulation }
    }

    fn create(&self, name: &str, machine_type: MachineType, definition: &str) -> Machine {
        let role_arn = Some("arn:aws:iam::123456789012:role/r");
        self.engine
            .create(&MachineSpec { machine_type, role_arn, ..MachineSpec::new(name, definition) })
            .unwrap()
    }

    fn start(&self, definition: &str, input: &str) -> Handle {
        self.engine.start(&self.create("map", MachineType::Standard, definition), input).unwrap()
    }

    fn turns(&mut self, turns: u32) {
        for _ in 0..turns {
            self.simulation.shards()[0].turn(NOW_MS);
        }
    }

    /// One of another machine has its turn in time.
    fn others_have_their_turns(&mut self) {
        let other = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
        let other = self.create("other", MachineType::Express, other);
        for _ in 0..3 {
            let handle = self.engine.start(&other, "{}").unwrap();
            self.turns(TURNS);
            assert_eq!(handle.status(), Status::Succeeded);
        }
    }

    fn outcome(&mut self, handle: &mut Handle) -> String {
        self.simulation.settle(NOW_MS);
        match Pin::new(handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => match &outcome.fault {
                Some(fault) => format!("{fault:?}"),
                None => String::from_utf8_lossy(outcome.json()).into_owned(),
            },
            Poll::Pending => panic!("it does not come to its end"),
        }
    }
}

#[test]
fn items_that_take_long_to_make_keep_nobody_waiting() {
    let mut world = World::new(|builder| builder);
    let selector = format!(
        r#""QueryLanguage": "JSONata", "Items": "{{% [1..40] %}}", "ItemSelector": {{"n": "{{% {LONG} %}}"}}"#
    );
    let mut handle = world.start(&map(&selector), "{}");
    world.turns(TURNS);
    // In one turn all of them were made once.
    let begun = world.engine.counts().accepted;
    assert!((1..20).contains(&begun), "{begun} executions after {TURNS} turns");
    world.others_have_their_turns();
    assert_eq!(handle.status(), Status::Running);
    let items: Json = serde_json::from_str(&world.outcome(&mut handle)).expect("JSON");
    assert_eq!(items.as_array().map(Vec::len), Some(40));
    assert_eq!((&items[0]["n"], world.engine.usage()), (&Json::from(8_040_000), (0, 0)));
}

/// It is reached while an item is being made.
#[test]
fn a_map_run_is_stopped_while_an_item_is_made() {
    let mut world = World::new(|builder| builder);
    let selector = format!(
        r#""QueryLanguage": "JSONata", "Items": "{{% [1..4] %}}", "ItemSelector": {{"n": "{{% [1..50].({LONG}) %}}"}}"#
    );
    let handle = world.start(&map(&selector), "{}");
    world.turns(TURNS);
    assert_eq!((handle.status(), world.engine.counts().accepted), (Status::Running, 1));
    handle.abort();
    world.turns(2);
    assert_eq!((handle.status(), world.engine.usage()), (Status::Aborted, (0, 0)));
}

/// The same bytes again and again, as often as is said, behind a beginning.
#[derive(Clone)]
struct Endless {
    begin: &'static [u8],
    again: Arc<[u8]>,
    times: u64,
    end: &'static [u8],
    read: Arc<AtomicU64>,
}

struct Reading(Box<dyn Read>, Arc<AtomicU64>);

impl Source for Reading {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Relaxed);
        Poll::Ready(Ok(read))
    }
}

struct Again(Arc<[u8]>, usize, u64);

impl Read for Again {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Again(bytes, at, times) = self;
        if *times == 0 {
            return Ok(0);
        }
        let read = (&bytes[*at..]).read(buffer)?;
        *at += read;
        if *at == bytes.len() {
            (*at, *times) = (0, *times - 1);
        }
        Ok(read)
    }
}

impl DataStore for Endless {
    fn read(&self, _: &Json) -> Result<Box<dyn Source>, String> {
        let again = Again(Arc::clone(&self.again), 0, self.times);
        Ok(Box::new(Reading(Box::new(self.begin.chain(again).chain(self.end)), Arc::clone(&self.read))))
    }

    fn write(&self, _: &Json, _: &str) -> Result<Box<dyn Sink>, String> {
        Err("nothing is written".to_owned())
    }

    fn place(&self, _: &Json, _: &str) -> Json {
        Json::Null
    }
}

impl Endless {
    fn new(begin: &'static [u8], again: &[u8], times: u64, end: &'static [u8]) -> Endless {
        Endless { begin, again: again.into(), times, end, read: Arc::default() }
    }

    fn world(&self) -> World {
        let store = Arc::new(self.clone());
        World::new(|builder| builder.data_store(RESOURCE, store))
    }
}

/// What unpacks to a thousand times as much, and blanks without end, are read in pieces.
#[test]
fn data_without_items_keeps_nobody_waiting() {
    let blank = vec![b'\n'; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::Write::write_all(&mut gzip, &blank).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&*blank, 19).expect("memory");
    for (name, store, config) in [
        ("lines", Endless::new(b"", &blank, 1 << 40, b""), r#"{"InputType": "JSONL"}"#),
        ("gzip", Endless::new(b"", &gzip, 1 << 40, b""), r#"{"InputType": "JSONL"}"#),
        ("zstd", Endless::new(b"", &zstd, 1 << 40, b""), r#"{"InputType": "JSONL"}"#),
        ("array", Endless::new(b"[", &blank, 1 << 40, b"]"), r#"{"InputType": "JSON"}"#),
        (
            "rows",
            Endless::new(b"a,b\n", &blank, 1 << 40, b""),
            r#"{"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}"#,
        ),
    ]
    .into_iter()
    .step_by(step(2))
    {
        let mut world = store.world();
        let handle = world.start(&reads(config), "{}");
        world.others_have_their_turns();
        let read = store.read.load(Relaxed);
        assert!(
            handle.status() == Status::Running && read < 64 << 20,
            "{name}: {:?}, {read}",
            handle.status()
        );
        handle.abort();
        world.turns(2);
        assert_eq!((handle.status(), world.engine.usage()), (Status::Aborted, (0, 0)), "{name}");
    }
}

/// Packed data may have parts without any content.
#[test]
fn packed_data_without_content_keeps_nobody_waiting() {
    let member =
        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best()).finish().expect("memory");
    let frame = zstd::encode_all(io::empty(), 3).expect("memory");
    // RFC 1952 (2.3), RFC 1951 (3.2.4), and RFC 8878 (3.1.2).
    let begin = b"\x1F\x8B\x08\0\0\0\0\0\0\xFF";
    let (block, skipped) = (b"\0\0\0\xFF\xFF", b"\x50\x2A\x4D\x18\0\0\0\0");
    for (name, store) in [
        ("members", Endless::new(b"", &member, 1 << 20, b"")),
        ("blocks", Endless::new(begin, block, 1 << 22, b"")),
        ("frames", Endless::new(b"", &frame, 1 << 21, b"")),
        ("skipped frames", Endless::new(b"\x28\xB5\x2F\xFD\0\x58\x01\0\0", skipped, 3 << 20, b"")),
    ] {
        let mut world = store.world();
        let handle = world.start(&reads(r#"{"InputType": "JSONL"}"#), "{}");
        world.others_have_their_turns();
        let (status, read) = (handle.status(), store.read.load(Relaxed));
        assert!(status == Status::Running && read < 8 << 20, "{name}: {status:?}, {read}");
        handle.abort();
        world.turns(2);
        assert_eq!((handle.status(), world.engine.usage()), (Status::Aborted, (0, 0)), "{name}");
    }
}

/// A value that is read as a whole is parsed in pieces, and what it holds is counted.
#[test]
fn data_that_is_read_as_a_whole_keeps_nobody_waiting() {
    let config = r#"{"InputType": "JSON", "ItemsPointer": "/l"}"#;
    let store = Endless::new(br#"{"x": [1"#, &b",1".repeat(1 << 10), 1 << 11, br#"], "l": [7, {"a": 8}]}"#);
    let mut world = store.world();
    let mut handle = world.start(&reads(config), "{}");
    world.others_have_their_turns();
    assert_eq!(handle.status(), Status::Running);
    assert_eq!(world.outcome(&mut handle), r#"[7,{"a":8}]"#);
    assert_eq!(world.engine.usage(), (0, 0));
    for (bytes_max, times, cause) in [(48 << 20, 1 << 11, "no memory"), (8 << 30, 1 << 14, "too many values")]
    {
        let store = Arc::new(Endless { times, ..store.clone() });
        let budgets = Budgets { bytes_max, ..Budgets::default() };
        let mut world = World::new(|builder| builder.data_store(RESOURCE, store).budgets(budgets));
        let mut handle = world.start(&reads(config), "{}");
        let outcome = world.outcome(&mut handle);
        assert!(outcome.contains(cause), "{outcome}");
        assert_eq!(world.engine.usage(), (0, 0));
    }
}

/// A manifest of S3 Inventory, and files of one row each.
struct Inventory(Endless);

impl DataStore for Inventory {
    fn read(&self, arguments: &Json) -> Result<Box<dyn Source>, String> {
        if arguments["Key"] == "k" {
            return self.0.read(arguments);
        }
        let row: &[u8] = b"1\n";
        Ok(Box::new(Reading(Box::new(row), Arc::default())))
    }

    fn write(&self, arguments: &Json, content_type: &str) -> Result<Box<dyn Sink>, String> {
        self.0.write(arguments, content_type)
    }

    fn place(&self, arguments: &Json, key: &str) -> Json {
        self.0.place(arguments, key)
    }
}

/// The files that an inventory names are found in pieces: no turn takes a fourth of the time of all. The list of them counts
/// as long as it is needed.
#[test]
fn a_long_list_of_files_keeps_nobody_waiting() {
    let begin = br#"{"fileFormat": "CSV", "fileSchema": "n", "files": [{"key": "a"}"#;
    let store =
        || Arc::new(Inventory(Endless::new(begin, &br#",{"key":"a"}"#.repeat(1 << 10), 1 << 9, b"]}")));
    let config = r#"{"InputType": "MANIFEST", "MaxItems": 3}"#;
    let mut world = World::new(|builder| builder.data_store(RESOURCE, store()));
    let mut handle = world.start(&reads(config), "{}");
    world.others_have_their_turns();
    let (mut turns, mut longest_ns, begun_ns) = (0, 0, busy_ns());
    while handle.status() == Status::Running {
        let before_ns = busy_ns();
        world.turns(1);
        longest_ns = (busy_ns() - before_ns).max(longest_ns);
        turns += 1;
        assert!(turns < 1_000_000, "it does not come to its end");
    }
    let all_ns = busy_ns() - begun_ns;
    assert!(4 * longest_ns <= all_ns, "the longest of {turns} turns took {longest_ns} of {all_ns} ns");
    assert_eq!(world.outcome(&mut handle), r#"[{"n":"1"},{"n":"1"},{"n":"1"}]"#);
    assert_eq!(world.engine.usage(), (0, 0));
    let budgets = Budgets { bytes_max: 16 << 20, ..Budgets::default() };
    let mut world = World::new(|builder| builder.data_store(RESOURCE, store()).budgets(budgets));
    let mut handle = world.start(&reads(config), "{}");
    let outcome = world.outcome(&mut handle);
    assert!(outcome.contains("no memory"), "{outcome}");
    assert_eq!(world.engine.usage(), (0, 0));
}
