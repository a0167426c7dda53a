//! Scripts that implement the runtime API for files of Python and JavaScript: passed to the interpreter in an
//! environment variable, so that nothing has to be installed or written to a disk.

use std::path::Path;

use super::program::Program;

const PYTHON: &str = include_str!("bootstrap.py");
const JAVASCRIPT: &str = include_str!("bootstrap.mjs");
const VARIABLE: &str = "EXPRESSWAY_BOOTSTRAP";
/// The variable is removed, so that child processes of functions do not see it.
const RUN_PYTHON: &str =
    "import os; exec(compile(os.environ.pop('EXPRESSWAY_BOOTSTRAP'), '<bootstrap>', 'exec'))";
const RUN_JAVASCRIPT: &str = "const script = process.env.EXPRESSWAY_BOOTSTRAP; delete process.env.EXPRESSWAY_BOOTSTRAP; \
    await import(`data:text/javascript,${encodeURIComponent(script)}`)";

/// How to run a file as a function, if it is in one of these languages. `folder` is its working directory.
pub(super) fn program(file: &Path, folder: &Path) -> Option<Program> {
    let text = file.to_string_lossy().into_owned();
    let (program, arguments, script) = match file.extension()?.to_str()? {
        "py" => ("python3", &["-u", "-c", RUN_PYTHON][..], PYTHON),
        "js" | "mjs" | "cjs" => {
            ("node", &["--input-type=module", "-e", RUN_JAVASCRIPT, "--"][..], JAVASCRIPT)
        }
        _ => return None,
    };
    let arguments = arguments.iter().map(|&it| it.to_owned());
    Some(Program {
        program: program.to_owned(),
        arguments: arguments.chain([text.clone()]).collect(),
        variable: Some((VARIABLE, script)),
        folder: Some(folder.to_owned()),
        shown: format!("{program} {text}"),
    })
}
