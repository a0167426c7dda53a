//! `pipe`: a state machine between a source of events and a sink, as a file describes it. `redrive`: sends the events
//! of dead letters again.

mod config;
mod ends;
mod metrics;
mod redrive;
mod status;
mod tasks;
mod wrong;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use expressway::pipe::{
    Attempts, FailedEvent, KeyOf, Order, Pipe, PipeError, Report, Sink, Stats, all_without_credentials,
};
use expressway::runtime::{DefinitionError, Engine, Machine};

use self::config::{Config, Definition, Endpoint, InBucket, Settings};
use self::metrics::Told;
use super::{Level, Stop, Went, definition, functions, log, progress, say};

pub(super) use redrive::{Arguments as RedriveArguments, redrive};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The pipeline's description: a TOML file
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Say nothing but errors: neither that it runs nor what it did
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    functions: functions::FunctionArguments,
    #[command(flatten)]
    log: log::LogSettings,
}

const AFTER_HELP: &str = "\
The pipeline ends with its source, or with SIGINT or SIGTERM: then nothing more is received, and what is under way is \
finished (pipe.grace seconds at most; the rest stays with the source).

An event is acknowledged only after its output, or its dead letter, is published.

Descriptions for each kind of source and sink are in examples/pipelines. That of lines through a workflow, orders.toml:
  definition = \"orders.asl.json\"
  source = { type = \"stdin\" }
  sink = { type = \"stdout\" }
  dead_letters = { type = \"file\", path = \"dead.ndjson\" }
  pipe = { attempts = 3, metrics = \"127.0.0.1:9108\" }

Examples:
  expressway pipe orders.toml < orders.ndjson > orders.out
  expressway pipe examples/pipelines/nats.toml --log json

Exit codes: 0 no event is a dead letter; 1 some are; 2 the pipeline cannot run, or broke off.";

fn refused(error: PipeError) -> Stop {
    Stop::failed(error.to_string())
}

/// The runtime of pipelines.
fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Stop::failed(format!("cannot start threads: {error}")))
}

pub(super) fn pipe(arguments: &Arguments) -> Result<Went, Stop> {
    if arguments.quiet { arguments.log.begin_quietly() } else { arguments.log.begin() }?;
    let config = config::read(&arguments.config)?;
    let begun = OnceLock::new();
    let ended = runtime()?.block_on(run(config, arguments, &begun));
    status::clear();
    // One that broke off has done something, too.
    let report = ended.as_ref().ok().copied().or_else(|| begun.get().map(|stats| stats.report()));
    if let (Some(report), false) = (report, arguments.quiet) {
        say(&summary(&report, ended.is_err()));
    }
    let report = ended?;
    Ok(if report.dead == 0 { Went::Well } else { Went::PartlyWrong })
}

/// Adds to an error which end of the pipeline it is about, and where that is.
fn at(end: &str, described: &Endpoint, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(why) => Stop::Failed(format!("the {end} {}: {why}", described.place())),
        other => other,
    }
}

fn connected(end: &str, address: &str) {
    tracing::info!(target: "expressway::pipe", end, address, "connected");
}

/// Reports a sink as connected once it answers: the clients of some brokers do not wait for that. If it does not, the
/// pipeline reports so.
fn connect(end: &'static str, address: String, sink: Arc<dyn Sink>) {
    tokio::spawn(async move {
        if sink.check().await.is_ok() {
            connected(end, &address);
        }
    });
}

/// Runs it to its end; `begun` gets what it counts.
async fn run(config: Config, arguments: &Arguments, begun: &OnceLock<Arc<Stats>>) -> Result<Report, Stop> {
    let quiet = arguments.quiet;
    let signalled = signalled();
    // The functions' processes end with the pipeline.
    let functions = arguments.functions.start(None, None)?;
    let functions = functions.as_ref().map(|started| &started.0);
    let engine = tasks::given(Engine::builder(), &config.tasks, functions).await?;
    let engine = engine.build().map_err(|error| Stop::failed(error.to_string()))?;
    let machine = machine(&engine, &config.definition).await?;
    let ready = Arc::new(AtomicBool::new(false));
    let source = ends::source(&config.source).await.map_err(|stop| at("source", &config.source, stop))?;
    connected("source", &config.source.place());
    let mut pipe = settle(Pipe::boxed(engine, machine, source), &config.pipe)?;
    if let Some(sink) = &config.sink {
        let opened = ends::sink(sink).await.map_err(|stop| at("sink", sink, stop))?;
        connect("sink", sink.place(), Arc::clone(&opened));
        pipe = pipe.shared_sink(opened);
    }
    if let Some(sink) = &config.dead_letters {
        let opened = ends::sink(sink).await.map_err(|stop| at("dead-letter sink", sink, stop))?;
        connect("dead letters", sink.place(), Arc::clone(&opened));
        pipe = pipe.shared_dead_letters(opened);
    }
    let stopper = pipe.stopper();
    tokio::spawn(async move {
        signalled.await;
        stopper.stop();
    });
    if let Some(address) = config.pipe.metrics {
        let place = |end: Option<&Endpoint>| end.map(|end| end.place().to_string());
        let ends = [Some(&config.source), config.sink.as_ref(), config.dead_letters.as_ref()].map(place);
        let told = Told { stats: pipe.stats(), ready: Arc::clone(&ready), ends };
        metrics::serve(address, &config.pipe.metrics_hosts, told).await?;
    }
    ready.store(true, Ordering::Release);
    begun.get_or_init(|| pipe.stats());
    if !quiet {
        say("The pipeline runs.");
        tokio::spawn(status::keep_telling(pipe.stats(), arguments.log.is_text()));
    }
    // A log for machines has the library's own events; people read sentences.
    let (is_text, failures) = (arguments.log.is_text(), status::Failures::new(config.dead_letters.is_some()));
    let pipe = pipe
        // Errors are shown even with `--quiet`.
        .on_trouble(move |trouble| {
            if is_text && (!quiet || trouble.why.is_some()) {
                status::clear();
                let level = if trouble.why.is_some() { Level::Warn } else { Level::Info };
                log::say_now(level, &trouble.to_string());
            }
        })
        .on_failure(move |failed| match is_text {
            true if !quiet => failures.tell(failed),
            true => {}
            false => {
                let FailedEvent { provenance, error, cause, attempts, .. } = failed;
                let (source, id) = (&provenance.source, &provenance.id);
                let (error, cause) = (error.as_deref(), cause.as_deref());
                tracing::warn!(target: "expressway::pipe", source, id, error, cause, attempts, "an event failed after all retries");
            }
        });
    let ended = pipe.run().await.map_err(|error| match error {
        // Only sources refuse.
        PipeError::Refused(_) => at("source", &config.source, refused(error)),
        error => refused(error),
    });
    ready.store(false, Ordering::Release);
    ended
}

/// Waits for SIGINT or SIGTERM, which have no other effect from now on.
fn signalled() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    #[cfg(unix)]
    let interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    async move {
        #[cfg(unix)]
        if let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Applies the settings to the pipeline.
fn settle(mut pipe: Pipe, settings: &Settings) -> Result<Pipe, Stop> {
    let key = |text: &String| match text.as_str() {
        "source" => Ok(KeyOf::source()),
        "id" => Ok(KeyOf::id()),
        path => KeyOf::body(path).map_err(refused),
    };
    pipe = match (settings.order, &settings.key) {
        (Some(config::Order::Key), Some(text)) => pipe.order(Order::Key(key(text)?)),
        (Some(config::Order::Key), None) => {
            return Err(Stop::failed("pipe.order is \"key\", and pipe.key is missing"));
        }
        (_, Some(_)) => return Err(Stop::failed("pipe.key needs pipe.order = \"key\"")),
        (Some(config::Order::Outputs), None) => pipe.order(Order::Outputs),
        (Some(config::Order::Any) | None, None) => pipe,
    };
    let usual = Attempts::default();
    pipe = pipe.attempts(Attempts {
        max: settings.attempts.unwrap_or(usual.max),
        delay: settings.retry_delay.unwrap_or(usual.delay),
        delay_max: settings.retry_delay_max.unwrap_or(usual.delay_max),
    });
    pipe = pipe.in_flight(settings.in_flight.unwrap_or(10_000), settings.in_flight_bytes.unwrap_or(64 << 20));
    pipe = pipe.batch(settings.batch.unwrap_or(512), settings.linger.unwrap_or_default());
    if let Some(bytes) = settings.history_bytes {
        pipe = pipe.history((bytes > 0).then_some(bytes));
    }
    if settings.array {
        pipe = pipe.as_array();
    }
    if settings.envelope {
        pipe = pipe.with_envelope();
    }
    pipe = match (&settings.unique, settings.unique_for) {
        (Some(text), keep) => pipe.deduplicate(key(text)?, keep.unwrap_or(Duration::from_secs(300))),
        (None, Some(_)) => return Err(Stop::failed("pipe.unique_for needs pipe.unique")),
        (None, None) => pipe,
    };
    Ok(pipe.grace(settings.grace.unwrap_or(Duration::from_secs(30))))
}

/// The state machine; if the definition is in a bucket, each new value replaces it.
async fn machine(engine: &Engine, definition: &Definition) -> Result<Machine, Stop> {
    match definition {
        Definition::File(file) => {
            let text = definition::text(file)?;
            create(engine, &machine_name(file), (&file.display().to_string(), &text))
        }
        Definition::Nats(InBucket { url, bucket, key, credentials }) => {
            let options =
                expressway::pipe::NatsOptions { credentials: credentials.clone(), ..Default::default() };
            let what = format!("The definition's bucket {} {bucket}", all_without_credentials(url));
            let failed = |error: PipeError| Stop::failed(format!("{what}: {error}"));
            let nats = expressway::pipe::Nats::connect(url, options).await.map_err(failed)?;
            let mut value = nats.watch(bucket, key).await.map_err(failed)?;
            let text = value.next().await.map_err(failed)?;
            status::keep_watching(what, nats.connection());
            let machine = create(engine, &machine_name(std::path::Path::new(key)), (key, &text))?;
            tokio::spawn(follow(engine.clone(), machine.clone(), value, key.clone()));
            Ok(machine)
        }
    }
}

/// Replaces the definition whenever there is a new one; an invalid one is reported, and the present one stays.
async fn follow(engine: Engine, machine: Machine, mut value: expressway::pipe::NatsValue, key: String) {
    loop {
        match value.next().await {
            Ok(text) => {
                let updated =
                    std::str::from_utf8(&text).map_err(|error| error.to_string()).and_then(|text| {
                        engine.update_state_machine(&machine, text).map_err(|error| error.to_string())
                    });
                match updated {
                    Ok(()) => log::say_now(Level::Info, &format!("The definition {key} was replaced.")),
                    Err(error) => {
                        log::say_now(Level::Warn, &format!("The new definition {key} is not used: {error}"));
                    }
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Creates the machine of a definition, which has its text from the place of this name.
fn create(engine: &Engine, name: &str, (place, text): (&str, &[u8])) -> Result<Machine, Stop> {
    let text = std::str::from_utf8(text).map_err(|error| Stop::failed(format!("{place}: {error}")))?;
    engine.create_state_machine(name, text).map_err(|error| {
        Stop::failed(match &error {
            DefinitionError::Invalid(_) => {
                format!("the definition is refused:\n{}", error.excerpts(place, text))
            }
            DefinitionError::Unhandled(tasks) => {
                let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
                let tasks = tasks.join("; ");
                format!(
                    "some tasks have no handler: {tasks}. Let services be called: `services = true` under `[tasks]`, or \
                     answer Lambda functions here: --lambda-dir"
                )
            }
            other => other.to_string(),
        })
    })
}

fn machine_name(file: &std::path::Path) -> String {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').find(|part| !part.is_empty() && *part != "-").unwrap_or("workflow").to_owned()
}

fn summary(report: &Report, broke_off: bool) -> String {
    let grouped = |count: u64| progress::grouped(count);
    let events = status::events(report);
    let what = if events == 1 { "event" } else { "events" };
    let mut text = format!("{} {what}: {} succeeded", grouped(events), grouped(report.succeeded));
    let unfinished = if broke_off { report.received.saturating_sub(events + report.left) } else { 0 };
    let more = [
        (unfinished, "not finished"),
        (report.dead, "failed for good"),
        (report.again, "tried again"),
        (report.duplicates, "had come before"),
        (report.unsettled, "not settled"),
        (report.left, "not finished, which stay with the source"),
        (report.away, "failures of the source or a sink"),
    ];
    for (count, what) in more {
        if count > 0 {
            text.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    text
}
