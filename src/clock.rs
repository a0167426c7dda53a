//! Timestamps as Amazon States Language writes and reads them. Nothing here asks for the time.

/// A timestamp of the RFC 3339 profile that ASL demands (a capital `T`; `Z` or a numeric offset), in nanoseconds since
/// 1970. Digits beyond nanoseconds are dropped.
pub fn parse_timestamp(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T';
    if !shape || bytes[13] != b':' || !matches!(bytes[16], b':') {
        return None;
    }
    if !matches!(bytes.last(), Some(b'Z' | b'0'..=b'9')) {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

/// Milliseconds since 1970 as ISO 8601 in UTC with as many fractional digits as Java's `Instant` prints: none or three.
pub fn format_millis(millis: u64) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(timestamp) if millis % 1_000 == 0 => timestamp.to_string(),
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => String::new(),
    }
}
