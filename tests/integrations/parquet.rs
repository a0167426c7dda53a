//! Distributed Maps over Parquet files in S3.

use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
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
