//! The output of functions: lines of bounded length, and its tail.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::LAMBDA_LINE_BYTES_MAX;

/// The last 4 KiB of a process's output during an invocation, as in `LogType` `Tail`.
#[derive(Debug, Default)]
pub(super) struct Tail(RefCell<VecDeque<u8>>);

const TAIL_BYTES: usize = 4 << 10;

impl Tail {
    fn add(&self, bytes: &[u8]) {
        let mut tail = self.0.borrow_mut();
        tail.extend(bytes);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }

    /// The output since the last call.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().drain(..).collect()
    }
}

/// Passes each line on, until the end. Lines are truncated at the limit.
pub(super) async fn hand_on(mut from: impl AsyncRead + Unpin, tail: &Tail, log: impl Fn(&str)) {
    let mut buffer = [0; 4_096];
    let mut line = Vec::new();
    let mut is_cut = false;
    loop {
        let bytes = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => bytes,
        };
        tail.add(&buffer[..bytes]);
        for piece in buffer[..bytes].split_inclusive(|&byte| byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            let part = text.unwrap_or(piece);
            let room = LAMBDA_LINE_BYTES_MAX - line.len();
            is_cut |= part.len() > room;
            line.extend_from_slice(&part[..part.len().min(room)]);
            if text.is_some() {
                log(&shown(&line, is_cut));
                line.clear();
                is_cut = false;
            }
        }
    }
    if !line.is_empty() {
        log(&shown(&line, is_cut));
    }
}

/// A line as text. Control characters of functions could move a terminal's cursor.
fn shown(line: &[u8], is_cut: bool) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let plain = text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c });
    plain.chain(is_cut.then_some('…')).collect()
}
