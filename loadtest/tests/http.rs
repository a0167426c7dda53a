//! The HTTP target against endpoints of every kind: nothing is lost, and errors are reported.

mod runs;
mod servers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loadtest::plan::{Arrivals, Faults, Http, Kind, Plan, Share, Target};
use loadtest::record::End;
use loadtest::session;
use runs::{account, run};
use servers::{Manner, certificate, nobody, serve, serve_tls};

fn plan(endpoint: String) -> Plan {
    // Longer than a busy machine pauses.
    let timeout = Duration::from_secs(5);
    let http = Http { endpoint, connections: 4, timeout, ..Http::default() };
    Plan {
        duration: Duration::from_millis(300),
        warmup: Duration::ZERO,
        drain: Duration::from_secs(10),
        workers: 1,
        arrivals: Arrivals::Constant { rate: 200.0, poisson: false },
        targets: vec![Target { kind: Kind::Http, http, ..Target::default() }],
        ..Plan::default()
    }
}

#[test]
fn every_manner_is_counted_as_what_it_is() {
    let manners = [
        (Manner::Succeeds, End::Succeeded, ""),
        (Manner::Fails, End::Failed, "Mine"),
        (Manner::Throttles, End::Refused, "HTTP 400 ThrottlingException"),
        (Manner::Hangs, End::Broken, "the connection was closed before an answer"),
        (Manner::Breaks, End::Broken, "the connection was closed in the middle of an answer"),
        (Manner::Babbles, End::Broken, "the answer is no HTTP"),
        (Manner::ClosesAfter, End::Succeeded, ""),
        (Manner::Dribbles, End::Succeeded, ""),
        (Manner::Sleeps, End::Broken, "no answer within 60 ms"),
    ];
    for (manner, end, problem) in manners {
        let server = serve(manner);
        let mut plan = plan(server.url());
        if matches!(manner, Manner::Sleeps) {
            plan.targets[0].http.timeout = Duration::from_millis(60);
        }
        let run = run(&plan);
        account(&run);
        let expected = run.total.count(end);
        assert!(expected * 10 >= run.total.sent * 8, "{manner:?}: {:?}", run.total);
        let said = run.total.problems.keys().any(|text| text.starts_with(problem));
        assert!(said || problem.is_empty(), "{manner:?}: {:?}", run.total.problems);
        assert_eq!(server.machines.load(Ordering::SeqCst), 0, "{manner:?}: a state machine is left behind");
        let asked = server.starts.load(Ordering::SeqCst) as u64;
        assert!(asked <= run.total.sent, "{manner:?}: {asked} starts for {}", run.total.sent);
    }
}

#[test]
fn a_closed_model_uses_every_connection() {
    let server = serve(Manner::Succeeds);
    let plan = Plan { arrivals: Arrivals::Closed { in_flight: 0 }, ..plan(server.url()) };
    let run = run(&plan);
    assert!(run.total.count(End::Succeeded) > 0);
    assert_eq!(run.total.sent, run.total.over());
}

#[test]
fn killed_connections_are_aborted_starts() {
    let server = serve(Manner::Succeeds);
    let kill = Some(Share { share: 0.5 });
    let plan = Plan { faults: Faults { kill, ..Faults::default() }, ..plan(server.url()) };
    let run = run(&plan);
    account(&run);
    let killed = run.total.count(End::Aborted);
    assert!((15..45).contains(&killed), "{:?}", run.total);
    assert!(run.total.count(End::Succeeded) > 0);
}

#[test]
fn tls_changes_nothing_else() {
    let manners = [
        (Manner::Succeeds, End::Succeeded),
        (Manner::Fails, End::Failed),
        (Manner::ClosesAfter, End::Succeeded),
        (Manner::Dribbles, End::Succeeded),
        (Manner::Breaks, End::Broken),
        (Manner::Babbles, End::Broken),
    ];
    for (manner, end) in manners {
        let server = serve_tls(manner);
        let mut plan = plan(server.url());
        plan.targets[0].http.ca = Some(certificate());
        let run = run(&plan);
        account(&run);
        assert!(run.total.count(end) * 10 >= run.total.sent * 8, "{manner:?}: {:?}", run.total);
        assert_eq!(server.machines.load(Ordering::SeqCst), 0, "{manner:?}: a state machine is left behind");
    }
}

#[test]
fn certificates_that_nobody_vouches_for_are_refused_before_anything_is_sent() {
    let server = serve_tls(Manner::Succeeds);
    let mut plan = plan(server.url());
    plan.targets[0].http.operation = "/echo".to_owned();
    let error = session::run(&plan, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    // The system may have no certificates, which is another reason.
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.starts.load(Ordering::SeqCst), 0);
    let plain = serve(Manner::Succeeds);
    plan.targets[0].http.endpoint = plain.url().replace("http:", "https:");
    plan.targets[0].http.ca = Some(certificate());
    let error = session::run(&plan, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert!(error.contains("no connection to https://127.0.0.1:"), "{error}");
}

#[test]
fn nobody_there_is_said_before_anything_is_sent() {
    let error = session::run(&plan(nobody()), &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert!(error.contains("no connection to http://127.0.0.1:"), "{error}");
}

#[test]
fn an_endpoint_that_goes_away_costs_starts_and_not_the_report() {
    for arrivals in [Arrivals::Constant { rate: 200.0, poisson: false }, Arrivals::Closed { in_flight: 2 }] {
        // It accepts the first connection, and closes its listener with that connection open.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
        let gone = std::thread::spawn(move || drop(listener.accept()));
        let mut plan = Plan { arrivals, ..plan(endpoint) };
        plan.targets[0].http.operation = "/echo".to_owned();
        let run = run(&plan);
        gone.join().expect("the endpoint");
        account(&run);
        let broken = run.total.count(End::Broken);
        assert_eq!(broken, run.total.over());
        // Not as many as a closed model could count, where each start ends at once.
        assert!((1..1_000).contains(&broken), "{broken}");
        let said = run.total.problems.keys().any(|text| text.to_lowercase().contains("refused"));
        assert!(said, "{:?}", run.total.problems);
    }
}
