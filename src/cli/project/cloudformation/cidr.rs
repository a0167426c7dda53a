//! `Fn::Cidr`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks that the function makes at most.
const COUNT_MAX: u32 = 256;

/// The first `count` blocks with so many bits for their hosts, of a block such as `10.0.0.0/16`.
pub(super) fn blocks(block: &str, count: &str, bits: &str) -> Option<Vec<String>> {
    let (address, prefix) = block.split_once('/')?;
    let (prefix, count, bits): (u32, u32, u32) =
        (prefix.parse().ok()?, count.parse().ok()?, bits.parse().ok()?);
    let address: IpAddr = address.parse().ok()?;
    let (width, first): (u32, u128) = match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let inside = width.checked_sub(prefix)?.checked_sub(bits)?;
    let there_are = if inside >= 16 { u32::MAX } else { 1 << inside };
    if count == 0 || count > COUNT_MAX.min(there_are) {
        return None;
    }
    // A block begins where its hosts' bits are zero.
    let hosts = width - prefix;
    let first = if hosts == 128 { 0 } else { first >> hosts << hosts };
    let block = |n: u32| {
        // With all of 128 bits there is only one block.
        let at = first + u128::from(n).checked_shl(bits).unwrap_or(0);
        let address = match address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(at as u32).to_string(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(at).to_string(),
        };
        format!("{address}/{}", width - bits)
    };
    Some((0..count).map(block).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_made_of_a_block() {
        let three = ["192.168.0.0/27", "192.168.0.32/27", "192.168.0.64/27"];
        assert_eq!(blocks("192.168.0.7/24", "3", "5").unwrap(), three);
        assert_eq!(blocks("2001:db8::/56", "2", "64").unwrap(), ["2001:db8::/64", "2001:db8:0:1::/64"]);
        assert_eq!(blocks("0.0.0.0/0", "1", "32").unwrap(), ["0.0.0.0/0"]);
        assert_eq!(blocks("::/0", "1", "128").unwrap(), ["::/0"]);
        assert_eq!(blocks("10.0.0.0/8", "256", "8").unwrap()[255], "10.0.255.0/24");
        for (block, count, bits) in [
            ("10.0.0.0/24", "9", "5"),
            ("10.0.0.0/24", "0", "5"),
            ("10.0.0.0/8", "257", "8"),
            ("10.0.0.0/24", "1", "9"),
            ("10.0.0.0/33", "1", "1"),
            ("10.0.0/24", "1", "1"),
            ("${Vpc}", "1", "1"),
        ] {
            assert_eq!(blocks(block, count, bits), None, "{block} {count} {bits}");
        }
    }
}
