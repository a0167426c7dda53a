//! `/metrics`, `/health` and `/ready` of a pipeline, on a separate address.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use expressway::pipe::{Report, Stats};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::cli::{Stop, say};

/// Requests at the same time.
const CONNECTIONS_MAX: usize = 64;
const HEAD_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The data of the pages.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) stats: Arc<Stats>,
    /// Whether the pipeline runs.
    pub(super) ready: Arc<AtomicBool>,
}

/// Answers at `address` until the process ends.
pub(super) async fn serve(address: SocketAddr, told: Told) -> Result<(), Stop> {
    let failed = |error| Stop::failed(format!("pipe.metrics: cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    say(&format!("Metrics are at http://{address}/metrics"));
    tokio::spawn(accept(listener, told));
    Ok(())
}

async fn accept(listener: TcpListener, told: Told) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open, for instance: that is temporary.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let told = told.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let response = told.answer(request.uri().path());
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

impl Told {
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let (status, text) = match path {
            "/health" => (StatusCode::OK, "ok\n".to_owned()),
            "/ready" if self.ready.load(Ordering::Acquire) => (StatusCode::OK, "ready\n".to_owned()),
            "/ready" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
            "/metrics" => (StatusCode::OK, prometheus(&self.stats)),
            _ => (StatusCode::NOT_FOUND, "there are /metrics, /health and /ready\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let text = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, text);
        response
    }
}

/// In the text format of Prometheus.
fn prometheus(stats: &Stats) -> String {
    let Report { received, bytes, succeeded, published, again, dead, duplicates, unsettled, away, .. } =
        stats.report();
    let rows = [
        ("received_total", "Events that the source handed out, repeated ones included.", received),
        ("received_bytes_total", "Bytes of them.", bytes),
        ("succeeded_total", "Events that succeeded.", succeeded),
        ("published_total", "Outputs published.", published),
        ("retried_total", "Retries, including events returned to the source.", again),
        ("failed_total", "Events that failed after all retries.", dead),
        ("duplicates_total", "Duplicate events, dropped.", duplicates),
        ("unsettled_total", "Events whose acknowledgement the source refused.", unsettled),
        ("end_failures_total", "Failed attempts to reach a source or sink.", away),
    ];
    let mut text = String::new();
    for (name, help, value) in rows {
        let name = format!("expressway_pipe_{name}");
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
    }
    let name = "expressway_pipe_in_flight";
    let help = format!("# HELP {name} Events being processed.\n# TYPE {name} gauge");
    let _ = writeln!(text, "{help}\n{name} {}", stats.in_flight());
    text
}
