//! What it costs to pick an endpoint, in nanoseconds: a table for each way and for few, many and very many endpoints.
//!
//!     cargo run --release -p proxy --example picks

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

use proxy::head::RequestParser;
use proxy::table::{Action, Table};
use proxy::upstream::{Way, Weighted, choose};
use snapshot::frame::Generation;
use snapshot::{
    Endpoint, Endpoints, Host, HostPattern, Key, ObjectRef, PathMatch, Ring, Route, RouteId, Section, Slice,
    Snapshot, UpstreamId, WeightedUpstream,
};
use tokio::time::Instant;

/// Endpoints looked at in one measurement.
const LOOKS: u32 = 20_000_000;

fn main() {
    println!("{:>10} {:>18} {:>18} {:>18}", "endpoints", "least connections", "round robin", "hash");
    for count in [3, 100, 5_000] {
        let backends = backends(count);
        let picks = LOOKS / count;
        let cost = |way: &dyn Fn(u64) -> Way| {
            let began = Instant::now();
            for pick in 0..picks {
                black_box(choose(&backends, way(u64::from(pick)), &[], began));
            }
            format!("{:.0} ns", began.elapsed().as_nanos() as f64 / f64::from(picks))
        };
        let costs = [
            cost(&|_| Way::LeastConnections),
            cost(&|_| Way::RoundRobin),
            cost(&|pick| Way::Hash(pick.wrapping_mul(0x9E37_79B9_7F4A_7C15), Ring::Address)),
        ];
        println!("{count:>10} {:>18} {:>18} {:>18}", costs[0], costs[1], costs[2]);
    }
}

/// One backend with so many endpoints, as a table has it.
fn backends(endpoints: u32) -> Vec<Weighted> {
    let upstream = UpstreamId::endpoints("n", "s", "80");
    let address = |number: u32| (Ipv4Addr::from(0x0A00_0000 + number), 8080).into();
    let endpoint = |number| Endpoint { address: address(number), ready: true, terminating: false, pod: None };
    let endpoints = Endpoints { endpoints: (0..endpoints).map(endpoint).collect() };
    let owner = ObjectRef { kind: "Ingress".into(), namespace: "n".into(), name: "i".into() };
    let route = Route::new(
        RouteId { owner, rule: "r".into(), matched: "/".into() },
        PathMatch::Prefix("/".into()),
        snapshot::Action::Forward(vec![WeightedUpstream { upstream: upstream.clone(), weight: 1 }].into()),
    );
    let mut sections = Snapshot::default();
    sections.insert(Key::Endpoints(upstream, Slice("s-1".into())), &Section::Endpoints(endpoints));
    sections.insert(Key::Host(HostPattern::Any), &Section::Host(Host { tls: None, routes: vec![route] }));
    let empty = Table::empty(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let generation = Generation { epoch: 1, number: 1 };
    let (table, _) = Table::build(generation, sections, &empty, SystemTime::now());
    table.install();
    let head = RequestParser::default().parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, _) = head.ok().flatten().expect("it is whole");
    match &table.select(&head, [127, 0, 0, 1].into()).expect("the route takes everything").action {
        Action::Forward(forward) => forward.backends().to_vec(),
        Action::Redirect(to) => unreachable!("{to:?}"),
        Action::Broken(reason) => unreachable!("{reason}"),
    }
}
