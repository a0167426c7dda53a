//! The options of `run`.

use std::path::PathBuf;

use expressway::clock;

use crate::cli::definition::OneDefinition;
#[cfg(feature = "cli-services")]
use crate::cli::functions::FunctionArguments;
#[cfg(feature = "cli-services")]
use crate::cli::services::Settings;
use crate::cli::trace::{self, Which};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    pub(in crate::cli) definition: OneDefinition,
    /// The input: a file, `-` for standard input, or a JSON text
    ///
    /// One JSON text, perhaps over several lines, is one execution; otherwise each line is one. Without it, standard
    /// input is read; at a terminal the input is {}.
    #[arg(long, short, value_name = "FILE|-|JSON")]
    pub(in crate::cli) input: Option<String>,
    /// Answer tasks from a mock configuration file of Step Functions Local
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) mock: Option<PathBuf>,
    /// Which test case of the mock configuration; may be left out where there is only one
    #[arg(long, value_name = "[MACHINE#]CASE", requires = "mock")]
    pub(in crate::cli) test: Option<String>,
    /// Call the services that tasks name: settings come from the environment, such as LAMBDA_ENDPOINT, AWS_ENDPOINT_URL,
    /// AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID
    #[arg(long, conflicts_with = "virtual_time")]
    pub(in crate::cli) services: bool,
    #[cfg(feature = "cli-services")]
    #[command(flatten)]
    pub(in crate::cli) settings: Settings,
    #[cfg(feature = "cli-services")]
    #[command(flatten)]
    pub(in crate::cli) functions: FunctionArguments,
    /// Let distributed Maps read and write files below this folder: `arn:aws:states:::file:read` and `file:write`, with
    /// the parameter Path, which AWS does not know
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) files: Option<PathBuf>,
    /// Show executions state by state, on standard error: all, those that failed, that of a line of the input, or those
    /// that enter a state
    #[arg(
        long,
        value_name = "all|failed|LINE|STATE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = trace::which
    )]
    pub(in crate::cli) trace: Option<Which>,
    /// Show inputs and outputs of states, too, cut to the width of the terminal
    #[arg(long)]
    pub(in crate::cli) trace_data: bool,
    /// Let waiting take no time: Wait states, retries and timeouts pass at once on a clock of their own
    #[arg(long)]
    pub(in crate::cli) virtual_time: bool,
    /// The time at which that clock begins, such as 2026-11-30T08:00:00Z; by default the present
    #[arg(long, value_name = "TIME", requires = "virtual_time", value_parser = milliseconds)]
    pub(in crate::cli) now: Option<u64>,
    /// Write what failed to this file, one JSON object a line: line, error, cause
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) failures: Option<PathBuf>,
    /// How many executions run at the same time: by default 1,000 where they wait or call services, otherwise one for
    /// each processor
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(in crate::cli) jobs: Option<u16>,
    /// Say nothing but errors: no progress, no summary
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
}

const AFTER_HELP: &str = "\
Outputs of executions that succeed go to standard output, one JSON text a line, in the order of the events. What fails is \
reported on standard error with its line number (the first ones; all are counted), and never stops the stream.

Ctrl-C ends with the outputs and the summary so far; a second one ends at once.

Examples:
  expressway run orders.asl.json --input '{\"id\": 7}'
  expressway run orders.asl.json --input orders.ndjson > orders.out
  expressway run orders.asl.json --input orders.ndjson --trace=failed
  expressway run orders.asl.json --services < orders.ndjson
  expressway run orders.asl.json --lambda-dir functions/ < orders.ndjson

Exit codes: 0 all succeeded; 1 some failed or were not JSON; 2 the command cannot be carried out, or the line of --trace \
is beyond the input; 130 interrupted.";

/// A time in milliseconds since 1970.
fn milliseconds(text: &str) -> Result<u64, String> {
    let nanoseconds = clock::parse_timestamp(text);
    let milliseconds = nanoseconds.and_then(|it| u64::try_from(it / 1_000_000).ok());
    milliseconds.ok_or_else(|| "it is no time since 1970 in the form 2026-11-30T08:00:00Z".to_owned())
}
