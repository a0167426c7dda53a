//! The wire API through its seam: no socket, no HTTP, no thread, virtual time. The cases that are data are also sent
//! over a socket.

mod client;
mod executions;
mod machines;
mod map_runs;
mod model;
mod nested;
mod played;
mod recorded;
mod redrive;
mod requests;
mod suite;
