//! Pipelines against a broker in memory that hands events out again until they are settled. Time is virtual.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expressway::pipe::{
    Attempts, Batch, DeadLetter, Disposition, End, KeyOf, Later, Lines, Order, Outputs, Pipe, PipeError,
    Provenance, Receipts, Redrive, Report, Room, Sink, Source, Trouble,
};
use expressway::runtime::{Engine, Machine};
use expressway::task::TaskError;
use tokio::time::Instant;

pub(super) const KEEP: &str = r#"{"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": true}}}"#;
/// Fails events with `bad`, and keeps the others.
pub(super) const JUDGE: &str = r#"{"StartAt": "Judge", "States": {
    "Judge": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "Bad"}], "Default": "Good"},
    "Bad": {"Type": "Fail", "Error": "Order.Bad", "Cause": "it is bad"},
    "Good": {"Type": "Pass", "End": true}}}"#;
const WORK: &str = r#"{"StartAt": "Work", "States": {"Work": {"Type": "Task", "End": true,
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:work"}}}"#;
const WORK_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:work";

// ---- a broker ----

/// What happens, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Received(usize),
    Published(String),
    Settled(usize, Disposition),
}

#[derive(Default)]
struct State {
    bodies: Vec<String>,
    /// What can be received, from when on.
    waiting: VecDeque<(Instant, usize)>,
    deliveries: BTreeMap<usize, u32>,
    /// Handed out and not settled.
    out: usize,
    out_max: usize,
    steps: Vec<Step>,
    extended: usize,
    /// The results of the next publications; success when empty.
    troubles: VecDeque<PipeError>,
    /// Outputs that are refused.
    refuses: Option<String>,
    published: Vec<String>,
}

/// A source and a sink that remember everything.
#[derive(Clone, Default)]
pub(super) struct Broker(Arc<Mutex<State>>);

impl Broker {
    pub(super) fn with(bodies: impl IntoIterator<Item = String>) -> Broker {
        let broker = Broker::default();
        {
            let mut state = broker.0.lock().unwrap();
            state.bodies = bodies.into_iter().collect();
            let now = Instant::now();
            state.waiting = (0..state.bodies.len()).map(|n| (now, n)).collect();
        }
        broker
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// How many events wait to be delivered.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    pub(super) fn settled(&self) -> Vec<(usize, Disposition)> {
        let steps = self.state().steps.clone();
        steps
            .into_iter()
            .filter_map(
                |step| if let Step::Settled(n, disposition) = step { Some((n, disposition)) } else { None },
            )
            .collect()
    }

    fn published(&self) -> Vec<String> {
        self.state().published.clone()
    }
}

impl Source for Broker {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move {
            loop {
                let wait = {
                    let mut state = self.state();
                    let now = Instant::now();
                    let mut taken = Vec::new();
                    while taken.len() < room.events && state.waiting.front().is_some_and(|(at, _)| *at <= now)
                    {
                        taken.extend(state.waiting.pop_front().map(|(_, n)| n));
                    }
                    if !taken.is_empty() {
                        let receipts = Taken { broker: self.clone(), events: taken.clone() };
                        let mut batch = Batch::new(Box::new(receipts));
                        for n in taken {
                            state.steps.push(Step::Received(n));
                            *state.deliveries.entry(n).or_default() += 1;
                            state.out += 1;
                            state.out_max = state.out_max.max(state.out);
                            assert!(batch.push(state.bodies[n].as_bytes(), None));
                        }
                        return Ok(Some(batch));
                    }
                    match state.waiting.front() {
                        Some((at, _)) => at.saturating_duration_since(now),
                        None if state.out == 0 => return Ok(None),
                        None => Duration::from_millis(1),
                    }
                };
                tokio::time::sleep(wait).await;
            }
        })
    }
}

struct Taken {
    broker: Broker,
    events: Vec<usize>,
}

impl Receipts for Taken {
    fn provenance(&self, n: usize) -> Provenance {
        let event = self.events[n];
        let deliveries = self.broker.state().deliveries[&event];
        Provenance { source: "broker".to_owned(), id: event.to_string(), key: None, deliveries }
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let mut state = self.broker.state();
            for &(n, disposition) in dispositions {
                let event = self.events[n as usize];
                state.steps.push(Step::Settled(event, disposition));
                state.out -= 1;
                if let Disposition::Retry(delay) = disposition {
                    let at = Instant::now() + delay;
                    let place = state.waiting.partition_point(|(other, _)| *other <= at);
                    state.waiting.insert(place, (at, event));
                }
            }
            Ok(())
        })
    }

    fn extend<'a>(&'a self, events: &'a [u32]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            self.broker.state().extended += events.len();
            Ok(())
        })
    }

    fn visibility_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }
}

impl Sink for Broker {
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let mut state = self.state();
            if let Some(trouble) = state.troubles.pop_front() {
                return Err(trouble);
            }
            let texts: Vec<String> =
                outputs.iter().map(|output| String::from_utf8(output.body.to_vec()).unwrap()).collect();
            if texts.iter().any(|text| state.refuses.as_deref().is_some_and(|refused| text.contains(refused)))
            {
                return Err(PipeError::Refused("too large".to_owned()));
            }
            for text in texts {
                state.steps.push(Step::Published(text.clone()));
                state.published.push(text);
            }
            Ok(())
        })
    }

    fn address(&self) -> String {
        "a broker".to_owned()
    }
}

// ---- running ----

pub(super) fn engine(definition: &str) -> (Engine, Machine) {
    // Events whose tasks have no handler become dead letters.
    let engine = Engine::builder().shards(1).accept_unhandled(true).build().expect("an engine");
    let machine = engine.create_state_machine("machine", definition).expect("a machine");
    (engine, machine)
}

/// Runs a pipeline from one broker to another, with dead letters in a third.
fn run(
    definition: &str,
    bodies: &[&str],
    set: impl FnOnce(Pipe) -> Pipe,
) -> (Report, Broker, Broker, Broker) {
    run_with(definition, bodies.iter().map(|&body| body.to_owned()), Broker::default(), set)
}

fn run_with(
    definition: &str,
    bodies: impl IntoIterator<Item = String>,
    sink: Broker,
    set: impl FnOnce(Pipe) -> Pipe,
) -> (Report, Broker, Broker, Broker) {
    paused(async move {
        let (engine, machine) = engine(definition);
        let (source, dead) = (Broker::with(bodies), Broker::default());
        let pipe = Pipe::new(engine, machine, source.clone()).sink(sink.clone()).dead_letters(dead.clone());
        let report = set(pipe).run().await.expect("it runs to its end");
        (report, source, sink, dead)
    })
}

pub(super) fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

fn letters(dead: &Broker) -> Vec<DeadLetter> {
    dead.published().iter().map(|text| serde_json::from_str(text).expect("a dead letter")).collect()
}

// ---- what is promised ----

#[test]
fn an_event_is_settled_after_its_output_is_published() {
    let (report, source, sink, dead) =
        run(KEEP, &[r#"{"n":0}"#, r#"{"n":1}"#], |pipe| pipe.batch(1, Duration::ZERO));
    assert_eq!((report.received, report.succeeded, report.published, report.dead), (2, 2, 2, 0));
    assert_eq!(sink.published(), [r#"{"n":0}"#, r#"{"n":1}"#]);
    assert_eq!(
        source.settled().iter().filter(|(_, disposition)| *disposition == Disposition::Done).count(),
        2
    );
    assert!(letters(&dead).is_empty());

    // The same broker as source and sink shows what came first.
    let both = Broker::with([r#"{"n":7}"#.to_owned()]);
    paused(async {
        let (engine, machine) = engine(KEEP);
        Pipe::new(engine, machine, both.clone()).sink(both.clone()).run().await.expect("it runs to its end");
    });
    let steps = both.state().steps.clone();
    let expected =
        [Step::Received(0), Step::Published(r#"{"n":7}"#.to_owned()), Step::Settled(0, Disposition::Done)];
    assert_eq!(steps, expected);
}

#[test]
fn an_event_that_fails_comes_again_with_delays_and_then_is_a_dead_letter() {
    let (report, source, sink, dead) = run(JUDGE, &[r#"{"bad": true}"#, r#"{"n": 1}"#], |pipe| pipe);
    let again = |seconds| Disposition::Retry(Duration::from_secs(seconds));
    let of_bad: Vec<Disposition> =
        source.settled().iter().filter(|(n, _)| *n == 0).map(|(_, disposition)| *disposition).collect();
    assert_eq!(of_bad, [again(1), again(2), Disposition::Done]);
    assert_eq!((report.received, report.redelivered), (2, 2), "each is received once");
    assert_eq!((report.succeeded, report.again, report.dead), (1, 2, 1));
    assert_eq!(sink.published(), [r#"{"n":1}"#]);
    let letters = letters(&dead);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].original().unwrap(), br#"{"bad": true}"#);
    assert_eq!(
        (letters[0].error.as_deref(), letters[0].cause.as_deref()),
        (Some("Order.Bad"), Some("it is bad"))
    );
    assert_eq!((&*letters[0].provenance.source, &*letters[0].provenance.id), ("broker", "0"));
    assert_eq!((letters[0].attempts, letters[0].provenance.deliveries), (3, 3));
    // How the last attempt went.
    assert_eq!(letters[0].state.as_deref(), Some("Bad"));
    let arn = letters[0].execution_arn.as_deref().expect("an ARN");
    assert!(arn.starts_with("arn:aws:states:us-east-1:123456789012:express:machine:"), "{arn}");
    let types: Vec<&str> = letters[0].history.iter().filter_map(|event| event["type"].as_str()).collect();
    let expected = [
        "ExecutionStarted",
        "ChoiceStateEntered",
        "ChoiceStateExited",
        "FailStateEntered",
        "ExecutionFailed",
    ];
    assert_eq!(types, expected);
    let failed = &letters[0].history[4]["executionFailedEventDetails"];
    assert_eq!((&failed["error"], &failed["cause"]), (&"Order.Bad".into(), &"it is bad".into()));
}

#[test]
fn a_letter_has_no_more_history_than_it_is_told() {
    let (_, _, _, dead) = run(JUDGE, &[r#"{"bad":1}"#], |pipe| pipe.history(None));
    assert_eq!((letters(&dead)[0].state.as_deref(), letters(&dead)[0].history.len()), (None, 0));
    // A task that fails at its last attempt only is watched then.
    let (_, _, _, dead) = run(WORK, &["1"], |pipe| pipe.attempts(Attempts { max: 1, ..Attempts::default() }));
    let letter = &letters(&dead)[0];
    assert_eq!(letter.state.as_deref(), Some("Work"));
    assert_eq!(letter.history.last().map(|event| &event["type"]), Some(&"ExecutionFailed".into()));
}

#[test]
fn a_letter_that_is_refused_goes_without_history_or_its_event_comes_again_later() {
    let bury = |refuses: &str, bodies: &[&str]| {
        let bodies: Vec<String> = bodies.iter().map(|&body| body.to_owned()).collect();
        let (refuses, count) = (refuses.to_owned(), bodies.len());
        paused(async move {
            let (engine, machine) = engine(JUDGE);
            let (source, sink, dead) = (Broker::with(bodies), Broker::default(), Broker::default());
            dead.state().refuses = Some(refuses);
            let attempts = Attempts { max: 1, ..Attempts::default() };
            let pipe =
                Pipe::new(engine, machine, source.clone()).sink(sink.clone()).dead_letters(dead.clone());
            let pipe = pipe.attempts(attempts);
            let stop = pipe.stopper();
            let running = tokio::spawn(pipe.run());
            while source.settled().len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            stop.stop();
            let report = running.await.expect("no panic").expect("it ends well");
            (report, source, sink, letters(&dead))
        })
    };
    let (report, source, _, letters) = bury("ExecutionStarted", &[r#"{"bad":1}"#, r#"{"bad":2}"#]);
    assert_eq!((report.dead, letters.len()), (2, 2));
    assert!(letters.iter().all(|letter| letter.history.is_empty() && letter.state.is_some()));
    assert!(source.settled().iter().all(|(_, disposition)| *disposition == Disposition::Done));

    let (report, source, sink, letters) = bury("huge", &[r#"{"bad":"huge"}"#, r#"{"bad":2}"#, r#"{"n":3}"#]);
    assert_eq!((report.dead, letters.len(), report.again), (1, 1, 1));
    assert_eq!(sink.published(), [r#"{"n":3}"#], "one that cannot be buried stops nothing");
    assert!(source.settled().contains(&(0, Disposition::Retry(Duration::from_secs(60)))));
}

#[test]
fn outputs_of_the_short_way_and_the_long_one_are_in_order() {
    // An output that speaks of failures takes the long way.
    let bodies: Vec<String> = (0..40)
        .map(|n| {
            if n % 3 == 1 {
                format!("{{\"n\":{n},\"batchItemFailures\":[]}}")
            } else {
                format!("{{\"n\":{n}}}")
            }
        })
        .collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let (report, _, sink, _) = run(KEEP, &texts, |pipe| pipe.order(Order::Outputs).batch(7, Duration::ZERO));
    assert_eq!((report.succeeded, report.published), (40, 40));
    assert_eq!(sink.published(), bodies);
}

#[test]
fn what_can_never_succeed_is_a_dead_letter_at_once_and_stops_nothing() {
    let large = format!("\"{}\"", "x".repeat(262_144));
    let bodies = ["{not json", "", &large, r#"{"n":1}"#];
    let (report, source, sink, dead) = run(KEEP, &bodies, |pipe| pipe);
    assert_eq!((report.received, report.succeeded, report.again, report.dead), (4, 1, 0, 3));
    assert_eq!(sink.published(), [r#"{"n":1}"#]);
    assert!(source.settled().iter().all(|(_, disposition)| *disposition == Disposition::Done));
    let originals: Vec<Vec<u8>> = letters(&dead).iter().map(|letter| letter.original().unwrap()).collect();
    assert_eq!(originals, [b"{not json".to_vec(), b"".to_vec(), large.into_bytes()]);
}

#[test]
fn a_sink_that_is_away_is_tried_until_it_is_back() {
    let sink = Broker::default();
    sink.state().troubles = (0..20).map(|_| PipeError::Away("gone".to_owned())).collect();
    let (report, source, sink, _) = run_with(KEEP, [r#"{"n":1}"#.to_owned()], sink, |pipe| pipe);
    assert_eq!((report.received, report.succeeded, report.published, report.away), (1, 1, 1, 20));
    assert_eq!(sink.published(), [r#"{"n":1}"#]);
    assert_eq!(source.settled(), [(0, Disposition::Done)]);
    assert!(source.state().extended > 0, "the source was not told that its event is still worked at");
}

#[test]
fn an_output_that_the_sink_refuses_is_a_dead_letter_and_the_others_are_published() {
    let sink = Broker::default();
    sink.state().refuses = Some("huge".to_owned());
    let bodies = [r#"{"n":1}"#, r#"{"n":"huge"}"#, r#"{"n":3}"#].map(str::to_owned);
    let (report, _, sink, dead) = run_with(KEEP, bodies, sink, |pipe| pipe);
    assert_eq!((report.succeeded, report.dead), (2, 1));
    assert_eq!(sink.published(), [r#"{"n":1}"#, r#"{"n":3}"#]);
    assert_eq!(letters(&dead)[0].error.as_deref(), Some("Pipe.OutputRefused"));
}

#[test]
fn a_sink_that_closes_ends_the_pipeline_and_settles_nothing() {
    let outcome = paused(async {
        let (engine, machine) = engine(KEEP);
        let (source, sink) = (Broker::with([r#"{"n":1}"#.to_owned()]), Broker::default());
        sink.state().troubles = [PipeError::Closed("nobody reads".to_owned())].into();
        let ended = Pipe::new(engine, machine, source.clone()).sink(sink).run().await;
        (ended, source.settled())
    });
    assert_eq!(outcome.0, Err(PipeError::Closed("nobody reads".to_owned())));
    assert_eq!(outcome.1, [(0, Disposition::Retry(Duration::ZERO))]);
}

#[test]
fn no_more_is_taken_than_may_be_under_way() {
    let bodies = (0..500).map(|n| format!("{{\"n\":{n}}}"));
    let engine = || {
        let engine = Engine::builder().shards(1).task(WORK_ARN, |n: serde_json::Value| async move {
            tokio::task::yield_now().await;
            Ok::<_, TaskError>(n)
        });
        engine.build().expect("an engine")
    };
    let (report, source) = paused(async {
        let engine = engine();
        let machine = engine.create_state_machine("machine", WORK).expect("a machine");
        let source = Broker::with(bodies);
        let pipe = Pipe::new(engine, machine, source.clone()).in_flight(7, 1 << 20).batch(3, Duration::ZERO);
        (pipe.run().await.expect("it runs to its end"), source)
    });
    assert_eq!((report.received, report.succeeded), (500, 500));
    let out_max = source.state().out_max;
    assert!((3..=7).contains(&out_max), "{out_max} were under way");
}

#[test]
fn events_with_the_same_key_are_settled_in_their_order() {
    let bodies = (0..300).map(|n| format!("{{\"customer\":{{\"id\":{}}},\"n\":{n}}}", n % 7));
    let (report, source) = paused(async {
        let engine = Engine::builder().shards(2).task(WORK_ARN, |event: serde_json::Value| async move {
            // Later events are quicker than earlier ones.
            for _ in 0..(300 - event["n"].as_u64().unwrap_or(0)) % 50 {
                tokio::task::yield_now().await;
            }
            Ok::<_, TaskError>(event)
        });
        let engine = engine.build().expect("an engine");
        let machine = engine.create_state_machine("machine", WORK).expect("a machine");
        let source = Broker::with(bodies);
        let key = KeyOf::body("$.customer.id").expect("a path");
        let pipe =
            Pipe::new(engine, machine, source.clone()).order(Order::Key(key)).batch(16, Duration::ZERO);
        (pipe.run().await.expect("it runs to its end"), source)
    });
    assert_eq!(report.succeeded, 300);
    for key in 0..7 {
        let order: Vec<usize> = source.settled().iter().map(|(n, _)| *n).filter(|n| n % 7 == key).collect();
        assert!(order.is_sorted(), "of key {key}: {order:?}");
    }
}

#[test]
fn a_key_waits_for_an_event_that_fails_and_others_do_not() {
    let bodies = [r#"{"k":"a","bad":1}"#, r#"{"k":"a","n":1}"#, r#"{"k":"b","n":2}"#];
    let key = KeyOf::body("$.k").expect("a path");
    let (report, source, _, dead) = run(JUDGE, &bodies, |pipe| pipe.order(Order::Key(key)));
    assert_eq!((report.received, report.succeeded, report.again, report.dead), (3, 2, 2, 1));
    let order: Vec<usize> = source.settled().iter().map(|(n, _)| *n).collect();
    assert_eq!(order, [2, 0, 1]);
    assert_eq!(letters(&dead)[0].attempts, 3);
}

#[test]
fn outputs_are_published_in_the_order_of_the_events() {
    let bodies: Vec<String> = (0..200).map(|n| format!("{{\"n\":{n}}}")).collect();
    let expected = bodies.clone();
    let (report, sink) = paused(async {
        let engine = Engine::builder().shards(2).task(WORK_ARN, |event: serde_json::Value| async move {
            for _ in 0..(200 - event["n"].as_u64().unwrap_or(0)) % 40 {
                tokio::task::yield_now().await;
            }
            Ok::<_, TaskError>(event)
        });
        let engine = engine.build().expect("an engine");
        let machine = engine.create_state_machine("machine", WORK).expect("a machine");
        let sink = Broker::default();
        let pipe = Pipe::new(engine, machine, Broker::with(bodies)).sink(sink.clone());
        (pipe.order(Order::Outputs).batch(8, Duration::ZERO).run().await.expect("it runs to its end"), sink)
    });
    assert_eq!(report.published, 200);
    assert_eq!(sink.published(), expected);
}

#[test]
fn events_that_come_twice_run_once() {
    let bodies = [r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"a"}"#, r#"{"other":1}"#, r#"{"other":1}"#];
    let key = KeyOf::body("$.id").expect("a path");
    let (report, source, sink, _) =
        run(KEEP, &bodies, |pipe| pipe.deduplicate(key, Duration::from_secs(60)).batch(1, Duration::ZERO));
    assert_eq!((report.received, report.succeeded, report.duplicates), (5, 4, 1));
    assert_eq!(sink.published(), [r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"other":1}"#, r#"{"other":1}"#]);
    assert_eq!(source.settled().len(), 5);
}

#[test]
fn an_event_that_is_given_back_is_no_duplicate_of_itself() {
    let key = KeyOf::body("$.id").expect("a path");
    let (report, _, _, dead) =
        run(JUDGE, &[r#"{"id":"a","bad":1}"#], |pipe| pipe.deduplicate(key, Duration::from_secs(600)));
    assert_eq!((report.received, report.redelivered, report.duplicates, report.dead), (1, 2, 0, 1));
    assert_eq!(letters(&dead).len(), 1);
}

#[test]
fn a_batch_is_one_execution_and_may_name_those_that_failed() {
    // It names all events of the batch that are bad.
    let definition = r#"{"QueryLanguage": "JSONata", "StartAt": "All", "States": {"All": {"Type": "Pass", "End": true,
        "Output": {"good": "{% $count($states.input[$not(body.bad = true)]) %}",
            "batchItemFailures": "{% [$states.input[body.bad = true].{'itemIdentifier': messageId}] %}"}}}}"#;
    let bodies = [r#"{"n":0}"#, r#"{"bad":true}"#, "nonsense", r#"{"n":3}"#];
    let attempts = Attempts { max: 2, ..Attempts::default() };
    let (report, source, sink, dead) =
        run(definition, &bodies, |pipe| pipe.as_array().with_envelope().attempts(attempts));
    assert_eq!((report.received, report.redelivered, report.succeeded, report.dead), (4, 1, 2, 2));
    assert_eq!(sink.published(), [r#"{"good":2,"batchItemFailures":[{"itemIdentifier":"1"}]}"#]);
    let dead: Vec<(String, Option<String>)> =
        letters(&dead).into_iter().map(|letter| (letter.provenance.id, letter.error)).collect();
    let expected = [("2", "States.Runtime"), ("1", "Pipe.BatchItemFailed")];
    assert_eq!(dead, expected.map(|(id, error)| (id.to_owned(), Some(error.to_owned()))));
    assert_eq!(source.settled().iter().filter(|(n, _)| *n == 1).count(), 2);
}

#[test]
fn the_envelope_shows_where_an_event_came_from() {
    let (_, _, sink, _) = run(KEEP, &[r#"{"n":0}"#], Pipe::with_envelope);
    let output: serde_json::Value = serde_json::from_str(&sink.published()[0]).expect("JSON");
    let expected = serde_json::json!({"messageId": "0", "eventSource": "broker", "key": null, "deliveries": 1, "body": {"n": 0}});
    assert_eq!(output, expected);
}

#[test]
fn dead_letters_are_sent_again_as_they_came() {
    let (_, _, _, dead) = run(JUDGE, &[r#"{"bad":  1}"#, "nonsense"], |pipe| pipe);
    let mut written = dead.published();
    written.push("no letter".to_owned());
    let (redriven, source, sink) = paused(async {
        let (source, sink) = (Broker::with(written), Broker::default());
        let redrive = Redrive::new(Box::new(source.clone()), Arc::new(sink.clone()));
        (redrive.run().await.expect("it ends well"), source, sink)
    });
    assert_eq!((redriven.sent, redriven.left), (2, 1));
    let mut sent = sink.published();
    sent.sort();
    assert_eq!(sent, ["nonsense", r#"{"bad":  1}"#]);
    assert_eq!(source.settled().len(), 2);
}

#[test]
fn only_letters_of_earlier_failures_are_sent_again() {
    let letter = r#""source":"s","id":"1","deliveries":1,"stateMachineArn":"m","attempts":1,"failedAtMs""#;
    let letters =
        [(1, 1_999), (2, 2_000), (3, 0)].map(|(n, at)| format!(r#"{{"body":"{n}",{letter}:{at}}}"#));
    let (source, sink) = (Broker::with(letters), Broker::default());
    let redrive = Redrive::new(Box::new(source.clone()), Arc::new(sink.clone())).failed_before(2_000);
    let redriven = paused(redrive.run()).expect("it ends well");
    // The newer one is given back, and does not keep the redrive going.
    assert_eq!((redriven.sent, redriven.left, sink.published().concat()), (2, 0, "13".to_owned()));
    assert!(source.settled().contains(&(1, Disposition::Retry(Duration::ZERO))));
}

// ---- lines ----

fn lines(text: &'static [u8]) -> (Report, String, Vec<DeadLetter>) {
    paused(async move {
        let (engine, machine) = engine(KEEP);
        let (sink, written) = Lines::to_memory();
        let dead = Broker::default();
        let pipe = Pipe::new(engine, machine, Lines::from_reader("text", text)).sink(sink);
        let report = pipe.dead_letters(dead.clone()).order(Order::Outputs).run().await.expect("it ends well");
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        (report, written, letters(&dead))
    })
}

#[test]
fn lines_are_events_with_their_numbers() {
    let (report, written, dead) = lines(b"{\"n\":1}\r\n\n  \n [2] \nnonsense\n3");
    assert_eq!((report.received, report.succeeded, report.dead), (4, 3, 1));
    assert_eq!(written, "{\"n\":1}\n[2]\n3\n");
    assert_eq!((&*dead[0].provenance.id, dead[0].body.as_deref()), ("5", Some("nonsense")));
    assert_eq!(lines(b"").0.received, 0);
    assert_eq!(lines(b"\n\n").0.received, 0);
}

#[test]
fn lines_fail_here_and_are_tried_again_here() {
    let (report, dead) = paused(async move {
        let (engine, machine) = engine(JUDGE);
        let dead = Broker::default();
        let pipe = Pipe::new(engine, machine, Lines::from_reader("text", &b"{\"bad\":1}\n"[..]));
        (pipe.dead_letters(dead.clone()).run().await.expect("it ends well"), letters(&dead))
    });
    assert_eq!((report.received, report.again, report.dead), (1, 2, 1));
    assert_eq!(dead[0].attempts, 3);
}

// ---- trouble ----

/// The reported trouble.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<Trouble>>>);

impl Told {
    pub(super) fn by(&self, pipe: Pipe) -> Pipe {
        let told = self.clone();
        pipe.on_trouble(move |trouble| told.0.lock().unwrap().push(trouble.clone()))
    }

    pub(super) fn all(&self) -> Vec<Trouble> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn an_end_that_fails_is_told_at_once_and_again_and_when_it_is_over() {
    let (sink, told) = (Broker::default(), Told::default());
    let why = "cannot write: no space is left on the disk";
    sink.state().troubles = (0..40).map(|_| PipeError::Away(why.to_owned())).collect();
    let bodies = (0..3).map(|n| format!(r#"{{"n":{n}}}"#));
    let (report, _, sink, _) = run_with(KEEP, bodies, sink, |pipe| told.by(pipe));
    assert_eq!((report.published, report.away), (3, 40));
    assert_eq!(sink.state().published.len(), 3);
    let told = told.all();
    assert!(told.iter().all(|trouble| trouble.end == End::Sink && trouble.address == "a broker"));
    assert!(told[0].to_string().ends_with(why), "{}", told[0]);
    assert_eq!((told[0].failures, told[0].lasted), (1, Duration::ZERO));
    // At growing intervals, not at each try.
    assert!((4..20).contains(&told.len()), "{told:?}");
    let over = told.last().unwrap();
    assert_eq!((over.failures, &over.why), (40, &None));
}

/// Fails once after its first events, in this way, and continues.
struct Stumbles(Broker, Option<PipeError>, bool);

impl Source for Stumbles {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        if self.2
            && let Some(trouble) = self.1.take()
        {
            return Box::pin(std::future::ready(Err(trouble)));
        }
        self.2 = true;
        self.0.receive(Room { events: 1, ..room })
    }

    fn address(&self) -> String {
        "orders/worker".to_owned()
    }
}

#[test]
fn a_source_that_worked_is_tried_again_whatever_it_says() {
    for trouble in [
        PipeError::Refused("NOGROUP no such key".to_owned()),
        PipeError::Away("the connection broke".to_owned()),
    ] {
        let broker = Broker::with((0..3).map(|n| format!(r#"{{"n":{n}}}"#)));
        let source = Stumbles(broker, Some(trouble.clone()), false);
        let ((engine, machine), told, sink) = (engine(KEEP), Told::default(), Broker::default());
        let pipe = told.by(Pipe::new(engine, machine, source)).sink(sink.clone());
        let report = paused(pipe.run()).expect("it goes on");
        assert_eq!((report.succeeded, sink.state().published.len()), (3, 3));
        let told: Vec<String> = told.all().iter().map(Trouble::to_string).collect();
        assert_eq!(told[0], format!("The source orders/worker failed and is retried: {trouble}"));
        assert_eq!(told.len(), 2, "{told:?}");
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost_without_a_word() {
    let (engine, machine) = engine(KEEP);
    let told = Told::default();
    let sink = Lines::to_file(std::path::Path::new("/dev/full")).expect("a device");
    let events = Lines::from_reader("events", &b"{}\n{}\n"[..]);
    let pipe = told.by(Pipe::new(engine, machine, events)).sink(sink);
    let (stopper, heard) = (pipe.stopper(), told.clone());
    let ended = paused(async move {
        tokio::spawn(async move {
            while heard.all().len() < 3 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            stopper.stop();
        });
        pipe.run().await
    });
    let told = told.all();
    assert_eq!((told[0].end, told[0].address.as_str()), (End::Sink, "/dev/full"));
    assert!(told[0].why.as_deref().unwrap().contains("no space is left on the disk"), "{}", told[0]);
    // The source hands nothing out again, so the end is not a good one.
    assert!(matches!(&ended, Err(PipeError::Closed(why)) if why.contains("no space is left")), "{ended:?}");
}
