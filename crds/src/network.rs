//! Networks of clients as people write them: CIDRs, and single addresses.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address. Bits behind the prefix are masked. A network of IPv4 addresses
/// mapped into IPv6 is the network of those: clients' addresses are compared in that form. No number has a leading
/// zero, which some take for octal.
pub fn network(text: &str) -> Option<IpNet> {
    let written = match text.split_once('/') {
        Some((address, length)) => IpNet::new(address.parse().ok()?, prefix_length(length)?).ok()?,
        None => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    Some(match written {
        IpNet::V4(network) => IpNet::V4(network.trunc()),
        IpNet::V6(network) => mapped(network).map_or(IpNet::V6(network.trunc()), IpNet::V4),
    })
}

fn prefix_length(digits: &str) -> Option<u8> {
    let plain =
        digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

fn mapped(network: Ipv6Net) -> Option<Ipv4Net> {
    const PREFIX: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
    let length = network.prefix_len().checked_sub(96)?;
    let within = Ipv6Net::new(PREFIX, 96).is_ok_and(|all| all.contains(&network.addr()));
    let address = network.addr().to_ipv4_mapped().filter(|_| within)?;
    Ipv4Net::new(address, length).ok().map(|network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_masked_and_in_one_form() {
        for (text, read) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.5/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("fd00::1/8", "fd00::/8"),
            ("2001:DB8::7", "2001:db8::7/128"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::fffe:0:0/96", "::fffe:0:0/96"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), Some(read), "{text}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/8 ",
            "a",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "010.0.0.0/8",
        ] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
