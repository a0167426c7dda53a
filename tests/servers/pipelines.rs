//! Failures that every pipeline must survive, with any broker: processes that are killed, a server that goes away,
//! events that fail. A test brings a [`Bench`]; these are the scenarios.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{Said, Stall, Starts as _, get, random, terminate};

pub(crate) const TWICE: &str = r#"{"StartAt": "Twice", "States": {"Twice": {"Type": "Pass", "End": true,
    "Parameters": {"n.$": "$.n", "twice.$": "States.MathAdd($.n, $.n)"}}}}"#;
pub(crate) const JUDGE: &str = r#"{"StartAt": "Judge", "States": {
    "Judge": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 3, "Next": "Bad"}], "Default": "Good"},
    "Bad": {"Type": "Fail", "Error": "Order.Bad"}, "Good": {"Type": "Pass", "End": true}}}"#;

/// Events `{"n":N}` in a broker, and where their outputs go.
#[allow(async_fn_in_trait, reason = "nobody needs the futures to be `Send`")]
pub(crate) trait Bench {
    /// How long it may take until all events are dealt with: those of a process that was killed come back late.
    const PATIENCE: Duration = Duration::from_secs(150);

    async fn publish(&self, events: std::ops::Range<u64>);

    /// What is not dealt with yet.
    async fn left(&self) -> Option<String>;

    /// Everything that was put out.
    async fn outputs(&self) -> Vec<Vec<u8>>;

    async fn wait_until_done(&self) {
        let begun = Instant::now();
        while let Some(left) = self.left().await {
            assert!(begun.elapsed() < Self::PATIENCE, "the events are not dealt with: {left}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many times each `n` was put out.
    async fn numbers(&self) -> BTreeMap<u64, u32> {
        let mut numbers = BTreeMap::new();
        for text in self.outputs().await {
            let value: Json = serde_json::from_slice(&text).expect("JSON");
            *numbers.entry(value["n"].as_u64().expect("a number")).or_default() += 1;
        }
        numbers
    }
}

/// What is killed, and how.
pub(crate) struct Kills<'a> {
    /// Starts a pipeline with [`TWICE`].
    pub(crate) start: &'a dyn Fn() -> Child,
    /// The same, and waits until it runs.
    pub(crate) run: &'a dyn Fn() -> Child,
    /// How many, by default.
    pub(crate) usually: u64,
    /// Events for each of them.
    pub(crate) events: u64,
    /// It is killed before so many milliseconds are over.
    pub(crate) milliseconds_max: u64,
}

/// Kills processes under load at random moments; nothing is lost. How many events were put out twice.
pub(crate) async fn killed(bench: &impl Bench, kills: Kills<'_>) -> usize {
    let wanted = std::env::var("EXPRESSWAY_KILLS").ok().and_then(|kills| kills.parse().ok());
    let count: u64 = wanted.unwrap_or(kills.usually);
    let (mut seed, mut published) = (0x9E37_79B9_7F4A_7C15, 0);
    for _ in 0..count {
        let mut child = (kills.start)();
        bench.publish(published..published + kills.events).await;
        published += kills.events;
        tokio::time::sleep(Duration::from_millis(random(&mut seed) % kills.milliseconds_max)).await;
        child.kill().expect("it is killed");
        child.wait().expect("its end");
    }
    // Two of them share what is left.
    let mut children = [(kills.run)(), (kills.run)()];
    bench.wait_until_done().await;
    for child in &mut children {
        assert_eq!(terminate(child), Some(0), "no event failed, and it ends well when asked to");
    }
    let numbers = bench.numbers().await;
    let lost: Vec<u64> = (0..published).filter(|n| !numbers.contains_key(n)).collect();
    assert!(lost.is_empty(), "{} of {published} lost: {lost:?}", lost.len());
    let twice = numbers.values().filter(|&&times| times > 1).count();
    println!("{count} killed, {published} events, none lost, {twice} published twice");
    twice
}

/// The server is cut off for so long: what was published before and meanwhile is dealt with afterwards. `child` is a
/// pipeline with [`TWICE`] that reaches it through `stall`.
pub(crate) async fn cut_off(bench: &impl Bench, mut child: Child, stall: &Stall, for_how_long: Duration) {
    bench.publish(0..1).await;
    bench.wait_until_done().await;
    stall.set(true);
    bench.publish(1..1_000).await;
    tokio::time::sleep(for_how_long).await;
    stall.set(false);
    bench.publish(1_000..1_500).await;
    end(bench, &mut child, 1_500).await;
}

/// The server goes away and comes back, which `away` does: what was published before and afterwards is dealt with.
/// `child` is a pipeline with [`TWICE`].
pub(crate) async fn gone<B: Bench>(bench: &mut B, mut child: Child, away: impl AsyncFnOnce(&mut B)) {
    bench.publish(0..1).await;
    bench.wait_until_done().await;
    bench.publish(1..1_000).await;
    away(bench).await;
    bench.publish(1_000..1_500).await;
    end(bench, &mut child, 1_500).await;
}

/// All are dealt with, and the pipeline ends well when asked to.
async fn end(bench: &impl Bench, child: &mut Child, events: usize) {
    bench.wait_until_done().await;
    assert_eq!(terminate(child), Some(0));
    assert_eq!(bench.numbers().await.len(), events);
}

/// The broker of an idle pipeline goes away and comes back, which `away` does: that is said once for each end, with its
/// address; it is not ready meanwhile, and says why. The pipeline has `metrics`, and goes on.
pub(crate) fn lost_while_idle<B>(
    broker: &mut B,
    (child, said): &mut (Child, Said),
    ends: &[String],
    [gone, back]: [&dyn Fn(&mut B); 2],
) {
    let metrics = said.until(&["Metrics are at http://"]);
    let metrics = metrics.split('/').nth(2).expect("an address").to_owned();
    said.until(&["The pipeline runs."]);
    until_ready(&metrics, &said.all);
    gone(broker);
    let failed: Vec<String> = ends.iter().map(|end| format!("The {end} failed and is retried: ")).collect();
    said.until(&failed);
    let (status, why) = get(&metrics, "/ready");
    assert!(status == 503 && why.starts_with("not ready\n"), "{status} {why}");
    assert!(ends.iter().all(|end| why.contains(&format!("\nThe {end} "))), "{why}");
    let down = get(&metrics, "/metrics").1;
    assert!(down.contains("expressway_pipe_end_up{end=\"source\"} 0\n"), "{down}");
    back(broker);
    let recovered: Vec<String> = ends.iter().map(|end| format!("The {end} recovered after ")).collect();
    said.until(&recovered);
    until_ready(&metrics, &said.all);
    // Text for people has each of it once, whatever the filter of the log.
    assert!(!said.all.contains("a pipeline's connection"), "{}", said.all);
    assert_eq!(child.try_wait().expect("its state"), None);
}

/// The broker is away when the pipeline starts, and comes later, which `back` does: each end is told with its address, it
/// is not ready meanwhile, and it begins when the broker is there. The pipeline has `metrics`, and goes on.
pub(crate) fn away_at_start<B>(
    broker: &mut B,
    config: &Path,
    ends: &[String],
    back: &dyn Fn(&mut B),
) -> (Child, Said) {
    let (mut child, mut said) = speaking(config);
    let metrics = said.until(&["Metrics are at http://"]);
    let metrics = metrics.split('/').nth(2).expect("an address").to_owned();
    let told = |what: &str| ends.iter().map(|end| format!("The {end} {what}")).collect::<Vec<_>>();
    said.until(&told("failed and is retried: "));
    said.until(&told("still fails after "));
    let (status, why) = get(&metrics, "/ready");
    assert!(status == 503 && ends.iter().all(|end| why.contains(&format!("\nThe {end} "))), "{status} {why}");
    let down = get(&metrics, "/metrics").1;
    assert!(down.contains("expressway_pipe_end_up{end=\"source\"} 0\n"), "{down}");
    assert_eq!(child.try_wait().expect("its state"), None);
    back(broker);
    said.until(&[told("recovered after "), vec!["The pipeline runs.".to_owned()]].concat());
    until_ready(&metrics, &said.all);
    (child, said)
}

/// A client may still report what was over before, and a check that began then may fail: the next one says that it is over.
fn until_ready(metrics: &str, said: &str) {
    let begun = Instant::now();
    let up = "expressway_pipe_end_up{end=\"source\"} 1\n";
    while get(metrics, "/ready") != (200, "ready\n".to_owned()) || !get(metrics, "/metrics").1.contains(up) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Deliveries of a broker that counts them: 20 events, of which three failed once before they failed for good.
pub(crate) fn counted_once(said: &mut Said) -> impl FnOnce() + use<> {
    let metrics = said.until(&["Metrics are at http://"]);
    let metrics = metrics.split('/').nth(2).expect("an address").to_owned();
    move || {
        let told = get(&metrics, "/metrics").1;
        for row in ["received_total 20\n", "redelivered_total 3\n", "retried_total 3\n", "failed_total 3\n"] {
            assert!(told.contains(&format!("\nexpressway_pipe_{row}")), "{row}{told}");
        }
    }
}

/// A pipeline that was [lost](lost_while_idle) processes what comes now, and ends well when asked to.
pub(crate) async fn goes_on(bench: &impl Bench, (mut child, said): (Child, Said)) {
    bench.publish(0..10).await;
    bench.wait_until_done().await;
    assert_eq!(terminate(&mut child), Some(0));
    assert!(said.rest().contains("10 events: 10 succeeded, "));
}

/// A pipeline that says what it does, whatever RUST_LOG asks for.
pub(crate) fn speaking(config: &Path) -> (Child, Said) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("pipe").arg(config).env("RUST_LOG", "expressway=info");
    speaks(command)
}

/// The same, by a command with arguments.
pub(crate) fn speaks(mut command: std::process::Command) -> (Child, Said) {
    use std::process::Stdio;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.started();
    let said = Said::by(&mut child);
    (child, said)
}

/// Dead letters of [`JUDGE`] after two attempts at an event: those of `0..3`, from this source, which counted so many
/// deliveries.
pub(crate) fn check_dead_letters(letters: &[impl AsRef<[u8]>], source: &str, deliveries: u32) {
    assert_eq!(letters.len(), 3);
    for letter in letters {
        let letter: Json = serde_json::from_slice(letter.as_ref()).expect("JSON");
        assert_eq!((&letter["error"], &letter["state"]), (&"Order.Bad".into(), &"Bad".into()));
        assert_eq!((&letter["source"], &letter["attempts"]), (&source.into(), &2.into()));
        assert_eq!(letter["deliveries"], deliveries, "{letter}");
    }
}

/// Sends the dead letters of [`JUDGE`] again, with this configuration; `events` are all that were ever published.
pub(crate) async fn redrive(config: &Path, events: impl AsyncFn() -> Vec<Vec<u8>>) {
    let before = events().await.len();
    let status = super::expressway(&["redrive", "--idle", "1"], config).wait().expect("its end");
    assert_eq!(status.code(), Some(0));
    let events = events().await;
    assert_eq!(events.len(), before + 3);
    assert!(events[before..].iter().all(|text| text.starts_with(b"{\"n\":")));
}
