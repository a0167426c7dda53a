//! Hosts in options.

use std::net::{IpAddr, Ipv6Addr};

/// A host with a port, such as `localhost:8080`.
pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match port {
        Some((host, 1..)) if is_host(host) => Ok(text.to_owned()),
        _ => Err("expected HOST:PORT, such as localhost:8080, without a scheme and a path".to_owned()),
    }
}

/// A host, which may have a port.
pub(super) fn host_maybe_port(text: &str) -> Result<String, String> {
    if is_host(text) || host_and_port(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("expected HOST or HOST:PORT, such as localhost:8080, without a scheme and a path".to_owned())
}

/// Whether it is the name or the address of a host.
pub(super) fn is_host(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if text.parse::<IpAddr>().is_ok() || inside.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok()) {
        return true;
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_label)
}
