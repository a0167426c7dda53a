//! The list of sent lines of a file, kept beside it, so that none is sent twice.
//!
//! The list has a line for each, with its number and the beginning of its SHA-256: a file of the same name with other
//! lines in it is a new one. It is on the disk before the line counts as sent.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The sent lines of a file.
#[derive(Debug)]
pub(super) struct Sent {
    known: HashSet<Line>,
    list: File,
    /// Lines that were skipped because they are in the list.
    pub(super) skipped: u64,
}

/// A line by its number and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    number: u64,
    pub(super) hash: u64,
}

impl Line {
    pub(super) fn new(number: u64, text: &[u8]) -> Line {
        let digest = Sha256::digest(text);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Line { number, hash: u64::from_be_bytes(first) }
    }

    fn parse(text: &str) -> Option<Line> {
        let (number, hash) = text.split_once(' ')?;
        Some(Line { number: number.parse().ok()?, hash: u64::from_str_radix(hash, 16).ok()? })
    }
}

/// The path of a file's list.
pub(super) fn list_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sent");
    name.into()
}

impl Sent {
    pub(super) fn of(file: &Path) -> io::Result<Sent> {
        let path = list_of(file);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that was cut by a crash is ignored: its event is sent again.
        let known = text.lines().filter_map(Line::parse).collect();
        let list = File::options().create(true).append(true).open(&path)?;
        let mut sent = Sent { known, list, skipped: 0 };
        // It ends a line that was cut; and a full disk is noticed before anything is sent.
        sent.list.write_all(b"\n")?;
        sent.list.sync_data()?;
        Ok(sent)
    }

    /// Whether a line was sent; if so, it is counted.
    pub(super) fn has(&mut self, line: Line) -> bool {
        let has = self.known.contains(&line);
        self.skipped += u64::from(has);
        has
    }

    /// Records that lines were sent.
    pub(super) fn add(&mut self, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        let mut text = String::new();
        for Line { number, hash } in lines {
            text.push_str(&format!("{number} {hash:016x}\n"));
        }
        if text.is_empty() {
            return Ok(());
        }
        self.list.write_all(text.as_bytes())?;
        self.list.sync_data()
    }
}
