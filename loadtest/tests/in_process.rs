//! Targets in this process: every model, every built-in workload, faults, and the end of all starts.

mod runs;

use std::time::Duration;

use loadtest::plan::{Arrivals, Call, Fail, Faults, Kind, Plan, Slow, Target};
use loadtest::record::End;
use loadtest::report::Report;
use loadtest::workloads::BUILT_IN;
use runs::{account, run};

fn plan(kind: Kind, workload: &str) -> Plan {
    Plan {
        name: "test".to_owned(),
        duration: Duration::from_millis(200),
        warmup: Duration::from_millis(20),
        drain: Duration::from_secs(10),
        workers: 2,
        arrivals: Arrivals::Constant { rate: 1_000.0, poisson: false },
        targets: vec![Target { kind, workload: Some(workload.to_owned()), ..Target::default() }],
        ..Plan::default()
    }
}

#[test]
fn every_workload_runs_on_the_runtime_to_its_end() {
    for built_in in BUILT_IN {
        let run = run(&plan(Kind::Runtime, built_in.name));
        account(&run);
        assert!(run.total.count(End::Succeeded) > 0, "{}: {:?}", built_in.name, run.total);
        assert_eq!((run.total.errors(), run.unfinished), (0, 0), "{}: {:?}", built_in.name, run.total);
    }
}

#[test]
fn every_model_sends_what_its_curve_says() {
    let models = [
        Arrivals::Constant { rate: 2_000.0, poisson: true },
        Arrivals::Ramp { from: 0.0, to: 4_000.0, poisson: false },
        Arrivals::Spike {
            base: 500.0,
            peak: 5_000.0,
            at: Duration::from_millis(50),
            lasts: Duration::from_millis(50),
            poisson: false,
        },
        Arrivals::Closed { in_flight: 2 },
    ];
    for arrivals in models {
        for (kind, call) in [
            (Kind::Empty, Call::Auto),
            (Kind::Inline, Call::Auto),
            (Kind::Runtime, Call::Run),
            (Kind::Runtime, Call::Batch),
        ] {
            let mut plan = Plan { arrivals: arrivals.clone(), ..plan(kind, "w2") };
            plan.targets[0].call = call;
            let run = run(&plan);
            account(&run);
            assert!(run.total.count(End::Succeeded) > 0, "{kind:?} {arrivals:?}: {:?}", run.total);
        }
    }
}

#[test]
fn steps_end_where_it_breaks() {
    let mut plan = plan(Kind::Inline, "tasks");
    // Three tasks of 5 ms each: a worker bears some 65 a second, and two of them no 1,000.
    plan.targets[0].task_time = Duration::from_millis(5);
    plan.duration = Duration::from_secs(20);
    plan.warmup = Duration::ZERO;
    let every = Duration::from_millis(500);
    plan.arrivals = Arrivals::Steps { from: 1_000.0, by: 1_000.0, every, poisson: false };
    let run = run(&plan);
    let (rate, reason) = run.broke_at.expect("it breaks");
    assert!(rate >= 1_000.0 && !reason.is_empty() && run.measured_seconds < 10.0, "{rate} {reason}");
    // It is the rate of a step that is over.
    let over = (run.measured_seconds / every.as_secs_f64()).floor();
    assert!(rate <= 1_000.0 * over, "{rate} after {} s", run.measured_seconds);
}

#[test]
fn seconds_begin_with_the_measured_part() {
    let mut plan = plan(Kind::Empty, "w2");
    plan.warmup = Duration::from_millis(1_600);
    plan.duration = Duration::from_millis(1_300);
    let run = run(&plan);
    let told: f64 = run.seconds.iter().map(|second| second.seconds).sum();
    let sent: u64 = run.seconds.iter().map(|second| second.interval.sent).sum();
    assert_eq!(sent, run.total.sent);
    assert!(told >= 1.25 && run.seconds.len() >= 2, "{told} s in {}", run.seconds.len());
    let first = &run.seconds[0];
    assert!(
        (first.at - first.seconds).abs() < 1e-9,
        "the first is {} s long and ends at {}",
        first.seconds,
        first.at
    );
    // They hold what was sent in them, not what was sent some time before.
    let share = first.interval.sent as f64 / (1_000.0 * first.seconds);
    assert!((0.5..1.8).contains(&share), "{} in {} s", first.interval.sent, first.seconds);
}

#[test]
fn a_run_of_a_second_is_one_second_and_not_a_piece_more() {
    let run = run(&Plan { duration: Duration::from_secs(1), ..plan(Kind::Empty, "w2") });
    let lengths: Vec<f64> = run.seconds.iter().map(|second| second.seconds).collect();
    assert!(lengths.iter().all(|&length| length > 0.1), "{lengths:?}");
    assert_eq!(run.seconds.iter().map(|second| second.interval.sent).sum::<u64>(), run.total.sent);
}

#[test]
fn waiting_for_the_next_start_is_not_counted_as_work() {
    let mut plan = Plan { workers: 1, ..plan(Kind::Empty, "w2") };
    // Gaps too short to sleep in.
    plan.arrivals = Arrivals::Constant { rate: 10_000.0, poisson: false };
    let usage = run(&plan).usage;
    assert!(usage.waiting_seconds <= usage.cpu_seconds, "{usage:?}");
    if cfg!(unix) {
        assert!(usage.waiting_seconds > 0.0 && usage.work_seconds() < usage.cpu_seconds, "{usage:?}");
    }
}

#[test]
fn weights_are_shares() {
    let mut plan = plan(Kind::Empty, "w2");
    plan.targets.push(Target {
        weight: 3.0,
        kind: Kind::Empty,
        workload: Some("w1".to_owned()),
        ..Target::default()
    });
    let run = run(&plan);
    account(&run);
    let share = run.targets[1].interval.sent as f64 / run.total.sent as f64;
    assert!((0.72..0.78).contains(&share), "{share}");
}

#[test]
fn faults_are_seen_as_what_they_are() {
    let faults = Faults {
        fail: Some(Fail { share: 0.2, error: "Mine".to_owned() }),
        abort: Some(Slow { share: 0.2, after: Duration::from_millis(1) }),
        slow: Some(Slow { share: 0.5, after: Duration::from_millis(20) }),
        ..Faults::default()
    };
    let run = run(&Plan { faults, ..plan(Kind::Runtime, "tasks") });
    account(&run);
    for end in [End::Succeeded, End::Failed, End::Aborted] {
        assert!(run.total.count(end) > 0, "{end:?}: {:?}", run.total);
    }
    assert!(run.total.problems.contains_key("Mine"), "{:?}", run.total.problems);
    assert!(run.total.latency.max() >= 20_000_000);
}

#[test]
fn a_target_that_cannot_keep_up_is_told_from_a_generator_that_cannot() {
    let mut plan = plan(Kind::Inline, "tasks");
    plan.targets[0].task_time = Duration::from_millis(5);
    plan.workers = 1;
    let report = Report::new(&run(&plan));
    assert!(report.total.dropped > 0 && !report.generator.was_bottleneck, "{:?}", report.generator);
    let verdict = &report.generator.verdict[0];
    assert!(verdict.contains("the target was the bottleneck"), "{:?}", report.generator);
    // If it was given one processor, the message names the way to get others.
    let hint = report.generator.processors.as_ref().map(|it| format!("--workers {}", it.others.len() + 1));
    assert!(hint.is_none_or(|hint| verdict.contains(&hint)), "{verdict}");
}

#[test]
fn what_is_in_flight_is_bounded_and_the_rest_is_dropped() {
    let mut plan = plan(Kind::Runtime, "waits");
    plan.targets[0].in_flight_max = 10;
    let run = run(&plan);
    account(&run);
    assert!(run.total.dropped > 0 && run.total.sent <= 40, "{:?}", run.total);
}
