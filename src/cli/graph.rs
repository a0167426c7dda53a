//! `graph`: a picture of a definition, as text for other tools, as an SVG or a PNG, and the path of an execution on it.

mod follow;
#[cfg(feature = "cli-png")]
mod png;

use expressway::os;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use expressway::limits;
use expressway::picture::{Graph, Path, dot, mermaid, svg};
use expressway::program::Program;
use expressway::runtime::inline::Driver;

use super::input::Source;
use super::report::{self, NotRunHere};
use super::tasks::Mocked;
use super::{OneDefinition, Stop, Went, definition, files, in_line, print, say};
use follow::Follow;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    definition: OneDefinition,
    /// What to draw it as; without it, what the name of --output says, or SVG
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the picture to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run it with this input, a file, `-` for standard input, or a JSON text, and show the path it takes: what is not
    /// reached is pale, where it fails is red. Waiting takes no time
    #[arg(long, value_name = "FILE|-|JSON")]
    run: Option<String>,
    /// Answer the tasks of --run from a mock configuration file of Step Functions Local
    #[arg(long, value_name = "FILE", requires = "run")]
    mock: Option<PathBuf>,
    /// Which test case of the mock configuration; may be left out where there is only one
    #[arg(long, value_name = "[MACHINE#]CASE", requires = "mock")]
    test: Option<String>,
}

const AFTER_HELP: &str = "\
A definition with errors, or that breaks off, is drawn as far as it goes; what is wrong is said on standard error.

Examples:
  expressway graph orders.asl.json -o orders.svg
  expressway graph orders.asl.json --run '{\"id\": 7}' -o path.svg
  expressway graph template.yaml --machine Orders --format mermaid

Exit codes: 0 it is drawn; 1 it is drawn and has errors, or the execution of --run failed; 2 it cannot be drawn.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture that needs nothing else
    Svg,
    /// A picture of pixels, with the fonts of this machine
    Png,
    /// A Mermaid flowchart
    Mermaid,
    /// A Graphviz graph
    Dot,
}

impl Format {
    /// The requested format, or that of the file's name.
    fn of(arguments: &Arguments) -> Result<Format, Stop> {
        let named = arguments.output.as_ref().and_then(|file| file.extension()).and_then(|it| it.to_str());
        let named = match named {
            Some("png") => Some(Format::Png),
            Some("mmd" | "mermaid") => Some(Format::Mermaid),
            Some("dot" | "gv") => Some(Format::Dot),
            Some("svg") | None => Some(Format::Svg),
            Some(_) => None,
        };
        match (arguments.format.or(named), &arguments.output) {
            (Some(format), _) => Ok(format),
            (None, Some(file)) => Err(Stop::failed(format!(
                "--output {}: a picture is .svg, .png, .mmd (Mermaid) or .dot (Graphviz); say --format for another name",
                file.display()
            ))),
            (None, None) => Ok(Format::Svg),
        }
    }
}

pub(super) fn draw(arguments: &Arguments) -> Result<Went, Stop> {
    let format = Format::of(arguments)?;
    if format == Format::Png && arguments.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Stop::failed("a PNG is not for terminals: say where it goes with --output FILE"));
    }
    let written = definition::one(
        &arguments.definition.file,
        &arguments.definition.project,
        arguments.definition.reading,
    )?;
    written.tell();
    let found = written.check(definition::ANY_TASK);
    let mut went = if found.is_valid() { Went::Well } else { Went::PartlyWrong };
    if found.errors() + found.warnings() > 0 {
        let shown = report::text(&found, &written.text, report::Look::stderr(), NotRunHere::Notice);
        say(shown.trim_end());
    }
    let graph = match &found.definition {
        Some(definition) => Graph::of(definition),
        None => written.sketch().ok_or(Stop::AlreadySaid)?,
    };
    let path = match &arguments.run {
        None => None,
        Some(input) => {
            let program = found.program.filter(|_| found.refused.is_empty()).ok_or_else(|| {
                Stop::failed("the definition does not run, so there is no path to show: leave out --run")
            })?;
            let (path, succeeded) = run_through(arguments, input, program)?;
            if !succeeded {
                went = Went::PartlyWrong;
            }
            Some(path)
        }
    };
    let path = path.as_ref();
    let picture = match format {
        Format::Mermaid => mermaid::write(&graph, path).into_bytes(),
        Format::Dot => dot::write(&graph, path).into_bytes(),
        Format::Svg => svg::write(&graph, path).into_bytes(),
        Format::Png => png(&svg::write(&graph, path))?,
    };
    match &arguments.output {
        Some(file) => std::fs::write(file, picture).map_err(|error| files::unwritable(file, &error))?,
        None => print(&picture)?,
    }
    Ok(went)
}

#[cfg(feature = "cli-png")]
fn png(svg: &str) -> Result<Vec<u8>, Stop> {
    png::write(svg)
}

#[cfg(not(feature = "cli-png"))]
fn png(_: &str) -> Result<Vec<u8>, Stop> {
    Err(Stop::failed(super::features::left_out("`--format png`", "cli-png")))
}

/// The path of an execution, and whether it succeeds. Its end is reported.
fn run_through(arguments: &Arguments, input: &str, program: Program) -> Result<(Path, bool), Stop> {
    let mut text = Vec::new();
    Source::named(Some(input))?
        .take(u64::from(limits::PAYLOAD_BYTES_MAX) + 1)
        .read_to_end(&mut text)
        .map_err(|error| Stop::failed(format!("cannot read the input of --run: {}", os::words(&error))))?;
    let identity = in_line::identity(None, &arguments.definition.file, false);
    let mocked = match &arguments.mock {
        Some(file) => Mocked::read(file, arguments.test.as_deref(), &identity.state_machine_name)?,
        None => Mocked::default(),
    };
    let answers = Box::new(mocked.of(&program).answers());
    let mut driver = Driver::with_tasks(Arc::new(program), in_line::virtual_clock(), answers);
    driver.identify(identity);
    let mut follow = Follow::default();
    let ended =
        driver.run_listened(&text, &mut follow).map_err(|error| Stop::failed(format!("--run: {error}")))?;
    let succeeded = ended.succeeded();
    match ended.output::<serde_json::Value>() {
        Ok(output) => say(&format!("The execution succeeded: {output}")),
        Err(fault) => say(&format!("The execution failed: {fault}")),
    }
    Ok((follow.path, succeeded))
}
