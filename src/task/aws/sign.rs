//! Signature version 4 (AWS General Reference, "Create a signed AWS API request").
//!
//! Our own because `aws-sigv4` brings 33 crates, among them a second `http`, for these hundred lines; `hmac` and `sha2` do the
//! cryptography.

use std::cell::RefCell;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::credentials::Credentials;

/// All but what RFC 3986 calls unreserved.
pub(super) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a whole path.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// A path, percent-encoded.
pub(super) fn encode_path(path: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(path, PATH)
}

/// What a signature is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// The service's name for signing, such as `lambda`.
    pub(super) service: &'a str,
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As it is sent: percent-encoded.
    pub(super) path: &'a str,
    /// As it is sent: percent-encoded, `name=value` sorted by name.
    pub(super) query: &'a str,
    /// In lower case, sorted by name; `host` and `x-amz-date` must be among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// A moment, as signatures write it: `20150830T123600Z`.
pub(super) fn amz_date(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a date of the Gregorian calendar, with years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// The `Authorization` header.
pub(super) fn authorization(
    credentials: &Credentials,
    scope: Scope<'_>,
    amz_date: &str,
    it: &Signed<'_>,
) -> String {
    let day = amz_date.get(..8).unwrap_or_default();
    let mut canonical = String::with_capacity(512);
    canonical.push_str(it.method);
    canonical.push('\n');
    // All services but S3 encode the encoded path once more.
    canonical.extend(utf8_percent_encode(it.path, PATH));
    canonical.push('\n');
    canonical.push_str(it.query);
    canonical.push('\n');
    for (name, value) in it.headers {
        canonical.push_str(name);
        canonical.push(':');
        // Runs of blanks count as one.
        canonical.extend(value.split_ascii_whitespace().enumerate().flat_map(|(n, word)| {
            let blank = if n > 0 { " " } else { "" };
            [blank, word]
        }));
        canonical.push('\n');
    }
    let mut names = String::with_capacity(64);
    for (n, (name, _)) in it.headers.iter().enumerate() {
        if n > 0 {
            names.push(';');
        }
        names.push_str(name);
    }
    canonical.push('\n');
    canonical.push_str(&names);
    canonical.push('\n');
    hex(&Sha256::digest(it.body), &mut canonical);

    let Scope { region, service } = scope;
    let scope_text = format!("{day}/{region}/{service}/aws4_request");
    let mut to_sign = format!("AWS4-HMAC-SHA256\n{amz_date}\n{scope_text}\n");
    hex(&Sha256::digest(canonical.as_bytes()), &mut to_sign);
    let signature = hmac(&signing_key(credentials, &scope_text, day, scope), to_sign.as_bytes());

    let id = &credentials.access_key_id;
    let mut header =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope_text}, SignedHeaders={names}, Signature=");
    hex(&signature, &mut header);
    header
}

/// Keys that one thread keeps: a few services, for a day each.
const KEYS_MAX: usize = 32;

/// The key for a day, region and service: four rounds of HMAC, done once.
fn signing_key(credentials: &Credentials, scope_text: &str, day: &str, scope: Scope<'_>) -> [u8; 32] {
    type Kept = (String, String, [u8; 32]);
    thread_local! {
        static KEYS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    }
    KEYS.with_borrow_mut(|keys| {
        let secret = &credentials.secret_access_key;
        if let Some((.., key)) = keys.iter().find(|(text, of, _)| text == scope_text && of == secret) {
            return *key;
        }
        let key = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
        let key = hmac(&key, scope.region.as_bytes());
        let key = hmac(&key, scope.service.as_bytes());
        let key = hmac(&key, b"aws4_request");
        if keys.len() >= KEYS_MAX {
            keys.remove(0);
        }
        keys.push((scope_text.to_owned(), secret.clone(), key));
        key
    })
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length, so this does not fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The figures of AWS's test suite for signature version 4, case `get-vanilla-query-order-key-case`.
    #[test]
    fn signs_as_aws_does() {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let date = amz_date(now);
        assert_eq!(date, "20150830T123600Z");
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", date.as_str())];
        let signed = Signed {
            method: "GET",
            path: "/",
            query: "Param1=value1&Param2=value2",
            headers: &headers,
            body: b"",
        };
        let scope = Scope { region: "us-east-1", service: "service" };
        assert_eq!(
            authorization(&credentials, scope, &date, &signed),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
    }
}
