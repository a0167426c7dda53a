//! A request: its operation in the first line, then its body. For any request, the answer is JSON, and an error has a
//! name.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use expressway::api::{Call, answer};
use expressway::runtime::Simulation;
use expressway::service::Service;

thread_local! {
    /// No threads: what would run later does not.
    static SERVICE: (Service, Simulation) =
        Service::builder().seed(1).simulate().expect("a service without threads");
}

pub(crate) fn run(data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let Ok(operation) = std::str::from_utf8(&data[..at]) else { return };
    let target = format!("AWSStepFunctions.{operation}");
    let body = data.get(at + 1..).unwrap_or_default();
    SERVICE.with(|(service, _)| {
        let call = Call { target: &target, trace_header: None, body };
        let answer = pin!(answer(service, call));
        // What waits for an execution or for a task is not waited for.
        let Poll::Ready(reply) = answer.poll(&mut Context::from_waker(Waker::noop())) else { return };
        let said: Result<serde_json::Value, _> = serde_json::from_slice(&reply.body);
        let said = said.unwrap_or_else(|error| panic!("{operation}: no JSON: {error}"));
        assert!(said.is_object(), "{operation}: {said}");
        assert!(matches!(reply.status, 200 | 400), "{operation}: {} {said}", reply.status);
        assert_eq!(reply.status == 400, reply.error.is_some(), "{operation}: {said}");
        assert_eq!(reply.status == 400, said.get("__type").is_some(), "{operation}: {said}");
    });
}
