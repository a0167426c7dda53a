//! The commands of functions, and what may be wrong with them.

use std::path::PathBuf;
use std::sync::Arc;

/// The destination of functions' output: called with a function's name and a line.
pub(super) type Log = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The command of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    /// A variable of its environment.
    pub(super) variable: Option<(&'static str, &'static str)>,
    pub(super) folder: Option<PathBuf>,
    /// For people.
    pub(super) shown: String,
}

/// Why functions cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The name is not valid for a function.
    #[error("'{0}' is no name of a function: 1 to 64 invocations, digits, hyphens and underscores")]
    Name(String),
    /// Two functions have the same name.
    #[error("there are two functions {0}")]
    Twice(String),
    /// There is nothing to run.
    #[error("the function {0} has an empty command")]
    NoCommand(String),
    /// The folder cannot be read.
    #[error("cannot read the folder of functions {}: {}", .0, crate::os::words(.1))]
    Folder(String, std::io::Error),
    /// There is no function in the folder.
    #[error(
        "there are no functions in {0}: each is a file such as tax.py or tax.mjs, an executable, or a folder"
    )]
    NoFunctions(String),
    /// A folder has nothing that could be run.
    #[error("the folder {0} is no function: it has none of {1}")]
    NotAFunction(String, String),
    /// The thread that manages processes could not be started.
    #[error("cannot start what looks after functions: {}", crate::os::words(.0))]
    Start(#[from] std::io::Error),
}
