//! Functions before they are started.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::folder;
use super::program::{Log, Program, SetupError};
use crate::limits::LAMBDA_SECONDS_MAX;

/// The functions, and the settings of their processes. Configured, then [started](Setup::start).
#[derive(Clone)]
#[must_use = "functions are answered once they are started"]
pub struct Setup {
    pub(super) functions: BTreeMap<String, Program>,
    pub(super) timeout: Duration,
    pub(super) concurrency_max: usize,
    pub(super) region: String,
    pub(super) log: Log,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Setup {
    /// No functions; an invocation may take a minute, and a function may have 16 processes.
    pub fn new() -> Setup {
        Setup {
            functions: BTreeMap::new(),
            timeout: Duration::from_secs(60),
            concurrency_max: 16,
            region: "us-east-1".to_owned(),
            log: Arc::new(|function, line| {
                tracing::info!(target: "expressway::functions", "{function}: {line}");
            }),
        }
    }

    /// A function that is a command, which `sh` runs in the current folder. It finds the address of the runtime API in
    /// `AWS_LAMBDA_RUNTIME_API`.
    ///
    /// # Errors
    /// When the name is invalid, or already used; when the command is empty.
    pub fn command(self, name: &str, command: &str) -> Result<Setup, SetupError> {
        if command.trim().is_empty() {
            return Err(SetupError::NoCommand(name.to_owned()));
        }
        let program = Program {
            program: "sh".to_owned(),
            arguments: vec!["-c".to_owned(), command.to_owned()],
            variable: None,
            folder: None,
            shown: command.to_owned(),
        };
        self.add(name.to_owned(), program)
    }

    /// A function for each of these in a folder, by its name: files `NAME.py`, `NAME.mjs`, `NAME.js` and `NAME.cjs`
    /// that have a function `handler` (or `lambda_handler`), executable files, and folders with an executable
    /// `bootstrap`, or with `index`, `handler`, `app`, `main` or `lambda_function` in Python or JavaScript. Other files
    /// are ignored, and so are names that begin with a dot or an underscore.
    ///
    /// # Errors
    /// When the folder cannot be read, or has no function in it; when a folder in it is not a function; when a name is
    /// invalid, or already used.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Result<Setup, SetupError> {
        for (name, program) in folder::functions(folder.as_ref())? {
            self = self.add(name, program)?;
        }
        Ok(self)
    }

    fn add(mut self, name: String, program: Program) -> Result<Setup, SetupError> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_letter) {
            return Err(SetupError::Name(name));
        }
        if self.functions.contains_key(&name) {
            return Err(SetupError::Twice(name));
        }
        self.functions.insert(name, program);
        Ok(self)
    }

    /// The timeout of an invocation, from when a process has it; a second to 15 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Setup {
        self.timeout = timeout.clamp(Duration::from_secs(1), Duration::from_secs(LAMBDA_SECONDS_MAX));
        self
    }

    /// How many processes a function may have: its concurrency.
    pub fn concurrency_max(mut self, processes: usize) -> Setup {
        self.concurrency_max = processes.clamp(1, 1_000);
        self
    }

    /// The region in the environment of processes (`AWS_REGION`).
    pub fn region(mut self, region: impl Into<String>) -> Setup {
        self.region = region.into();
        self
    }

    /// Sets the destination of functions' output, by default the log with the target `expressway::functions`. It is
    /// called with a function's name and a line, which has no control characters and at most 8 KiB.
    pub fn log(mut self, log: impl Fn(&str, &str) + Send + Sync + 'static) -> Setup {
        self.log = Arc::new(log);
        self
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("functions", &self.functions).finish_non_exhaustive()
    }
}
