//! RFC 3339 timestamps as restricted by Amazon States Language (specification, "Timestamps").

use jiff::civil::DateTime;

/// Whether `text` is a date, an upper-case `T`, a time, and a zone: `Z` or a numeric offset.
pub(super) fn is_rfc3339(text: &str) -> bool {
    let Some((zone_at, _)) = text
        .char_indices()
        .skip("2016-03-14T01:59:00".len())
        .find(|&(_, char)| matches!(char, 'Z' | '+' | '-'))
    else {
        return false;
    };
    let (local, zone) = text.split_at(zone_at);
    is_local(local) && is_zone(zone) && local.parse::<DateTime>().is_ok()
}

/// `2016-03-14T01:59:00`, with or without a fraction.
fn is_local(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = "0000-00-00T00:00:00".as_bytes();
    bytes.len() >= shape.len()
        && shape.iter().zip(bytes).all(|(&want, &byte)| match want {
            b'0' => byte.is_ascii_digit(),
            _ => byte == want,
        })
        && match &bytes[shape.len()..] {
            [] => true,
            [b'.', digits @ ..] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

fn is_zone(text: &str) -> bool {
    let [b'+' | b'-', h1, h0, b':', m1, m0] = text.as_bytes() else { return text == "Z" };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| byte - b'0');
    match (digit(h1), digit(h0), digit(m1), digit(m0)) {
        (Some(h1), Some(h0), Some(m1), Some(_)) => h1 * 10 + h0 <= 23 && m1 <= 5,
        _ => false,
    }
}
