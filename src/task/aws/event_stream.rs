//! Streams of events (`application/vnd.amazon.eventstream`), read as a whole.

use serde_json::Value as Json;

/// A message.
pub(super) struct Message {
    /// `:event-type`, or of an exception `:exception-type`.
    pub(super) kind: String,
    pub(super) is_event: bool,
    pub(super) body: Json,
}

/// The lengths and their checksum, before a message; its own checksum is behind it.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The messages of an event stream; `None` when the bytes are not one, or end in the middle of a message.
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<Message>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (length, headers) = (number(bytes)?, number(bytes.get(4..)?)?);
        let (message, rest) = bytes.split_at_checked(length)?;
        let (prelude, checked) = (message.get(..PRELUDE - CHECKSUM)?, length.checked_sub(CHECKSUM)?);
        let is_whole = checksum(prelude) == number(&message[PRELUDE - CHECKSUM..])?
            && checksum(&message[..checked]) == number(&message[checked..])?;
        let (headers, body) = message.get(PRELUDE..checked)?.split_at_checked(headers)?;
        messages.push(self::message(headers, body).filter(|_| is_whole)?);
        bytes = rest;
    }
    Some(messages)
}

fn number(bytes: &[u8]) -> Option<usize> {
    let bytes = bytes.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

fn checksum(bytes: &[u8]) -> usize {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum() as usize
}

fn message(mut headers: &[u8], body: &[u8]) -> Option<Message> {
    let (mut kind, mut is_event) = (String::new(), false);
    while let Some((length, rest)) = headers.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (form, rest) = rest.split_first()?;
        let (value, rest) = match form {
            // True and false.
            0 | 1 => (&[][..], rest),
            2 => rest.split_at_checked(1)?,
            3 => rest.split_at_checked(2)?,
            4 => rest.split_at_checked(4)?,
            5 | 8 => rest.split_at_checked(8)?,
            9 => rest.split_at_checked(16)?,
            // Bytes and texts.
            6 | 7 => {
                let (length, rest) = rest.split_at_checked(2)?;
                rest.split_at_checked(usize::from(u16::from_be_bytes(length.try_into().ok()?)))?
            }
            _ => return None,
        };
        match name {
            b":event-type" | b":exception-type" | b":error-code" => {
                kind = std::str::from_utf8(value).ok()?.to_owned();
            }
            b":message-type" => is_event = value == b"event",
            _ => {}
        }
        headers = rest;
    }
    let body = if body.is_empty() { Json::Null } else { serde_json::from_slice(body).ok()? };
    Some(Message { kind, is_event, body })
}
