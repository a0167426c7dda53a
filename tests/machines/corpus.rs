//! Executions recorded on AWS, run in process under virtual time. Known differences are in `tests/known/corpus.txt`,
//! each with its reason.

use crate::corpora;
use crate::recorded;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn recorded_executions() {
    if play("execution.jsonl") {
        assert_eq!(recorded::unmet(), [""; 0], "listed as differences of old recordings, and never met");
    }
}

/// Why a case cannot be played in line.
fn left_out(case: &Json) -> Option<&'static str> {
    if case["expected"]["status"] == "ABORTED" {
        return Some("a call stops it: it is played over the wire");
    }
    let activity = || case["definition"].to_string().contains(":activity:");
    activity().then_some("a worker does its task: it is played over the wire")
}

#[test]
fn recorded_executions_of_2026() {
    play("execution-2026.jsonl");
}

/// Whether all of it was played.
fn play(file: &str) -> bool {
    let Some(cases) = corpora::recorded(file) else { return false };
    let known: BTreeMap<&str, &str> = include_str!("../known/corpus.txt")
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once("  ").expect("an id, two spaces and a reason"))
        .collect();
    let mut groups: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut left_outs: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        let id = case["id"].as_str().unwrap_or_default();
        if std::env::var("EXPRESSWAY_CASE").is_ok_and(|filter| !id.contains(&filter)) {
            continue;
        }
        let group = groups.entry(case["group"].as_str().unwrap_or_default().to_owned()).or_default();
        if let Some(why) = recorded::left_out(case).or_else(|| left_out(case)) {
            *left_outs.entry(why).or_default() += 1;
            group[2] += 1;
            continue;
        }
        let outcome = recorded::run(case).and_then(|run| recorded::compare(case, &run));
        match (outcome, known.contains_key(id)) {
            (Ok(()), false) => group[0] += 1,
            (Err(_), true) => group[2] += 1,
            (Ok(()), true) => {
                group[1] += 1;
                failures.push(format!("{id}: listed as a known difference, but passes"));
            }
            (Err(why), false) => {
                group[1] += 1;
                failures.push(format!("{id}: {}", why.chars().take(1_500).collect::<String>()));
            }
        }
    }
    let ids: BTreeSet<&str> = cases.iter().filter_map(|case| case["id"].as_str()).collect();
    let of_this = |id: &str| id.starts_with("tiny-asl-machine/") == file.contains("2026");
    for (id, _) in known.iter().filter(|(id, _)| of_this(id) && !ids.contains(*id)) {
        failures.push(format!("{id}: listed as a known difference, but there is no such case"));
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    for (group, [passed, failed, skipped]) in &groups {
        println!("{group}: {passed} passed, {failed} failed, {skipped} skipped");
    }
    println!("{file}: left out {left_outs:?}");
    let total = |n: usize| groups.values().map(|counts| counts[n]).sum::<usize>();
    println!("{file}: {} passed, {} failed, {} skipped", total(0), total(1), total(2));
    assert!(failures.is_empty(), "{} differences that are not listed", failures.len());
    std::env::var_os("EXPRESSWAY_CASE").is_none()
}
