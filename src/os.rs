//! Errors of the operating system and of brokers, in the words that people are told.

use std::io;

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
}
