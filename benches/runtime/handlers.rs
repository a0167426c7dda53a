//! Async handlers: three in sequence, and a million calls of which every tenth panics.

use std::sync::atomic::{AtomicU64, Ordering};

use expressway::runtime::Engine;
use expressway::task::TaskError;

use super::starts::figure;
use super::{Effort, Figure, batch, median, megabytes, print, rate, resident_bytes, tokio};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

pub(super) fn sequence(effort: Effort) -> Vec<Figure> {
    println!("\nthree async tasks in sequence, each ready at once");
    let engine = Engine::builder()
        .shards(2)
        .task(FUNCTION, |n: u64| async move { Ok::<u64, TaskError>(n + 1) })
        .build()
        .unwrap();
    let state = |next: &str| format!(r#"{{"Type": "Task", "Resource": "{FUNCTION}", {next}}}"#);
    let definition = format!(
        r#"{{"StartAt": "A", "States": {{"A": {}, "B": {}, "C": {}}}}}"#,
        state(r#""Next": "B""#),
        state(r#""Next": "C""#),
        state(r#""End": true"#)
    );
    let machine = engine.create_state_machine("tasks", &definition).unwrap();
    let tokio = tokio(1);
    let rates = (0..effort.rounds).map(|_| {
        rate(effort.executions, || {
            let succeeded = batch(&engine, &machine, b"1", effort.executions, &tokio);
            assert_eq!(succeeded, effort.executions as u64);
        })
    });
    let rate = median(rates.collect());
    print("start_batch", rate, "");
    vec![figure("3 async handlers in sequence, each ready at once", "≥ 300,000 /s", rate, 3e5)]
}

pub(super) fn panics(effort: Effort) -> Vec<Figure> {
    let calls = 10 * effort.parked;
    println!("\n{calls} calls of a handler of which every tenth panics, each caught by the workflow");
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let engine = Engine::builder()
        .shards(2)
        .budgets(super::whole_batches())
        .task(FUNCTION, |n: u64| async move {
            if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(10) {
                panic!("one of ten");
            }
            Ok::<u64, TaskError>(n)
        })
        .build()
        .unwrap();
    let definition = format!(
        r#"{{"StartAt": "A", "States": {{"A": {{"Type": "Task", "Resource": "{FUNCTION}", "End": true, "Catch": [
            {{"ErrorEquals": ["States.TaskFailed"], "Next": "Caught"}}]}}, "Caught": {{"Type": "Fail", "Error": "Caught"}}}}}}"#
    );
    let machine = engine.create_state_machine("panics", &definition).unwrap();
    let tokio = tokio(1);
    // Few enough at a time that what waits in queues does not count as growth.
    let some = calls / 1_000;
    let run = || rate(some, || assert!(batch(&engine, &machine, b"1", some, &tokio) > 0));
    (0..100).for_each(|_| {
        run();
    });
    let warm = resident_bytes();
    let rates: Vec<f64> = (100..1_000).map(|_| run()).collect();
    let grown = resident_bytes().saturating_sub(warm);
    let counts = engine.counts();
    let caught = counts.failed;
    print("start_batch", median(rates), &format!("{caught} panics caught, {:.1} MB more", megabytes(grown)));
    assert_eq!((counts.accepted, counts.succeeded + caught, counts.bugs), (calls as u64, calls as u64, 0));
    vec![Figure {
        what: "1,000,000 handler panics at a 10 % rate: alive, all caught, no leak".into(),
        target: "0 lost, ≤ 8 MB more",
        measured: format!("{} lost, {:.1} MB", calls as u64 / 10 - caught, megabytes(grown)),
        met: caught == calls as u64 / 10 && grown <= 8_000_000,
    }]
}
