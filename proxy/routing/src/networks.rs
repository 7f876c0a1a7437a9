//! Sets of networks, asked for every connection and request: a search among sorted ranges, so that a list of thousands
//! costs a dozen comparisons.

use std::net::IpAddr;

use ipnet::IpNet;

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last address of each range, in order; no two of them overlap.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    /// All addresses of these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        let v4 = networks.iter().filter_map(|network| match network {
            IpNet::V4(network) => Some((network.network().to_bits(), network.broadcast().to_bits())),
            IpNet::V6(_) => None,
        });
        let v6 = networks.iter().filter_map(|network| match network {
            IpNet::V6(network) => Some((network.network().to_bits(), network.broadcast().to_bits())),
            IpNet::V4(_) => None,
        });
        Self { v4: joined(v4.collect()), v6: joined(v6.collect()) }
    }

    /// Whether it has this address. One of IPv4 that is mapped into IPv6 is looked up as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }

    /// Whether it has no address at all.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn joined<T: Copy + Ord>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined.into()
}

fn within<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let before = ranges.partition_point(|(first, _)| *first <= address);
    before.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;

    use super::*;

    /// Few bits differ, so that networks meet, touch and contain one another.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u32..64).prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits << 26 | bits))),
            (0u128..64).prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits << 122 | bits))),
            Just(IpAddr::V4(Ipv4Addr::BROADCAST)),
            (0u32..64).prop_map(|bits| IpAddr::V6(Ipv4Addr::from_bits(bits).to_ipv6_mapped())),
        ]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), 0u8..=128).prop_map(|(address, length)| match address {
            IpAddr::V4(address) => IpNet::V4(Ipv4Net::new(address, length % 33).unwrap()),
            IpAddr::V6(address) => IpNet::V6(Ipv6Net::new(address, length).unwrap()),
        })
    }

    proptest! {
        #[test]
        fn it_has_what_one_of_its_networks_has(
            networks in proptest::collection::vec(network(), 0..12),
            addresses in proptest::collection::vec(address(), 1..24),
        ) {
            let set = Networks::new(&networks);
            prop_assert_eq!(set.is_empty(), networks.is_empty());
            for address in addresses {
                let wanted = networks.iter().any(|network| network.contains(&address.to_canonical()));
                prop_assert_eq!(set.contains(address), wanted, "{} {:?}", address, networks);
            }
        }
    }

    #[test]
    fn families_are_apart_and_ends_belong() {
        let set = |list: &[&str]| {
            Networks::new(&list.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>())
        };
        let all = set(&["0.0.0.0/0"]);
        for (address, within) in
            [("0.0.0.0", true), ("255.255.255.255", true), ("::ffff:1.2.3.4", true), ("::1", false)]
        {
            assert_eq!(all.contains(address.parse().unwrap()), within, "{address}");
        }
        assert!(!set(&["::/0"]).contains("1.2.3.4".parse().unwrap()));
        let some = set(&["10.0.0.0/8", "2001:db8::/32"]);
        for (address, within) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(some.contains(address.parse().unwrap()), within, "{address}");
        }
    }

    /// What a list costs in memory and how it is cut down: ten thousand networks, of which many touch.
    #[test]
    fn a_long_list_is_a_few_ranges() {
        let networks: Vec<IpNet> =
            (0..10_000u32).map(|n| Ipv4Net::new(Ipv4Addr::from_bits(n << 8), 25).unwrap().into()).collect();
        let set = Networks::new(&networks);
        assert_eq!(set.v4.len(), 10_000, "every other /25");
        assert!(
            set.contains("0.39.15.127".parse().unwrap()) && !set.contains("0.39.15.128".parse().unwrap())
        );
    }
}
