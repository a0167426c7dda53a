//! Counters of a server.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one server thread. Only that thread writes, so adding is a load and a store.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: Counter,
    pub(super) connections_closed: Counter,
    pub(super) connections_refused: Counter,
    pub(super) connections_cut: Counter,
    pub(super) descriptors_missing: Counter,
    pub(super) requests: Counter,
    pub(super) errors_client: Counter,
    pub(super) errors_server: Counter,
    pub(super) throttled: Counter,
    pub(super) body_bytes_in: Counter,
    pub(super) body_bytes_out: Counter,
}

/// A counter that only one thread writes.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.get() + n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that were accepted.
    pub connections: u64,
    /// Those of them that are over.
    pub connections_closed: u64,
    /// Connections that were refused because there were too many.
    pub connections_refused: u64,
    /// Connections that were cut because their clients were too slow, or idle for too long, or did not take their responses
    /// when the memory for responses was used up.
    pub connections_cut: u64,
    /// Connections that were refused because no file descriptor was left.
    pub descriptors_missing: u64,
    /// Requests and responses that were refused for lack of memory.
    pub memory_refused: u64,
    /// Bytes that requests and responses take now.
    pub memory_bytes: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Responses with a status of 4xx.
    pub errors_client: u64,
    /// Responses with a status of 5xx.
    pub errors_server: u64,
    /// Responses that asked the client to retry later.
    pub throttled: u64,
    /// Bytes of the requests' bodies.
    pub body_bytes_in: u64,
    /// Bytes of the responses' bodies.
    pub body_bytes_out: u64,
}

impl Counts {
    pub(super) fn add(&mut self, counters: &Counters) {
        self.connections += counters.connections.get();
        self.connections_closed += counters.connections_closed.get();
        self.connections_refused += counters.connections_refused.get();
        self.connections_cut += counters.connections_cut.get();
        self.descriptors_missing += counters.descriptors_missing.get();
        self.requests += counters.requests.get();
        self.errors_client += counters.errors_client.get();
        self.errors_server += counters.errors_server.get();
        self.throttled += counters.throttled.get();
        self.body_bytes_in += counters.body_bytes_in.get();
        self.body_bytes_out += counters.body_bytes_out.get();
    }

    /// In the text format of Prometheus.
    pub(super) fn prometheus(&self) -> String {
        let rows = [
            ("connections_total", "Connections accepted.", self.connections),
            ("connections_refused_total", "Connections refused: too many.", self.connections_refused),
            ("connections_cut_total", "Connections cut: too slow, idle or full.", self.connections_cut),
            (
                "connections_without_descriptor_total",
                "Connections refused: no file descriptor was left.",
                self.descriptors_missing,
            ),
            ("memory_refused_total", "Requests and responses refused: no memory.", self.memory_refused),
            ("requests_total", "Requests answered.", self.requests),
            ("client_errors_total", "Responses with status 4xx.", self.errors_client),
            ("server_errors_total", "Responses with status 5xx.", self.errors_server),
            ("throttled_total", "Responses that ask the client to retry later.", self.throttled),
            ("request_body_bytes_total", "Bytes of requests' bodies.", self.body_bytes_in),
            ("response_body_bytes_total", "Bytes of responses' bodies.", self.body_bytes_out),
        ];
        let mut text = String::new();
        for (name, help, value) in rows {
            let name = format!("expressway_http_{name}");
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        let open = self.connections.saturating_sub(self.connections_closed);
        for (name, help, value) in [
            ("connections_open", "Connections open.", open),
            ("memory_bytes", "Bytes that requests and responses take.", self.memory_bytes),
        ] {
            let name = format!("expressway_http_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        text
    }
}
