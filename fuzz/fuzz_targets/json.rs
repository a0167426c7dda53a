//! `cargo fuzz run json`: the JSON edge accepts, refuses and understands texts as serde_json does.
#![no_main]

mod json_body;

libfuzzer_sys::fuzz_target!(|text: &[u8]| json_body::check(text));
