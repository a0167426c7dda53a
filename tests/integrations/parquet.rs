//! Distributed Maps over Parquet files in S3.

use std::io::{self, Cursor, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use expressway::asl::MachineType;
use expressway::runtime::{Builder, Engine, Machine, MachineSpec, ManualTime, Status};
use expressway::task::data::{DataStore, Sink, Source};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::{Compression as Codec, Encoding};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::s3::{bucket, map, reader, run};
use crate::{failure, output};

fn file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet").join(name);
    std::fs::read(path).expect(name)
}

/// Groups of four rows, each with a number and a MiB of bytes of its own.
fn large(groups: i32) -> Vec<u8> {
    let schema = "message m { required int32 n; required binary filler; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("a writer");
    for group in 0..groups {
        let numbers: Vec<i32> = (0..4).map(|n| 4 * group + n).collect();
        let fillers: Vec<ByteArray> = numbers.iter().map(|&n| vec![n as u8; 1 << 20].into()).collect();
        let mut rows = writer.next_row_group().expect("a row group");
        let mut column = rows.next_column().expect("a column").expect("a column");
        column.typed::<Int32Type>().write_batch(&numbers, None, None).expect("numbers");
        column.close().expect("a column");
        let mut column = rows.next_column().expect("a column").expect("a column");
        column.typed::<ByteArrayType>().write_batch(&fillers, None, None).expect("bytes");
        column.close().expect("a column");
        rows.close().expect("a row group");
    }
    writer.into_inner().expect("a file")
}

fn of(key: &str, config: Value) -> Value {
    let mut config = config;
    config["InputType"] = "PARQUET".into();
    reader("getObject", config, json!({"Bucket": "the-bucket", "Key": key}))
}

#[test]
fn rows_are_items() {
    let large = large(3);
    let list = "s3://the-bucket/a\ns3://the-bucket/b\n";
    let files = [
        ("/the-bucket/a", file("snappy.parquet")),
        ("/the-bucket/b", file("old.parquet")),
        ("/the-bucket/large", large),
        ("/the-bucket/list.csv", list.as_bytes().to_vec()),
    ];
    let server = bucket(files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect());
    let items = |reader: Value, more: Value| output(&run(&server.url(), &map(reader, &more), &json!({})));
    let lines = String::from_utf8(file("kinds.jsonl")).expect("UTF-8");
    let mut expected: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let whole = |reader: Value| {
        let mut rows = items(reader, json!({}));
        // serde reads integers beyond 64 bits as doubles.
        rows.as_array_mut().expect("rows").iter_mut().for_each(|row| drop(row["long"].take()));
        rows
    };
    expected.iter_mut().for_each(|row| drop(row["long"].take()));
    for (reader, count) in [(of("a", json!({})), expected.len()), (of("a", json!({"MaxItems": 17})), 17)] {
        assert!(whole(reader) == json!(expected[..count]), "{count} rows");
    }

    let ids = json!({"ItemSelector": {"id.$": "$$.Map.Item.Value.id", "of.$": "$$.Map.Item.Source"}});
    let both = items(of("list.csv", json!({"ManifestType": "ATHENA_DATA"})), ids);
    assert_eq!(both.as_array().map(Vec::len), Some(2 * expected.len()));
    assert_eq!(both[expected.len()], json!({"id": 0, "of": "s3://the-bucket/list.csv"}));

    // Its row groups are beyond the part that is read first.
    let small = json!({"ItemSelector": {"n.$": "$$.Map.Item.Value.n"}});
    let all: Value = (0..12).map(|n| json!({"n": n})).collect();
    assert_eq!(items(of("large", json!({})), small), all);
}

#[test]
fn what_is_no_parquet_file_fails_the_map_run() {
    let whole = file("plain.parquet");
    let files = [
        ("/the-bucket/csv", b"a,b\n1,2\n3,4\n".to_vec()),
        ("/the-bucket/empty", Vec::new()),
        ("/the-bucket/cut", whole[..whole.len() - 100].to_vec()),
        ("/the-bucket/brotli", file("brotli.parquet")),
        ("/the-bucket/a", whole),
    ];
    let server = bucket(files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect());
    let mut version = of("a", json!({}));
    version["Parameters"]["VersionId"] = "v1".into();
    for (reader, expected) in [
        (of("csv", json!({})), "The data is not a valid Parquet file"),
        (of("empty", json!({})), "The data is not a valid Parquet file: it is too short"),
        (of("cut", json!({})), "The data is not a valid Parquet file"),
        (of("brotli", json!({})), "packed by BROTLI"),
        (of("none", json!({})), "The specified key does not exist."),
        (version, "S3 Version ID selection is not currently supported for PARQUET files"),
    ] {
        let (error, cause) = failure(&run(&server.url(), &map(reader, &json!({})), &json!({})));
        assert_eq!(error, "States.ItemReaderFailed", "{cause}");
        assert!(cause.contains(expected), "{expected}: {cause}");
    }
}

/// Rows of the page of `bomb`, and the bytes that it is unpacked to, in debug builds in a second or more.
const ROWS: i32 = 4;
const PAGE_BYTES: usize = 96 << 20;

/// A file with one page, which takes a thousandth of what it is unpacked to.
fn bomb() -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message m { required int32 n; }").expect("a schema"));
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).expect("a writer");
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&[0; 1 << 20]).expect("memory");
    let packed = packer.finish().expect("memory").repeat(PAGE_BYTES >> 20);
    // The header of a page, in Thrift's compact protocol: its kind, the bytes that it takes in memory and as it is stored,
    // and that it has plain values.
    let zigzag = |number: usize| {
        let mut rest = number << 1;
        let mut bytes = Vec::new();
        while rest > 0x7F {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    };
    let claimed = zigzag(4 * ROWS as usize);
    let rows = [ROWS as u8 * 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0];
    let page =
        [&[0x15, 0, 0x15], &claimed[..], &[0x15], &zigzag(packed.len()), &[0x2C, 0x15], &rows, &packed]
            .concat();
    let column = writer.schema_descr().column(0);
    let metadata = ColumnChunkMetaData::builder(column)
        .set_compression(Codec::GZIP(Default::default()))
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
        .set_num_values(i64::from(ROWS))
        .set_total_compressed_size(page.len() as i64)
        .set_total_uncompressed_size(4 * i64::from(ROWS))
        .set_data_page_offset(0)
        .build()
        .expect("a column");
    let close = ColumnCloseResult {
        bytes_written: page.len() as u64,
        rows_written: ROWS as u64,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: None,
    };
    let mut group = writer.next_row_group().expect("a row group");
    group.append_column(&Bytes::from(page), close).expect("a column");
    group.close().expect("a row group");
    writer.into_inner().expect("a file")
}

/// A store with one object.
struct Memory(Arc<[u8]>);

struct Object(Cursor<Arc<[u8]>>);

impl DataStore for Memory {
    fn read(&self, _: &Value) -> Result<Box<dyn Source>, String> {
        Ok(Box::new(Object(Cursor::new(Arc::clone(&self.0)))))
    }

    fn write(&self, _: &Value, _: &str) -> Result<Box<dyn Sink>, String> {
        Err("nothing is written".to_owned())
    }

    fn place(&self, _: &Value, _: &str) -> Value {
        Value::Null
    }
}

impl Source for Object {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.read(buffer))
    }

    fn poll_seek(&mut self, _: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        Poll::Ready(self.0.seek(to))
    }
}

/// An engine of one shard whose store has this object, and a machine whose items are its rows.
fn engine(object: Vec<u8>) -> (Builder, String) {
    let store = Arc::new(Memory(object.into()));
    let builder = Engine::builder().shards(1).data_store("arn:aws:states:::s3:getObject", store);
    (builder, map(of("a", json!({})), &json!({})).to_string())
}

fn create(engine: &Engine, definition: &str) -> Machine {
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("map", definition) };
    engine.create(&spec).expect("a machine")
}

/// Others of the same shard end while a page is unpacked, and so does its Map Run when it is stopped: then the rest of
/// the page is not unpacked.
#[test]
fn a_page_keeps_nobody_waiting() {
    let (builder, definition) = engine(bomb());
    let engine = builder.build().expect("an engine");
    let machine = create(&engine, &definition);
    let other = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 0, "End": true}}}"#;
    let other = engine.create_state_machine("other", other).expect("a machine");
    // Each piece of the page is counted before it is there.
    let is_unpacking = || (4 << 20..PAGE_BYTES).contains(&engine.usage().1);
    let begin = || {
        let handle = engine.start(&machine, "{}").expect("an execution");
        while !is_unpacking() {
            assert_eq!(handle.status(), Status::Running, "a page is unpacked");
            std::thread::yield_now();
        }
        handle
    };
    let handle = begin();
    for _ in 0..3 {
        let outcome = engine.start(&other, "{}").expect("an execution").wait();
        assert_eq!(outcome.status, Status::Succeeded);
    }
    assert!(
        is_unpacking() && handle.status() == Status::Running,
        "others waited until the page was unpacked"
    );
    assert_eq!(output(&handle.wait()), json!([{"n": 0}, {"n": 0}, {"n": 0}, {"n": 0}]));

    let handle = begin();
    handle.abort();
    assert_eq!(handle.wait().status, Status::Aborted);
    let mut used = engine.usage().1;
    assert!(used < PAGE_BYTES, "it was stopped when its page was unpacked");
    while used > 0 {
        assert!(used < PAGE_BYTES, "the page was unpacked although nobody waits for its rows");
        std::thread::yield_now();
        used = engine.usage().1;
    }
}

/// Without threads, rows are unpacked in the turns of the shard, which are the same each time.
#[test]
fn a_simulation_unpacks_in_its_turns() {
    let world = || {
        let (builder, definition) = engine(large(3));
        let (engine, mut simulation) = builder.seed(1).time(ManualTime::at(0)).simulate().expect("an engine");
        let definition = definition.replace(
            "\"Label\"",
            "\"MaxConcurrency\": 1, \"ItemSelector\": {\"n.$\": \"$$.Map.Item.Value.n\"}, \"Label\"",
        );
        let handle = engine.start(&create(&engine, &definition), "{}").expect("an execution");
        let mut turns = Vec::new();
        while handle.status() == Status::Running {
            simulation.shards()[0].turn(0);
            turns.push(engine.usage());
        }
        assert_eq!(output(&handle.wait()).as_array().map(Vec::len), Some(12));
        turns
    };
    assert_eq!(world(), world());
}
