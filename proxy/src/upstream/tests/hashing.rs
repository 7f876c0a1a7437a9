//! Picks by a key: the same everywhere, even, and as stable as can be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use snapshot::Ring;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

fn key(of: u32) -> u64 {
    xxh3_64(&of.to_le_bytes())
}

fn at(address: &str) -> snapshot::Endpoint {
    snapshot::Endpoint { address: address.parse().unwrap(), ready: true, terminating: false, pod: None }
}

/// IPv4 and IPv6 by turns, sorted as a slice is.
fn mixed(count: u16) -> Vec<snapshot::Endpoint> {
    let address = |number: u16| match number % 2 {
        0 => format!("10.0.{}.{}:8080", number / 256, number % 256),
        _ => format!("[2001:db8::{number:x}]:8080"),
    };
    let mut endpoints: Vec<_> = (0..count).map(|number| at(&address(number))).collect();
    endpoints.sort();
    endpoints
}

/// Whom each of so many keys belongs to.
fn owners(upstream: &Upstream, keys: u32) -> Vec<SocketAddr> {
    let now = Instant::now();
    (0..keys)
        .map(|number| upstream.pick(Way::Hash(key(number), Ring::Address), &[], now).unwrap().address())
        .collect()
}

fn shares<T: Ord>(owners: impl IntoIterator<Item = T>) -> BTreeMap<T, u32> {
    let mut shares = BTreeMap::new();
    for owner in owners {
        *shares.entry(owner).or_default() += 1;
    }
    shares
}

/// How far from the shares that were expected: of the order of their number where only chance is at work.
fn chi_square(shares: impl IntoIterator<Item = (u32, f64)>) -> f64 {
    shares.into_iter().map(|(found, expected)| (f64::from(found) - expected).powi(2) / expected).sum()
}

#[test]
fn owners_are_what_another_implementation_finds() {
    let slice: Vec<_> = (1..=5)
        .map(|last| format!("10.0.0.{last}:80"))
        .chain((1..=3).map(|last| format!("[2001:db8::{last}]:8080")))
        .map(|address| at(&address))
        .collect();
    let (upstream, now) = (upstream(&[&slice]), Instant::now());
    // Reckoned with Python's xxhash.
    for (text, order) in [
        ("lobby", ["[2001:db8::3]:8080", "10.0.0.4:80", "10.0.0.5:80"]),
        ("room-1", ["10.0.0.1:80", "[2001:db8::1]:8080", "10.0.0.5:80"]),
        ("room-2", ["10.0.0.5:80", "[2001:db8::2]:8080", "10.0.0.2:80"]),
        ("room-3", ["10.0.0.5:80", "10.0.0.1:80", "[2001:db8::1]:8080"]),
    ] {
        let mut tried = Vec::new();
        for expected in order {
            let picked =
                upstream.pick(Way::Hash(xxh3_64(text.as_bytes()), Ring::Address), &tried, now).unwrap();
            assert_eq!(picked.address(), expected.parse().unwrap(), "{text} after {tried:?}");
            tried.push(picked.address());
        }
    }
}

#[test]
fn keys_are_shared_out_evenly() {
    for count in [2_u16, 3, 10, 100] {
        let keys = 1_000 * u32::from(count);
        let shares = shares(owners(&upstream(&[&mixed(count)]), keys));
        assert_eq!(shares.len(), usize::from(count));
        let distance = chi_square(shares.values().map(|found| (*found, 1_000.0)));
        // Its mean is count - 1 and its deviation the root of twice that; this is five of them.
        let freedom = f64::from(count - 1);
        assert!(distance < freedom + 5.0 * (2.0 * freedom).sqrt(), "{distance} of {count}: {shares:?}");
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_goes_move() {
    let slice = mixed(20);
    let upstream = upstream(&[&slice]);
    let before = owners(&upstream, 20_000);
    let gone = slice[7].address;
    set(&upstream, &[&[&slice[..7], &slice[8..]].concat()]);
    let after = owners(&upstream, 20_000);
    let mut heirs = Vec::new();
    for (before, after) in before.iter().zip(&after) {
        if *before == gone {
            heirs.push(*after);
        } else {
            assert_eq!(before, after);
        }
    }
    assert!((850..1_150).contains(&heirs.len()), "{}", heirs.len());
    let inherited = shares(heirs.iter().copied());
    assert_eq!(inherited.len(), 19, "all others inherit");
    let expected = heirs.len() as f64 / 19.0;
    let distance = chi_square(inherited.values().map(|found| (*found, expected)));
    assert!(distance < 18.0 + 30.0, "{distance}: {inherited:?}");

    // And back: a new one takes its share, and nobody else's keys move.
    set(&upstream, &[&slice]);
    assert_eq!(owners(&upstream, 20_000), before);
}

#[test]
fn tables_that_were_built_apart_agree() {
    let slice = mixed(50);
    let (one, other): (Vec<_>, Vec<_>) = slice.iter().partition(|endpoint| endpoint.address.is_ipv4());
    let whole = upstream(&[&slice]);
    // Other slices in another order, an endpoint in two of them, and a past.
    let apart = upstream(&[&mixed(80), &[endpoint(1, true, false)]]);
    set(&apart, &[&other, &[slice[3]], &one]);
    assert_eq!(owners(&whole, 5_000), owners(&apart, 5_000));
}

#[test]
fn load_changes_no_owner() {
    let (upstream, now) = (upstream(&[&mixed(5)]), Instant::now());
    let before = owners(&upstream, 200);
    let _held: Vec<_> =
        (0..100).filter_map(|_| upstream.pick(Way::Hash(key(0), Ring::Address), &[before[1]], now)).collect();
    assert_eq!(owners(&upstream, 200), before);
}

#[test]
fn a_key_whose_owner_is_ejected_goes_to_the_next_and_comes_back() {
    let (upstream, mut now) = (least(1..=4), Instant::now());
    let owner = |tried: &[SocketAddr], now| {
        upstream.pick(Way::Hash(key(1), Ring::Address), tried, now).unwrap().address()
    };
    let first = owner(&[], now);
    let second = owner(&[first], now);
    assert_ne!(first, second);
    assert!((0..3).any(|_| fail(&upstream, first.port(), now)));
    assert_eq!(owner(&[], now), second);
    // Where all others were tried, an ejected one is better than none.
    let others: Vec<_> = (1..=4).map(address).filter(|address| *address != first).collect();
    assert_eq!(owner(&others, now), first);
    now += Duration::from_secs(5);
    assert_eq!(owner(&[], now), first);
}

#[test]
fn terminating_endpoints_own_keys_only_where_nothing_ready_is_left() {
    let ending = |port| endpoint(port, false, true);
    let slice = [endpoint(1, true, false), ending(2), ending(3), endpoint(4, false, false)];
    let upstream = upstream(&[&slice]);
    assert_eq!(shares(owners(&upstream, 300)).into_keys().collect::<Vec<_>>(), [address(1)]);
    set(&upstream, &[&slice[1..]]);
    let shares = shares(owners(&upstream, 300));
    assert_eq!(shares.keys().copied().collect::<Vec<_>>(), [address(2), address(3)]);
    set(&upstream, &[&slice[3..]]);
    assert!(upstream.pick(Way::Hash(key(1), Ring::Address), &[], Instant::now()).is_none());
}

// ---- weights

fn backend(port: u16, weight: u32) -> Weighted {
    Weighted { upstream: least([port]), weight }
}

fn chosen(backends: &[Weighted], keys: u32) -> Vec<u16> {
    let now = Instant::now();
    let port = |key| choose(backends, Way::Hash(key, Ring::Address), &[], now).unwrap().address().port();
    (0..keys).map(|number| port(key(number))).collect()
}

#[test]
fn backends_are_chosen_by_the_key_in_proportion_to_their_weights() {
    let weights = [(1, 90), (2, 0), (3, 8), (4, 2)];
    let backends: Vec<_> = weights.iter().map(|(port, weight)| backend(*port, *weight)).collect();
    let found = chosen(&backends, 50_000);
    assert_eq!(found, chosen(&weights.map(|(port, weight)| backend(port, weight)), 50_000), "every time");
    let shares = shares(found);
    assert_eq!(shares.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
    let expected = [(1, 45_000.0), (3, 4_000.0), (4, 1_000.0)];
    let distance = chi_square(expected.map(|(port, expected)| (shares[&port], expected)));
    assert!(distance < 15.0, "{distance}: {shares:?}");
    // The largest weights do not overflow.
    let largest = [backend(1, u32::MAX), backend(2, u32::MAX), backend(3, u32::MAX)];
    assert_eq!(chosen(&largest, 100).into_iter().collect::<BTreeSet<_>>(), [1, 2, 3].into());
}

#[test]
fn a_change_of_weights_moves_only_the_difference() {
    let before = chosen(&[backend(1, 90), backend(2, 10)], 20_000);
    let after = chosen(&[backend(1, 80), backend(2, 20)], 20_000);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(moved.iter().all(|moved| *moved == (&1, &2)));
    assert!((1_850..2_150).contains(&moved.len()), "{}", moved.len());
    // The same shares in other numbers are no change.
    assert_eq!(chosen(&[backend(1, 9), backend(2, 1)], 20_000), before);
}

#[test]
fn the_keys_of_a_backend_without_endpoints_are_shared_out_among_the_others() {
    let empty = Weighted { upstream: least([]), weight: 50 };
    let backends = [empty, backend(2, 25), backend(3, 25)];
    let found = chosen(&backends, 10_000);
    let own = chosen(&[backend(1, 50), backend(2, 25), backend(3, 25)], 10_000);
    let heirs = own.iter().zip(&found).filter(|(own, found)| match own {
        1 => true,
        _ => {
            assert_eq!(own, found, "who has a backend stays there");
            false
        }
    });
    let heirs = shares(heirs.map(|(_, heir)| *heir));
    // 2,500 each, with a deviation of 35.
    assert!((2_300..2_700).contains(&heirs[&2]) && (2_300..2_700).contains(&heirs[&3]), "{heirs:?}");
}

#[test]
fn another_attempt_stays_with_the_backend_as_long_as_it_can() {
    let now = Instant::now();
    let backends =
        [Weighted { upstream: least(1..=2), weight: 1 }, Weighted { upstream: least(3..=4), weight: 1 }];
    for number in 0..50 {
        let mut tried = Vec::new();
        for _ in 0..4 {
            tried.push(
                choose(&backends, Way::Hash(key(number), Ring::Address), &tried, now).unwrap().address(),
            );
        }
        assert!(choose(&backends, Way::Hash(key(number), Ring::Address), &tried, now).is_none());
        let first: Vec<_> = tried.iter().map(|address| address.port() > 2).collect();
        assert!(first[0] == first[1] && first[2] == first[3] && first[1] != first[2], "{tried:?}");
    }
}

#[test]
fn the_pods_name_decides_where_the_ring_says_so() {
    let pods = |addresses: [&str; 3]| {
        let endpoints = addresses.iter().zip(["chat-0", "chat-1", "chat-2"]);
        let named = |(address, pod): (&&str, &str)| snapshot::Endpoint {
            pod: Some(snapshot::PodHash::of(pod)),
            ..at(address)
        };
        let mut slice: Vec<_> = endpoints.map(named).collect();
        slice.sort();
        upstream(&[&slice])
    };
    let addresses = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
    // All have another address after a restart.
    let restarted = ["10.0.9.3:80", "10.0.9.1:80", "10.0.9.2:80"];
    let (before, after, now) = (pods(addresses), pods(restarted), Instant::now());
    let place = |upstream: &Upstream, addresses: [&str; 3], number, ring| {
        let owner = upstream.pick(Way::Hash(key(number), ring), &[], now).unwrap().address().to_string();
        addresses.iter().position(|address| *address == owner).unwrap()
    };
    let same = |ring| {
        let same = |number: &u32| {
            place(&before, addresses, *number, ring) == place(&after, restarted, *number, ring)
        };
        (0..300).filter(same).count()
    };
    assert_eq!(same(Ring::PodName), 300);
    assert!(same(Ring::Address) < 200);
    let owners: BTreeSet<_> = (0..300).map(|n| place(&before, addresses, n, Ring::PodName)).collect();
    assert_eq!(owners.len(), 3);
    // An endpoint that is no pod has its address.
    let bare = upstream(&[&addresses.map(at)]);
    for number in 0..50 {
        let owner = |ring| place(&bare, addresses, number, ring);
        assert_eq!(owner(Ring::PodName), owner(Ring::Address));
    }
}
