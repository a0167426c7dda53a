//! The options of `serve`.

use std::env;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "console")]
use std::path::Path;
use std::path::PathBuf;

use expressway::memory;
#[cfg(feature = "console")]
use expressway::os;
use expressway::runtime::DurabilityMode;
#[cfg(feature = "console")]
use expressway::server::Console;
use expressway::server::{Config, PORT};
use expressway::task::aws::Integrations;
use expressway::task::functions::Functions;
use expressway::task::mock::MockConfig;

use super::values::{account, at_least_one, bytes, factor, host, origin, region};
use crate::cli::hosts::is_host;
use crate::cli::log::LogSettings;
use crate::cli::reading::Type;
use crate::cli::status_events::StatusEvents;
use crate::cli::stop::Stop;
use crate::cli::{files, functions, project, services};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Arguments {
    /// The address to listen on; one that others can reach needs --auth or --insecure
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    pub(super) host: IpAddr,
    /// The port to listen on; 0 takes any that is free
    #[arg(long, short, value_name = "PORT", default_value_t = PORT)]
    pub(super) port: u16,
    /// Threads that serve connections; by default one for each processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) threads: Option<u16>,
    /// Create state machines: from each *.asl.json and *.asl.yaml of a folder, or from one file with a definition, and
    /// update them when the files change. Or from a project, once, and tell where their tasks will go: a template of
    /// CloudFormation or SAM, serverless.yml, cdk.out, or a folder with one of these or with Terraform. Several may be given
    #[arg(long, visible_alias = "project", value_name = "PATH")]
    pub(super) definitions: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) project: project::ProjectArguments,
    /// The type of the state machines from --definitions; without, it is that of the project, or EXPRESS unless the
    /// definition uses what only STANDARD has
    #[arg(long, value_name = "TYPE", value_enum, ignore_case = true)]
    pub(super) definitions_type: Option<Type>,
    /// Refuse STANDARD state machines
    #[arg(long)]
    pub(super) express_only: bool,
    /// Whether region and account of what is created and listed are those given here, or those that the credentials of a
    /// request name: then clients of several share the server. An access key of 12 digits is an account
    #[arg(long, value_enum, value_name = "WHENCE", default_value_t = Whence::Given)]
    pub(super) scope: Whence,
    /// The account in ARNs [env: AWS_ACCOUNT_ID] [default: 123456789012]
    #[arg(long, alias = "aws-account", value_name = "DIGITS", value_parser = account)]
    pub(super) account: Option<String>,
    /// The region in ARNs [env: AWS_REGION, AWS_DEFAULT_REGION] [default: us-east-1]
    #[arg(long, alias = "aws-region", value_name = "REGION", value_parser = region)]
    pub(super) region: Option<String>,
    /// Factor of all waiting: Wait states, delays of retries, timeouts. With 0, waits and delays take no time, and
    /// timeouts stay what they are [env: WAIT_TIME_SCALE] [default: 1]
    #[arg(long, alias = "wait-time-scale", value_name = "FACTOR", value_parser = factor)]
    pub(super) time_scale: Option<f64>,
    #[command(flatten)]
    pub(super) tasks: Tasks,
    #[command(flatten)]
    pub(super) memory: Memory,
    #[cfg(feature = "cli-cluster")]
    #[command(flatten)]
    pub(super) cluster: crate::cli::cluster::ClusterArguments,
    #[command(flatten)]
    pub(super) security: Security,
    #[command(flatten)]
    pub(super) log: LogSettings,
    #[command(flatten)]
    pub(super) status: StatusEvents,
    /// Seconds that executions and requests under way have to finish after SIGTERM; then they time out
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) drain_timeout: u32,
}

/// Where region and account come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Whence {
    /// --region and --account, for all
    Given,
    /// The credentials that a request is signed with; those without are in the region and account given here
    FromCredentials,
}

/// What is kept, and what goes beyond AWS.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "State and extensions")]
pub(super) struct Memory {
    /// Keep what the API creates (state machines, versions, aliases, tags, activities) and STANDARD executions in this
    /// folder: they survive restarts, kill -9 and a power cut, and executions that were not over go on
    #[arg(long, value_name = "FOLDER", group = "kept")]
    pub(super) state: Option<PathBuf>,
    /// Days that STANDARD executions are kept after their end, if there is room; then their names are free
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    pub(super) retention_days: u32,
    /// Days after its end in which a STANDARD execution that did not succeed may be redriven
    #[arg(long, value_name = "DAYS", default_value_t = 14)]
    pub(super) redrive_days: u32,
    /// STANDARD executions that may be open; more are refused
    #[arg(long, value_name = "COUNT", default_value_t = expressway::limits::OPEN_EXECUTIONS_MAX)]
    pub(super) open_executions_max: usize,
    /// STANDARD executions that wait and stay in memory [default: 10000]; those beyond leave it, and come back when something
    /// happens to them
    #[arg(long, value_name = "COUNT", requires = "state")]
    pub(super) resident_executions_max: Option<usize>,
    /// Milliseconds that an execution waits before it may leave memory, for tests
    #[arg(long, hide = true, value_name = "MS")]
    pub(super) resident_ms: Option<u64>,
    /// What a crash may lose of STANDARD executions: nothing (`strict`), what was acknowledged in the last milliseconds
    /// (`relaxed`, `relaxed=MS`; 100 unless given), or all of it (`memory`)
    #[arg(long, value_name = "MODE", default_value_t, requires = "kept")]
    pub(super) durability: DurabilityMode,
    /// Tasks with this resource fail with States.TaskFailed when the server ended before their result was recorded, instead
    /// of being done once more; `*` at the end stands for anything
    #[arg(long, value_name = "RESOURCE", requires = "kept")]
    pub(super) fail_in_doubt: Vec<String>,
    /// Mocked tasks, as Step Functions Local describes them; `#Case` behind a state machine's ARN chooses a test case.
    /// State machines may then have service tasks that are not supported (as with --accept-unsupported)
    /// [env: SFN_MOCK_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(super) mock_config: Option<PathBuf>,
    /// For test suites: `POST /_expressway/reset` forgets everything, and `PUT /_expressway/mocks` sets the mocks, with a
    /// mock configuration as its body. State machines may have service tasks that are not supported
    #[arg(long, conflicts_with_all = ["state", "auth"])]
    pub(super) testing: bool,
    /// Describe, list and stop Express executions, and show their history, as AWS does for Standard ones only
    #[arg(long)]
    pub(super) express_history: bool,
    /// Let Express state machines use activities, `.sync` and `.waitForTaskToken`, which AWS refuses
    #[arg(long)]
    pub(super) express_callbacks: bool,
    /// Let Express state machines have distributed Maps, which AWS refuses
    #[arg(long)]
    pub(super) express_maps: bool,
}

/// What tasks call. Region, credentials and endpoints come from the environment, as SDKs take them from there.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tasks")]
pub(super) struct Tasks {
    /// Call no services: tasks fail unless they are mocked
    #[arg(long)]
    pub(super) no_integrations: bool,
    /// Let distributed Maps read and write files below this folder: `arn:aws:states:::file:read` and `file:write`, with
    /// the parameter Path, which AWS does not know
    #[arg(long, value_name = "DIR")]
    pub(super) files: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: services::Settings,
    /// Accept state machines with service tasks that are not supported; such a task fails when it begins
    #[arg(long)]
    pub(super) accept_unsupported: bool,
    #[command(flatten)]
    pub(super) functions: functions::FunctionArguments,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Security")]
pub(super) struct Security {
    /// Accept requests signed with a key of this file only, and only what it allows them
    #[arg(long, value_name = "FILE")]
    pub(super) auth: Option<PathBuf>,
    /// Let everyone who can reach the server do everything
    #[arg(long, conflicts_with = "auth")]
    pub(super) insecure: bool,
    /// Serve this certificate (PEM, with its chain)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Let pages of this origin use the API from a browser; `*` is any
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(super) allow_origin: Vec<String>,
    #[cfg(feature = "console")]
    #[command(flatten)]
    pub(super) console: ConsoleArguments,
    /// Let clients call the server by this name, beside those of loopback and its address; `*` is any
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub(super) allow_host: Vec<String>,
    /// Connections at the same time [default: 20000, fewer with little memory]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) max_connections: Option<usize>,
    /// Bytes of a request's body [default: 4194304]
    #[arg(long, value_name = "BYTES", value_parser = at_least_one)]
    pub(super) max_body: Option<usize>,
    /// Bytes, as 512MiB, that the server may take in all: executions, state machines, requests and responses have their
    /// shares of it. By default half of the memory of the machine or of its control group
    #[arg(long = "memory", value_name = "BYTES", value_parser = bytes)]
    pub(super) memory_max: Option<usize>,
    /// Seconds for a request's head and body to come, and for a response to be read [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) slow_timeout: Option<u32>,
    /// Seconds a connection may stay open without a request [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) idle_timeout: Option<u32>,
}

#[cfg(feature = "console")]
#[derive(Debug, clap::Args)]
pub(super) struct ConsoleArguments {
    /// Serve no console for browsers
    #[arg(long)]
    pub(super) no_console: bool,
    /// Show a pipeline in the console, whose `metrics` are at this address
    #[arg(long, value_name = "HOST:PORT", value_parser = crate::cli::hosts::host_and_port)]
    pub(super) pipeline: Vec<String>,
    /// The secret of these pipelines (`[pipe] redrive_secret_file`): with it the console has them send dead letters again
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub(super) pipeline_secret_file: Option<PathBuf>,
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
    pub(super) fn read_environment(&mut self) -> Result<(), Stop> {
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
    pub(super) fn mocks(&self) -> Result<Option<MockConfig>, Stop> {
        let Some(file) = &self.memory.mock_config else { return Ok(None) };
        let wrong = |error| Stop::failed(format!("{}: {error}", file.display()));
        MockConfig::parse(&files::text(file)?).map(Some).map_err(wrong)
    }

    /// Whether what is created outlives the process.
    pub(super) fn is_kept(&self) -> bool {
        #[cfg(feature = "cli-cluster")]
        if self.cluster.is_given() {
            return true;
        }
        self.memory.state.is_some()
    }

    /// Waits until this node owns the cluster, if one is configured.
    #[cfg(feature = "cli-cluster")]
    pub(super) fn own(
        &self,
        listener: &std::net::TcpListener,
        config: &mut Config,
    ) -> Result<Option<crate::cli::cluster::Owning>, Stop> {
        if self.cluster.is_given() && self.memory.durability == DurabilityMode::Memory {
            return Err(Stop::failed("--durability memory does not go with --journal"));
        }
        self.cluster.own(listener, config)
    }

    /// What tasks call. Tasks of Step Functions itself call this server, unless an endpoint of that service is given: a
    /// common endpoint of all services does not apply to them.
    pub(super) fn integrations(
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
    pub(super) fn called(
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
    pub(super) fn memory(&self) -> usize {
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

#[cfg(feature = "console")]
impl ConsoleArguments {
    pub(super) fn console(&self, real_runs: bool) -> Result<Option<Console>, Stop> {
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
    let text = os::read_text(file).map_err(|error| files::unreadable(file, &error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
