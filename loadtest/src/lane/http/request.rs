//! Requests, written once for each input.

use std::sync::Arc;

use super::address::Address;
use super::sign::Signer;
use crate::inputs::Inputs;
use crate::plan::Http;

/// The requests of one target.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    /// Whole requests, or only their bodies if each is signed when it is sent.
    texts: Arc<[Box<[u8]>]>,
    signer: Option<Signer>,
    head: Head,
}

/// The head before a body.
#[derive(Clone, Debug)]
pub(super) struct Head {
    path: String,
    authority: String,
    target: Option<String>,
}

impl Head {
    pub(super) fn new(address: &Address, operation: &str) -> Head {
        let is_plain = operation.starts_with('/');
        Head {
            path: if is_plain { operation.to_owned() } else { "/".to_owned() },
            authority: address.authority(),
            target: (!is_plain).then(|| format!("AWSStepFunctions.{operation}")),
        }
    }

    /// Appends a whole request.
    pub(super) fn write(&self, body: &[u8], signer: Option<&Signer>, out: &mut Vec<u8>) {
        let Head { path, authority, target } = self;
        let kind = if target.is_some() { "application/x-amz-json-1.0" } else { "application/json" };
        out.extend_from_slice(
            format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {kind}\r\n").as_bytes(),
        );
        if let Some(target) = target {
            out.extend_from_slice(format!("X-Amz-Target: {target}\r\n").as_bytes());
        }
        if let Some(signer) = signer {
            signer.write(authority, path, kind, target.as_deref(), body, out);
        }
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
    }
}

impl Requests {
    pub(super) fn new(
        address: &Address,
        http: &Http,
        arn: &str,
        inputs: &Inputs,
        signer: Option<Signer>,
    ) -> Requests {
        let head = Head::new(address, &http.operation);
        let is_plain = http.operation.starts_with('/');
        let text = |input: &[u8]| {
            let body = if is_plain { input.to_vec() } else { start(arn, input) };
            if signer.is_some() {
                return body.into();
            }
            let mut text = Vec::new();
            head.write(&body, None, &mut text);
            text.into()
        };
        Requests { texts: inputs.iter().map(text).collect(), signer, head }
    }

    /// Appends the n-th request.
    pub(super) fn write(&self, n: u64, out: &mut Vec<u8>) {
        let text = &self.texts[(n % self.texts.len() as u64) as usize];
        match &self.signer {
            None => out.extend_from_slice(text),
            Some(signer) => self.head.write(text, Some(signer), out),
        }
    }

    /// The n-th request, where it needs no more than sending.
    pub(super) fn ready(&self, n: u64) -> Option<&[u8]> {
        self.signer.is_none().then(|| &*self.texts[(n % self.texts.len() as u64) as usize])
    }
}

/// The body of a start.
fn start(arn: &str, input: &[u8]) -> Vec<u8> {
    let input = String::from_utf8_lossy(input);
    serde_json::json!({"stateMachineArn": arn, "input": input}).to_string().into_bytes()
}
