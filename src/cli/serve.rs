//! `serve`: the AWS API on a port.

mod allocator;
mod arguments;
mod kept;
mod source;
mod values;

use expressway::os;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use expressway::observe::Setup;
use expressway::server::{Auth, Config, Server, Tls, raise_file_limit};
use expressway::service::{Builder, Service};
use expressway::task::aws::{EndpointInUse, Integrations};
use expressway::task::functions::Functions;

use super::definition::Refuses;
use super::project;
use super::signals::listen_for_signals;
use super::status_events;
use super::streams::counted;
use super::{Level, Stop, Went, advice, files, log, say, say_at, services};
pub(super) use arguments::Arguments;
use arguments::Whence;
use source::Source;

/// Memory of an idle connection.
const CONNECTION_BYTES: usize = 32 << 10;

pub(super) fn serve(mut arguments: Arguments) -> Result<Went, Stop> {
    allocator::give_back_soon();
    let began = Instant::now();
    arguments.log.begin()?;
    arguments.read_environment()?;
    let arguments = &arguments;
    if let Some(argument) = arguments.project.first().filter(|_| arguments.definitions.is_empty()) {
        return Err(Stop::failed(format!(
            "{argument}: there is no project that it could be about: name one with --project PATH"
        )));
    }
    use_small_pages();
    if let Some(limit) = raise_file_limit()
        && limit.now > limit.before
    {
        say(&format!("expressway: {} files may be open instead of {}", limit.now, limit.before));
    }
    #[cfg_attr(not(feature = "cli-cluster"), allow(unused_mut))]
    let mut config = config(arguments)?;
    let refused = |error: expressway::server::StartError| Stop::failed(unstarted(&error));
    let listener = Server::listen(&config).map_err(refused)?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let started = arguments.tasks.functions.start(Some(&config.place.region), None)?;
    let functions = started.as_ref().map(|started| &started.0);
    if arguments.tasks.no_integrations && functions.is_some() {
        return Err(Stop::failed("--no-integrations does not go with --lambda and --lambda-dir"));
    }
    let builder = kept::kept(arguments)?;
    #[cfg(feature = "cli-cluster")]
    let mut owning = arguments.own(&listener, &mut config)?;
    #[cfg(feature = "cli-cluster")]
    let builder = match &owning {
        Some(owning) => builder.cluster(owning.cluster.clone()),
        None => builder,
    };
    let service = service(builder, arguments, &config, address, functions)?;
    let gone_on = service.open_executions();
    // The thread of signals, which never ends, must not keep the service.
    let at_risk = Arc::new(service.clone());
    let watched = Arc::downgrade(&at_risk);
    let signalled = listen_for_signals(move || kept::lost(&watched.upgrade()?.executions_not_durable()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot wait for signals: {}", os::words(&error))))?;
    let server = Server::start_on(listener, &config, &service).map_err(refused)?;
    #[cfg(feature = "cli-cluster")]
    if let Some(owning) = &mut owning {
        owning.server_began();
    }
    let called = arguments.called(&config, address, functions)?;
    let refuses: Refuses<'_> = &|task| called.as_ref().and_then(|called| services::refuses(called, task));
    let from = Source { arguments, place: &config.place, service: &service, refuses };
    let mut followed = Vec::new();
    for path in &arguments.definitions {
        if project::is_there(path)? {
            runtime.block_on(from.deploy(path, called.clone()))?;
        } else {
            followed.push(runtime.block_on(from.follow(path))?);
        }
    }
    server.ready(true);
    if gone_on > 0 {
        let (are, go) = if gone_on == 1 { ("is", "goes") } else { ("are", "go") };
        let executions = counted(gone_on, "execution");
        say(&format!("expressway: {executions} from before this start {are} not over, and {go} on"));
    }
    announce(arguments, &server, &config, functions, began);
    runtime.block_on(async {
        tokio::select! {
            _ = signalled => {}
            () = from.keep_looking(followed) => {}
        }
    });
    let within = Duration::from_secs(u64::from(arguments.drain_timeout));
    drain(&runtime, server, &service, within)
}

/// With huge pages, touched memory is resident in pieces of 2 MiB: an idle server takes 20 MiB instead of 12, and the
/// buffers of an idle connection take twice what is used of them.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    // If the system refuses, the server takes more memory.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn announce(
    arguments: &Arguments,
    server: &Server,
    config: &Config,
    functions: Option<&Functions>,
    began: Instant,
) {
    // What the start logged stands before what it says.
    log::flush();
    let integrations = arguments.integrations(config, server.address(), functions);
    let integrations = integrations.ok().filter(|_| !arguments.tasks.no_integrations);
    for (name, shown) in functions.iter().flat_map(|functions| functions.names()) {
        say(&format!("expressway: the Lambda function {name} is answered by {shown}"));
    }
    for EndpointInUse { service, url, named_by, .. } in integrations.iter().flat_map(Integrations::endpoints)
    {
        let service = service.unwrap_or_else(|| "all other services".to_owned());
        let own = url.ends_with(&format!("://{}", server.address()));
        let named_by = named_by.as_deref().unwrap_or(if own { "this server" } else { "--endpoint" });
        say(&format!("expressway: tasks of {service} go to {url} ({named_by})"));
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    #[cfg(feature = "console")]
    if config.console.is_some() {
        say(&format!("expressway: console at {scheme}://{}/console/", server.address()));
    }
    // The last line of the start: later lines report events.
    say(&format!(
        "expressway: ready on {scheme}://{} after {:.1} ms; {}",
        server.address(),
        began.elapsed().as_secs_f64() * 1e3,
        kept::durability(arguments),
    ));
    if config.insecure {
        say_at(Level::Warn, "expressway: anyone who can reach this address has full access (--insecure)");
    }
}

fn config(arguments: &Arguments) -> Result<Config, Stop> {
    let security = &arguments.security;
    let mut config = Config::default();
    config.listen = SocketAddr::new(arguments.host, arguments.port);
    config.threads = arguments.threads.map_or(config.threads, usize::from);
    config.insecure = security.insecure;
    config.origins = security.allow_origin.clone();
    config.hosts = security.allow_host.clone();
    config.scope_from_credentials = arguments.scope == Whence::FromCredentials;
    config.testing = arguments.memory.testing;
    #[cfg(feature = "console")]
    {
        config.console = security.console.console(!arguments.tasks.no_integrations)?;
    }
    let (limits, place) = (&mut config.limits, &mut config.place);
    let memory = security.memory();
    limits.requests_bytes_max = memory / 8;
    limits.connections_max = limits.connections_max.min(memory / 8 / CONNECTION_BYTES);
    limits.connections_max = security.max_connections.unwrap_or(limits.connections_max);
    limits.body_bytes_max = security.max_body.unwrap_or(limits.body_bytes_max);
    limits.slow_seconds_max = security.slow_timeout.unwrap_or(limits.slow_seconds_max);
    limits.idle_seconds_max = security.idle_timeout.unwrap_or(limits.idle_seconds_max);
    place.account = arguments.account.clone().unwrap_or_else(|| place.account.clone());
    place.region = arguments.region.clone().unwrap_or_else(|| place.region.clone());
    if let Some(file) = &security.auth {
        let text = read(file)?;
        let auth =
            Auth::parse(&text).map_err(|error| Stop::failed(format!("{}: {error}", file.display())))?;
        config.auth = Some(auth);
    }
    if let (Some(certificates), Some(key)) = (&security.tls_cert, &security.tls_key) {
        let tls = Tls::read(certificates, key).map_err(|error| Stop::failed(error.to_string()))?;
        config.tls = Some(tls);
    }
    Ok(config)
}

/// Why the server does not start, and what to try.
fn unstarted(error: &expressway::server::StartError) -> String {
    match error {
        expressway::server::StartError::Listen(address, why) => {
            let choose = "choose one with --port, or any that is free with --port 0";
            advice::cannot_listen(*address, why, choose)
        }
        error => error.to_string(),
    }
}

fn service(
    builder: Builder,
    arguments: &Arguments,
    config: &Config,
    address: SocketAddr,
    functions: Option<&Functions>,
) -> Result<Service, Stop> {
    let mut builder = builder
        .memory(arguments.security.memory())
        .engine(|engine| engine.observe(Setup::default().metrics()))
        .account(&config.place.account)
        .region(&config.place.region)
        .express_only(arguments.express_only)
        .express_history(arguments.memory.express_history)
        .express_callbacks(arguments.memory.express_callbacks)
        .express_maps(arguments.memory.express_maps)
        .retention_days(arguments.memory.retention_days)
        .redrive_days(arguments.memory.redrive_days)
        .open_executions_max(arguments.memory.open_executions_max);
    if let Some(executions) = arguments.memory.resident_executions_max {
        builder = builder.resident_executions_max(executions);
    }
    if let Some(ms) = arguments.memory.resident_ms {
        builder = builder.resident_ms(ms, 2 * ms);
    }
    for resource in &arguments.memory.fail_in_doubt {
        builder = builder.fail_in_doubt(resource);
    }
    // Now, because it is read again when an execution begins.
    arguments.mocks()?;
    if let Some(path) = &arguments.memory.mock_config {
        builder = builder.mock_config(path);
    }
    if let Some(scale) = arguments.time_scale {
        builder = builder.engine(|engine| engine.time_scale(scale));
    }
    if let Some(folder) = &arguments.tasks.files {
        let files = files::below(folder)?;
        builder = builder.engine(|engine| engine.files(files));
    }
    if let Some(called) = arguments.called(config, address, functions)? {
        builder = builder.engine(|engine| engine.aws(called));
    }
    let integrations = || arguments.integrations(config, address, functions);
    builder = (arguments.status)
        .of(builder, || (!arguments.tasks.no_integrations).then(integrations).transpose())?;
    builder.build().map_err(|error| {
        // If the folder cannot be made, the error says why, as for other files and folders.
        let folder = arguments.memory.state.as_ref().filter(|folder| !folder.is_dir());
        match folder.and_then(|folder| Some((folder, fs::create_dir_all(folder).err()?))) {
            Some((folder, error)) => {
                let why = files::why_unwritable(folder, &error);
                Stop::failed(format!("--state {}: cannot make the folder: {why}", folder.display()))
            }
            None => Stop::failed(format!("cannot start the service: {error}")),
        }
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Stop> {
    fs::read(file).map_err(|error| files::unreadable(file, &error))
}

/// Begins no more executions, and lets running ones finish; meanwhile all other requests are answered, because
/// executions may wait for workers and callbacks. New connections go to the next server at this address. Then the
/// connections are closed.
fn drain(
    runtime: &tokio::runtime::Runtime,
    server: Server,
    service: &Service,
    within: Duration,
) -> Result<Went, Stop> {
    #[cfg(feature = "cli-cluster")]
    service.hand_over(within);
    server.stop_listening();
    say(
        "expressway: finishing what is under way; the port is free for another server; a second signal ends at once",
    );
    let began = Instant::now();
    let began_ms = service.time_ms();
    let drained = runtime.block_on(async {
        let executions = service.drain(within).await;
        // Executions that just timed out are still to be recorded.
        let left = within.saturating_sub(began.elapsed()).max(Duration::from_secs(1));
        (executions, server.drain(left))
    });
    status_events::wait(service);
    service.finish();
    let (executions, connections) = drained;
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    say(&format!(
        "expressway: {} answered; {} timed out; {} closed, {} cut",
        counted(count(connections.requests), "request"),
        counted(count(executions.timed_out), "execution"),
        counted(connections.closed, "connection"),
        connections.cut,
    ));
    if let Some(lost) = kept::lost(&service.executions_timed_out_since(began_ms)) {
        say_at(Level::Warn, &format!("expressway: not over in time: {lost}"));
    }
    let all_ended = connections.cut == 0 && executions.timed_out == 0;
    Ok(if all_ended { Went::Well } else { Went::PartlyWrong })
}
