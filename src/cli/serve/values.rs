//! Values of `serve`'s options, from their text.

use std::net::IpAddr;

/// An origin as browsers send it, or `*`.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let authority = text.split_once("://").map(|(_, authority)| authority);
    if text == "*" || authority.is_some_and(|it| !it.is_empty() && !it.contains(['/', '?', '#', '@'])) {
        return Ok(text.to_owned());
    }
    Err("an origin is SCHEME://HOST[:PORT] without a path, such as http://localhost:5173, or *".to_owned())
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        text => text.parse().map_err(|_| {
            "expected an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all it has".to_owned()
        }),
    }
}

pub(super) fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_account.then(|| text.to_owned()).ok_or_else(|| "expected an account of 12 digits".to_owned())
}

pub(super) fn region(text: &str) -> Result<String, String> {
    let is_region = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_region.then(|| text.to_owned()).ok_or_else(|| "expected a region such as us-east-1".to_owned())
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("expected a number of bytes, such as 1048576, 512MiB or 2GiB".to_owned()),
    };
    let number = number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    match number {
        Some(bytes) if bytes >= MEMORY_BYTES_MIN => Ok(bytes),
        Some(_) => Err(format!("{} MiB are the least", MEMORY_BYTES_MIN >> 20)),
        None => Err("expected a number of bytes, such as 1048576, 512MiB or 2GiB".to_owned()),
    }
}

/// With less, a request of the largest size hardly fits its share.
const MEMORY_BYTES_MIN: usize = 64 << 20;

pub(super) fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor >= 0.0 => Ok(factor),
        _ => Err("expected 0 or a number above it".to_owned()),
    }
}
