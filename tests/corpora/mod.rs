//! Shared by the suite tests: finding the files, counting, and the one list of known differences.
#![allow(dead_code, reason = "each test uses a part")]

use crate::required::not_run;
use expressway::json::{Arena, Value};
use expressway::query::{Context, ContextField, Names, Scope, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The text of a file of the suites; prints a message on stderr when it is missing.
pub(crate) fn suite(file: &str) -> Option<String> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites");
    let folder = std::env::var_os("EXPRESSWAY_SUITES").map_or(default, PathBuf::from);
    let text = std::fs::read_to_string(folder.join(file));
    if text.is_err() {
        not_run(&format!("{file} is not in {} (see EXPRESSWAY_SUITES)", folder.display()));
    }
    text.ok()
}

/// The lines of a file of the suites.
pub(crate) fn lines(file: &str) -> Option<Vec<serde_json::Value>> {
    let text = suite(file)?;
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect())
}

/// The lines of a file of recorded cases.
pub(crate) fn recorded(file: &str) -> Option<Vec<serde_json::Value>> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    let folder = std::env::var_os("EXPRESSWAY_CORPUS").map_or(default, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join(file)) else {
        not_run(&format!("{file} is not in {} (see EXPRESSWAY_CORPUS)", folder.display()));
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect())
}

/// Counts outcomes against a list of known differences: lines of an id, two spaces or a tab, and a reason.
pub(crate) struct Report {
    file: &'static str,
    known: BTreeMap<String, String>,
    seen: BTreeSet<String>,
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Report {
    pub(crate) fn new(file: &'static str, known: &str) -> Report {
        let known = known
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (id, reason) = line.split_once("  ").expect("an id, two spaces and a reason");
                (id.to_owned(), reason.trim().to_owned())
            })
            .collect();
        Report { file, known, seen: BTreeSet::new(), passed: 0, skipped: 0, failed: Vec::new() }
    }

    pub(crate) fn case(&mut self, id: &str, outcome: Result<(), String>) {
        let known = self.known.contains_key(id);
        if known {
            self.seen.insert(id.to_owned());
        }
        match outcome {
            Ok(()) if known => self.failed.push(format!("{id}: listed as a known difference, but passes")),
            Ok(()) => self.passed += 1,
            Err(_) if known => self.skipped += 1,
            Err(error) => self.failed.push(format!("{id}: {error}")),
        }
    }

    /// Whether the case is listed as different.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.known.contains_key(id)
    }

    /// Shows what was counted of some cases only.
    pub(crate) fn show(self) {
        self.failed.iter().for_each(|failure| eprintln!("{failure}"));
        println!(
            "{}: {} passed, {} failed, {} skipped",
            self.file,
            self.passed,
            self.failed.len(),
            self.skipped
        );
    }

    pub(crate) fn finish(mut self) {
        for id in self.known.keys().filter(|id| !self.seen.contains(*id)) {
            self.failed.push(format!("{id}: listed as a known difference, but there is no such case"));
        }
        for failure in self.failed.iter().take(40) {
            eprintln!("{failure}");
        }
        println!(
            "{}: {} passed, {} failed, {} skipped",
            self.file,
            self.passed,
            self.failed.len(),
            self.skipped
        );
        assert!(self.failed.is_empty(), "{} differences that are not listed", self.failed.len());
    }
}

/// No variable is ever assigned.
pub(crate) struct NoNames;

impl Names for NoNames {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

/// What `$$` and variables mean in a test.
pub(crate) struct Roots {
    pub(crate) context: Value,
    pub(crate) variables: Value,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots { context: Value::UNDEFINED, variables: Value::UNDEFINED }
    }
}

impl Roots {
    pub(crate) fn scope(&self, input: Value) -> Scope<'_> {
        Scope {
            input,
            result: Value::UNDEFINED,
            error_output: Value::UNDEFINED,
            variables: self.variables,
            context: self,
        }
    }
}

impl Context for Roots {
    fn field(&self, arena: &mut Arena, field: ContextField) -> Value {
        let member = |value, name: &&str| arena.get_str(value, name).unwrap_or(Value::UNDEFINED);
        field.steps().iter().fold(self.context, member)
    }
}
