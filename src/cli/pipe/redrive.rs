//! `redrive`: sends events again that failed permanently.

use std::path::PathBuf;
use std::time::Duration;

use expressway::pipe::{Redrive, Source};

use super::errors::{at, refused, runtime};
use super::{config, ends};
use crate::cli::streams::counted;
use crate::cli::{Stop, Went, log, say};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Arguments {
    /// Where the dead letters are and where their events go: a TOML file with the tables `source` and `sink`
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Send no more than so many
    #[arg(long, value_name = "N")]
    at_most: Option<u64>,
    /// End when no dead letter came for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    idle: f64,
    /// Send all dead letters of a file, also those that were sent before
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    log: log::LogSettings,
}

const AFTER_HELP: &str = "\
Each dead letter holds the original bytes of its event; these are published to the sink, which usually is what the \
pipeline reads from. A letter is settled after its event is published. What is no dead letter stays where it is.

Which letters of a file were sent is written down beside it, in a file called as it is with `.sent` behind: they are not \
sent again, unless --all is given.

A description of both, redrive.toml:
  source = { type = \"file\", path = \"dead.ndjson\" }
  sink = { type = \"nats\", url = \"nats://127.0.0.1:4222\", subject = \"orders.new\" }

Examples:
  expressway redrive redrive.toml
  expressway redrive redrive.toml --at-most 100

Exit codes: 0 all were sent; 1 some stay where they are; 2 it cannot be carried out.";

/// Sends dead letters again.
pub(in crate::cli) fn redrive(arguments: &Arguments) -> Result<Went, Stop> {
    let idle = Duration::try_from_secs_f64(arguments.idle)
        .map_err(|_| Stop::failed(format!("--idle {}: expected seconds, 0 or more", arguments.idle)))?;
    arguments.log.begin()?;
    let config = config::redrive(&arguments.config)?;
    let mut skipped: Box<dyn Fn() -> u64> = Box::new(|| 0);
    let redriven = runtime()?.block_on(async {
        let source: Box<dyn Source> = match &config.source {
            config::Endpoint::File { path } if !arguments.all => {
                let source = ends::unsent(path).map_err(refused)?;
                skipped = Box::new(source.skipped());
                Box::new(source)
            }
            source => ends::source(source).await.map_err(|error| at("source", source, &error))?,
        };
        let sink = ends::sink(&config.sink).await.map_err(|error| at("sink", &config.sink, &error))?;
        let redrive = Redrive::new(source, sink).idle(idle).at_most(arguments.at_most.unwrap_or(u64::MAX));
        redrive.run().await.map_err(refused)
    })?;
    let sent = usize::try_from(redriven.sent).unwrap_or(usize::MAX);
    let mut told = format!("{} sent again", counted(sent, "event"));
    for (count, what) in [(redriven.left, "left in place"), (skipped(), "sent before (--all sends them)")] {
        if count > 0 {
            told.push_str(&format!(", {count} {what}"));
        }
    }
    say(&told);
    Ok(if redriven.left == 0 { Went::Well } else { Went::PartlyWrong })
}
