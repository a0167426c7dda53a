//! `studio`: definitions on this machine, drawn, run and edited in the browser.

use expressway::os;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use expressway::server::{Config, Console, Files, Server};
use expressway::service::Service;

use expressway::task::aws::Integrations;

use super::functions::FunctionArguments;
use super::services::Settings;
use super::{Stop, Went, files, say, signals};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// A definition, or a folder with definitions: *.asl.json, *.asl.yaml, *.asl.yml
    #[arg(value_name = "FILE|FOLDER", default_value = ".")]
    path: PathBuf,
    /// The port to listen on, on this machine only; 0 takes any that is free
    #[arg(long, short, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Let the page run drafts for real, each time when it is asked to: tasks then call the services that they name.
    /// Settings come from the environment, such as LAMBDA_ENDPOINT, AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE,
    /// AWS_ACCESS_KEY_ID
    #[arg(long)]
    services: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    functions: FunctionArguments,
}

const AFTER_HELP: &str = "\
The address that is printed holds a key: with it, the page may read and write these files, and nothing else. Runs use \
mocks and a clock of their own; with --services, or with functions of this machine, a draft may be run for real as well. \
Ctrl-C ends it.

Examples:
  expressway studio
  expressway studio workflows/ --port 8090
  expressway studio orders.asl.json
  expressway studio workflows/ --lambda-dir functions/
  expressway studio workflows/ --services";

/// How long requests under way have to finish.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn studio(arguments: &Arguments) -> Result<Went, Stop> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Stop::failed(format!("no random key can be made: {error}")))?;
    let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let files = Files::at(&arguments.path, key.clone()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => files::unreadable(&arguments.path, &error),
        _ => Stop::failed(format!("cannot open {}: {}", arguments.path.display(), os::words(&error))),
    })?;
    let mut config = Config::default();
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    config.threads = 1;
    let mut console = Console::default();
    console.files = Some(files);
    // The functions' processes end with this.
    let functions =
        arguments.functions.start(None, Some(|function, line| say(&format!("{function}: {line}"))))?;
    let functions = functions.as_ref().map(|started| &started.0);
    let called = match functions {
        _ if arguments.services => Some(arguments.settings.integrations(functions)?),
        // Nothing else is called.
        Some(functions) => Some(Integrations::new().only_functions(functions.clone())),
        None => None,
    };
    console.real_runs = called.is_some();
    config.console = Some(console);
    let mut builder = Service::builder().express_history(true);
    if let Some(called) = called {
        // A task that is not supported may never be reached, or has a mock: it fails when it begins.
        builder = builder.engine(|engine| engine.aws(called.accept_unsupported()));
    }
    let service = builder.build();
    let service = service.map_err(|error| Stop::failed(format!("cannot start the service: {error}")))?;
    let signalled = signals::listen_for_signals(|| None)?;
    let server = Server::start(&config, &service).map_err(|error| Stop::failed(error.to_string()))?;
    server.ready(true);
    say(&format!("expressway: studio at http://{}/console/#/studio?key={key}", server.address()));
    // It ends with the first signal, or when the sender is dropped.
    let _ = signalled.blocking_recv();
    server.drain(DRAIN_WITHIN);
    Ok(Went::Well)
}
