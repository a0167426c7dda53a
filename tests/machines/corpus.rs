//! Executions recorded on AWS, run in process under virtual time. Differences that are known stand in
//! `tests/known/corpus.txt`, each with its reason.

use crate::corpora;
use crate::recorded;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn recorded_executions() {
    play("execution.jsonl");
}

#[test]
fn recorded_executions_of_2026() {
    play("execution-2026.jsonl");
}

fn play(file: &str) {
    let Some(cases) = corpora::recorded(file) else { return };
    let known: BTreeMap<&str, &str> = include_str!("../known/corpus.txt")
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once("  ").expect("an id, two spaces and a reason"))
        .collect();
    let mut groups: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        let id = case["id"].as_str().unwrap_or_default();
        if std::env::var("EXPRESSWAY_CASE").is_ok_and(|filter| !id.contains(&filter)) {
            continue;
        }
        let group = groups.entry(case["group"].as_str().unwrap_or_default().to_owned()).or_default();
        if case["express_applicable"] != true {
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
    let total = |n: usize| groups.values().map(|counts| counts[n]).sum::<usize>();
    println!("{file}: {} passed, {} failed, {} skipped", total(0), total(1), total(2));
    assert!(failures.is_empty(), "{} differences that are not listed", failures.len());
}
