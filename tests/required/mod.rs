//! What tests need and a machine may not have: corpora beside the project, servers, clients of others.
//!
//! A newcomer's run lists what it left out and passes. `EXPRESSWAY_REQUIRE=all`, as set in `.ci/run`, makes each such
//! test fail instead. Random or expensive tests run in part by default and completely if everything is required.
#![allow(dead_code, reason = "each test binary uses a part")]

/// Whether everything is required: `EXPRESSWAY_REQUIRE=all`.
pub(crate) fn is_all() -> bool {
    std::env::var_os("EXPRESSWAY_REQUIRE").is_some_and(|required| required == "all")
}

/// So many of `all`: one of `every` in a newcomer's run.
pub(crate) fn some_of(all: u64, every: u64) -> u64 {
    if is_all() { all } else { all.div_ceil(every) }
}

/// The step between the rows of a table that are run: all of them, or one of `every` in a newcomer's run.
pub(crate) fn step(every: usize) -> usize {
    if is_all() { 1 } else { every }
}

/// Prints that something was not run, and why.
pub(crate) fn not_run(why: &str) {
    if is_all() {
        panic!("NOT RUN, although EXPRESSWAY_REQUIRE=all: {why}");
    }
    eprintln!("NOT RUN: {why}");
}
