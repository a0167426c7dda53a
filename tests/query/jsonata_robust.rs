//! No text makes the compiler or the evaluator panic: random token soup, and the kept corpus of the fuzz targets.

use proptest::prelude::*;

use crate::required::some_of;

#[path = "../../fuzz/bodies/jsonata.rs"]
mod bodies;

/// Pieces that meet in odd ways.
const PIECES: [&str; 64] = [
    "a",
    "b",
    "$",
    "$$",
    "$x",
    "%",
    "*",
    "**",
    ".",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ",",
    ";",
    ":",
    "?",
    ":=",
    "~>",
    "|",
    "@$x",
    "#$i",
    "^(",
    "<",
    ">",
    "=",
    "!=",
    "<=",
    ">=",
    "+",
    "-",
    "/",
    "&",
    "and",
    "or",
    "in",
    "true",
    "null",
    "'s'",
    "\"t\"",
    "`q`",
    "0",
    "1",
    "-1",
    "1.5e2",
    "..",
    "[]",
    "/a+/i",
    "function($x){",
    "λ($x)<n:n>{",
    "$sum(",
    "$map(",
    "$string(",
    "$match(",
    "$replace(",
    "$formatNumber(",
    "$fromMillis(",
    "$states.input",
    "$f := ",
    "? ",
    "\\u00e9",
    "é😀",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: some_of(2_000, 4) as u32, ..ProptestConfig::default() })]

    #[test]
    fn pieces_never_panic(picks in proptest::collection::vec(0..PIECES.len(), 0..24)) {
        let source: String = picks.iter().map(|&pick| PIECES[pick]).collect();
        bodies::parse(source.as_bytes());
        bodies::eval(source.as_bytes());
    }

    #[test]
    fn texts_never_panic(source in "\\PC{0,40}") {
        bodies::parse(source.as_bytes());
        bodies::eval(source.as_bytes());
    }

    #[test]
    fn pictures_never_panic(picture in "[0#.,;%e‰YMDdFWwXxHhPmsfZzNn\\[\\]oatc*Ii-]{0,16}", number in any::<f64>()) {
        for call in [
            format!("$formatNumber({number:e}, '{picture}')"),
            format!("$formatInteger({number:e}, '{picture}')"),
            format!("$parseInteger('{number}', '{picture}')"),
            format!("$fromMillis({number:e}, '{picture}', '-0930')"),
            format!("$toMillis($fromMillis({number:e}, '{picture}'), '{picture}')"),
            format!("$toMillis('{number}', '{picture}')"),
        ] {
            bodies::eval(call.as_bytes());
        }
    }
}

#[test]
fn the_kept_corpus_runs() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut count = 0;
    for (target, body) in [("jsonata_parse", bodies::parse as fn(&[u8])), ("jsonata_eval", bodies::eval)] {
        let files = std::fs::read_dir(root.join(target)).expect("the corpus is kept in the repository");
        for file in files {
            body(&std::fs::read(file.expect("a file").path()).expect("readable"));
            count += 1;
        }
    }
    assert!(count > 10, "the corpus has {count} files");
}
