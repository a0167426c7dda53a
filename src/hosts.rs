//! Host names of a listener, and origins of pages that may use it.
//!
//! Any page in a browser may have its own host name resolve to this machine (DNS rebinding), and then its requests have
//! the same origin as what it reads. Its name is in `Host`, which shows it.

use std::net::IpAddr;

/// The names of one listener.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// The address it listens on.
    bound: IpAddr,
    /// Names beside those that always lead to this machine; `*` is any.
    names: Vec<String>,
}

impl Hosts {
    /// The names of a listener at this address: those given, beside loopback ones and the address itself.
    pub fn new(bound: IpAddr, names: &[String]) -> Hosts {
        Hosts { bound: bound.to_canonical(), names: names.to_vec() }
    }

    /// Whether this host, with or without a port, is one of its names: a loopback one, the address it listens on, or an
    /// allowed one. The port may differ, as behind a proxy.
    pub fn allows(&self, authority: &str) -> bool {
        let Some(host) = host(authority) else { return false };
        if self.names.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(host)) {
            return true;
        }
        if let Some(address) = address(host) {
            // A number cannot be rebound to another address by DNS: bound to all addresses, any is one of its own.
            return address.is_loopback() || self.bound.is_unspecified() || address == self.bound;
        }
        // SDKs prepend this to the host for synchronous executions.
        let bare = host.strip_prefix("sync-").unwrap_or(host);
        is_local(bare) || self.names.iter().any(|name| name.eq_ignore_ascii_case(bare))
    }
}

/// Whether an `Origin` is that of a page from this same host.
pub fn is_same_origin(origin: &str, authority: &str) -> bool {
    let of_page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    of_page.is_some_and(|of_page| of_page.eq_ignore_ascii_case(authority))
}

/// The part before the port.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            (&authority[..end + 2], &rest[end + 1..])
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    let host = host.strip_suffix('.').unwrap_or(host);
    (is_fine && !host.is_empty()).then_some(host)
}

/// Whether it is `localhost`, or a subdomain of it.
fn is_local(name: &str) -> bool {
    let at = name.len().checked_sub("localhost".len());
    let parts = at.and_then(|at| Some((name.get(..at)?, name.get(at..)?)));
    parts.is_some_and(|(before, last)| {
        last.eq_ignore_ascii_case("localhost") && (before.is_empty() || before.ends_with('.'))
    })
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_loopback_the_bound_one_or_allowed() {
        let loopback = Hosts::new(IpAddr::from([127, 0, 0, 1]), &["steps.example".to_owned()]);
        for (authority, expected) in [
            ("localhost", true),
            ("LocalHost:8083", true),
            ("localhost.", true),
            ("app.localhost:1", true),
            ("sync-localhost:8083", true),
            ("127.0.0.1:8083", true),
            ("127.8.8.8", true),
            ("[::1]:8083", true),
            ("[::ffff:127.0.0.1]", true),
            ("steps.example", true),
            ("sync-Steps.Example:443", true),
            ("", false),
            (":8083", false),
            ("localhost:", false),
            ("localhost:80x", false),
            ("localhost.evil.example", false),
            ("evillocalhost", false),
            ("élocalhost", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost@evil.example", false),
            ("evil.example:@localhost", false),
            ("10.0.0.1", false),
            ("[::1", false),
            ("2130706433", false),
        ] {
            assert_eq!(loopback.allows(authority), expected, "{authority}");
        }
        let bound = Hosts::new(IpAddr::from([10, 0, 0, 1]), &[]);
        assert!(bound.allows("10.0.0.1:80") && !bound.allows("10.0.0.2") && !bound.allows("name.example"));
        let everywhere = Hosts::new(IpAddr::from([0, 0, 0, 0]), &[]);
        assert!(everywhere.allows("10.0.0.2") && !everywhere.allows("name.example"));
        assert!(Hosts::new(IpAddr::from([0, 0, 0, 0]), &["*".to_owned()]).allows("name.example"));
    }

    #[test]
    fn an_origin_is_the_same_with_the_port_as_it_is_written() {
        assert!(is_same_origin("http://localhost:8083", "localhost:8083"));
        assert!(!is_same_origin("http://localhost:3000", "localhost:8083"));
        assert!(!is_same_origin("null", "localhost:8083"));
        assert!(!is_same_origin("file://localhost:8083", "localhost:8083"));
    }
}
