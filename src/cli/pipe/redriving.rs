//! Dead letters that a running pipeline sends again, when it is asked to over HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use expressway::pipe::{PipeError, Redrive, Redriven, Source};
use hyper::StatusCode;
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;

use super::config::{self, Endpoint};
use super::ends;
use crate::cli::streams::counted;
use crate::cli::{Level, Stop, files, log};

/// The header that has the secret.
pub(super) const SECRET: &str = "x-expressway-secret";

/// Sends dead letters again, one request at a time. Clones are the same.
#[derive(Clone)]
pub(super) struct Redriving(Arc<Inner>);

struct Inner {
    /// None where the pipeline does not say from where and to where.
    described: Option<config::Redrive>,
    secret: Option<String>,
    is_loopback: bool,
    runtime: Handle,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_running: bool,
    /// When the last one ended, and how.
    last: Option<(u64, Result<Redriven, String>)>,
}

fn now_ms() -> u64 {
    // A clock before 1970 is as good as 1970.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    u64::try_from(since).unwrap_or(u64::MAX)
}

impl Redriving {
    /// As a pipeline describes it, whose pages are at this address.
    pub(super) fn new(config: &config::Config, address: std::net::SocketAddr) -> Result<Redriving, Stop> {
        let settings = &config.pipe;
        let secret = match (&settings.redrive_secret_file, &settings.redrive_secret_variable) {
            (None, None) => None,
            (Some(path), None) => Some(files::text(path).and_then(|text| {
                String::from_utf8(text).map_err(|error| Stop::failed(format!("{}: {error}", path.display())))
            })?),
            (None, Some(name)) => Some(std::env::var(name).map_err(|error| {
                Stop::failed(format!("the variable {name} of pipe.redrive_secret_variable: {error}; set it"))
            })?),
            (Some(_), Some(_)) => {
                return Err(Stop::failed(
                    "pipe.redrive_secret_file does not go with pipe.redrive_secret_variable",
                ));
            }
        };
        let secret = secret.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned());
        if secret.as_deref() == Some("") {
            return Err(Stop::failed(
                "the secret of pipe.redrive_secret_file or redrive_secret_variable is empty",
            ));
        }
        Ok(Redriving(Arc::new(Inner {
            described: settings.redrive.as_deref().map(config::redrive).transpose()?,
            secret,
            is_loopback: address.ip().is_loopback(),
            runtime: Handle::current(),
            state: Mutex::default(),
        })))
    }

    /// Begins to send dead letters again, for a request with this secret: a status, and what to say.
    pub(super) fn ask(&self, secret: Option<&[u8]>) -> (StatusCode, String) {
        let inner = &self.0;
        if let Err(why) = inner.admits(secret) {
            return (StatusCode::FORBIDDEN, format!("{why}\n"));
        }
        let Some(described) = inner.described.clone() else {
            let why = "this pipeline does not say where its dead letters are read from and where their events go: name the \
                       file that says it, as `redrive` of [pipe]\n";
            return (StatusCode::CONFLICT, why.to_owned());
        };
        if std::mem::replace(&mut inner.lock().is_running, true) {
            return (StatusCode::CONFLICT, "dead letters are being sent again already\n".to_owned());
        }
        let this = self.clone();
        inner.runtime.spawn(async move {
            let sent = redrive(&described, now_ms()).await.map_err(|error| error.to_string());
            match &sent {
                Ok(sent) => log::say_now(Level::Info, &told(sent)),
                Err(why) => log::say_now(Level::Warn, &format!("Dead letters were not sent again: {why}")),
            }
            *this.0.lock() = State { is_running: false, last: Some((now_ms(), sent)) };
        });
        (StatusCode::ACCEPTED, "dead letters are sent again; /stats says how it went\n".to_owned())
    }

    /// For `/stats`: null where it is not described.
    pub(super) fn json(&self) -> Json {
        if self.0.described.is_none() {
            return Json::Null;
        }
        let state = self.0.lock();
        let last = state.last.as_ref().map(|(at, last)| match last {
            Ok(redriven) => json!({"at": at, "sent": redriven.sent, "left": redriven.left}),
            Err(why) => json!({"at": at, "error": why}),
        });
        json!({"running": state.is_running, "last": last})
    }
}

fn told(redriven: &Redriven) -> String {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let mut text = format!("{} of dead letters sent again", counted(number(redriven.sent), "event"));
    if redriven.left > 0 {
        text.push_str(&format!(", {} left in place", redriven.left));
    }
    text + "."
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, given: Option<&[u8]>) -> Result<(), String> {
        let Some(secret) = self.secret.as_deref().map(str::as_bytes) else {
            if self.is_loopback {
                return Ok(());
            }
            return Err("this address is reached by other machines, so that dead letters are sent again only for those who \
                        know a secret: set `redrive_secret_file` or `redrive_secret_variable` of [pipe]"
                .to_owned());
        };
        let given = given.unwrap_or(&[]);
        // All bytes are compared, so that the duration says nothing about them.
        let differing = secret.iter().zip(given).fold(0, |differing, (one, other)| differing | (one ^ other));
        if secret.len() == given.len() && differing == 0 {
            Ok(())
        } else {
            Err(format!("the header {SECRET} has to have the pipeline's secret"))
        }
    }
}

/// Those that failed before this time, so that what fails again is not sent in a circle.
async fn redrive(described: &config::Redrive, before_ms: u64) -> Result<Redriven, PipeError> {
    let source: Box<dyn Source> = match &described.source {
        Endpoint::File { path } => Box::new(ends::unsent(path)?),
        source => ends::source(source).await?,
    };
    let sink = ends::sink(&described.sink).await?;
    Redrive::new(source, sink).failed_before(before_ms).run().await
}
