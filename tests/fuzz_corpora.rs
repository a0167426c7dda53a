//! The bodies of the fuzz targets, each run once over its kept corpus (`fuzz/corpus/<target>`). A new target adds its
//! body as a module and one test.

use std::path::Path;

#[path = "../fuzz/fuzz_targets/json_body.rs"]
mod json_body;

fn over_corpus(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn json() {
    over_corpus("json", json_body::check);
}
