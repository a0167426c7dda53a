//! Event pipelines: a [`Source`] of events, a state machine, and a [`Sink`] for its outputs.
//!
//! ```
//! use expressway::pipe::{Lines, Pipe};
//! use expressway::runtime::Engine;
//!
//! let engine = Engine::builder().shards(1).build()?;
//! let machine = engine.create_state_machine("shout", r#"{"StartAt": "Name", "States": {
//!     "Name": {"Type": "Pass", "Parameters": {"name.$": "$.name"}, "End": true}}}"#)?;
//! let events = &br#"{"name": "Ada", "age": 36}"#[..];
//! let (sink, written) = Lines::to_memory();
//! let pipe = Pipe::new(engine, machine, Lines::from_reader("people", events)).sink(sink);
//! let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//! let report = runtime.block_on(pipe.run())?;
//! assert_eq!((report.received, report.succeeded), (1, 1));
//! assert_eq!(written.lock().unwrap().as_slice(), b"{\"name\":\"Ada\"}\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An event is settled with its source only after its execution has reached its terminal status *and* its result is
//! published: its output, or a [`DeadLetter`] when it failed permanently. If anything goes wrong in between, such as a
//! crash or an unreachable broker, the source delivers the event again. So nothing is lost, and readers of the sink may
//! see an output twice.
//!
//! The events under way are bounded by number and by bytes; at the bound, the pipeline stops receiving.

mod address;
mod batch_item_failures;
mod connection;
mod dead_letter;
mod dedup;
mod ends;
mod event;
mod failed;
mod failure_report;
mod flow;
#[cfg(feature = "kafka")]
mod kafka;
mod lines;
#[cfg(feature = "nats")]
mod nats;
mod opening;
mod order;
mod process;
mod publish;
#[cfg(feature = "redis")]
mod redis;
mod redrive;
mod sent;
mod settings;
#[cfg(feature = "sqs")]
mod sqs;
mod stats;
mod trouble;
mod watch;
#[cfg(feature = "webhook")]
mod webhook;

#[doc(hidden)]
pub use address::{all_without_credentials, without_credentials};
pub use connection::Connection;
pub use dead_letter::DeadLetter;
pub use ends::{End, Trouble};
pub use event::{
    Backlog, Batch, Disposition, EventOutcome, Later, Output, Outputs, PipeError, Provenance, Receipts, Room,
    Sink, Source,
};
pub use failed::FailedEvent;
pub use flow::{Pipe, Stop};
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, KafkaSink, KafkaSource};
pub use lines::{LineSink, LineSource, Lines};
#[cfg(feature = "nats")]
pub use nats::{Nats, NatsConsumer, NatsOptions, NatsSink, NatsSource, NatsValue};
pub use order::{KeyOf, Order};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisGroup, RedisSink, RedisSource};
pub use redrive::{Redrive, Redriven};
pub use settings::Attempts;
#[cfg(feature = "sqs")]
pub use sqs::{Sqs, SqsSink, SqsSource};
pub use stats::{Report, Stats};
#[cfg(feature = "webhook")]
pub use webhook::{Answer, Proof, Webhook, WebhookSource};
