//! Signature Version 4: parses and verifies a request's signature.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use hyper::Method;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use super::{Denied, denied};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "states";
/// Headers that determine what a request does, and so have to be signed if present.
const SIGNED_ALWAYS: [&str; 3] = ["host", "x-amz-date", "x-amz-target"];

/// A request's signature header.
pub(super) struct Claim<'a> {
    pub(super) access_key_id: &'a str,
    region: &'a str,
    /// `20260131T235959Z`.
    time: &'a str,
    date: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

fn incomplete<T>(what: &str) -> Result<T, Denied> {
    denied("IncompleteSignatureException", what)
}

fn header<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.headers.get(name).and_then(|value| value.to_str().ok())
}

impl<'a> Claim<'a> {
    pub(super) fn of(head: &'a Parts) -> Result<Claim<'a>, Denied> {
        let Some(text) = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return denied("MissingAuthenticationTokenException", "Missing Authentication Token");
        };
        let Some(fields) = text.strip_prefix(ALGORITHM) else {
            return incomplete("Unsupported AWS 'algorithm': only AWS4-HMAC-SHA256 is supported");
        };
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',').map(str::trim) {
            match field.split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => return incomplete("Authorization header has an unknown part"),
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return incomplete("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'");
        };
        let mut scope = credential.rsplitn(5, '/');
        let (Some("aws4_request"), Some(SERVICE), Some(region), Some(date), Some(access_key_id)) =
            (scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
        else {
            return denied(
                "InvalidSignatureException",
                "Credential should be scoped to the service 'states'.",
            );
        };
        let Some(time) = header(head, "x-amz-date") else {
            return incomplete("Authorization header requires existence of an 'X-Amz-Date' header.");
        };
        if time.get(..8) != Some(date) {
            return denied(
                "InvalidSignatureException",
                "Date in Credential scope does not match X-Amz-Date.",
            );
        }
        Ok(Claim { access_key_id, region, time, date, signed_headers, signature })
    }

    /// Whether it was signed for a service of this region: a request signed for another server is refused.
    pub(super) fn check_region(&self, region: &str) -> Result<(), Denied> {
        if self.region == region {
            return Ok(());
        }
        denied(
            "InvalidSignatureException",
            format!("Credential should be scoped to a valid region, not '{}'.", self.region),
        )
    }

    /// Whether it was signed recently.
    pub(super) fn check_time(&self, now: SystemTime, skew_max: Duration) -> Result<(), Denied> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let Some(then) = parse_time(self.time) else {
            return incomplete("X-Amz-Date must be in the ISO8601 basic format");
        };
        let off = now.as_secs().abs_diff(then);
        if off <= skew_max.as_secs() {
            return Ok(());
        }
        let what = if then > now.as_secs() { "not yet current" } else { "expired" };
        denied("InvalidSignatureException", format!("Signature {what}: {} is {off} seconds off", self.time))
    }

    /// Verifies the signature with the secret. Compared in constant time.
    pub(super) fn verify(&self, head: &Parts, body: &[u8], secret: &str) -> Result<(), Denied> {
        for name in SIGNED_ALWAYS {
            let is_signed = self.signed_headers.split(';').any(|it| it == name);
            if !is_signed && (name == "host" || head.headers.contains_key(name)) {
                return incomplete(&format!("'{name}' must be a signed header"));
            }
        }
        let request = hex(&Sha256::digest(self.canonical(head, body)?));
        let scope = format!("{}/{}/{SERVICE}/aws4_request", self.date, self.region);
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{request}", self.time);
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [self.date, self.region, SERVICE, "aws4_request"] {
            key = keyed(&key, part.as_bytes()).finalize().into_bytes().to_vec();
        }
        let mismatch = "The request signature we calculated does not match the signature you provided. Check \
                        your AWS Secret Access Key and signing method.";
        let Some(signature) = unhex(self.signature) else {
            return denied("InvalidSignatureException", mismatch);
        };
        match keyed(&key, text.as_bytes()).verify_slice(&signature) {
            Ok(()) => Ok(()),
            Err(_) => denied("InvalidSignatureException", mismatch),
        }
    }

    /// The text that is signed. Operations are POST requests without a query; a query is taken as it was sent, which is
    /// its signed form if it is one parameter, or parameters in order, encoded as the signature requires.
    fn canonical(&self, head: &Parts, body: &[u8]) -> Result<Vec<u8>, Denied> {
        let query = head.uri.query();
        if query.is_some() && head.method != Method::GET {
            return incomplete("Requests with a query are not accepted");
        }
        let query = query.unwrap_or_default();
        let mut text = format!("{}\n{}\n{query}\n", head.method, head.uri.path()).into_bytes();
        for name in self.signed_headers.split(';') {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            let mut values = head.headers.get_all(name).iter().peekable();
            if name == "host" && values.peek().is_none() {
                // HTTP/2 has the authority of the address instead.
                text.extend_from_slice(head.uri.authority().map_or("", |it| it.as_str()).as_bytes());
            }
            for (n, value) in values.enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
                for (n, word) in words.filter(|word| !word.is_empty()).enumerate() {
                    if n > 0 {
                        text.push(b' ');
                    }
                    text.extend_from_slice(word);
                }
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(self.signed_headers.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(hex(&Sha256::digest(body)).as_bytes());
        Ok(text)
    }
}

fn keyed(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(high)? << 4 | nibble(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// Seconds since 1970 of `20260131T235959Z`.
fn parse_time(text: &str) -> Option<u64> {
    let digits = |range| text.get(range).filter(|part: &&str| part.bytes().all(|b| b.is_ascii_digit()));
    if text.len() != 16 || text.get(8..9) != Some("T") || !text.ends_with('Z') {
        return None;
    }
    let (date, time) = (digits(0..8)?, digits(9..15)?);
    let extended = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    let nanoseconds = crate::clock::parse_timestamp(&extended)?;
    u64::try_from(nanoseconds / 1_000_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS publishes this example of its signature: `get-vanilla` of its test suite signs with this key and date.
    #[test]
    fn keys_are_derived_as_aws_documents_it() {
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20120215", "us-east-1", "iam", "aws4_request"] {
            key = keyed(&key, part.as_bytes()).finalize().into_bytes().to_vec();
        }
        assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("19700101T000001Z"), Some(1));
        assert_eq!(parse_time("20260131T235959Z"), Some(1_769_903_999));
        for wrong in ["", "20260131T235959", "20260131 235959Z", "2026-131T235959Z", "20261331T235959Z"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_read() {
        assert_eq!(unhex("00ffA5"), Some(vec![0, 255, 165]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
    }
}
