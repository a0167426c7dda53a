//! Corpora beside the project: finds them, reads their rows, counts passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::required::not_run;

/// A file of the suites (`EXPRESSWAY_SUITES`, else beside the project).
pub(crate) fn suite(file: &str) -> Option<PathBuf> {
    find("EXPRESSWAY_SUITES", "../shared/suites", file)
}

/// A file of the recorded cases (`EXPRESSWAY_CORPUS`, else beside the project).
pub(crate) fn recorded(file: &str) -> Option<PathBuf> {
    find("EXPRESSWAY_CORPUS", "../shared/conformance", file)
}

fn find(variable: &str, default: &str, file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(default), PathBuf::from);
    let path = folder.join(file);
    if !path.exists() {
        not_run(&format!("{file} is not there (see {variable})"));
        return None;
    }
    Some(path)
}

/// The rows of a file with one JSON object a line.
pub(crate) fn rows(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Counts cases and knows the listed differences.
pub(crate) struct Tally {
    name: &'static str,
    known: BTreeMap<String, String>,
    passed: usize,
    skipped: usize,
    failures: Vec<String>,
}

impl Tally {
    /// Counts under the section `name` of `tests/known/definitions.toml`.
    pub(crate) fn new(name: &'static str) -> Tally {
        let file = include_str!("../known/definitions.toml");
        Tally { name, known: section(file, name), passed: 0, skipped: 0, failures: Vec::new() }
    }

    /// A case and, if it failed, why.
    pub(crate) fn case(&mut self, id: &str, result: Result<(), String>) {
        match (result, self.known.remove(id)) {
            (Ok(()), None) => self.passed += 1,
            (Err(_), Some(_)) => self.skipped += 1,
            (Ok(()), Some(_)) => {
                self.failures.push(format!("{id}\n      agrees, but is listed as different"))
            }
            (Err(why), None) => self.failures.push(format!("{id}\n      {why}")),
        }
    }

    /// A case without a verdict.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Prints the count and fails if anything failed.
    pub(crate) fn finish(mut self) {
        let unmet =
            self.known.keys().map(|id| format!("{id}\n      is listed as different, but no case has it"));
        self.failures.extend(unmet);
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!(
            "{}: {} passed, {} failed, {} skipped",
            self.name,
            self.passed,
            self.failures.len(),
            self.skipped
        );
        assert!(self.failures.is_empty(), "{} cases of {} failed", self.failures.len(), self.name);
    }
}

/// The lines `"id" = "reason"` under `[name]`.
fn section(file: &str, name: &str) -> BTreeMap<String, String> {
    let mut inside = false;
    let mut found = BTreeMap::new();
    for line in file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            inside = header.strip_suffix(']') == Some(name);
        } else if inside {
            let (id, reason) = line.split_once(" = ").expect("a line is \"id\" = \"reason\"");
            let reason = reason.trim_matches('"');
            assert!(!reason.is_empty(), "{id} is listed without a reason");
            found.insert(id.trim_matches('"').to_owned(), reason.to_owned());
        }
    }
    found
}
