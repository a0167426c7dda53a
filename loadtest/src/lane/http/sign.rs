//! AWS's Signature Version 4, for endpoints that ask for it.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// Signs requests to Step Functions with the keys of the environment.
#[derive(Clone)]
pub(super) struct Signer {
    key: String,
    secret: String,
    token: Option<String>,
    region: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets stay out of logs.
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

const SERVICE: &str = "states";

impl Signer {
    /// A signer with the keys in the environment.
    pub(super) fn from_environment(region: &str) -> Result<Signer, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let missing = |name: &str| format!("http.sign: {name} is not set");
        Ok(Signer {
            key: variable("AWS_ACCESS_KEY_ID").ok_or_else(|| missing("AWS_ACCESS_KEY_ID"))?,
            secret: variable("AWS_SECRET_ACCESS_KEY").ok_or_else(|| missing("AWS_SECRET_ACCESS_KEY"))?,
            token: variable("AWS_SESSION_TOKEN"),
            region: region.to_owned(),
        })
    }

    /// Appends the headers that sign a request.
    pub(super) fn write(
        &self,
        host: &str,
        path: &str,
        kind: &str,
        target: Option<&str>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let headers = [("content-type", Some(kind)), ("host", Some(host)), ("x-amz-target", target)];
        out.extend_from_slice(self.headers(now, "POST", path, &headers, body).as_bytes());
    }

    fn headers(
        &self,
        now: u64,
        method: &str,
        path: &str,
        headers: &[(&str, Option<&str>)],
        body: &[u8],
    ) -> String {
        let time = timestamp(now);
        let day = &time[..8];
        let mut signed: Vec<(&str, &str)> =
            headers.iter().filter_map(|&(name, value)| Some((name, value?))).collect();
        signed.push(("x-amz-date", &time));
        if let Some(token) = &self.token {
            signed.push(("x-amz-security-token", token));
        }
        signed.sort_unstable();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("{method}\n{path}\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(body)));
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day, &self.region, SERVICE, "aws4_request", &text] {
            key = mac(&key, part);
        }
        let token =
            self.token.as_ref().map_or(String::new(), |token| format!("X-Amz-Security-Token: {token}\r\n"));
        format!(
            "X-Amz-Date: {time}\r\n{token}Authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}\r\n",
            self.key,
            hex(&key),
        )
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261122T193000Z`
fn timestamp(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_aws_writes_them() {
        assert_eq!(timestamp(0), "19700101T000000Z");
        assert_eq!(timestamp(1_440_938_160), "20150830T123600Z");
        assert_eq!(timestamp(951_782_400), "20000229T000000Z");
        assert_eq!(timestamp(1_767_225_599), "20251231T235959Z");
    }

    /// The key of AWS's own worked example ("Deriving the signing key"): known parts, known result.
    #[test]
    fn the_signing_key_is_the_one_of_the_documentation() {
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20120215", "us-east-1", "iam", "aws4_request"] {
            key = mac(&key, part);
        }
        assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn every_header_that_counts_is_signed() {
        let signer = Signer {
            key: "AKID".to_owned(),
            secret: "secret".to_owned(),
            token: Some("token".to_owned()),
            region: "eu-west-1".to_owned(),
        };
        let headers = [("content-type", Some("a/b")), ("host", Some("h")), ("x-amz-target", Some("T"))];
        let text = signer.headers(1_440_938_160, "POST", "/", &headers, b"{}");
        assert!(text.contains("X-Amz-Date: 20150830T123600Z\r\nX-Amz-Security-Token: token\r\n"), "{text}");
        assert!(text.contains("Credential=AKID/20150830/eu-west-1/states/aws4_request, "), "{text}");
        assert!(
            text.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, "),
            "{text}"
        );
        let other = signer.headers(1_440_938_160, "POST", "/", &headers, b"{ }");
        assert_ne!(text, other);
    }
}
