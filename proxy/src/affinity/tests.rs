//! What a request says of where it belongs, and what its answer says of that.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::SystemTime;

use snapshot::frame::Generation;
use snapshot::{
    AffinityKey, Canary, Endpoint, Endpoints, Host, HostPattern, Key, ObjectRef, PathMatch, PodHash, RouteId,
    Section, Slice, Snapshot, UpstreamId, WeightedUpstream,
};

use super::*;
use crate::head::RequestParser;
use crate::table::{Route, Table};

const CLIENT: &str = "192.0.2.1";

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn ready(port: u16) -> Endpoint {
    Endpoint {
        address: at(port),
        ready: true,
        terminating: false,
        pod: Some(PodHash::of(&format!("chat-{port}"))),
    }
}

fn cookie(on_failure: OnFailure) -> AffinityCookie {
    AffinityCookie {
        name: "longhaul".into(),
        max_age: None,
        path: "/".into(),
        domain: None,
        same_site: None,
        secure: None,
        on_failure,
        holds: Holds::Endpoint,
    }
}

fn by_cookie(on_failure: OnFailure) -> snapshot::Affinity {
    snapshot::Affinity { cookie: Some(cookie(on_failure)), engine_io: false }
}

fn weighted(service: &str) -> Vec<WeightedUpstream> {
    vec![WeightedUpstream { upstream: UpstreamId::endpoints("n", service, "80"), weight: 1 }]
}

/// A proxy with one route to the Service `chat`.
struct Proxy {
    table: Table,
    snapshot: Snapshot,
}

impl Proxy {
    fn new(endpoints: &[Endpoint], change: impl FnOnce(&mut snapshot::Route)) -> Self {
        let owner = ObjectRef { kind: "Ingress".into(), namespace: "n".into(), name: "i".into() };
        let id = RouteId { owner, rule: "r".into(), matched: "/".into() };
        let to = snapshot::Action::Forward(weighted("chat").into());
        let mut route = snapshot::Route::new(id, PathMatch::Prefix("/".into()), to);
        change(&mut route);
        let mut snapshot = Snapshot::default();
        snapshot.insert(Key::Host(HostPattern::Any), &Section::Host(Host { tls: None, routes: vec![route] }));
        snapshot.insert(Key::AffinityKey, &Section::AffinityKey(AffinityKey::new(b"one key")));
        let table = Table::empty(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let mut proxy = Self { table, snapshot };
        proxy.serve("chat", endpoints);
        proxy
    }

    /// The next table, with these endpoints of a Service.
    fn serve(&mut self, service: &str, endpoints: &[Endpoint]) {
        let key = Key::Endpoints(UpstreamId::endpoints("n", service, "80"), Slice("s".into()));
        let endpoints = Endpoints { endpoints: endpoints.to_vec() };
        self.change(|snapshot| snapshot.insert(key, &Section::Endpoints(endpoints)));
    }

    fn change(&mut self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot);
        let generation = Generation { epoch: 1, number: self.table.generation().number + 1 };
        let (table, bad) =
            Table::build(generation, self.snapshot.clone(), &self.table, SystemTime::UNIX_EPOCH);
        assert!(bad.is_empty(), "{bad:?}");
        table.install();
        self.table = table;
    }

    fn route(&self) -> &Route {
        self.table.select(&Head::get("a", "/"), CLIENT.parse().unwrap()).unwrap()
    }

    /// The port of the endpoint that a request goes to, and the cookie that its answer sets.
    fn ask(&self, target: &str, cookie: &str) -> (u16, Option<String>) {
        self.ask_without(target, cookie, &[])
    }

    /// The same when these cannot be reached.
    fn ask_without(&self, target: &str, cookie: &str, tried: &[SocketAddr]) -> (u16, Option<String>) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
        let (head, _) = RequestParser::default().parse(request.as_bytes()).unwrap().unwrap();
        let (route, now) = (self.route(), Instant::now());
        let choice = route.choice(&head, CLIENT.parse().unwrap(), now).unwrap();
        let picked = choice.pick(tried, now).unwrap();
        let affinity = route.affinity.as_ref().unwrap();
        (picked.address().port(), affinity.set_cookie(&choice, &picked, "https"))
    }

    /// A cookie of the endpoint at this port.
    fn cookie_of(&self, port: u16) -> String {
        let set = (0..1000).find_map(|_| {
            let (served, set) = self.ask("/", "");
            set.filter(|_| served == port)
        });
        set.unwrap().split(';').next().unwrap().to_owned()
    }
}

#[test]
fn a_cookie_names_its_endpoint_on_every_replica_and_after_every_change() {
    let all = [1, 2, 3].map(ready);
    let mut one = Proxy::new(&all, |route| route.affinity = Some(by_cookie(OnFailure::Change)));
    let cookie = one.cookie_of(2);
    assert!(!cookie.contains("10.0.0.1"));
    let other =
        Proxy::new(&[2, 3, 4].map(ready), |route| route.affinity = Some(by_cookie(OnFailure::Change)));
    for _ in 0..20 {
        assert_eq!(one.ask("/", &cookie), (2, None), "and nothing is set anew");
        assert_eq!(other.ask("/", &format!("a=b; {cookie}")), (2, None));
    }
    one.serve("chat", &[1, 2, 3, 4, 5].map(ready));
    assert_eq!(one.ask("/", &cookie), (2, None), "whoever comes beside it");
    one.serve("chat", &[ready(1), Endpoint { ready: false, terminating: true, ..ready(2) }]);
    let (served, set) = one.ask("/", &cookie);
    assert_eq!(served, 1, "one on its way out is left");
    assert!(set.is_some_and(|set| !set.starts_with(&cookie)));
}

#[test]
fn what_is_no_cookie_of_ours_is_a_new_pick_and_a_new_cookie() {
    let proxy = Proxy::new(&[1, 2].map(ready), |route| route.affinity = Some(by_cookie(OnFailure::Change)));
    let theirs = "1700000000.1.2.3|0123456789abcdef0123456789abcdef";
    let mut elsewhere =
        Proxy::new(&[1, 2].map(ready), |route| route.affinity = Some(by_cookie(OnFailure::Change)));
    elsewhere.change(|snapshot| {
        snapshot.insert(Key::AffinityKey, &Section::AffinityKey(AffinityKey::new(b"another key")));
    });
    let sealed_elsewhere = elsewhere.cookie_of(1);
    for foreign in ["", "longhaul=", &format!("longhaul={theirs}"), "longhaul=é", &sealed_elsewhere] {
        let served: BTreeSet<_> = (0..50)
            .map(|_| {
                let (served, set) = proxy.ask("/", foreign);
                assert!(set.unwrap().starts_with("longhaul="), "{foreign}");
                served
            })
            .collect();
        assert_eq!(served.len(), 2, "{foreign}");
    }
    // Of several, the one that is ours counts.
    let ours = proxy.cookie_of(1);
    assert_eq!(proxy.ask("/", &format!("longhaul={theirs}; {sealed_elsewhere}; {ours}")), (1, None));
}

#[test]
fn a_cookie_has_the_attributes_that_are_asked_for() {
    let plain = line(&cookie(OnFailure::Change), "V", true);
    assert_eq!(plain, "longhaul=V; Path=/; Secure; HttpOnly");
    let all = AffinityCookie {
        max_age: Some(3600),
        path: "/chat".into(),
        domain: Some("example.com".into()),
        same_site: Some(SameSite::None),
        ..cookie(OnFailure::Change)
    };
    assert_eq!(
        line(&all, "V", false),
        "longhaul=V; Path=/chat; Domain=example.com; Max-Age=3600; HttpOnly; SameSite=None"
    );
    let secure = |secure, scheme| {
        let proxy = Proxy::new(&[ready(1)], |route| {
            let cookie = AffinityCookie { secure, ..cookie(OnFailure::Change) };
            route.affinity = Some(snapshot::Affinity { cookie: Some(cookie), engine_io: false });
        });
        let (route, now) = (proxy.route(), Instant::now());
        let choice = route.choice(&Head::get("a", "/"), CLIENT.parse().unwrap(), now).unwrap();
        let set =
            route.affinity.as_ref().unwrap().set_cookie(&choice, &choice.pick(&[], now).unwrap(), scheme);
        set.unwrap().contains("; Secure")
    };
    assert_eq!((secure(None, "https"), secure(None, "http")), (true, false));
    assert_eq!((secure(Some(false), "https"), secure(Some(true), "http")), (false, true));
}

#[test]
fn an_endpoint_that_cannot_be_reached_costs_its_cookie_only_where_that_is_asked_for() {
    let all = [1, 2, 3, 4, 5].map(ready);
    let change = Proxy::new(&all, |route| route.affinity = Some(by_cookie(OnFailure::Change)));
    let keep = Proxy::new(&all, |route| route.affinity = Some(by_cookie(OnFailure::Keep)));
    let cookie = change.cookie_of(3);
    let (served, set) = change.ask_without("/", &cookie, &[at(3)]);
    assert!(served != 3 && set.is_some_and(|set| !set.starts_with(&cookie)));
    let stood_in: BTreeSet<_> = (0..20).map(|_| keep.ask_without("/", &cookie, &[at(3)])).collect();
    assert_eq!(stood_in.len(), 1, "the same stands in for everybody: {stood_in:?}");
    assert!(stood_in.iter().all(|(served, set)| *served != 3 && set.is_none()));
}

#[test]
fn a_cookie_that_holds_a_key_moves_to_endpoints_that_come_and_to_no_others() {
    let by_key = |on_failure| {
        move |route: &mut snapshot::Route| {
            let cookie = AffinityCookie { holds: Holds::Key, ..cookie(on_failure) };
            route.affinity = Some(snapshot::Affinity { cookie: Some(cookie), engine_io: false });
        }
    };
    let two = [1, 2].map(ready);
    let mut one = Proxy::new(&two, by_key(OnFailure::Keep));
    let other = Proxy::new(&two, by_key(OnFailure::Change));
    let clients: Vec<(u16, String)> = (0..400)
        .map(|_| {
            let (served, set) = one.ask("/", "");
            (served, set.unwrap().split(';').next().unwrap().to_owned())
        })
        .collect();
    let at_one = clients.iter().filter(|(served, _)| *served == 1).count();
    assert!((120..280).contains(&at_one), "{at_one}");
    for (served, cookie) in &clients {
        assert_eq!(one.ask("/", cookie), (*served, None));
        assert_eq!(other.ask("/", cookie), (*served, None));
    }
    let (served, cookie) = &clients[0];
    let lost = [at(*served)];
    assert_eq!(one.ask_without("/", cookie, &lost), (3 - served, None));
    assert!(other.ask_without("/", cookie, &lost).1.is_some());
    one.serve("chat", &[1, 2, 3, 4].map(ready));
    let moved = clients.iter().filter(|(served, cookie)| {
        let (now, set) = one.ask("/", cookie);
        assert!(set.is_none() && (now == *served || now > 2));
        now != *served
    });
    let moved = moved.count();
    assert!((120..280).contains(&moved), "{moved} of 400 moved where half of the endpoints are new");
}

#[test]
fn pods_that_come_back_under_their_name_have_their_clients_again() {
    let moved = |port: u16, pod: &str| Endpoint { pod: Some(PodHash::of(pod)), ..ready(port) };
    let ring = |route: &mut snapshot::Route| {
        route.ring = Ring::PodName;
        route.affinity = Some(by_cookie(OnFailure::Change));
    };
    let mut proxy = Proxy::new(&[moved(1, "chat-0"), moved(2, "chat-1")], ring);
    let cookie = proxy.cookie_of(2);
    proxy.serve("chat", &[moved(1, "chat-0"), moved(9, "chat-1")]);
    assert_eq!(proxy.ask("/", &cookie), (9, None));
    proxy.serve("chat", &[moved(1, "chat-0"), moved(9, "chat-2")]);
    assert!(proxy.ask("/", &cookie).1.is_some());
}

#[test]
fn without_a_key_no_cookie_is_set_and_clients_go_by_their_address() {
    let mut proxy =
        Proxy::new(&[1, 2, 3].map(ready), |route| route.affinity = Some(by_cookie(OnFailure::Change)));
    let cookie = proxy.cookie_of(1);
    let unknown = Section::AffinityKey(AffinityKey::Unknown);
    proxy.change(|snapshot| snapshot.insert(Key::AffinityKey, &unknown));
    assert_eq!(proxy.ask("/", &cookie), (1, None), "what it had stays");
    proxy.change(|snapshot| snapshot.remove(&Key::AffinityKey));
    let served: BTreeSet<_> = (0..50).map(|_| proxy.ask("/", &cookie)).collect();
    assert_eq!(served.len(), 1, "{served:?}");
    assert!(served.iter().all(|(_, set)| set.is_none()));
}

#[test]
fn a_session_stays_where_it_was_learned_and_others_go_by_the_address() {
    let engine_io = |route: &mut snapshot::Route| {
        route.affinity = Some(snapshot::Affinity { cookie: None, engine_io: true });
    };
    let mut one = Proxy::new(&[1, 2, 3].map(ready), engine_io);
    let other = Proxy::new(&[1, 2, 3].map(ready), engine_io);
    let handshake = "/socket.io/?EIO=4&transport=polling";
    let (home, set) = one.ask(handshake, "");
    assert_eq!(set, None);
    for _ in 0..20 {
        assert_eq!(other.ask(handshake, "").0, home, "several proxies agree");
        assert_eq!(other.ask(&format!("{handshake}&sid=never-learned"), "").0, home);
    }
    let (route, now) = (one.route(), Instant::now());
    let elsewhere = at(if home == 1 { 2 } else { 1 });
    let choice = route.choice(&Head::get("a", handshake), CLIENT.parse().unwrap(), now).unwrap();
    let picked = choice.pick(&[at(home), at(3)], now).unwrap();
    assert_eq!(picked.address(), elsewhere);
    picked.learn(b"abc", now);
    drop(picked);
    let session = "/socket.io/?EIO=4&transport=websocket&sid=abc";
    assert_eq!(one.ask(session, "").0, elsewhere.port());
    // As long as it serves, be it on its way out.
    let leaving = Endpoint { ready: false, terminating: true, ..ready(elsewhere.port()) };
    let mut rest = vec![leaving, ready(home), ready(3)];
    rest.sort();
    one.serve("chat", &rest);
    assert_eq!(one.ask(session, "").0, elsewhere.port());
    one.serve("chat", &[ready(home)]);
    assert_eq!(one.ask(session, "").0, home);
}

#[test]
fn only_the_beginning_of_a_session_is_learned_from() {
    let affinity = |engine_io| {
        Affinity::new(snapshot::Affinity { cookie: None, engine_io }, Ring::Address, SealPlace::default())
    };
    let learns = |target: &str| affinity(true).learns(&Head::get("a", target));
    assert!(learns("/socket.io/?EIO=4&transport=polling&t=x"));
    assert!(!affinity(false).learns(&Head::get("a", "/socket.io/?EIO=4&transport=polling")));
    for other in ["/", "/?transport=websocket", "/?transport=polling&sid=a"] {
        assert!(!learns(other), "{other}");
    }
}

/// A canary that nobody new gets to.
fn with_canary(route: &mut snapshot::Route, weight: u32, sticky: bool) {
    let snapshot::Action::Forward(forward) = &mut route.action else { unreachable!("it forwards") };
    let backends = weighted("canary");
    forward.canary = Some(Canary { header: None, cookie: None, weight, total: 100, backends, sticky });
    route.affinity = Some(by_cookie(OnFailure::Change));
}

#[test]
fn clients_stay_with_the_canary_or_without_it_unless_that_is_not_wanted() {
    let proxy = |weight, sticky| {
        let mut proxy = Proxy::new(&[1, 2].map(ready), |route| with_canary(route, weight, sticky));
        proxy.serve("canary", &[8, 9].map(ready));
        proxy
    };
    let (all_in, all_out) = (proxy(100, true), proxy(0, true));
    let (inside, outside) = (all_in.cookie_of(9), all_out.cookie_of(2));
    assert_eq!(all_out.ask("/", &inside), (9, None));
    assert_eq!(all_in.ask("/", &outside), (2, None));
    let (served, set) = all_out.ask_without("/", &inside, &[at(9)]);
    assert!(served == 8 && set.is_some(), "another of the canary comes before those without it");
    let (all_in, all_out) = (proxy(100, false), proxy(0, false));
    assert!(all_out.ask("/", &inside).0 <= 2);
    assert!(all_in.ask("/", &outside).0 >= 8);
    assert_eq!(all_in.ask("/", &inside), (9, None), "where it is decided so, the cookie still says to which");
}

#[test]
fn settings_that_would_split_a_field_are_refused() {
    assert_eq!(check(&by_cookie(OnFailure::Keep)), Ok(()));
    let bad = [
        AffinityCookie { name: "a b".into(), ..cookie(OnFailure::Keep) },
        AffinityCookie { path: "/a;b".into(), ..cookie(OnFailure::Keep) },
        AffinityCookie { path: String::new(), ..cookie(OnFailure::Keep) },
        AffinityCookie { domain: Some("a\r\nb".into()), ..cookie(OnFailure::Keep) },
    ];
    for cookie in bad {
        assert!(
            check(&snapshot::Affinity { cookie: Some(cookie.clone()), engine_io: false }).is_err(),
            "{cookie:?}"
        );
    }
}
