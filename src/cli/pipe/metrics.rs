//! `/metrics`, `/stats`, `/health` and `/ready` of a pipeline, on a separate address, and `POST /redrive`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use expressway::hosts::Hosts;
use expressway::pipe::{End, Report, Stats};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::redriving::{self, Redriving};
use super::waits::Waits;
use crate::cli::{Stop, advice, say};

/// Requests at the same time.
const CONNECTIONS_MAX: usize = 64;
const HEAD_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The data of the pages.
#[derive(Clone)]
pub(super) struct Told {
    /// Of the pipeline, once there is one.
    pub(super) stats: Arc<OnceLock<Arc<Stats>>>,
    /// What is waited for until then.
    pub(super) waits: Arc<Waits>,
    /// The addresses of the source, the sink, and the dead letters.
    pub(super) ends: [Option<String>; 3],
    pub(super) redriving: Redriving,
}

/// The pages, and the host names at which they are served.
#[derive(Clone)]
struct Pages {
    told: Told,
    hosts: Arc<Hosts>,
}

/// Answers at `address` until the process ends.
pub(super) async fn serve(address: SocketAddr, names: &[String], told: Told) -> Result<(), Stop> {
    let failed = |error| {
        let choose = "set `metrics` of [pipe] to another address, or to port 0 for one that is free";
        Stop::failed(advice::cannot_listen(address, &error, choose))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    say(&format!("Metrics are at http://{address}/metrics"));
    let hosts = Arc::new(Hosts::new(address.ip(), names));
    tokio::spawn(accept(listener, Pages { told, hosts }));
    Ok(())
}

async fn accept(listener: TcpListener, pages: Pages) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open, for instance: that is temporary.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let pages = pages.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let response = pages.answer(&request);
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        tokio::spawn(async move {
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).keep_alive(false);
            // An error here means that the client's connection broke.
            let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            drop(place);
        });
    }
}

impl Pages {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let told = &self.told;
        let mut kind = "text/plain; version=0.0.4; charset=utf-8";
        let (status, text) = match (self.check(request), request.uri().path()) {
            (Err(refused), _) => refused,
            (Ok(()), "/redrive") => self.redrive(request),
            (Ok(()), "/health") => (StatusCode::OK, "ok\n".to_owned()),
            (Ok(()), "/ready") => match told.unready() {
                None => (StatusCode::OK, "ready\n".to_owned()),
                Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{why}")),
            },
            (Ok(()), "/metrics") => (StatusCode::OK, told.prometheus()),
            (Ok(()), "/stats") => {
                kind = "application/json";
                (StatusCode::OK, told.json())
            }
            (Ok(()), _) => (
                StatusCode::NOT_FOUND,
                "there are /metrics, /stats, /health, /ready and, to be posted to, /redrive\n".to_owned(),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    /// Has dead letters sent again. Pages in browsers say where they come from, and none is served here.
    fn redrive<B>(&self, request: &Request<B>) -> (StatusCode, String) {
        if request.method() != Method::POST {
            return (StatusCode::METHOD_NOT_ALLOWED, "/redrive is posted to\n".to_owned());
        }
        if request.headers().contains_key(ORIGIN) {
            return (StatusCode::FORBIDDEN, "pages may not have dead letters sent again\n".to_owned());
        }
        self.told.redriving.ask(request.headers().get(redriving::SECRET).map(HeaderValue::as_bytes))
    }

    /// Refuses requests to other host names that resolve to this machine.
    fn check<B>(&self, request: &Request<B>) -> Result<(), (StatusCode, String)> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err((StatusCode::BAD_REQUEST, "one Host header is needed\n".to_owned()));
        };
        if host.to_str().is_ok_and(|host| self.hosts.allows(host)) {
            return Ok(());
        }
        let text = format!("{host:?} is no name of this listener; add it to `metrics_hosts` of [pipe]\n");
        Err((StatusCode::MISDIRECTED_REQUEST, text))
    }
}

impl Told {
    /// Why it is not ready, in lines; `None` if it is.
    fn unready(&self) -> Option<String> {
        let failing = self.failing();
        if !failing.is_empty() {
            return Some(failing.iter().map(|failing| format!("{failing}\n")).collect());
        }
        let is_running = self.stats.get().is_some_and(|stats| stats.is_running());
        (!is_running).then(|| "The pipeline does not run: it begins, or it ends.\n".to_owned())
    }

    /// What fails, in sentences.
    fn failing(&self) -> Vec<String> {
        let of_ends = self.stats().failing().into_iter().map(|trouble| trouble.to_string());
        self.waits.failing().into_iter().chain(of_ends).collect()
    }

    /// The counts; all are 0 before there is a pipeline.
    fn stats(&self) -> Arc<Stats> {
        self.stats.get().map_or_else(Arc::default, Arc::clone)
    }

    /// The counts, and where events come from and go to, as JSON.
    fn json(&self) -> String {
        let [source, sink, dead_letters] = &self.ends;
        let (stats, failing) = (self.stats(), self.failing());
        let stats = json!({
            "source": source, "sink": sink, "deadLetters": dead_letters, "ready": self.unready().is_none(),
            "failing": failing, "redrive": self.redriving.json(),
            "inFlight": stats.in_flight(), "lag": stats.lag(), "counts": stats.report(),
        });
        stats.to_string() + "\n"
    }

    /// In the text format of Prometheus.
    fn prometheus(&self) -> String {
        let stats = self.stats();
        let Report {
            received,
            redelivered,
            bytes,
            succeeded,
            published,
            again,
            dead,
            duplicates,
            unsettled,
            away,
            ..
        } = stats.report();
        let rows = [
            ("received_total", "Events that the source delivered for the first time.", received),
            (
                "redelivered_total",
                "Events that the source delivered again: after a retry, or because they were not acknowledged in time.",
                redelivered,
            ),
            ("received_bytes_total", "Bytes of all deliveries, repeated ones included.", bytes),
            ("succeeded_total", "Events that succeeded.", succeeded),
            ("published_total", "Outputs published.", published),
            ("retried_total", "Retries, including events returned to the source.", again),
            ("failed_total", "Events that failed after all retries.", dead),
            ("duplicates_total", "Duplicate events, dropped.", duplicates),
            ("unsettled_total", "Events whose acknowledgement the source refused.", unsettled),
            (
                "end_failures_total",
                "Lost connections of the source and sinks, and failed attempts to use them.",
                away,
            ),
        ];
        let mut text = String::new();
        for (name, help, value) in rows {
            let name = format!("expressway_pipe_{name}");
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        let gauges = [
            ("in_flight", "Events being processed.", Some(stats.in_flight())),
            ("lag", "Events that wait at the source, as its broker counts them.", stats.lag()),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let name = format!("expressway_pipe_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        let name = "expressway_pipe_end_up";
        let _ = writeln!(text, "# HELP {name} Whether a source or sink works.\n# TYPE {name} gauge");
        let failing = stats.failing();
        let ends = [("source", End::Source), ("sink", End::Sink), ("dead_letters", End::DeadLetters)];
        for ((label, end), _) in ends.iter().zip(&self.ends).filter(|(_, address)| address.is_some()) {
            let up = u8::from(failing.iter().all(|trouble| trouble.end != *end));
            let _ = writeln!(text, "{name}{{end=\"{label}\"}} {up}");
        }
        text
    }
}
