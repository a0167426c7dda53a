//! `env` and `hosts`: configure SDKs for a server on this machine.
//!
//! AWS's model puts `sync-` in front of the host's name for StartSyncExecution and TestState. An SDK does that to a
//! custom endpoint as well, and `sync-localhost` has no address: either the SDK is configured to leave the host alone,
//! or the name gets an address.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use expressway::server::PORT;

use super::{Stop, Went, files, print, say};

/// What `sync-` in front of `localhost` gives.
const NAME: &str = "sync-localhost";

#[derive(Debug, clap::Args)]
#[command(after_help = ENVIRONMENT_HELP)]
pub(super) struct EnvironmentArguments {
    /// The port the server listens on
    #[arg(long, short, value_name = "PORT", default_value_t = PORT)]
    port: u16,
    /// Whose syntax to print
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    shell: Shell,
}

const ENVIRONMENT_HELP: &str = "\
Examples:
  eval \"$(expressway env)\"
  expressway env --shell fish | source
  expressway env --port 9000 --shell dotenv > .env

The endpoint is read by all current SDKs and the CLI; that the host's name is left alone, by boto3 and the CLI. The \
others are told in their code (disableHostPrefix in JavaScript, DISABLE_HOST_PREFIX_INJECTION in Java, \
smithyhttp.DisableEndpointHostPrefix in Go), or need no telling once `expressway hosts --install` gave the name \
sync-localhost an address.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// bash, zsh, dash
    Sh,
    Fish,
    Powershell,
    /// NAME=VALUE, as Docker and dotenv read it
    Dotenv,
}

pub(super) fn environment(arguments: &EnvironmentArguments) -> Result<Went, Stop> {
    let endpoint = format!("http://localhost:{}", arguments.port);
    // Variables that a user may have set are not overwritten: any value will do here.
    let fixed = [("AWS_ENDPOINT_URL_SFN", &*endpoint), ("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")];
    // Some SDKs read the region from one variable, some from the other.
    let wanted = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ];
    let mut text = String::new();
    for (name, value) in fixed {
        text += &match arguments.shell {
            Shell::Sh => format!("export {name}={value}\n"),
            Shell::Fish => format!("set -gx {name} {value}\n"),
            Shell::Powershell => format!("$env:{name} = '{value}'\n"),
            Shell::Dotenv => format!("{name}={value}\n"),
        };
    }
    for (name, value) in wanted {
        text += &match arguments.shell {
            Shell::Sh => format!("export {name}=\"${{{name}:-{value}}}\"\n"),
            Shell::Fish => format!("set -q {name}; or set -gx {name} {value}\n"),
            Shell::Powershell => format!("if (-not $env:{name}) {{ $env:{name} = '{value}' }}\n"),
            Shell::Dotenv => format!("{name}={value}\n"),
        };
    }
    print(text.as_bytes())?;
    Ok(Went::Well)
}

#[derive(Debug, clap::Args)]
#[command(after_help = HOSTS_HELP)]
pub(super) struct HostsArguments {
    /// Write the line; without this it is only printed
    #[arg(long)]
    install: bool,
    /// The file of hosts
    #[arg(long, value_name = "FILE", default_value = HOSTS)]
    file: PathBuf,
}

const HOSTS_HELP: &str = "\
Examples:
  expressway hosts
  sudo expressway hosts --install";

#[cfg(windows)]
const HOSTS: &str = r"C:\Windows\System32\drivers\etc\hosts";
#[cfg(not(windows))]
const HOSTS: &str = "/etc/hosts";

pub(super) fn hosts(arguments: &HostsArguments) -> Result<Went, Stop> {
    let line = format!("127.0.0.1 {NAME}\n");
    if !arguments.install {
        print(line.as_bytes())?;
        return Ok(Went::Well);
    }
    let file = &arguments.file;
    let shown = file.display();
    match install(file, &line) {
        Ok(true) => say(&format!("expressway: {NAME} is in {shown} now")),
        Ok(false) => say(&format!("expressway: {NAME} is in {shown} already")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Stop::failed(format!(
                "{shown} may not be written: run this as an administrator (sudo), or add the line yourself: {}",
                line.trim_end(),
            )));
        }
        Err(error) => return Err(files::unwritable(file, &error)),
    }
    Ok(Went::Well)
}

/// Whether the line had to be added.
fn install(file: &Path, line: &str) -> io::Result<bool> {
    let text = match fs::read(file) {
        // Only the names matter, whatever else is in the file.
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let names = |line: &str| {
        let words = line.split('#').next().unwrap_or_default();
        words.split_whitespace().skip(1).any(|name| name.eq_ignore_ascii_case(NAME))
    };
    if text.lines().any(names) {
        return Ok(false);
    }
    // Appended in one write: in a container the file cannot be replaced.
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{gap}{line}").as_bytes())?;
    Ok(true)
}
