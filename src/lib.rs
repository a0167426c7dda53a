//! Expressway runs AWS Step Functions workflows: Amazon States Language is compiled once into tables, and a pure engine
//! runs them over an arena of JSON values. Express executions are in memory; Standard ones can be durable on one machine
//! (feature `durable`) or on several (features `postgres` and `jetstream`).
//!
//! # Where to start
//!
//! | you want to | look at |
//! |---|---|
//! | run workflows on threads of their own, with async handlers | [`runtime::Engine`] |
//! | run them one after another on your own thread | [`runtime::inline::Driver`] |
//! | do the work of tasks | [`task`]: handlers, [mocks](task::mock), AWS's services (`task::aws`, feature `integrations`) |
//! | see what happens | [`observe::Setup`]: histories, logs, metrics, traces |
//! | answer AWS's API, in your process or over HTTP | `service` and `server` (features of these names) |
//! | put a workflow between a source of events and a sink | `pipe` (feature `pipe`, and one for each broker) |
//! | check definitions | [`asl::read`] |
//!
//! ```
//! # #[cfg(feature = "runtime")] {
//! use expressway::runtime::{Engine, Json};
//!
//! fn greet() -> Result<String, Box<dyn std::error::Error>> {
//!     let engine = Engine::builder()
//!         .task_sync("arn:aws:lambda:us-east-1:123456789012:function:greet", |name: String| {
//!             Ok(format!("Hello, {name}"))
//!         })
//!         .build()?;
//!     let machine = engine.create_state_machine("greeting", r#"{"StartAt": "Greet", "States": {"Greet": {
//!         "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:greet", "End": true}}}"#)?;
//!     Ok(engine.start(&machine, Json("Ada"))?.wait().output()?)
//! }
//! assert_eq!(greet().unwrap(), "Hello, Ada");
//! # }
//! ```
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `runtime` (default) | the engine with its threads, timers and futures, durable executions |
//! | `integrations` | service tasks over HTTP |
//! | `service`, `api`, `server`, `console` | the actions of AWS's API, as AWS JSON, over HTTP, in the browser |
//! | `pipe`, `nats`, `redis`, `sqs`, `kafka`, `webhook` | pipelines and brokers |
//! | `excerpts` | problems of definitions with their lines of the source |
//! | `map-data`, `parquet` | distributed Maps that read CSV and JSON, and Parquet |
//! | `functions` | Lambda functions that processes of this machine answer |
//! | `metrics`, `otel` | metrics and spans for others |
//! | `postgres`, `jetstream`, `cluster` | durable executions in PostgreSQL or NATS JetStream, a second server that stands by or shares the work |
//! | `cli` (default), `full` | the command; a library leaves them out with `default-features = false` |
//!
//! The stable API is listed item by item in `tests/surface/public-api.txt` of the repository, and changes to it are
//! announced in the changelog. [`engine`] and [`program`] are on that list, but change with any release: they are for
//! tools that inspect executions and programs.
//!
//! # How it is built
//!
//! ```text
//!  ASL text ─► asl::Definition ─► program::Program ─► engine::advance ─► effects ─► runtime
//!              + diagnostics       immutable tables    pure: no I/O,      tasks,     in-line driver,
//!              (spans, codes)      typed u32 indices   clock, lock,       timers,    shards,
//!                                                      randomness         records    simulation
//! ```
//!
//! Three principles:
//!
//! 1. **A definition becomes tables once.** Nothing of it is parsed, looked up by name or validated while running.
//! 2. **The engine is a pure function**, [`engine::advance`]: program, execution, event and environment give effects. An
//!    [`engine::Execution`] is plain data that can be moved, replayed from its seed, or run under virtual time.
//! 3. **The driver owns its executions**: a caller's in-line driver, or a shard. What crosses threads is inputs,
//!    outputs, answers of tasks, and the shared program.
//!
//! # The ladder
//!
//! A module imports only from rungs below its own; `tests/project/tidy.rs` enforces it.
//!
//! | rung | modules | must never know |
//! |--:|---|---|
//! | 9 | `main`, `cli`: the `expressway` command | internals of any rung: only the public API |
//! | 8 | `api`: requests and replies in AWS JSON 1.0; `server`: the same over HTTP: connections, threads, security | engine and runtime internals |
//! | 7 | `service`: the actions of AWS's API as methods; `pipe`: event pipelines; `draft`: definitions being edited (feature `console`) | HTTP (but for `pipe::webhook`), headers, JSON field casing |
//! | 6 | [`runtime`]: drivers carry effects out and feed events back | AWS names, ASL text |
//! | 5 | [`task`]: handlers, mocks, service tasks over HTTP (`task::aws`); [`observe`]: history, logs, metrics, traces; `journal`: blocks and sequence numbers, durable (feature `durable`); none imports another | `runtime` |
//! | 4 | [`engine`]: `advance`, one file per state kind, data flow, Retry and Catch | threads, clocks, wire, serde |
//! | 3 | [`compile`] → [`program`]: numbered passes to tables, which print themselves; [`picture`]: a definition as a graph with places | execution state; `program` does not know `asl` |
//! | 2 | [`asl`]: model, table of allowed fields, checks, diagnostics | `program` |
//! | 1 | [`query`]: paths, intrinsic functions, templates, JSONata; each is syntax → program → eval | states, executions |
//! | 0 | [`json`]: the arena and its values, read, write, serde; and the leaves [`fault`], [`fuel`], [`limits`], `index`, [`clock`], [`arn`], `os`: its errors in words, `fatal`: the abort of a process whose state may be wrong, `models`: AWS's services | everything else |
//!
//! # Values
//!
//! Such an engine spends its time on JSON, so an execution has one [`json::Arena`], and a [`json::Value`] is a `Copy`
//! record of 16 bytes in it: a scalar is complete in its record, a string is a span of the arena's text, a container
//! points to a block of children. Passing data from state to state copies a record; ending an execution clears one
//! arena, whose memory the next one reuses.
//!
//! # Four kinds of error, never mixed
//!
//! | kind | type | who sees it |
//! |---|---|---|
//! | bad definition | a list of [`asl::Diagnostic`] | the author |
//! | workflow failure | [`fault::Fault`], a value | the workflow's Retry and Catch, then the caller |
//! | misuse of this library | the error type of the function called | its caller |
//! | our bug | a panic | us |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "api")]
pub mod api;
pub mod arn;
pub mod asl;
#[doc(hidden)]
pub mod clock;
pub mod compile;
#[cfg(feature = "console")]
#[doc(hidden)]
pub mod draft;
pub mod engine;
#[cfg(feature = "durable")]
mod fatal;
pub mod fault;
#[doc(hidden)]
pub mod fuel;
#[cfg(any(feature = "server", feature = "pipe"))]
#[doc(hidden)]
pub mod hosts;
mod index;
#[cfg(feature = "durable")]
#[doc(hidden)]
pub mod journal;
pub mod json;
pub mod limits;
#[cfg(any(feature = "service", feature = "webhook"))]
pub mod memory;
#[doc(hidden)]
pub mod misspelt;
// Without calls and mocks, parts of it are unused.
#[cfg_attr(not(all(feature = "integrations", feature = "service")), allow(dead_code))]
mod models;
pub mod observe;
#[doc(hidden)]
pub mod os;
#[doc(hidden)]
pub mod picture;
#[cfg(feature = "pipe")]
pub mod pipe;
pub mod program;
#[doc(hidden)]
pub mod query;
mod random;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "service")]
pub mod service;
pub mod task;
mod uuid;

/// The README's example is compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
