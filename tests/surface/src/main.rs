//! Compares the public surface of the library, as rustdoc's JSON describes it, with `public-api.txt` beside this
//! package:
//!
//! ```sh
//! RUSTDOC="$PWD/.ci/unstable-rustdoc" RUSTDOCFLAGS="-Z unstable-options --output-format json" \
//!   cargo doc --workspace --no-deps --lib --all-features
//! cargo run -p surface -- target/doc/expressway.json            # --write keeps what is there now
//! ```
//!
//! A line is an item that users can name. Items hidden from the documentation are not promised and are left out, as are
//! derived and blanket implementations.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

/// Lines of a difference that are shown.
const SHOWN_MAX: usize = 50;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(json) = arguments.next() else {
        eprintln!("usage: surface <target/doc/expressway.json> [--write]");
        return ExitCode::from(2);
    };
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-api.txt");
    let surface = match public_api::Builder::from_rustdoc_json(&json)
        .omit_auto_derived_impls(true)
        .omit_auto_trait_impls(true)
        .omit_blanket_impls(true)
        .build()
    {
        Ok(surface) => surface.to_string(),
        Err(error) => {
            eprintln!(
                "{json} cannot be read: {error}. The crate public-api and the compiler have to know the same form of \
                 rustdoc's JSON: see the crate's table of versions"
            );
            return ExitCode::from(2);
        }
    };
    if arguments.next().is_some_and(|argument| argument == "--write") {
        fs::write(&kept, surface).expect("the file can be written");
        return ExitCode::SUCCESS;
    }
    let expected = fs::read_to_string(&kept).expect("public-api.txt is kept in the repository");
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (expected.lines().collect(), surface.lines().collect());
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    let new = after.difference(&before).map(|line| format!("+ {line}"));
    let differences: Vec<_> = gone.chain(new).collect();
    if differences.is_empty() {
        println!("public surface: {} items, as kept", after.len());
        return ExitCode::SUCCESS;
    }
    for line in differences.iter().take(SHOWN_MAX) {
        eprintln!("{line}");
    }
    eprintln!(
        "{} lines of the public surface differ from {}. If that is meant, say so in CHANGELOG.md and keep it: `cargo run \
         -p surface -- {json} --write`",
        differences.len(),
        kept.display()
    );
    ExitCode::FAILURE
}
