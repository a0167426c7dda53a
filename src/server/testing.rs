//! Calls for test suites: forgetting everything, replacing the mocks.

use hyper::Method;
use hyper::http::request::Parts;

use crate::api::Reply;
use crate::service::Service;
use crate::task::mock::MockConfig;

const RESET: &str = "/_expressway/reset";
const MOCKS: &str = "/_expressway/mocks";

/// Whether this is the path of such a call.
pub(super) fn is_call(path: &str) -> bool {
    [RESET, MOCKS].contains(&path)
}

/// `POST /_expressway/reset` forgets everything; `PUT /_expressway/mocks` sets the mocks, in the form of a
/// `MockConfigFile.json`.
pub(super) fn answer(service: &Service, head: &Parts, body: &[u8]) -> Reply {
    match (&head.method, head.uri.path()) {
        (&Method::POST, RESET) => {
            let forgotten = service.forget_everything();
            tell(200, None, &serde_json::json!({"forgotten": forgotten}))
        }
        (&Method::PUT, MOCKS) => {
            match MockConfig::parse(body).and_then(|config| config.check().map(|()| config)) {
                Ok(config) => {
                    let machines: Vec<&str> = config.state_machines().collect();
                    let told = serde_json::json!({"stateMachines": machines});
                    service.set_mocks(config);
                    tell(200, None, &told)
                }
                Err(error) => refuse(400, "ValidationException", &error.to_string()),
            }
        }
        _ => refused(405, "There are `POST /_expressway/reset` and `PUT /_expressway/mocks`"),
    }
}

/// What a server for other purposes answers to these calls.
pub(super) fn not_for_tests() -> Reply {
    refused(404, "Not found: this call is for test suites, and this server was started without --testing")
}

fn refused(status: u16, message: &str) -> Reply {
    refuse(status, "UnknownOperationException", message)
}

fn refuse(status: u16, error: &'static str, message: &str) -> Reply {
    tell(status, Some(error), &serde_json::json!({"__type": error, "message": message}))
}

fn tell(status: u16, error: Option<&'static str>, body: &serde_json::Value) -> Reply {
    Reply { status, body: body.to_string().into_bytes(), error: error.map(Into::into), retry_after_ms: None }
}
