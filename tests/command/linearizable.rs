//! What clients of all nodes of a cluster see, while nodes, the engine and connections fail, is linearizable: names,
//! starts, stops and results are as if one machine had them, and each call took effect at one moment between its request
//! and its answer.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use crate::cluster::{rounds, told};
use crate::durable::{create, execution, machine, try_ask};
use crate::engines::{End, Engine, Proxy, Way, each};
use crate::serving::Serving;
use crate::spread::{node_at, shared, shares, waits};

/// So many clients, each of which asks all nodes in turn.
const CLIENTS: usize = 6;
/// So many calls for one execution: several at the same time, and some later.
const CALLS: usize = 14;
/// These end by themselves; all others only when they are stopped.
const ENDS: &str = "ends";
const LASTS: &str = "lasts";

/// A client's call for one execution, in nanoseconds since the test began.
#[derive(Clone, Debug)]
struct Call {
    begun_ns: u64,
    /// No end: what is not answered may happen at any later time.
    ended_ns: u64,
    asked: Asked,
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Start { input: String },
    Describe,
    Stop,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// It runs since this moment.
    Started(String),
    AlreadyExists,
    DoesNotExist,
    Described {
        status: String,
        input: String,
        started: String,
        stopped: Option<String>,
    },
    Stopped(String),
    /// No answer, or one that says nothing about the execution.
    Nothing,
}

/// What is known of an execution that is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    input: String,
    /// Not known while no answer told them.
    started: Option<String>,
    stopped: Option<String>,
}

/// An execution of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Absent,
    Running(Known),
    Succeeded(Known),
    Aborted(Known),
}

/// Whether a moment is the one that is known; it is, from now on.
fn is_known(known: &mut Option<String>, told: &str) -> bool {
    *known.get_or_insert_with(|| told.to_owned()) == told
}

impl State {
    /// The states that a call can leave behind if it takes effect now, and is answered so.
    fn after(&self, call: &Call, ends_by_itself: bool) -> Vec<State> {
        let mut from = vec![self.clone()];
        if let State::Running(known) = self
            && ends_by_itself
        {
            from.push(State::Succeeded(known.clone()));
        }
        from.into_iter().filter_map(|state| state.step(call)).collect()
    }

    fn step(self, call: &Call) -> Option<State> {
        match (&call.asked, &call.seen, self) {
            (Asked::Start { input }, Seen::Started(_) | Seen::Nothing, State::Absent) => {
                let started =
                    if let Seen::Started(moment) = &call.seen { Some(moment.clone()) } else { None };
                Some(State::Running(Known { input: input.clone(), started, stopped: None }))
            }
            // The same start again is answered as the first.
            (Asked::Start { input }, Seen::Started(moment), State::Running(mut known)) => {
                (known.input == *input && is_known(&mut known.started, moment))
                    .then_some(State::Running(known))
            }
            (Asked::Start { input }, Seen::AlreadyExists, State::Running(known)) => {
                (known.input != *input).then_some(State::Running(known))
            }
            (Asked::Start { .. }, Seen::AlreadyExists, state @ (State::Succeeded(_) | State::Aborted(_))) => {
                Some(state)
            }
            (Asked::Stop, Seen::Nothing, State::Running(known)) => Some(State::Aborted(known)),
            // It takes no effect.
            (_, Seen::Nothing, state) => Some(state),
            (Asked::Describe | Asked::Stop, Seen::DoesNotExist, State::Absent) => Some(State::Absent),
            (Asked::Stop, Seen::Stopped(moment), State::Running(mut known)) => {
                is_known(&mut known.stopped, moment).then_some(State::Aborted(known))
            }
            (Asked::Stop, Seen::Stopped(moment), State::Succeeded(mut known)) => {
                is_known(&mut known.stopped, moment).then_some(State::Succeeded(known))
            }
            (Asked::Stop, Seen::Stopped(moment), State::Aborted(mut known)) => {
                is_known(&mut known.stopped, moment).then_some(State::Aborted(known))
            }
            (Asked::Describe, Seen::Described { status, input, started, stopped }, state) => {
                let (expected, mut known, again): (_, _, fn(Known) -> State) = match state {
                    State::Absent => return None,
                    State::Running(known) => ("RUNNING", known, State::Running),
                    State::Succeeded(known) => ("SUCCEEDED", known, State::Succeeded),
                    State::Aborted(known) => ("ABORTED", known, State::Aborted),
                };
                let is_so = status == expected
                    && *input == known.input
                    && is_known(&mut known.started, started)
                    && stopped.as_ref().is_none_or(|moment| is_known(&mut known.stopped, moment));
                is_so.then(|| again(known))
            }
            _ => None,
        }
    }
}

/// Whether there is an order of the calls of one execution that explains every answer, in which no call stands before
/// one that was answered before it was made (Wing and Gong; equal states after equal sets of calls are tried once).
fn is_linearizable(calls: &[Call], ends_by_itself: bool) -> bool {
    assert!(calls.len() <= 64, "a set of calls is a word");
    let must: u64 = (0..calls.len()).filter(|&n| calls[n].seen != Seen::Nothing).map(|n| 1 << n).sum();
    let (mut tried, mut open) = (HashSet::new(), vec![(0_u64, State::Absent)]);
    while let Some((done, state)) = open.pop() {
        if done & must == must {
            return true;
        }
        if !tried.insert((done, state.clone())) {
            continue;
        }
        let waits = |n: &usize| done & 1 << n == 0;
        // The first of those that wait to be answered: what was asked later is not before it.
        let first_end = (0..calls.len()).filter(waits).map(|n| calls[n].ended_ns).min().unwrap_or(u64::MAX);
        for n in (0..calls.len()).filter(waits).filter(|&n| calls[n].begun_ns <= first_end) {
            let after = state.after(&calls[n], ends_by_itself);
            open.extend(after.into_iter().map(|state| (done | 1 << n, state)));
        }
    }
    false
}

fn call(begun_ns: u64, ended_ns: u64, asked: Asked, seen: Seen) -> Call {
    Call { begun_ns, ended_ns, asked, seen }
}

#[test]
fn what_no_single_machine_would_answer_is_found() {
    let start = |input: &str| Asked::Start { input: input.into() };
    let started = || Seen::Started("1".into());
    let described = |status: &str| Seen::Described {
        status: status.into(),
        input: "a".into(),
        started: "1".into(),
        stopped: None,
    };
    for (is_so, what, calls) in [
        (
            true,
            "one after the other",
            vec![call(1, 2, start("a"), started()), call(3, 4, Asked::Describe, described("RUNNING"))],
        ),
        (
            false,
            "gone after it began",
            vec![call(1, 2, start("a"), started()), call(3, 4, Asked::Describe, Seen::DoesNotExist)],
        ),
        (
            true,
            "asked while it began",
            vec![call(1, 4, start("a"), started()), call(2, 3, Asked::Describe, Seen::DoesNotExist)],
        ),
        (
            false,
            "two of one name",
            vec![call(1, 4, start("a"), started()), call(2, 3, start("b"), started())],
        ),
        (true, "the same again", vec![call(1, 2, start("a"), started()), call(3, 4, start("a"), started())]),
        (
            false,
            "the same again, begun anew",
            vec![call(1, 2, start("a"), started()), call(3, 4, start("a"), Seen::Started("2".into()))],
        ),
        (
            true,
            "a start without an answer",
            vec![
                call(1, u64::MAX, start("a"), Seen::Nothing),
                call(9, 10, Asked::Describe, described("RUNNING")),
            ],
        ),
        (false, "a name that is taken by nobody", vec![call(1, 2, start("a"), Seen::AlreadyExists)]),
        (
            false,
            "runs after it was stopped",
            vec![
                call(1, 2, start("a"), started()),
                call(3, 4, Asked::Stop, Seen::Stopped("2".into())),
                call(5, 6, Asked::Describe, described("RUNNING")),
            ],
        ),
        (
            false,
            "back and forth",
            vec![
                call(1, 2, start("a"), started()),
                call(3, 9, Asked::Stop, Seen::Nothing),
                call(4, 5, Asked::Describe, described("ABORTED")),
                call(6, 7, Asked::Describe, described("RUNNING")),
            ],
        ),
    ] {
        assert_eq!(is_linearizable(&calls, false), is_so, "{what}");
    }
    let over = [call(1, 2, start("a"), started()), call(3, 4, Asked::Describe, described("SUCCEEDED"))];
    assert!(is_linearizable(&over, true) && !is_linearizable(&over, false));
}

/// Clients, and the nodes that they ask.
struct Clients {
    begun: Instant,
    ports: Mutex<Vec<u16>>,
    number: AtomicUsize,
    is_over: AtomicBool,
    /// By the name of an execution.
    calls: Mutex<BTreeMap<String, Vec<Call>>>,
}

/// Ends the clients, however the test ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The machine of an execution.
fn of(key: usize) -> &'static str {
    if key.is_multiple_of(2) { ENDS } else { LASTS }
}

impl Clients {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).expect("less than centuries")
    }

    fn answered(&self) -> usize {
        let calls = self.calls.lock().expect("no client failed");
        calls.values().flatten().filter(|call| call.seen != Seen::Nothing).count()
    }

    fn run(&self, client: usize) {
        while !self.is_over.load(Ordering::Acquire) {
            let number = self.number.fetch_add(1, Ordering::AcqRel);
            let (key, nth) = (number / CALLS, number % CALLS);
            let name = format!("{}-{key}", of(key));
            let asked = match (nth, number % 5) {
                (0..=3, 0 | 2 | 4) | (4.., 0) => Asked::Start { input: json!(client % 3).to_string() },
                (6.., 1) => Asked::Stop,
                _ => Asked::Describe,
            };
            let port = {
                let ports = self.ports.lock().expect("the ports");
                ports[(number / 3 + client) % ports.len()]
            };
            let begun_ns = self.now_ns();
            let seen = ask(port, of(key), &name, &asked);
            let ended_ns = if seen == Seen::Nothing { u64::MAX } else { self.now_ns() };
            // The same name for longer, so that it is asked for while nodes fail.
            let made = Call { begun_ns, ended_ns, asked, seen };
            self.calls.lock().expect("the calls").entry(name).or_default().push(made);
        }
    }
}

fn ask(port: u16, of: &str, name: &str, asked: &Asked) -> Seen {
    let arn = json!({"executionArn": execution(of, name)});
    let (operation, body) = match asked {
        Asked::Start { input } => {
            ("StartExecution", json!({"stateMachineArn": machine(of), "name": name, "input": input}))
        }
        Asked::Describe => ("DescribeExecution", arn),
        Asked::Stop => ("StopExecution", arn),
    };
    let Some((code, answer)) = try_ask(port, operation, &body.to_string()) else { return Seen::Nothing };
    if code == 200 {
        let answer: Json = serde_json::from_str(&answer).expect("JSON");
        let text =
            |member: &str| answer[member].as_str().unwrap_or_else(|| panic!("{member}: {answer}")).to_owned();
        return match asked {
            Asked::Start { .. } => Seen::Started(answer["startDate"].to_string()),
            Asked::Stop => Seen::Stopped(answer["stopDate"].to_string()),
            Asked::Describe => Seen::Described {
                status: text("status"),
                input: text("input"),
                started: answer["startDate"].to_string(),
                stopped: answer.get("stopDate").map(Json::to_string),
            },
        };
    }
    if answer.contains("ExecutionAlreadyExists") {
        return Seen::AlreadyExists;
    }
    if answer.contains("ExecutionDoesNotExist") {
        return Seen::DoesNotExist;
    }
    let is_away = code >= 500 || answer.contains("ThrottlingException");
    assert!(is_away, "{operation} of {name}: {code} {answer}");
    Seen::Nothing
}

/// A node behind a proxy of its own.
struct Node {
    serving: Serving,
    proxy: Proxy,
}

impl Node {
    fn start(server: &dyn Engine) -> Node {
        let proxy = Proxy::before(server.port());
        let serving = node_at(&server.url_by(proxy.port));
        serving.drain();
        Node { serving, proxy }
    }
}

/// Starts another node for each that has ended, until all nodes share the work; clients know where they are.
fn mend(server: &dyn Engine, nodes: &mut [Node], clients: &Clients) {
    let begun = Instant::now();
    loop {
        for node in nodes.iter_mut() {
            if node.serving.has_ended() {
                *node = Node::start(server);
            }
        }
        *clients.ports.lock().expect("the ports") = nodes.iter().map(|node| node.serving.port).collect();
        let (shares, shown) = shares(server, nodes.len());
        if shares.is_some() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "the nodes do not share the work: {shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn disturb(round: usize, server: &mut dyn Engine, nodes: &mut [Node]) {
    let node = &nodes[round % nodes.len()];
    let process = Pid::from_raw(node.serving.process().cast_signed()).expect("a process");
    let signal = |signal| kill_process(process, signal).expect("it is there");
    // Longer than a lease, so that another node takes its partitions.
    let a_while = || std::thread::sleep(Duration::from_millis(6_500));
    match round % 7 {
        0 => signal(Signal::KILL),
        1 => {
            signal(Signal::STOP);
            a_while();
            signal(Signal::CONT);
        }
        2 => node.proxy.cut(),
        3 => {
            node.proxy.set(Way::Silent);
            a_while();
            node.proxy.set(Way::Open);
        }
        4 => {
            node.proxy.set(Way::Closed);
            a_while();
            node.proxy.set(Way::Open);
        }
        5 => {
            server.end(if round.is_multiple_of(2) { End::Asked } else { End::Killed });
            server.run();
        }
        _ => signal(Signal::TERM),
    }
}

#[test]
fn what_clients_of_all_nodes_see_is_what_one_machine_would_answer() {
    each(see_what_one_machine_would_answer);
}

fn see_what_one_machine_would_answer(server: &mut dyn Engine) {
    // Each fault once, unless asked for more.
    let rounds = rounds(7);
    let mut nodes = [Node::start(server), Node::start(server), Node::start(server)];
    shared(server, 3);
    create(&nodes[0].serving, ENDS, waits(1));
    create(&nodes[0].serving, LASTS, waits(3_600));
    let clients = Clients {
        begun: Instant::now(),
        ports: Mutex::default(),
        number: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        calls: Mutex::default(),
    };
    mend(server, &mut nodes, &clients);
    std::thread::scope(|scope| {
        let _over = Over(&clients.is_over);
        for client in 0..CLIENTS {
            let clients = &clients;
            scope.spawn(move || clients.run(client));
        }
        for round in 0..rounds {
            // However slow the machine is.
            while clients.answered() <= 100 * (round + 1) {
                std::thread::sleep(Duration::from_millis(50));
            }
            println!("round {round}");
            disturb(round, server, &mut nodes);
            mend(server, &mut nodes, &clients);
        }
    });
    let calls = clients.calls.into_inner().expect("no client failed");
    let answered = |call: &&Call| call.seen != Seen::Nothing;
    let (all, known) = calls
        .values()
        .flatten()
        .fold((0, 0), |(all, known), call| (all + 1, known + usize::from(answered(&call))));
    println!("{} executions, {all} calls, {known} answered", calls.len());
    assert!(known > 100 * rounds, "clients were answered: {known} of {all}");
    for (name, calls) in &calls {
        let is_so = is_linearizable(calls, name.starts_with(ENDS));
        assert!(is_so, "{name}: no order of these calls explains all answers: {calls:#?}");
    }
    let verified = told(&["journal", "verify", &server.url(), "--cluster", "c"]);
    assert!(verified.starts_with("c: whole: blocks "), "{verified}");
}
