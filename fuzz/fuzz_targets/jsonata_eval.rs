#![no_main]

#[path = "../bodies/jsonata.rs"]
#[allow(dead_code)]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::eval(bytes));
