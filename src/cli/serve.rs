//! `serve`: the AWS API on a port.

mod allocator;
mod kept;
mod source;
mod values;

use expressway::os;
use std::env;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use expressway::memory;
use expressway::observe::Setup;
use expressway::runtime::DurabilityMode;
#[cfg(feature = "console")]
use expressway::server::Console;
use expressway::server::{Auth, Config, PORT, Server, Tls, raise_file_limit};
use expressway::service::{Builder, Service};
use expressway::task::aws::{EndpointInUse, Integrations};
use expressway::task::functions::Functions;
use expressway::task::mock::MockConfig;

use super::definition::Refuses;
use super::project;
use super::signals::listen_for_signals;
use super::status_events::{self, StatusEvents};
use super::{
    Level, Stop, Type, Went, advice, counted, definition, functions, is_host, log, say, say_at, services,
};
use source::Source;
use values::{account, at_least_one, bytes, factor, host, origin, region};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The address to listen on; one that others can reach needs --auth or --insecure
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// The port to listen on; 0 takes any that is free
    #[arg(long, short, value_name = "PORT", default_value_t = PORT)]
    port: u16,
    /// Threads that serve connections; by default one for each processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    threads: Option<u16>,
    /// Create state machines: from each *.asl.json and *.asl.yaml of a folder, or from one file with a definition, and
    /// update them when the files change. Or from a project, once, and tell where their tasks will go: a template of
    /// CloudFormation or SAM, serverless.yml, cdk.out, or a folder with one of these or with Terraform. Several may be given
    #[arg(long, visible_alias = "project", value_name = "PATH")]
    definitions: Vec<PathBuf>,
    #[command(flatten)]
    project: project::ProjectArguments,
    /// The type of the state machines from --definitions; without, it is that of the project, or EXPRESS unless the
    /// definition uses what only STANDARD has
    #[arg(long, value_name = "TYPE", value_enum, ignore_case = true)]
    definitions_type: Option<Type>,
    /// Refuse STANDARD state machines
    #[arg(long)]
    express_only: bool,
    /// Whether region and account of what is created and listed are those given here, or those that the credentials of a
    /// request name: then clients of several share the server. An access key of 12 digits is an account
    #[arg(long, value_enum, value_name = "WHENCE", default_value_t = Whence::Given)]
    scope: Whence,
    /// The account in ARNs [env: AWS_ACCOUNT_ID] [default: 123456789012]
    #[arg(long, alias = "aws-account", value_name = "DIGITS", value_parser = account)]
    account: Option<String>,
    /// The region in ARNs [env: AWS_REGION, AWS_DEFAULT_REGION] [default: us-east-1]
    #[arg(long, alias = "aws-region", value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// Factor of all waiting: Wait states, delays of retries, timeouts. With 0, waits and delays take no time, and
    /// timeouts stay what they are [env: WAIT_TIME_SCALE] [default: 1]
    #[arg(long, alias = "wait-time-scale", value_name = "FACTOR", value_parser = factor)]
    time_scale: Option<f64>,
    #[command(flatten)]
    tasks: Tasks,
    #[command(flatten)]
    memory: Memory,
    #[cfg(feature = "cli-cluster")]
    #[command(flatten)]
    cluster: super::cluster::ClusterArguments,
    #[command(flatten)]
    security: Security,
    #[command(flatten)]
    log: log::LogSettings,
    #[command(flatten)]
    status: StatusEvents,
    /// Seconds that executions and requests under way have to finish after SIGTERM; then they time out
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u32,
}

/// Where region and account come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Whence {
    /// --region and --account, for all
    Given,
    /// The credentials that a request is signed with; those without are in the region and account given here
    FromCredentials,
}

/// What is kept, and what goes beyond AWS.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "State and extensions")]
struct Memory {
    /// Keep what the API creates (state machines, versions, aliases, tags, activities) and STANDARD executions in this
    /// folder: they survive restarts, kill -9 and a power cut, and executions that were not over go on
    #[arg(long, value_name = "FOLDER", group = "kept")]
    state: Option<PathBuf>,
    /// Days that STANDARD executions are kept after their end, if there is room; then their names are free
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    retention_days: u32,
    /// Days after its end in which a STANDARD execution that did not succeed may be redriven
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    redrive_days: u32,
    /// STANDARD executions that may be open; more are refused
    #[arg(long, value_name = "COUNT", default_value_t = expressway::limits::OPEN_EXECUTIONS_MAX)]
    open_executions_max: usize,
    /// STANDARD executions that wait and stay in memory [default: 10000]; those beyond leave it, and come back when something
    /// happens to them
    #[arg(long, value_name = "COUNT", requires = "state")]
    resident_executions_max: Option<usize>,
    /// Milliseconds that an execution waits before it may leave memory, for tests
    #[arg(long, hide = true, value_name = "MS")]
    resident_ms: Option<u64>,
    /// What a crash may lose of STANDARD executions: nothing (`strict`), what was acknowledged in the last milliseconds
    /// (`relaxed`, `relaxed=MS`; 100 unless given), or all of it (`memory`)
    #[arg(long, value_name = "MODE", default_value_t, requires = "kept")]
    durability: DurabilityMode,
    /// Tasks with this resource fail with States.TaskFailed when the server ended before their result was recorded, instead
    /// of being done once more; `*` at the end stands for anything
    #[arg(long, value_name = "RESOURCE", requires = "kept")]
    fail_in_doubt: Vec<String>,
    /// Mocked tasks, as Step Functions Local describes them; `#Case` behind a state machine's ARN chooses a test case.
    /// State machines may then have service tasks that are not supported (as with --accept-unsupported)
    /// [env: SFN_MOCK_CONFIG]
    #[arg(long, value_name = "FILE")]
    mock_config: Option<PathBuf>,
    /// For test suites: `POST /_expressway/reset` forgets everything, and `PUT /_expressway/mocks` sets the mocks, with a
    /// mock configuration as its body. State machines may have service tasks that are not supported
    #[arg(long, conflicts_with_all = ["state", "auth"])]
    testing: bool,
    /// Describe, list and stop Express executions, and show their history, as AWS does for Standard ones only
    #[arg(long)]
    express_history: bool,
    /// Let Express state machines use activities, `.sync` and `.waitForTaskToken`, which AWS refuses
    #[arg(long)]
    express_callbacks: bool,
    /// Let Express state machines have distributed Maps, which AWS refuses
    #[arg(long)]
    express_maps: bool,
}

/// What tasks call. Region, credentials and endpoints come from the environment, as SDKs take them from there.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tasks")]
struct Tasks {
    /// Call no services: tasks fail unless they are mocked
    #[arg(long)]
    no_integrations: bool,
    /// Let distributed Maps read and write files below this folder: `arn:aws:states:::file:read` and `file:write`, with
    /// the parameter Path, which AWS does not know
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    #[command(flatten)]
    settings: services::Settings,
    /// Accept state machines with service tasks that are not supported; such a task fails when it begins
    #[arg(long)]
    accept_unsupported: bool,
    #[command(flatten)]
    functions: functions::FunctionArguments,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Security")]
struct Security {
    /// Accept requests signed with a key of this file only, and only what it allows them
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    /// Let everyone who can reach the server do everything
    #[arg(long, conflicts_with = "auth")]
    insecure: bool,
    /// Serve this certificate (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let pages of this origin use the API from a browser; `*` is any
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,
    #[cfg(feature = "console")]
    #[command(flatten)]
    console: ConsoleArguments,
    /// Let clients call the server by this name, beside those of loopback and its address; `*` is any
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    allow_host: Vec<String>,
    /// Connections at the same time [default: 20000, fewer with little memory]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_connections: Option<usize>,
    /// Bytes of a request's body [default: 4194304]
    #[arg(long, value_name = "BYTES", value_parser = at_least_one)]
    max_body: Option<usize>,
    /// Bytes, as 512MiB, that the server may take in all: executions, state machines, requests and responses have their
    /// shares of it. By default half of the memory of the machine or of its control group
    #[arg(long = "memory", value_name = "BYTES", value_parser = bytes)]
    memory_max: Option<usize>,
    /// Seconds for a request's head and body to come, and for a response to be read [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    slow_timeout: Option<u32>,
    /// Seconds a connection may stay open without a request [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    idle_timeout: Option<u32>,
}

#[cfg(feature = "console")]
#[derive(Debug, clap::Args)]
struct ConsoleArguments {
    /// Serve no console for browsers
    #[arg(long)]
    no_console: bool,
    /// Show a pipeline in the console, whose `metrics` are at this address
    #[arg(long, value_name = "HOST:PORT", value_parser = super::host_and_port)]
    pipeline: Vec<String>,
    /// The secret of these pipelines (`[pipe] redrive_secret_file`): with it the console has them send dead letters again
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pipeline_secret_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Without --state, STANDARD executions are in memory: whatever ends the process ends them, and their history is gone. \
With it they are durable, but for those of a test case of --mock-config.

SIGTERM and SIGINT let executions and requests under way finish; a second one ends at once. No log carries data of \
executions, but for what functions of --lambda and --lambda-dir write themselves.

Examples:
  expressway serve --definitions workflows/
  expressway serve --definitions . --endpoint Lambda=http://127.0.0.1:3001
  expressway serve --definitions workflows/ --lambda-dir functions/
  expressway serve --state data/ --auth keys.json --host 0.0.0.0
  expressway serve --testing --scope from-credentials --time-scale 0

A file of keys: {\"keys\": [{\"accessKeyId\": \"…\", \"secretAccessKey\": \"…\", \"allow\": [{\"actions\":
[\"states:StartSyncExecution\"], \"resources\": [\"arn:aws:states:*:stateMachine:orders*\"]}]}]}";

/// A name by which clients may call the server.
fn host_name(text: &str) -> Result<String, String> {
    if text == "*" || is_host(text) {
        return Ok(text.to_owned());
    }
    Err("expected the name of a host, such as workflows, without a scheme and a port, or *".to_owned())
}

impl Arguments {
    /// Takes what no option gives from the environment, where an empty variable counts as unset.
    fn read_environment(&mut self) -> Result<(), Stop> {
        or_variable(&mut self.account, "AWS_ACCOUNT_ID", account)?;
        // In the order in which SDKs read them.
        or_variable(&mut self.region, "AWS_REGION", region)?;
        or_variable(&mut self.region, "AWS_DEFAULT_REGION", region)?;
        or_variable(&mut self.time_scale, "WAIT_TIME_SCALE", factor)?;
        if self.memory.mock_config.is_none() {
            or_variable(&mut self.memory.mock_config, MOCK_CONFIG, |text| Ok(PathBuf::from(text)))?;
            let wrong = |stop| Stop::failed(format!("{MOCK_CONFIG}: {stop}"));
            self.mocks().map_err(wrong)?;
        }
        Ok(())
    }

    /// What is in the file of mocks.
    fn mocks(&self) -> Result<Option<MockConfig>, Stop> {
        let Some(file) = &self.memory.mock_config else { return Ok(None) };
        let wrong = |error| Stop::failed(format!("{}: {error}", file.display()));
        MockConfig::parse(&definition::text(file)?).map(Some).map_err(wrong)
    }

    /// Whether what is created outlives the process.
    fn is_kept(&self) -> bool {
        #[cfg(feature = "cli-cluster")]
        if self.cluster.is_given() {
            return true;
        }
        self.memory.state.is_some()
    }

    /// Waits until this node owns the cluster, if one is configured.
    #[cfg(feature = "cli-cluster")]
    fn own(
        &self,
        listener: &std::net::TcpListener,
        config: &mut Config,
    ) -> Result<Option<super::cluster::Owning>, Stop> {
        if self.cluster.is_given() && self.memory.durability == DurabilityMode::Memory {
            return Err(Stop::failed("--durability memory does not go with --journal"));
        }
        self.cluster.own(listener, config)
    }

    /// What tasks call. Tasks of Step Functions itself call this server, unless an endpoint of that service is given: a
    /// common endpoint of all services does not apply to them.
    fn integrations(
        &self,
        config: &Config,
        address: SocketAddr,
        functions: Option<&Functions>,
    ) -> Result<Integrations, Stop> {
        let mut integrations = self.tasks.settings.integrations(functions)?;
        if self.tasks.accept_unsupported {
            integrations = integrations.accept_unsupported();
        }
        if integrations.has_endpoint("SFN") {
            return Ok(integrations);
        }
        let host = match address.ip() {
            IpAddr::V4(host) if host.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            host => host,
        };
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let own = format!("{scheme}://{}", SocketAddr::new(host, address.port()));
        integrations.endpoint("SFN", &own).map_err(|error| Stop::failed(error.to_string()))
    }

    /// What tasks that are not mocked call; `None` if no services are called.
    fn called(
        &self,
        config: &Config,
        address: SocketAddr,
        functions: Option<&Functions>,
    ) -> Result<Option<Integrations>, Stop> {
        if self.tasks.no_integrations {
            return Ok(None);
        }
        let integrations = self.integrations(config, address, functions)?;
        let are_mocks = self.memory.mock_config.is_some() || self.memory.testing;
        Ok(Some(if are_mocks { integrations.beside_mocks() } else { integrations }))
    }
}

impl Security {
    fn memory(&self) -> usize {
        self.memory_max.unwrap_or_else(memory::default_bytes)
    }
}

/// The variable of Step Functions Local that names the file of mocks.
const MOCK_CONFIG: &str = "SFN_MOCK_CONFIG";

/// Takes a setting from an environment variable, unless an option gives it.
fn or_variable<T>(
    setting: &mut Option<T>,
    variable: &str,
    read: fn(&str) -> Result<T, String>,
) -> Result<(), Stop> {
    let Some(text) = env::var_os(variable).filter(|text| setting.is_none() && !text.is_empty()) else {
        return Ok(());
    };
    let text = text.to_string_lossy();
    let wrong = |why| Stop::failed(format!("the environment variable {variable}={text}: {why}"));
    *setting = Some(read(&text).map_err(wrong)?);
    Ok(())
}

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
        let files = definition::files(folder)?;
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
                let why = definition::why_unwritable(folder, &error);
                Stop::failed(format!("--state {}: cannot make the folder: {why}", folder.display()))
            }
            None => Stop::failed(format!("cannot start the service: {error}")),
        }
    })
}

#[cfg(feature = "console")]
impl ConsoleArguments {
    fn console(&self, real_runs: bool) -> Result<Option<Console>, Stop> {
        if self.no_console {
            return Ok(None);
        }
        let mut console = Console::default();
        console.pipelines.clone_from(&self.pipeline);
        console.pipelines_secret = self.pipeline_secret_file.as_deref().map(secret).transpose()?;
        console.real_runs = real_runs;
        Ok(Some(console))
    }
}

/// A secret in a file, without the end of its line.
#[cfg(feature = "console")]
fn secret(file: &Path) -> Result<String, Stop> {
    let text = os::read_text(file).map_err(|error| definition::unreadable(file, &error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read(file: &Path) -> Result<Vec<u8>, Stop> {
    fs::read(file).map_err(|error| definition::unreadable(file, &error))
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
