//! `pipe`: a state machine between a source of events and a sink, as a file describes it. `redrive`: sends the events
//! of dead letters again.

mod config;
mod ends;
mod errors;
mod metrics;
mod redrive;
mod redriving;
mod status;
mod tasks;
mod waits;
mod wrong;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use expressway::pipe::{
    Attempts, FailedEvent, KeyOf, Later, Order, Pipe, PipeError, Report, Sink, Source, Stats,
    all_without_credentials,
};
use expressway::runtime::{DefinitionError, Engine, Machine};
use expressway::task::functions::Functions;
use tokio::sync::watch;

use self::config::{Config, Definition, Endpoint, InBucket, Settings};
use self::errors::{refused, runtime};
use self::metrics::Told;
use self::redriving::Redriving;
use self::waits::Waits;
use super::{Level, Stop, Went, files, functions, log, progress, say};

pub(super) use redrive::{Arguments as RedriveArguments, redrive};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The pipeline's description: a TOML file
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Say nothing but errors, and the addresses that it listens on: neither that it runs nor what it did
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

A broker that is away, at the start too, and a stream that does not exist are told, retried, and waited for \
(pipe.start_within bounds the start).

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

pub(super) fn pipe(arguments: &Arguments) -> Result<Went, Stop> {
    if arguments.quiet { arguments.log.begin_quietly() } else { arguments.log.begin() }?;
    let config = config::read(&arguments.config)?;
    let begun = Arc::new(OnceLock::new());
    let runtime = runtime()?;
    let ended = runtime.block_on(run(config, arguments, &begun));
    // A question to a broker that does not answer may still be under way.
    runtime.shutdown_background();
    status::clear();
    // One that broke off has done something, too.
    let broken_off = begun.get().map(|stats| stats.report()).filter(|report| report.received > 0);
    let report = ended.as_ref().ok().copied().or(broken_off);
    if let (Some(report), false) = (report, arguments.quiet) {
        say(&summary(&report, ended.is_err()));
    }
    let report = ended?;
    Ok(if report.dead == 0 { Went::Well } else { Went::PartlyWrong })
}

/// Opens the source that is described, whenever it is called.
fn source(
    described: &Endpoint,
) -> impl FnMut() -> Later<'static, Result<Box<dyn Source>, PipeError>> + use<> {
    let described = described.clone();
    move || {
        let described = described.clone();
        Box::pin(async move { ends::source(&described).await })
    }
}

/// Opens the sink that is described, whenever it is called.
fn sink(described: &Endpoint) -> impl FnMut() -> Later<'static, Result<Arc<dyn Sink>, PipeError>> + use<> {
    let described = described.clone();
    move || {
        let described = described.clone();
        Box::pin(async move { ends::sink(&described).await })
    }
}

/// Runs it to its end; `begun` gets what it counts.
async fn run(
    config: Config,
    arguments: &Arguments,
    begun: &Arc<OnceLock<Arc<Stats>>>,
) -> Result<Report, Stop> {
    let stop = watch::Sender::new(false);
    let (signalled, mut stopped) = (signalled(), stop.subscribe());
    tokio::spawn(async move {
        signalled.await;
        stop.send_replace(true);
    });
    let waits = Arc::new(Waits::new(config.pipe.start_within, status::tell));
    if let Some(address) = config.pipe.metrics {
        let place = |end: Option<&Endpoint>| end.map(Endpoint::place);
        let ends = [Some(&config.source), config.sink.as_ref(), config.dead_letters.as_ref()].map(place);
        let redriving = Redriving::new(&config, address)?;
        let told = Told { stats: Arc::clone(begun), waits: Arc::clone(&waits), ends, redriving };
        metrics::serve(address, &config.pipe.metrics_hosts, told).await?;
    }
    // The functions' processes end with the pipeline.
    let functions = arguments.functions.start(None, None)?;
    let functions = functions.as_ref().map(|started| &started.0);
    let pipe = tokio::select! {
        pipe = described(&config, functions, &waits) => pipe?,
        _ = stopped.wait_for(|stop| *stop) => return Ok(Report::default()),
    };
    let stats = Arc::clone(begun.get_or_init(|| pipe.stats()));
    let stopper = pipe.stopper();
    tokio::spawn(async move {
        // It is never dropped before it is sent.
        let _ = stopped.wait_for(|stop| *stop).await;
        stopper.stop();
    });
    let quiet = arguments.quiet;
    if !quiet {
        tokio::spawn(status::keep_telling(stats, arguments.log.is_text()));
    }
    // A log for machines has the library's own events; people read sentences.
    let (is_text, failures) = (arguments.log.is_text(), status::Failures::new(config.dead_letters.is_some()));
    let pipe = pipe
        .on_running(move || {
            if !quiet {
                status::clear();
                say("The pipeline runs.");
            }
        })
        // Errors are shown even with `--quiet`.
        .on_trouble(move |trouble| {
            if is_text && (!quiet || trouble.why.is_some()) {
                status::tell(&trouble.to_string(), trouble.why.is_none());
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
    pipe.run().await.map_err(refused)
}

/// The pipeline of a description, whose source and sinks are not open yet.
async fn described(config: &Config, functions: Option<&Functions>, waits: &Waits) -> Result<Pipe, Stop> {
    let engine = tasks::given(Engine::builder(), &config.tasks, functions, waits).await?;
    let engine = engine.build().map_err(|error| Stop::failed(error.to_string()))?;
    let machine = machine(&engine, &config.definition, waits).await?;
    let pipe = Pipe::opening(engine, machine, config.source.place(), source(&config.source));
    let mut pipe = settle(pipe, &config.pipe)?;
    if let Some(described) = &config.sink {
        pipe = pipe.opening_sink(described.place(), sink(described));
    }
    if let Some(described) = &config.dead_letters {
        pipe = pipe.opening_dead_letters(described.place(), sink(described));
    }
    Ok(pipe)
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
    if let Some(within) = settings.start_within {
        pipe = pipe.open_within(within);
    }
    Ok(pipe.grace(settings.grace.unwrap_or(Duration::from_secs(30))))
}

/// How long a value may take that is there.
const VALUE_WITHIN: Duration = Duration::from_secs(2);

/// The state machine; if the definition is in a bucket, each new value replaces it.
async fn machine(engine: &Engine, definition: &Definition, waits: &Waits) -> Result<Machine, Stop> {
    match definition {
        Definition::File(file) => {
            let text = files::text(file)?;
            create(engine, &machine_name(file), (&file.display().to_string(), &text))
        }
        Definition::Nats(InBucket { url, bucket, key, credentials }) => {
            let what = format!("The definition's bucket {} {bucket}", all_without_credentials(url));
            let connect = async || {
                let nats = ends::nats(url, credentials.clone()).await?;
                let value = nats.watch(bucket, key).await?;
                Ok((nats, value))
            };
            let (nats, mut value) = waits.until(&what, connect).await.map_err(Stop::failed)?;
            let first = async || {
                let first = tokio::time::timeout(VALUE_WITHIN, value.next()).await;
                first.unwrap_or_else(|_| {
                    let server = all_without_credentials(url);
                    Err(PipeError::Absent(format!(
                        "NATS: there is no value at the key {key}; put one: nats --server {server} kv put {bucket} {key} \
                         \"$(cat FILE)\""
                    )))
                })
            };
            let text = waits.until(&what, first).await.map_err(Stop::failed)?;
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
