//! The region and the account in a request's credentials.

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::Place;
use crate::service::Scope;

/// The scope of a signed request: `Credential=<access key>/<date>/<region>/states/aws4_request`. An access key of 12
/// digits is an account; any other one means the server's own. `None` without such a header.
pub(super) fn of(headers: &HeaderMap, place: &Place) -> Option<Scope> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    let credential = credential.split([',', ' ']).next()?;
    let parts: Vec<&str> = credential.splitn(6, '/').collect();
    let [key, _date, region, _service, "aws4_request"] = parts[..] else { return None };
    let is_region = (1..=64).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let is_account = key.len() == 12 && key.bytes().all(|byte| byte.is_ascii_digit());
    is_region.then(|| Scope {
        region: region.to_owned(),
        account: if is_account { key } else { &place.account }.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn scope(authorization: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).expect("a header"));
        of(&headers, &Place::default()).map(|scope| (scope.region, scope.account))
    }

    #[test]
    fn the_credential_says_region_and_account() {
        let of = |credential: &str| {
            scope(&format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"))
        };
        let place = |region: &str, account: &str| Some((region.to_owned(), account.to_owned()));
        let request = "20261128/eu-central-1/states/aws4_request";
        assert_eq!(of(&format!("AKIDEXAMPLE/{request}")), place("eu-central-1", "123456789012"));
        assert_eq!(of(&format!("000000000001/{request}")), place("eu-central-1", "000000000001"));
        assert_eq!(of("AKID/20261128/no place/states/aws4_request"), None);
        assert_eq!(of("AKID"), None);
        assert_eq!(scope("Bearer token"), None);
    }
}
