//! Spans to a collector: OTLP over HTTP with protobuf bodies, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use tokio::net::TcpStream;

use super::Recorded;
use super::trace::{Context, Exporter, Span, SpanKind, spans};

/// Sends spans to an OpenTelemetry collector.
///
/// Executions wait in a bounded queue. A collector that is slow or unreachable loses them, and the loss is counted; see
/// [`Dropped::spans`](super::Dropped::spans). There is no TLS: a remote collector needs an agent beside the engine.
#[derive(Debug)]
pub struct Otlp {
    queue: SyncSender<Vec<otlp::Span>>,
    lost: Arc<AtomicU64>,
}

/// Why an exporter cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// It is not `http://HOST[:PORT][/PATH]`.
    #[error("'{0}' is not an endpoint: expected a URL such as http://localhost:4318")]
    Endpoint(String),
    /// The thread could not be started.
    #[error("cannot start the thread that sends spans: {0}")]
    Thread(#[from] std::io::Error),
}

/// Executions that may wait.
const QUEUE_MAX: usize = 1_024;
/// Spans of one request, roughly.
const SPANS_MAX: usize = 512;
const TIMEOUT: Duration = Duration::from_secs(10);

impl Otlp {
    /// To the collector at `endpoint`, such as `http://localhost:4318`; without a path, `/v1/traces` is used.
    ///
    /// # Errors
    /// When the endpoint is invalid, or the system cannot start a thread.
    pub fn new(endpoint: &str, service_name: &str) -> Result<Otlp, OtlpError> {
        let wrong = || OtlpError::Endpoint(endpoint.to_owned());
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.to_owned();
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let port = uri.port_u16().unwrap_or(4_318);
        let path = match uri.path() {
            "" | "/" => "/v1/traces".to_owned(),
            path => path.to_owned(),
        };
        let resource =
            Resource { attributes: vec![text("service.name", service_name)], ..Resource::default() };
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let lost = Arc::<AtomicU64>::default();
        let mut sender = Sender { host, port, path, resource, connection: None };
        let counter = Arc::clone(&lost);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("expressway-otlp".to_owned())
            .spawn(move || runtime.block_on(sender.work(&waiting, &counter)))?;
        Ok(Otlp { queue, lost })
    }
}

impl Exporter for Otlp {
    fn export(&self, recorded: &Recorded, context: &Context) -> bool {
        let spans = spans(recorded, context);
        let spans = spans.iter().enumerate().map(|(n, span)| {
            let mut span = span_of(span, context);
            if n == 0 {
                span.attributes.push(text("aws.step_functions.execution.arn", &recorded.execution_arn));
                span.attributes
                    .push(text("aws.step_functions.state_machine.arn", &recorded.state_machine_arn));
                span.attributes.push(text("expressway.status", recorded.ending.name()));
            }
            span
        });
        self.queue.try_send(spans.collect()).is_ok()
    }

    fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn span_of(span: &Span, context: &Context) -> otlp::Span {
    use otlp::status::StatusCode;
    let kind = match span.kind {
        SpanKind::Execution => otlp::span::SpanKind::Server,
        SpanKind::Attempt => otlp::span::SpanKind::Client,
        SpanKind::State | SpanKind::Iteration => otlp::span::SpanKind::Internal,
    };
    let what = match span.kind {
        SpanKind::Execution => "execution",
        SpanKind::State => "state",
        SpanKind::Iteration => "iteration",
        SpanKind::Attempt => "attempt",
    };
    let mut attributes = vec![text("expressway.kind", what)];
    let status = span.error.as_ref().map(|(error, cause)| {
        attributes.push(text("error.type", error));
        otlp::Status { message: cause.clone(), code: StatusCode::Error as i32 }
    });
    otlp::Span {
        trace_id: context.trace_id.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: if span.parent_id == 0 { Vec::new() } else { span.parent_id.to_be_bytes().to_vec() },
        flags: u32::from(context.sampled),
        name: span.name.clone(),
        kind: kind as i32,
        start_time_unix_nano: span.started_ms.saturating_mul(1_000_000),
        end_time_unix_nano: span.stopped_ms.saturating_mul(1_000_000),
        attributes,
        status,
        ..otlp::Span::default()
    }
}

struct Sender {
    host: String,
    port: u16,
    path: String,
    resource: Resource,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Sender {
    /// Sends spans until all senders are dropped.
    async fn work(&mut self, waiting: &Receiver<Vec<otlp::Span>>, lost: &AtomicU64) {
        // Nothing else runs on this thread except the connection, which is idle while we wait.
        while let Ok(mut spans) = waiting.recv() {
            let mut executions = 1;
            while spans.len() < SPANS_MAX
                && let Ok(more) = waiting.try_recv()
            {
                spans.extend(more);
                executions += 1;
            }
            let body = Bytes::from(self.request(spans).encode_to_vec());
            // A kept connection may have been closed meanwhile.
            let sent = self.send(body.clone()).await || {
                self.connection = None;
                self.send(body).await
            };
            if !sent {
                self.connection = None;
                lost.fetch_add(executions, Relaxed);
            }
        }
    }

    fn request(&self, spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: "expressway".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![otlp::ScopeSpans { scope: Some(scope), spans, ..otlp::ScopeSpans::default() }];
        let resource_spans = vec![otlp::ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans,
            ..otlp::ResourceSpans::default()
        }];
        ExportTraceServiceRequest { resource_spans }
    }

    /// Whether the collector accepted it.
    async fn send(&mut self, body: Bytes) -> bool {
        let sent = tokio::time::timeout(TIMEOUT, self.post(body)).await;
        matches!(sent, Ok(Ok(true)))
    }

    async fn post(&mut self, body: Bytes) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        let Some(connection) = &mut self.connection else { return Ok(false) };
        connection.ready().await?;
        let request = Request::post(&self.path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(body))?;
        let reply = connection.send_request(request).await?;
        let taken = reply.status().is_success();
        // The body has to be read before the connection can be used again.
        reply.into_body().collect().await?;
        Ok(taken)
    }
}
