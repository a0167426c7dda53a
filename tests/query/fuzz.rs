//! Runs the bodies of the fuzz targets over the kept corpora, so that they are exercised without a nightly compiler.

use std::path::Path;

#[path = "../../fuzz/bodies/intrinsic.rs"]
mod intrinsic;
#[path = "../../fuzz/bodies/json.rs"]
pub(super) mod json;
#[path = "../../fuzz/bodies/path.rs"]
mod path;
#[cfg(feature = "api")]
#[path = "../../fuzz/bodies/request.rs"]
mod request;

fn over_corpus(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is kept in the repository") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("a readable file");
        run(&data);
        // Every beginning and every text with one byte missing, for what a fuzzer would try first.
        for at in (0..data.len()).take(400) {
            run(&data[..at]);
            run(&[&data[..at], &data[at + 1..]].concat());
        }
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn json_texts() {
    over_corpus("json", json::run);
}

#[test]
fn paths() {
    over_corpus("path", path::run);
}

#[test]
fn intrinsics() {
    over_corpus("intrinsic", intrinsic::run);
}

#[cfg(feature = "api")]
#[test]
fn requests() {
    over_corpus("request", request::run);
}
