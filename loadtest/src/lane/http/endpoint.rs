//! The endpoint, and the state machine on it.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::request::{Head, Requests};
use super::response::{self, Progress};
use super::sign::Signer;
use super::stream::Tls;
use crate::plan::Http;
use crate::workloads::Workload;

/// An endpoint with a state machine on it. Clones are the same.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    /// Where everything but starts goes.
    control: Address,
    http: Http,
    requests: Requests,
    input_bytes: Vec<usize>,
    /// The state machine that we made, and have to delete.
    made: Option<String>,
    signer: Option<Signer>,
}

impl Endpoint {
    /// Connects, and makes a state machine where none is named.
    ///
    /// # Errors
    /// The message when the connection is refused, or fails.
    pub fn new(http: &Http, workload: &Workload) -> Result<Endpoint, String> {
        let find = |operation: &str| Address::find(&http.endpoint, operation, http.ca.as_deref());
        let address = find(&http.operation)?;
        let signer = http.sign.then(|| Signer::from_environment(&http.region)).transpose()?;
        let is_plain = http.operation.starts_with('/');
        let (control, made) = match (&http.state_machine_arn, is_plain) {
            (None, false) => {
                // AWS has synchronous executions on a host of their own, and all else on the plain one.
                let control = find("CreateStateMachine")?;
                let made = create(&control, http, workload, signer.as_ref())?;
                (control, Some(made))
            }
            _ => (address.clone(), None),
        };
        let arn = made.as_ref().or(http.state_machine_arn.as_ref()).cloned().unwrap_or_default();
        let requests = Requests::new(&address, http, &arn, &workload.inputs, signer.clone());
        let input_bytes = workload.inputs.iter().map(<[u8]>::len).collect();
        let http = http.clone();
        Ok(Endpoint {
            inner: Arc::new(Inner { address, control, http, requests, input_bytes, made, signer }),
        })
    }

    /// Deletes the state machine, if it was made for the test.
    ///
    /// # Errors
    /// When the endpoint refuses.
    pub fn close(&self) -> Result<(), String> {
        let Some(arn) = &self.inner.made else { return Ok(()) };
        let body = serde_json::json!({"stateMachineArn": arn});
        let Inner { control, signer, .. } = &*self.inner;
        call(control, "DeleteStateMachine", &body, signer.as_ref()).map(|_| ())
    }

    pub(super) fn requests(&self) -> Requests {
        self.inner.requests.clone()
    }

    pub(super) fn socket(&self) -> SocketAddr {
        self.inner.address.socket
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.inner.address.tls.as_ref()
    }

    pub(super) fn operation(&self) -> &str {
        &self.inner.http.operation
    }

    pub(super) fn input_bytes(&self, n: u64) -> usize {
        self.inner.input_bytes[(n % self.inner.input_bytes.len() as u64) as usize]
    }

    pub(super) fn timeout_ns(&self) -> u64 {
        u64::try_from(self.inner.http.timeout.as_nanos()).unwrap_or(u64::MAX / 4)
    }

    /// Connections of all workers together.
    pub fn connections(&self) -> usize {
        self.inner.http.connections
    }
}

/// Creates a state machine for the test; gives its ARN.
fn create(
    control: &Address,
    http: &Http,
    workload: &Workload,
    signer: Option<&Signer>,
) -> Result<String, String> {
    let unique =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let body = serde_json::json!({
        "name": format!("loadtest-{}-{unique}", std::process::id()),
        "definition": workload.definition,
        "roleArn": http.role_arn,
        "type": "EXPRESS",
    });
    let answer = call(control, "CreateStateMachine", &body, signer)?;
    let arn = response::field(&answer, "stateMachineArn").map(str::to_owned);
    arn.ok_or_else(|| "CreateStateMachine: the answer names no state machine".to_owned())
}

/// How long an answer to anything but a start may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One call, on a separate connection.
fn call(
    address: &Address,
    operation: &str,
    body: &serde_json::Value,
    signer: Option<&Signer>,
) -> Result<Vec<u8>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{operation}: {error}");
    let mut stream = address.connect().map_err(|error| named(&error))?;
    stream.socket().set_read_timeout(Some(TIMEOUT)).map_err(|error| named(&error))?;
    let mut request = Vec::new();
    Head::new(address, operation).write(body.to_string().as_bytes(), signer, &mut request);
    stream.write_all(&request).map_err(|error| named(&error))?;
    let (mut read, mut chunk) = (Vec::new(), [0; 16 * 1_024]);
    let answer = loop {
        match stream.read(&mut chunk) {
            Ok(0) => match response::parse_closed(&read) {
                Some(answer) => break answer,
                None => return Err(named(&"the connection was closed before an answer")),
            },
            Ok(bytes) => read.extend_from_slice(&chunk[..bytes]),
            // A signal, which its handler deals with.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(named(&format!("no answer within {} s", TIMEOUT.as_secs())));
            }
            Err(error) => return Err(named(&error)),
        }
        match response::parse(&read) {
            Progress::Whole(answer) => break answer,
            Progress::More(_) if read.len() <= response::ANSWER_BYTES_MAX => {}
            Progress::More(_) => return Err(named(&"the answer is larger than any")),
            Progress::Garbage(error) => return Err(named(&format!("the answer is no HTTP: {error}"))),
        }
    };
    let body = response::body(&answer, &read);
    match answer.status {
        200..300 => Ok(body),
        status => {
            let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            Err(named(&format!("HTTP {status}: {text}")))
        }
    }
}
