//! Signature version 4 (AWS General Reference, "Create a signed AWS API request").
//!
//! Hand-written because `aws-sigv4` brings 33 crates, among them a second `http`, for these hundred lines; `hmac` and
//! `sha2` do the cryptography.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::credentials::Credentials;
use super::percent;

/// The scope of a signature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// The service's name for signing, such as `lambda`.
    pub(super) service: &'a str,
}

/// The signed parts of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// As it is sent, in pieces: percent-encoded.
    pub(super) path: &'a [&'a str],
    /// As it is sent: percent-encoded, `name=value` sorted by name.
    pub(super) query: &'a str,
    /// In lower case, sorted by name; `host` and `x-amz-date` must be among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Body<'a>,
}

/// The signed part of a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    Bytes(&'a [u8]),
    /// Its [`body_hash`], which S3 also requires in a header.
    Hashed(&'a str),
}

/// SHA-256 in hexadecimal digits.
pub(super) fn body_hash(body: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    hex(&Sha256::digest(body), &mut text);
    text
}

/// A time in the format of signatures: `20150830T123600Z`.
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
    let mut text = String::with_capacity(16);
    let mut add = |pairs: &[u64], end: &str| {
        for pair in pairs {
            text.extend([pair / 10 % 10, pair % 10].map(|digit| char::from(b'0' + digit as u8)));
        }
        text.push_str(end);
    };
    add(&[year / 100, year % 100, month, day], "T");
    add(&[hour, minute, second], "Z");
    text
}

/// The `Authorization` header.
pub(super) fn authorization(
    credentials: &Credentials,
    scope: Scope<'_>,
    amz_date: &str,
    it: &Signed<'_>,
) -> String {
    let day = amz_date.get(..8).unwrap_or_default();
    let mut header = String::with_capacity(384);
    let mut add = |parts: &[&str]| {
        let from = header.len();
        parts.iter().for_each(|part| header.push_str(part));
        from..header.len()
    };
    add(&["AWS4-HMAC-SHA256 Credential=", &credentials.access_key_id, "/"]);
    let scope_text = add(&[day, "/", scope.region, "/", scope.service, "/aws4_request"]);
    let mut names = add(&[", SignedHeaders="]);
    names.start = names.end;
    for (n, (name, _)) in it.headers.iter().enumerate() {
        names.end = add(&[if n > 0 { ";" } else { "" }, name]).end;
    }
    add(&[", Signature="]);
    let (scope_text, names) = (&header[scope_text], &header[names]);

    let mut canonical = String::with_capacity(640);
    canonical.push_str(it.method);
    canonical.push('\n');
    // All services except S3 encode the encoded path once more.
    match scope.service {
        "s3" => canonical.extend(it.path.iter().copied()),
        _ => canonical.extend(it.path.iter().flat_map(|piece| percent::encode_path(piece))),
    }
    canonical.push('\n');
    canonical.push_str(it.query);
    canonical.push('\n');
    for (name, value) in it.headers {
        canonical.push_str(name);
        canonical.push(':');
        // Runs of blanks count as one.
        if value.bytes().fold(false, |any, byte| any | byte.is_ascii_whitespace()) {
            value.split_ascii_whitespace().enumerate().for_each(|(n, word)| {
                canonical.push_str(if n > 0 { " " } else { "" });
                canonical.push_str(word);
            })
        } else {
            canonical.push_str(value)
        }
        canonical.push('\n');
    }
    canonical.push('\n');
    canonical.push_str(names);
    canonical.push('\n');
    match it.body {
        Body::Bytes(bytes) => hex(&Sha256::digest(bytes), &mut canonical),
        Body::Hashed(hash) => canonical.push_str(hash),
    }

    let mut to_sign = String::with_capacity(192);
    ["AWS4-HMAC-SHA256\n", amz_date, "\n", scope_text, "\n"].iter().for_each(|part| to_sign.push_str(part));
    hex(&Sha256::digest(canonical.as_bytes()), &mut to_sign);
    let signature = signing_key(credentials, scope_text, day, scope).chain_update(to_sign).finalize();
    hex(&signature.into_bytes(), &mut header);
    header
}

/// The signature alone, for a request that has it in its query (AWS General Reference, "Query string authentication").
pub(super) fn signature(
    credentials: &Credentials,
    scope: Scope<'_>,
    amz_date: &str,
    it: &Signed<'_>,
) -> String {
    let header = authorization(credentials, scope, amz_date, it);
    header.rsplit('=').next().unwrap_or(&header).to_owned()
}

/// A URL with the signature in it (AWS General Reference, "Query string authentication"): of a `GET` at `/` with this query, which is a form. `headers` must be sent with it, sorted by name, the host
/// among them.
pub(super) fn url(
    credentials: &Credentials,
    scope: Scope<'_>,
    headers: &[(&str, &str)],
    form: &str,
    seconds: u32,
    now: SystemTime,
) -> String {
    let date = amz_date(now);
    let day = &date[..8];
    let of = format!("{}/{day}/{}/{}/aws4_request", credentials.access_key_id, scope.region, scope.service);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut query = form.to_owned();
    for (name, value) in [
        ("X-Amz-Algorithm", Some("AWS4-HMAC-SHA256")),
        ("X-Amz-Credential", Some(&*of)),
        ("X-Amz-Date", Some(&*date)),
        ("X-Amz-Expires", Some(&*seconds.to_string())),
        ("X-Amz-Security-Token", credentials.session_token.as_deref()),
        ("X-Amz-SignedHeaders", Some(&*names)),
    ] {
        if let Some(value) = value {
            percent::pair(name, value, &mut query);
        }
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let query = pairs.join("&");
    let it = Signed { method: "GET", path: &["/"], query: &query, headers, body: Body::Bytes(b"") };
    let signature = signature(credentials, scope, &date, &it);
    let host = headers.iter().find(|(name, _)| *name == "host").map_or("", |(_, host)| host);
    format!("https://{host}/?{query}&X-Amz-Signature={signature}")
}

/// Keys that one thread keeps: a few services, for a day each.
const KEYS_MAX: usize = 32;

type Hasher = Hmac<Sha256>;

/// The HMAC with the key for a day, region and service, which takes four rounds to make and is cached.
fn signing_key(credentials: &Credentials, scope_text: &str, day: &str, scope: Scope<'_>) -> Hasher {
    type Kept = (String, String, Hasher);
    thread_local! {
        static KEYS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    }
    KEYS.with_borrow_mut(|keys| {
        let secret = &credentials.secret_access_key;
        if let Some((.., key)) = keys.iter().find(|(text, of, _)| text == scope_text && of == secret) {
            return key.clone();
        }
        let parts = [day, scope.region, scope.service, "aws4_request"];
        let key = parts.iter().fold(hasher(format!("AWS4{secret}").as_bytes()), |key, part| {
            hasher(&key.chain_update(part).finalize().into_bytes())
        });
        if keys.len() >= KEYS_MAX {
            keys.remove(0);
        }
        keys.push((scope_text.to_owned(), secret.clone(), key.clone()));
        key
    })
}

fn hasher(key: &[u8]) -> Hasher {
    Hasher::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hex(hash: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    // Digits are valid text.
    out.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The values of AWS's test suite for signature version 4, case `get-vanilla-query-order-key-case`.
    #[test]
    fn signs_as_aws_does() {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None);
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let date = amz_date(now);
        assert_eq!(date, "20150830T123600Z");
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", date.as_str())];
        let signed = Signed {
            method: "GET",
            path: &["/"],
            query: "Param1=value1&Param2=value2",
            headers: &headers,
            body: Body::Bytes(b""),
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
