//! Publishes changes of Standard executions' status to an event bus or a file.

use std::path::Path;
use std::time::Duration;

use expressway::service::{Builder, EventBus, Service, StatusFile};
use expressway::task::aws::Integrations;

use super::{Stop, files, say};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Status changes")]
pub(super) struct StatusEvents {
    /// Put what AWS sends to EventBridge when a STANDARD execution begins, ends or is redriven to this event bus (its name
    /// or ARN; `--endpoint EventBridge=URL` says where), or to a file whose name ends with .ndjson
    #[arg(long, value_name = "BUS|FILE")]
    status_events: Option<String>,
    /// The source that they name. EventBridge of AWS itself takes none that begins with `aws.`
    #[arg(long, value_name = "NAME", default_value = "aws.states", requires = "status_events")]
    status_events_source: String,
}

/// How long the end of the process waits for pending events.
const LAST_MAX: Duration = Duration::from_secs(5);

impl StatusEvents {
    pub(super) fn of(
        &self,
        builder: Builder,
        integrations: impl FnOnce() -> Result<Option<Integrations>, Stop>,
    ) -> Result<Builder, Stop> {
        let Some(to) = &self.status_events else { return Ok(builder) };
        let failed = |why: String| Stop::failed(format!("--status-events {to}: {why}"));
        if to.ends_with(".ndjson") {
            let file = StatusFile::open(Path::new(to), &self.status_events_source);
            let wrong = |error| failed(files::why_unwritable(Path::new(to), &error));
            return Ok(builder.status_events(file.map_err(wrong)?));
        }
        let none = "--no-integrations calls no event bus; name a file that ends with .ndjson";
        let integrations = integrations()?.ok_or_else(|| failed(none.to_owned()))?;
        let bus = EventBus::new(&integrations, to, &self.status_events_source).map_err(failed)?;
        Ok(builder.status_events(bus))
    }
}

/// Waits for pending events, but not for long.
pub(super) fn wait(service: &Service) {
    let left = service.wait_for_status_events(LAST_MAX);
    if left > 0 {
        say(&format!("expressway: {left} changes of status were not put, and are lost"));
    }
}
