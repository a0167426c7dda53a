//! Distributed Maps from file to file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("map-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("data")).expect("a folder");
    folder
}

/// A machine that reads `file` so, gives each item to a child, and writes so.
fn machine(file: &str, reader: Json, more: &Json) -> Json {
    let mut map = json!({"Type": "Map", "End": true, "Label": "each",
        "ItemReader": {"Resource": "arn:aws:states:::file:read", "ReaderConfig": reader,
            "Parameters": {"Path": file}},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}});
    map.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    json!({"StartAt": "M", "States": {"M": map}})
}

/// Exit code, standard output, standard error.
fn run(folder: &Path, machine: &Json) -> (Option<i32>, String, String) {
    let file = folder.join("machine.asl.json");
    fs::write(&file, machine.to_string()).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_expressway"))
        .arg("run")
        .arg(&file)
        .args(["--input", "{}", "--quiet", "--files"])
        .arg(folder.join("data"))
        .output()
        .expect("the binary");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn writer(output_type: &str, transformation: &str) -> Json {
    json!({"ResultWriter": {"Resource": "arn:aws:states:::file:write", "Parameters": {"Path": "out"},
        "WriterConfig": {"OutputType": output_type, "Transformation": transformation}}})
}

/// The files that the manifest names, by where they are listed.
fn written(folder: &Path, out: &str) -> (Json, Vec<String>, Vec<String>) {
    let result: Json = serde_json::from_str(out).expect("a result");
    let read = |path: &Json| {
        let path = path.as_str().expect("a path");
        fs::read_to_string(folder.join("data").join(path)).expect("a file")
    };
    let manifest: Json =
        serde_json::from_str(&read(&result["ResultWriterDetails"]["Path"])).expect("a manifest");
    assert_eq!(manifest["MapRunArn"], result["MapRunArn"]);
    let texts = |list: &str| -> Vec<String> {
        let files = manifest["ResultFiles"][list].as_array().expect("files").iter();
        files
            .map(|file| {
                let text = read(&file["Path"]);
                assert_eq!(file["Size"], text.len());
                text
            })
            .collect()
    };
    let files = (texts("SUCCEEDED"), texts("FAILED"));
    (manifest, files.0, files.1)
}

#[test]
fn lines_go_from_file_to_file() {
    let folder = folder("lines");
    let lines: Vec<String> = (0..5_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    fs::write(folder.join("data/in.jsonl"), lines.join("\n")).expect("a file");
    let machine = machine("in.jsonl", json!({"InputType": "JSONL"}), &writer("JSONL", "COMPACT"));
    let (code, out, err) = run(&folder, &machine);
    assert_eq!(code, Some(0), "{err}");
    let (_, succeeded, failed) = written(&folder, &out);
    // In the order in which children ended.
    let sorted = |text: &[String]| {
        let mut lines: Vec<String> = text.concat().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&succeeded), sorted(&[lines.join("\n")]));
    assert_eq!(failed.len(), 0);
}

#[test]
fn results_say_what_is_known_of_each_child() {
    let folder = folder("children");
    fs::write(folder.join("data/in.csv"), "id,n\na,1\nb,2\n").expect("a file");
    let mut more = writer("JSON", "NONE");
    more["ToleratedFailureCount"] = 1.into();
    let reader = json!({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"});
    let mut machine = machine("in.csv", reader, &more);
    machine["States"]["M"]["ItemProcessor"]["StartAt"] = "C".into();
    machine["States"]["M"]["ItemProcessor"]["States"] = json!({"P": {"Type": "Pass", "End": true},
        "F": {"Type": "Fail", "Error": "Two"}, "C": {"Type": "Choice", "Default": "P",
            "Choices": [{"Variable": "$.n", "StringEquals": "2", "Next": "F"}]}});
    let (code, out, err) = run(&folder, &machine);
    assert_eq!(code, Some(0), "{err}");
    let (_, succeeded, failed) = written(&folder, &out);
    let children = |texts: &[String]| -> Json { serde_json::from_str(&texts[0]).expect("JSON") };
    let (succeeded, failed) = (children(&succeeded), children(&failed));
    assert_eq!((&succeeded[0]["Status"], &failed[0]["Status"]), (&json!("SUCCEEDED"), &json!("FAILED")));
    assert_eq!(succeeded[0]["Output"], r#"{"id":"a","n":"1"}"#);
    assert_eq!((&failed[0]["Input"], &failed[0]["Error"]), (&json!(r#"{"id":"b","n":"2"}"#), &json!("Two")));
    let arn = succeeded[0]["ExecutionArn"].as_str().expect("an ARN");
    assert!(arn.contains(":express:machine/each:"), "{arn}");
}

#[test]
fn what_is_read_is_selected_and_bounded() {
    let folder = folder("selected");
    fs::write(folder.join("data/in.json"), r#"{"deep": {"items": [1, 2, 3, 4]}}"#).expect("a file");
    let reader = json!({"InputType": "JSON", "ItemsPointer": "/deep/items", "MaxItems": 3});
    let more = json!({"ItemSelector": {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value",
            "of.$": "$$.Map.Item.Source"}, "ItemBatcher": {"MaxItemsPerBatch": 2}});
    let (code, out, err) = run(&folder, &machine("in.json", reader, &more));
    assert_eq!(code, Some(0), "{err}");
    let item = |n: usize| json!({"i": n, "v": n + 1, "of": "in.json"});
    let out: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!(out, json!([{"Items": [item(0), item(1)]}, {"Items": [item(2)]}]));
}

#[test]
fn what_cannot_be_read_or_written_fails_the_map_run() {
    let folder = folder("faults");
    let data = |name: &str, bytes: &[u8]| fs::write(folder.join("data").join(name), bytes).expect("a file");
    data("cut.json", b"[1, 2");
    data("bad.jsonl", b"1\n{\n");
    let large = format!("\"{}\"\n", "x".repeat(300_000));
    data("large.jsonl", large.as_bytes());
    let mut gzip = fs::File::create(folder.join("data/cut.gz")).expect("a file");
    // The head of a gzip stream, and nothing behind it.
    gzip.write_all(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]).expect("a file");
    fs::write(folder.join("secret.jsonl"), b"1\n").expect("a file");
    std::os::unix::fs::symlink(folder.join("secret.jsonl"), folder.join("data/link.jsonl")).expect("a link");
    let reads = |file: &str, kind: &str| machine(file, json!({"InputType": kind}), &json!({}));
    // Paths in the definition that lead out are refused before: this one is known at run time.
    let out = |name: &str| json!({"Path.$": format!("States.Format('../{{}}', '{name}')")});
    let reads_out = |name: &str| {
        let mut machine = reads(name, "JSONL");
        machine["States"]["M"]["ItemReader"]["Parameters"] = out(name);
        machine
    };
    let writes = |parameters: Json| {
        let mut more = writer("JSON", "NONE");
        more["ResultWriter"]["Parameters"] = parameters;
        machine("one.jsonl", json!({"InputType": "JSONL"}), &more)
    };
    data("one.jsonl", b"1\n");
    for (machine, expected) in [
        (
            reads("nothing.json", "JSON"),
            "States.ItemReaderFailed: The file \"nothing.json\" cannot be opened",
        ),
        (reads("cut.json", "JSON"), "States.ItemReaderFailed: The data is not JSON: the array has no end"),
        (reads("bad.jsonl", "JSONL"), "States.ItemReaderFailed: The item 1 is not JSON"),
        (reads("cut.gz", "JSONL"), "States.ItemReaderFailed: The data cannot be read"),
        (reads("large.jsonl", "JSONL"), "States.DataLimitExceeded"),
        (reads_out("secret.jsonl"), "leads out of the folder of files"),
        (reads("link.jsonl", "JSONL"), "leads out of the folder of files"),
        (writes(out("out")), "States.ResultWriterFailed: The path '../out' leads out of the folder of files"),
        (writes(json!({"Path": "one.jsonl"})), "States.ResultWriterFailed"),
    ] {
        let (code, _, err) = run(&folder, &machine);
        assert_eq!(code, Some(1), "{machine}: {err}");
        assert!(err.contains(expected), "{expected}: {err}");
    }
}

#[cfg(feature = "cli-services")]
#[test]
fn s3_is_called_with_services_only() {
    let folder = folder("services");
    let mut machine = machine("in", json!({"InputType": "JSON"}), &json!({}));
    machine["States"]["M"]["ItemReader"]["Resource"] = "arn:aws:states:::s3:getObject".into();
    machine["States"]["M"]["ItemReader"]["Parameters"] = json!({"Bucket": "b", "Key": "k"});
    let (code, _, err) = run(&folder, &machine);
    assert_eq!(code, Some(2), "{err}");
    let expected =
        "the ItemReader of the state 'M': arn:aws:states:::s3:getObject is called with --services only";
    assert!(err.contains(expected), "{err}");
}
