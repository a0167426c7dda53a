//! Percent-encoding as AWS signs it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything except RFC 3986's unreserved characters.
pub(super) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a whole path.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// A path, percent-encoded.
pub(super) fn encode_path(path: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(path, PATH)
}

/// Adds a field to a form.
pub(super) fn pair(name: &str, value: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('&');
    }
    out.extend(utf8_percent_encode(name, UNRESERVED));
    out.push('=');
    out.extend(utf8_percent_encode(value, UNRESERVED));
}
