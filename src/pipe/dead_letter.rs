//! Dead letters: events that failed permanently.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::event::Provenance;

/// An event that failed permanently, with everything needed to understand why and to send it again. Written as one JSON
/// object.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The original bytes, if they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The original bytes in base64, if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Where it came from.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The state machine it was an input of.
    pub state_machine_arn: String,
    /// The last execution, if one was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_arn: Option<String>,
    /// The error's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The state that was entered last, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The events of the execution, if they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<serde_json::Value>,
    /// How many times it was tried.
    pub attempts: u32,
    /// When it failed, in milliseconds since 1970.
    pub failed_at_ms: u64,
}

impl DeadLetter {
    /// Keeps the original bytes in the more readable form.
    pub(super) fn keep(&mut self, body: &[u8]) {
        match std::str::from_utf8(body) {
            Ok(text) => self.body = Some(text.to_owned()),
            Err(_) => self.body_base64 = Some(STANDARD.encode(body)),
        }
    }

    /// The original bytes of the event.
    ///
    /// # Errors
    /// When the dead letter has no body, or its base64 is malformed.
    pub fn original(&self) -> Result<Vec<u8>, String> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).map_err(|error| format!("bodyBase64: {error}")),
            (None, None) => Err("it has neither body nor bodyBase64".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() {
        for body in [&b"{\"a\": 1}"[..], b"", b"\xff\x00not text"] {
            let mut letter = serde_json::from_str::<DeadLetter>(
                r#"{"source": "s", "id": "1", "deliveries": 2, "stateMachineArn": "m", "attempts": 2, "failedAtMs": 0}"#,
            )
            .expect("a letter");
            assert!(letter.original().is_err());
            letter.keep(body);
            let text = serde_json::to_string(&letter).expect("JSON");
            let read: DeadLetter = serde_json::from_str(&text).expect("what was written");
            assert_eq!(read, letter);
            assert_eq!(read.original().expect("the bytes"), body);
        }
    }
}
