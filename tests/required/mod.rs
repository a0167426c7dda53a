//! What tests need and a machine may not have: corpora beside the project, servers, clients of others.
//!
//! A newcomer's run says what it left out and passes. `EXPRESSWAY_REQUIRE=all`, as `.ci/run` sets it, makes each such
//! test fail instead.

/// Says that something was not run, and why.
pub(crate) fn not_run(why: &str) {
    if std::env::var_os("EXPRESSWAY_REQUIRE").is_some_and(|required| required == "all") {
        panic!("NOT RUN, although EXPRESSWAY_REQUIRE=all: {why}");
    }
    eprintln!("NOT RUN: {why}");
}
