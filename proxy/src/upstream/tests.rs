//! Picks: distribution, order, ejection.

mod hashing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use snapshot::UpstreamId;
use tokio::time::Instant;

use super::{Census, Members, Picked, Upstream, Way, Weighted, choose};

const LEAST: Way = Way::LeastConnections;

fn address(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn endpoint(port: u16, ready: bool, terminating: bool) -> snapshot::Endpoint {
    snapshot::Endpoint { address: address(port), ready, terminating, pod: None }
}

fn ready(ports: impl IntoIterator<Item = u16>) -> Vec<snapshot::Endpoint> {
    ports.into_iter().map(|port| endpoint(port, true, false)).collect()
}

/// Puts these slices in place of those that the upstream has.
fn set(upstream: &Arc<Upstream>, slices: &[&[snapshot::Endpoint]]) {
    let members = Members::union(upstream, &upstream.members.load(), slices.iter().copied());
    upstream.install(Arc::new(members));
}

fn upstream(slices: &[&[snapshot::Endpoint]]) -> Arc<Upstream> {
    let id = UpstreamId::endpoints("d", "s", "80");
    let upstream = Upstream::new(Arc::new(id));
    set(&upstream, slices);
    upstream
}

fn least(ports: impl IntoIterator<Item = u16>) -> Arc<Upstream> {
    upstream(&[&ready(ports)])
}

fn count<'a>(picks: impl IntoIterator<Item = &'a Picked>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for pick in picks {
        *counts.entry(pick.address().port()).or_default() += 1;
    }
    counts
}

/// Port of a pick that is over at once.
fn port(upstream: &Upstream, now: Instant) -> Option<u16> {
    upstream.pick(LEAST, &[], now).map(|pick| pick.address().port())
}

fn fail(upstream: &Upstream, port: u16, now: Instant) -> bool {
    let others: Vec<_> = (1..10).filter(|other| *other != port).map(address).collect();
    upstream.pick(LEAST, &others, now).unwrap().connect_failed(now)
}

#[test]
fn least_connections_levels_what_is_in_flight() {
    let (upstream, now) = (least(1..=4), Instant::now());
    let mut held: Vec<_> = (0..40).map(|_| upstream.pick(LEAST, &[], now).unwrap()).collect();
    assert_eq!(count(&held), (1..=4).map(|port| (port, 10)).collect());
    held.retain(|pick| pick.address().port() != 2);
    held.extend((0..10).map(|_| upstream.pick(LEAST, &[], now).unwrap()));
    assert_eq!(count(&held), (1..=4).map(|port| (port, 10)).collect());
}

#[test]
fn ties_go_round_even_where_nothing_is_held() {
    for (way, held, distinct_picks) in [(LEAST, 2, 3), (Way::RoundRobin, 0, 5)] {
        let (upstream, now) = (least(1..=5), Instant::now());
        // With least connections two of five endpoints are loaded, so that the ties are not all of them.
        let held: Vec<_> = (0..held).filter_map(|_| upstream.pick(way, &[], now)).collect();
        let pick = || upstream.pick(way, &[], now).unwrap().address().port();
        let picks: Vec<_> = (0..9).map(|_| pick()).collect();
        for window in picks.windows(distinct_picks) {
            let distinct: std::collections::BTreeSet<_> = window.iter().collect();
            assert_eq!(distinct.len(), distinct_picks, "{way:?} {picks:?}");
        }
        drop(held);
    }
}

#[test]
fn round_robin_minds_no_load() {
    let (upstream, now) = (least(1..=3), Instant::now());
    let pick = |tried: &[SocketAddr]| upstream.pick(Way::RoundRobin, tried, now);
    let _held: Vec<_> = (0..7).map(|_| pick(&[address(1), address(2)])).collect();
    let picks: Vec<_> = (0..30).filter_map(|_| pick(&[])).collect();
    assert_eq!(count(&picks), (1..=3).map(|port| (port, 10)).collect());
}

#[test]
fn the_start_is_chance() {
    let now = Instant::now();
    let starts: std::collections::BTreeSet<_> = (0..200).map(|_| port(&least(1..=4), now)).collect();
    assert_eq!(starts.len(), 4);
}

#[test]
fn what_was_tried_is_not_tried_again() {
    let (upstream, now) = (least(1..=3), Instant::now());
    let tried: Vec<_> = (1..=3).map(address).collect();
    for _ in 0..10 {
        assert_eq!(upstream.pick(LEAST, &tried[..2], now).unwrap().address(), tried[2]);
    }
    assert!(upstream.pick(LEAST, &tried, now).is_none());
}

#[test]
fn terminating_endpoints_serve_where_nothing_ready_is_left() {
    let slice = [endpoint(1, true, false), endpoint(2, false, true), endpoint(3, false, false)];
    let (upstream, now) = (upstream(&[&slice]), Instant::now());
    let held: Vec<_> = (0..5).filter_map(|_| upstream.pick(LEAST, &[], now)).collect();
    assert_eq!(count(&held), [(1, 5)].into());
    assert_eq!(upstream.pick(LEAST, &[address(1)], now).unwrap().address(), address(2));
    set(&upstream, &[&slice[1..]]);
    assert_eq!(port(&upstream, now), Some(2));
    set(&upstream, &[&slice[2..]]);
    assert_eq!(port(&upstream, now), None);
}

#[test]
fn an_address_in_two_slices_is_one_endpoint_ready_where_any_says_so() {
    let (one, two) = (
        [endpoint(1, false, true), endpoint(2, true, false)],
        [endpoint(1, true, false), endpoint(3, false, false)],
    );
    let upstream = upstream(&[&one, &two]);
    let expected = [(address(1), "ready"), (address(2), "ready"), (address(3), "waiting")];
    assert_eq!(upstream.summary(), expected);
    assert_eq!(upstream.ready(), 2);
}

#[test]
fn three_failures_in_a_row_eject_for_a_while_that_doubles() {
    let (upstream, mut now) = (least(1..=3), Instant::now());
    assert!(!fail(&upstream, 1, now) && !fail(&upstream, 1, now));
    upstream.pick(LEAST, &[address(2), address(3)], now).unwrap().connected();
    assert!(!fail(&upstream, 1, now) && !fail(&upstream, 1, now), "a success begins the row anew");
    assert!(fail(&upstream, 1, now));
    for seconds in [5, 10, 20, 40, 60, 60] {
        assert_eq!(upstream.ejected(now), 1);
        let picks: Vec<_> = (0..10).filter_map(|_| upstream.pick(LEAST, &[], now)).collect();
        assert_eq!(count(&picks), [(2, 5), (3, 5)].into());
        assert!(!fail(&upstream, 1, now), "what fails meanwhile began before");
        now += Duration::from_secs(seconds);
        let before = now.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!((upstream.ejected(before), upstream.ejected(now)), (1, 0), "{seconds}");
        assert!(fail(&upstream, 1, now), "the row goes on");
    }
    now += Duration::from_mins(1);
    upstream.pick(LEAST, &[address(2), address(3)], now).unwrap().connected();
    assert!(!fail(&upstream, 1, now) && !fail(&upstream, 1, now) && fail(&upstream, 1, now));
    now += Duration::from_secs(5);
    assert_eq!(upstream.ejected(now), 0, "a success makes the next ejection a first one");
}

#[test]
fn never_more_than_half_are_ejected() {
    let now = Instant::now();
    for (endpoints, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let upstream = least(1..=endpoints);
        let ejected: usize =
            (1..=endpoints).map(|port| (0..6).filter(|_| fail(&upstream, port, now)).count()).sum();
        assert_eq!((ejected, upstream.ejected(now)), (most, most), "of {endpoints}");
        assert!(upstream.pick(LEAST, &[], now).is_some());
    }
    // An ejected endpoint is better than none, and better than one on its way out.
    let upstream = least(1..=2);
    set(&upstream, &[&ready(1..=2), &[endpoint(3, false, true)]]);
    assert!((0..3).any(|_| fail(&upstream, 1, now)));
    assert_eq!(upstream.pick(LEAST, &[address(2)], now).unwrap().address(), address(1));
}

#[test]
fn a_census_counts_each_endpoint_once() {
    let slice = [ready(1..=4), vec![endpoint(5, false, true), endpoint(6, false, false)]].concat();
    let (upstream, now) = (upstream(&[&slice]), Instant::now());
    let census = |upstream: &Upstream| upstream.census(now);
    let whole = Census { ready: 4, ejected: 0, terminating: 1, waiting: 1 };
    assert_eq!(census(&upstream), whole);
    assert!((0..3).any(|_| fail(&upstream, 1, now)));
    let less = Census { ready: 3, ejected: 1, ..whole };
    assert_eq!(census(&upstream), less);
    let sum: Census = [less, whole].into_iter().sum();
    assert_eq!(sum, Census { ready: 7, ejected: 1, terminating: 2, waiting: 2 });
}

#[test]
fn weights_are_kept_and_zero_takes_nothing() {
    let now = Instant::now();
    let backend = |port, weight| Weighted { upstream: least([port]), weight };
    let backends = [backend(1, 3), backend(2, 0), backend(3, 1)];
    let picks: Vec<_> = (0..8_000).filter_map(|_| choose(&backends, LEAST, &[], now)).collect();
    let counts = count(&picks);
    // 6,000 expected with a standard deviation of 39.
    assert!((5_750..6_250).contains(&counts[&1]), "{counts:?}");
    assert_eq!((counts.get(&2), counts[&1] + counts[&3]), (None, 8_000));
    // A retry goes to any of the others.
    assert_eq!(choose(&backends, LEAST, &[address(1)], now).unwrap().address(), address(3));
    assert!(choose(&backends, LEAST, &[address(1), address(3)], now).is_none());
    assert!(choose(&backends[1..2], LEAST, &[], now).is_none());
    assert!(choose(&[], LEAST, &[], now).is_none());
}

#[test]
fn many_threads_lose_no_count() {
    let upstream = least(1..=3);
    let held: Vec<Picked> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let now = Instant::now();
                    (0..3_000).filter_map(|_| upstream.pick(LEAST, &[], now)).step_by(2).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let in_flight: u32 =
        upstream.members.load().ready.iter().map(|ranked| ranked.endpoint().in_flight()).sum();
    assert_eq!((held.len(), in_flight), (6_000, 6_000));
    drop(held);
    assert!(upstream.members.load().ready.iter().all(|ranked| ranked.endpoint().in_flight() == 0));
}
