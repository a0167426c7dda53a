//! `redrive`: events that failed for good are sent again.

use std::path::PathBuf;
use std::time::Duration;

use expressway::pipe::Redrive;

use super::{config, ends, refused, runtime};
use crate::cli::{Stop, Went, counted, say};

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
}

const AFTER_HELP: &str = "\
Each dead letter holds the original bytes of its event; these are published to the sink, which usually is what the
pipeline reads from. A letter is settled after its event is published. What is no dead letter stays where it is.

Exit codes: 0 all were sent; 1 some stay where they are; 2 it cannot be carried out.";

/// Sends dead letters again.
pub(in crate::cli) fn redrive(arguments: &Arguments) -> Result<Went, Stop> {
    let idle = Duration::try_from_secs_f64(arguments.idle)
        .map_err(|error| Stop::failed(format!("--idle {}: {error}", arguments.idle)))?;
    let config = config::redrive(&arguments.config)?;
    let redriven = runtime()?.block_on(async {
        let source = ends::source(&config.source).await?;
        let sink = ends::sink(&config.sink).await?;
        let redrive = Redrive::new(source, sink).idle(idle).at_most(arguments.at_most.unwrap_or(u64::MAX));
        redrive.run().await.map_err(refused)
    })?;
    let sent = usize::try_from(redriven.sent).unwrap_or(usize::MAX);
    say(&match redriven.left {
        0 => format!("{} sent again", counted(sent, "event")),
        left => format!("{} sent again, {left} left where they are", counted(sent, "event")),
    });
    Ok(if redriven.left == 0 { Went::Well } else { Went::PartlyWrong })
}
