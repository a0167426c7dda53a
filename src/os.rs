//! Errors of the operating system and of brokers, in the words that people are told; and texts as editors write them.

use std::io;
use std::path::Path;

/// An error of the operating system: what is wrong, without the system's number.
pub fn words(error: &io::Error) -> String {
    // An error with a text of its own says more than its kind.
    if error.get_ref().is_some() {
        return without_number(&error.to_string());
    }
    let known = match error.kind() {
        io::ErrorKind::AddrInUse => "another process has that port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::FileTooLarge => "the file may not be larger",
        io::ErrorKind::IsADirectory => "it is a folder",
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::QuotaExceeded => "the disk quota is used up",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        io::ErrorKind::StorageFull => "no space is left on the disk",
        _ => return without_number(&error.to_string()),
    };
    known.to_owned()
}

/// The text of an error without the numbers that the operating system gives its errors.
pub fn without_number(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(" (os error ") {
        let Some((number, after)) = after.split_once(')') else { break };
        shown.push_str(before);
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            shown.push_str(&format!(" (os error {number})"));
        }
        rest = after;
    }
    shown + rest
}

/// Lowers this thread's priority.
#[cfg(any(feature = "parquet", feature = "server"))]
pub(crate) fn lower_priority() {
    // On Linux a thread has its own nice value, elsewhere it is the process's.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

/// The byte order mark that editors of Windows put before texts in UTF-8.
pub const MARK: &[u8] = b"\xef\xbb\xbf";

/// A text without its byte order mark.
///
/// # Errors
/// When it is UTF-16, as some editors of Windows write it.
pub fn without_mark(mut text: Vec<u8>) -> io::Result<Vec<u8>> {
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
    if is_utf16(&text) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is UTF-16: save it as UTF-8"));
    }
    Ok(text)
}

/// The text of a file, without its byte order mark.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let text = without_mark(std::fs::read(path)?)?;
    String::from_utf8(text).map_err(|_| not_utf8())
}

/// The error for a text that is not UTF-8.
pub fn not_utf8() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")
}

/// Whether a text of letters is UTF-16, with its mark or without.
fn is_utf16(text: &[u8]) -> bool {
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [first, second, ..] => (*first == 0) != (*second == 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_operating_system_are_left_out() {
        for (text, shown) in [
            ("Redis: Connection refused (os error 111)", "Redis: Connection refused"),
            ("a (os error 1): b (os error 2); c", "a: b; c"),
            ("a (os error x) b", "a (os error x) b"),
            ("a (os error 1", "a (os error 1"),
        ] {
            assert_eq!(without_number(text), shown);
        }
        let taken = io::Error::from(io::ErrorKind::AddrInUse);
        assert_eq!(words(&taken), "another process has that port");
        let full = io::Error::new(io::ErrorKind::StorageFull, "12 bytes are left of the reserve");
        assert_eq!(words(&full), "12 bytes are left of the reserve");
    }

    #[test]
    fn a_mark_is_left_out_and_utf_16_is_named() {
        let ok = |text: &[u8]| without_mark(text.to_owned()).expect("it is UTF-8");
        assert_eq!(ok(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(ok(b"\xef\xbb"), b"\xef\xbb");
        assert_eq!((ok(b"{"), ok(b"")), (b"{".to_vec(), Vec::new()));
        for text in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"{\0}\0", b"\0{\0}"] {
            let error = without_mark(text.to_owned()).expect_err("it is UTF-16");
            assert_eq!(words(&error), "it is UTF-16: save it as UTF-8");
        }
    }
}
