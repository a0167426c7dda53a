//! Distributed Maps over several objects of S3: those of a list, and those that a manifest names.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::s3::{Objects, bucket, map, reader, run};
use crate::{failure, output};

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).expect("bytes");
    packed.finish().expect("bytes")
}

fn objects<const N: usize>(objects: [(&str, Vec<u8>); N]) -> Objects {
    objects.into_iter().map(|(path, body)| (path.to_owned(), body)).collect()
}

/// Objects of a bucket whose items are read as those of one.
#[test]
fn objects_of_a_list_are_read_one_after_the_other() {
    let server = bucket(objects([
        ("/the-bucket/a/", Vec::new()),
        ("/the-bucket/a/1.csv.gz", gzip("id,n\nx,1\ny,2\n")),
        ("/the-bucket/a/2.csv", b"n,id\n3,z\n".to_vec()),
        ("/the-bucket/a/3.csv", Vec::new()),
        ("/the-bucket/a/4.csv", b"id,n\nw,4".to_vec()),
    ]));
    let list = |config: Value| {
        let mut config = config;
        config["Transformation"] = "LOAD_AND_FLATTEN".into();
        reader("listObjectsV2", config, json!({"Bucket": "the-bucket"}))
    };
    let csv = json!({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"});
    let of = json!({"ItemSelector": {"is.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index",
        "of.$": "$$.Map.Item.Source"}});
    let items = |of: &[(&str, &str, &str)]| -> Value {
        let item = |(n, (id, number, file)): (usize, &(&str, &str, &str))| json!({"is": {"id": id, "n": number}, "at": n, "of": format!("s3://the-bucket/a/{file}")});
        of.iter().enumerate().map(item).collect()
    };
    let all = [("x", "1", "1.csv.gz"), ("y", "2", "1.csv.gz"), ("z", "3", "2.csv"), ("w", "4", "4.csv")];
    let outcome = run(&server.url(), &map(list(csv.clone()), &of), &json!({}));
    assert_eq!(output(&outcome), items(&all));
    let mut three = csv;
    three["MaxItems"] = 3.into();
    assert_eq!(output(&run(&server.url(), &map(list(three), &of), &json!({}))), items(&all[..3]));

    let server = bucket(objects([
        ("/the-bucket/a", b"{\"deep\": [1, 2]}".to_vec()),
        ("/the-bucket/b", b"{\"deep\": 3}".to_vec()),
    ]));
    let json = list(json!({"InputType": "JSON", "ItemsPointer": "/deep"}));
    let (error, cause) = failure(&run(&server.url(), &map(json, &json!({})), &json!({})));
    let expected = "s3://the-bucket/b: Attempting to map over non-iterable node.";
    assert_eq!((error.as_str(), cause.as_str()), ("States.ItemReaderFailed", expected));
}

/// What an inventory is of is a row for each object (S3 user guide, "Inventory manifest").
#[test]
fn files_that_a_manifest_names_are_read_one_after_the_other() {
    let manifest = json!({"sourceBucket": "source", "destinationBucket": "arn:aws:s3:::the-bucket",
        "version": "2016-11-30", "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "data/1.csv.gz", "size": 1, "MD5checksum": "m"}, {"key": "data/2.csv.gz"}]});
    let mut much = manifest.clone();
    much["files"][0] = (0..101).map(|n| (format!("m{n}"), json!(n))).collect();
    let athena = "s3://the-bucket/rows/1\n\"s3://other-bucket/rows/2.gz\"\n";
    let server = bucket(objects([
        ("/a-bucket/manifest.json", manifest.to_string().into_bytes()),
        ("/the-bucket/data/1.csv.gz", gzip("\"source\",\"a%20b\",\"12\"\n\"source\",\"c\"\n")),
        ("/the-bucket/data/2.csv.gz", gzip("\"source\",\"d\",\"0\"\n")),
        ("/a-bucket/orc.json", manifest.to_string().replace("CSV", "ORC").into_bytes()),
        ("/a-bucket/none.json", b"{\"fileFormat\": \"CSV\", \"fileSchema\": \"a\"}".to_vec()),
        (
            "/a-bucket/wide.json",
            manifest.to_string().replace("Bucket,", &"Bucket,".repeat(2_000)).into_bytes(),
        ),
        ("/a-bucket/long.json", manifest.to_string().replace("data/2", &"data/2".repeat(1_000)).into_bytes()),
        ("/a-bucket/much.json", much.to_string().into_bytes()),
        ("/a-bucket/rows.csv", athena.into()),
        ("/the-bucket/rows/1", b"{\"n\": 1}\n{\"n\": 2}\n".to_vec()),
        ("/other-bucket/rows/2.gz", gzip("{\"n\": 3}")),
        ("/a-bucket/wrong.csv", b"the-bucket/rows/1".to_vec()),
        ("/a-bucket/gone.csv", b"s3://the-bucket/gone".to_vec()),
    ]));
    let of = |key: &str, config: &Value| {
        let reader = reader("getObject", config.clone(), json!({"Bucket": "a-bucket", "Key": key}));
        run(&server.url(), &map(reader, &json!({})), &json!({}))
    };
    let inventory = json!({"InputType": "MANIFEST"});
    let row = |key: &str, size: &str| json!({"Bucket": "source", "Key": key, "Size": size});
    let rows = json!([row("a%20b", "12"), row("c", ""), row("d", "0")]);
    for config in [&inventory, &json!({"ManifestType": "S3_INVENTORY"})] {
        assert_eq!(output(&of("manifest.json", config)), rows);
    }
    let lines = json!({"InputType": "JSONL", "ManifestType": "ATHENA_DATA"});
    assert_eq!(output(&of("rows.csv", &lines)), json!([{"n": 1}, {"n": 2}, {"n": 3}]));
    for (key, config, expected) in [
        ("orc.json", &inventory, "The files of the inventory are ORC: Step Functions reads CSV only"),
        ("none.json", &inventory, "The data is no manifest of S3 Inventory: it has no files"),
        ("wide.json", &inventory, "S3 Inventory: its fileSchema is larger than 10 KiB"),
        ("long.json", &inventory, "S3 Inventory: the key of a file is too long"),
        ("much.json", &inventory, "S3 Inventory: an object in it has more than 100 members"),
        ("rows.csv", &inventory, "The data is not JSON"),
        ("wrong.csv", &lines, "The manifest names no object of S3 in 'the-bucket/rows/1'"),
        ("gone.csv", &lines, "s3://the-bucket/gone: The specified key does not exist. (Service: S3"),
    ] {
        let (error, cause) = failure(&of(key, config));
        assert_eq!(error, "States.ItemReaderFailed", "{cause}");
        assert!(cause.contains(expected), "{expected}: {cause}");
    }
}
