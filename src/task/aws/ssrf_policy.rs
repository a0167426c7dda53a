//! Which hosts a workflow may call. They are named by a workflow's author, or its input, so hosts behind the engine's
//! own firewall are refused: a task must not reach the cloud's metadata, or a neighbour.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::net::Origin;

/// The policy of `http:invoke` and `apigateway:invoke`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPolicy {
    /// Hosts that may be called at any address, and without TLS: `localhost:8080`, `10.1.2.3`, `api.internal`. With a
    /// port, only that one.
    pub allowed_hosts: Vec<String>,
    /// Whether all hosts may be called, including loopback, link-local and private addresses, also without TLS.
    pub allow_all: bool,
    /// The timeout of a call; 60 seconds on AWS.
    pub timeout: Duration,
    /// Bytes an answer's body may have; 262,144 on AWS.
    pub answer_bytes_max: usize,
}

impl Default for HttpPolicy {
    fn default() -> HttpPolicy {
        HttpPolicy {
            allowed_hosts: Vec::new(),
            allow_all: false,
            timeout: Duration::from_secs(60),
            answer_bytes_max: crate::limits::PAYLOAD_BYTES_MAX as usize,
        }
    }
}

/// Why a host is refused.
#[derive(Debug)]
pub(super) enum Denied {
    /// The policy forbids it.
    Forbidden(String),
    /// It has no address.
    Unknown(String),
}

impl HttpPolicy {
    /// The origin with the checked address: it is not looked up again, so it cannot change.
    pub(super) async fn admit(&self, mut origin: Origin) -> Result<Origin, Denied> {
        let host = &*origin.host;
        let free = self.allow_all
            || self.allowed_hosts.iter().any(|allowed| {
                let named = allowed.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
                match named {
                    _ if allowed.eq_ignore_ascii_case(host) => true,
                    Some((name, port)) => {
                        let name = name.trim_start_matches('[').trim_end_matches(']');
                        name.eq_ignore_ascii_case(host) && port == origin.port.to_string()
                    }
                    None => false,
                }
            });
        if !origin.tls && !free {
            return Err(Denied::Forbidden(format!("{host} is to be called over https")));
        }
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![(address, origin.port).into()],
            Err(_) => match tokio::net::lookup_host((host, origin.port)).await {
                Ok(addresses) => addresses.collect(),
                Err(_) => return Err(Denied::Unknown(format!("{host}: Name or service not known"))),
            },
        };
        // Otherwise a single harmless address would bypass the check.
        let denied = addresses.iter().find(|address| !free && !is_public(address.ip()));
        if let Some(address) = denied {
            let text = format!("{host} has the address {}, which is not a public one", address.ip());
            return Err(Denied::Forbidden(text));
        }
        match addresses.first() {
            Some(address) => origin.pinned = Some(*address),
            None => return Err(Denied::Unknown(format!("{host}: Name or service not known"))),
        }
        Ok(origin)
    }
}

/// Whether an address is in the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // This network, private, shared, loopback, link-local (with the clouds' metadata).
        [0 | 10 | 127, ..] | [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..]
        // Protocol assignments, documentation, the old relay, benchmarks, multicast, reserved.
        | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _]
        | [224..=255, ..]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // 6to4 and the well-known prefix of translators contain an address of version 4.
        [0x2002, high, low, ..] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // Teredo and other special purposes, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Only these are allocated for the public internet.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.32.0.1", true),
            ("2606:4700:4700::1111", true),
            ("64:ff9b::808:808", true),
            ("0.0.0.0", false),
            ("10.0.0.1", false),
            ("100.100.100.200", false),
            ("127.0.0.1", false),
            ("127.8.8.8", false),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("192.0.0.192", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
        ] {
            assert_eq!(is_public(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
