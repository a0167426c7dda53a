#![no_main]

#[path = "../bodies/intrinsic.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
