//! Lambda functions on the command line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use expressway::os;
use expressway::task::functions::{Functions, Setup, SetupError};

use super::{Stop, files};

/// Functions that local processes answer.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Lambda functions of this machine")]
pub(super) struct FunctionArguments {
    /// Answer this Lambda function by a process that speaks Lambda's runtime API, as public runtime clients do; `sh` runs
    /// the command, and AWS_LAMBDA_RUNTIME_API says where the API is. Functions that are not named so do not exist then
    #[arg(long = "lambda", value_name = "NAME=COMMAND", value_parser = named)]
    commands: Vec<(String, String)>,
    /// Answer a Lambda function for each of these in the folder, by its name: NAME.py, NAME.mjs, NAME.js with a function
    /// `handler`, an executable, or a folder with `bootstrap`, index.py, index.mjs …
    #[arg(long = "lambda-dir", value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Processes that one such function may have at the same time; more invocations wait
    #[arg(long = "lambda-concurrency", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// Seconds that one invocation of such a function may take; then its process is killed
    #[arg(long = "lambda-timeout", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=900))]
    timeout: u16,
}

fn named(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, command)| (name.to_owned(), command.to_owned()));
    pair.ok_or_else(|| {
        "a function is NAME=COMMAND, such as tax='python3 -m awslambdaric tax.handler'".to_owned()
    })
}

/// Functions whose processes end when this is dropped, even if other references remain.
#[derive(Debug)]
pub(super) struct Started(pub(super) Functions);

impl Drop for Started {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl FunctionArguments {
    /// The functions, if there are any; their output goes to `log`, or to the library's default.
    pub(super) fn start(
        &self,
        region: Option<&str>,
        log: Option<fn(&str, &str)>,
    ) -> Result<Option<Started>, Stop> {
        if self.commands.is_empty() && self.folders.is_empty() {
            return Ok(None);
        }
        let wrong = |error: SetupError| match error {
            SetupError::Folder(folder, error) => {
                let why = match error.kind() {
                    io::ErrorKind::NotFound => files::no_such_folder(Path::new(&folder)),
                    io::ErrorKind::NotADirectory => {
                        "it is a file; name its folder, or say --lambda NAME=COMMAND".to_owned()
                    }
                    _ => os::words(&error),
                };
                Stop::failed(format!("--lambda-dir {folder}: {why}"))
            }
            error => Stop::failed(error.to_string()),
        };
        let mut setup = Setup::new()
            .concurrency_max(self.concurrency.into())
            .timeout(Duration::from_secs(self.timeout.into()));
        if let Some(region) = region {
            setup = setup.region(region);
        }
        if let Some(log) = log {
            setup = setup.log(log);
        }
        for (name, command) in &self.commands {
            setup = setup.command(name, command).map_err(wrong)?;
        }
        for folder in &self.folders {
            setup = setup.folder(folder).map_err(wrong)?;
        }
        setup.start().map(|functions| Some(Started(functions))).map_err(wrong)
    }
}
