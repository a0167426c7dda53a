//! The recorded corpus played against the command's server, from outside, by the corpus's own client (`run.py`, Python,
//! standard library only). Known differences are in `tests/known/wire.txt`, each with its reason.

use crate::required::not_run;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use crate::serving::{Folder, Serving};
use serde_json::Value as Json;

/// The corpus, and a Python that can play it; prints a message on stderr when one is missing.
fn corpus() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    let corpus = std::env::var_os("EXPRESSWAY_CORPUS").map_or(default, PathBuf::from);
    if !corpus.join("run.py").is_file() {
        not_run(&format!("run.py is not in {} (see EXPRESSWAY_CORPUS)", corpus.display()));
        return None;
    }
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        not_run("there is no python3");
        return None;
    }
    Some(corpus)
}

fn play(mode: &str, kinds: &str) {
    let Some(corpus) = corpus() else { return };
    let folder = Folder::new(&format!("conformance-{mode}-{}", kinds.len()));
    let script = corpus.join("run.py");
    let mocks = Command::new("python3").arg(&script).arg("mocks").arg(&corpus).output().expect("run.py");
    let mocks = folder.write("mocks.json", &String::from_utf8(mocks.stdout).expect("UTF-8"));
    let mocks = mocks.to_str().expect("a path");
    // Waits, delays and timeouts take a hundredth of their time.
    let server = Serving::start(&[
        "--account",
        "111111111111",
        "--region",
        "us-east-1",
        "--time-scale",
        "0.01",
        "--no-integrations",
        "--mock-config",
        mocks,
    ]);
    let failures = folder.0.join("failures.jsonl");
    let url = format!("http://127.0.0.1:{}", server.port);
    let output = Command::new("python3")
        .arg(&script)
        .args(["run".as_ref(), corpus.as_os_str()])
        .args(["--url", &url, "--mode", mode, "--kinds", kinds, "--failures"])
        .arg(&failures)
        .output()
        .expect("run.py");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = said.lines().last().unwrap_or_default();
    println!("{mode} {kinds}: {summary}");
    assert!(summary.contains(" passed, "), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let known = known(mode);
    let (mut unlisted, mut met) = (Vec::new(), BTreeSet::new());
    for line in std::fs::read_to_string(&failures).expect("the failures").lines() {
        let failure: Json = serde_json::from_str(line).expect("a JSON line");
        let id = failure["id"].as_str().expect("an id");
        if known.contains_key(&(failure["kind"].as_str().expect("a kind").to_owned(), id.to_owned())) {
            met.insert(id.to_owned());
        } else {
            unlisted.push(format!("{id}: {}", failure["why"]));
        }
    }
    let passing: Vec<&String> = (known.keys())
        .filter(|(kind, id)| kinds.split(',').any(|it| it == kind) && !met.contains(id))
        .map(|(_, id)| id)
        .collect();
    assert!(unlisted.is_empty(), "{mode}: not listed:\n{}", unlisted.join("\n"));
    assert!(passing.is_empty(), "{mode}: listed, but they pass: {passing:?}");
}

/// The differences known in a mode, by kind and id: lines of the mode, the kind, the id, two spaces and a reason.
fn known(mode: &str) -> BTreeMap<(String, String), String> {
    let lines = include_str!("../known/wire.txt").lines();
    let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let rows = lines.filter_map(|line| {
        let (row, reason) = line.split_once("  ").expect("a row, two spaces and a reason");
        let mut parts = row.splitn(3, ' ');
        let (of, kind, id) = (parts.next()?, parts.next()?, parts.next()?);
        (of == mode || of == "both").then(|| ((kind.to_owned(), id.to_owned()), reason.to_owned()))
    });
    rows.collect()
}

#[test]
fn express_executions_end_as_recorded() {
    play("express", "execution");
}

#[test]
fn standard_executions_end_as_recorded() {
    play("standard", "execution");
}

#[test]
fn validations_and_tested_states_are_answered_as_recorded() {
    play("standard", "validation,test_state");
}
