//! Properties of tables: a lookup equals a linear one, and a build on top of another equals one from scratch.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use snapshot::{
    Condition, Conditions, Host, HostPattern, Key, PathMatch, RouteId, Section, Slice, Snapshot, ValueMatch,
};

use super::{build, empty, put_slice, route, upstream_id};
use crate::head::{Head, RequestParser};
use crate::table::{Action, Route, Table};

fn a_path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![Just(""), Just("a"), Just("b"), Just("ab")];
    proptest::collection::vec(segment, 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn a_match() -> impl Strategy<Value = PathMatch> {
    (any::<bool>(), a_path()).prop_map(|(exact, path)| {
        let prefix = path.trim_end_matches('/');
        match (exact, prefix.is_empty()) {
            (true, _) => PathMatch::Exact(path),
            (false, true) => PathMatch::Prefix("/".to_owned()),
            (false, false) => PathMatch::Prefix(prefix.to_owned()),
        }
    })
}

fn a_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        "(x|y|a\\.x|b\\.a\\.x)".prop_map(HostPattern::Exact),
        "(x|y|a\\.x)".prop_map(HostPattern::Wildcard),
        Just(HostPattern::Any),
    ]
}

fn a_value() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just("a"), Just("ab"), Just("a, b"), Just("b")]
}

fn a_condition() -> impl Strategy<Value = Condition> {
    ("[xy]", a_value(), any::<bool>()).prop_map(|(name, value, exact)| {
        let value = value.to_owned();
        Condition { name, value: if exact { ValueMatch::Exact(value) } else { ValueMatch::Prefix(value) } }
    })
}

/// Mostly few, so that some requests fulfil them.
fn some_conditions() -> impl Strategy<Value = Conditions> {
    let conditions = || proptest::collection::vec(a_condition(), 0..2);
    let subprotocols = prop_oneof![2 => Just(vec![]), 1 => proptest::collection::vec("[st]", 1..3)];
    prop_oneof![
        1 => Just(Conditions::default()),
        2 => (conditions(), conditions(), subprotocols)
            .prop_map(|(headers, query, subprotocols)| Conditions { headers, query, subprotocols }),
    ]
}

/// What a route is told by.
#[derive(Clone, Debug)]
struct Drawn {
    path: PathMatch,
    conditions: Conditions,
    services: Vec<u8>,
}

fn a_route() -> impl Strategy<Value = Drawn> {
    (a_match(), some_conditions(), proptest::collection::vec(0..4u8, 1..3))
        .prop_map(|(path, conditions, services)| Drawn { path, conditions, services })
}

/// Names, paths and services come from so few that they meet.
fn some_hosts() -> impl Strategy<Value = BTreeMap<HostPattern, Vec<Drawn>>> {
    proptest::collection::btree_map(a_pattern(), proptest::collection::vec(a_route(), 0..12), 0..6)
}

fn snapshot_of(hosts: &BTreeMap<HostPattern, Vec<Drawn>>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (pattern, routes) in hosts {
        let routes = routes.iter().enumerate().map(|(at, drawn)| {
            let services: Vec<_> = drawn.services.iter().map(|service| format!("s{service}")).collect();
            let services: Vec<_> = services.iter().map(String::as_str).collect();
            let conditions = drawn.conditions.clone();
            let route = route(&format!("{pattern} {at}"), drawn.path.clone(), &services);
            snapshot::Route { conditions, ..route }
        });
        let section = Section::Host(Host { tls: None, routes: routes.collect() });
        snapshot.insert(Key::Host(pattern.clone()), &section);
    }
    snapshot
}

/// A request as somebody means it, before it is written down.
#[derive(Clone, Debug)]
struct Asked {
    host: String,
    path: String,
    fields: Vec<(String, &'static str)>,
    /// With whether they are escaped.
    query: Vec<(String, &'static str, bool)>,
    subprotocols: Vec<String>,
}

impl Asked {
    fn head(&self) -> Head {
        let field = |(name, value): &(String, &str)| format!("{}: {value}\r\n", name.to_uppercase());
        let escaped =
            |value: &str| value.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
        let parameter = |(name, value, escape): &(String, &str, bool)| match escape {
            true => format!("&{}={}", escaped(name), escaped(value)),
            false => format!("&{name}={}", value.replace(' ', "+")),
        };
        let offer = match &self.subprotocols[..] {
            [] => String::new(),
            offered => format!("Sec-WebSocket-Protocol: {}\r\n", offered.join(", ")),
        };
        let request = format!(
            "GET {}?{} HTTP/1.1\r\nHost: {}\r\n{}{offer}\r\n",
            self.path,
            self.query.iter().map(parameter).collect::<String>(),
            self.host,
            self.fields.iter().map(field).collect::<String>(),
        );
        RequestParser::default().parse(request.as_bytes()).unwrap().unwrap().0
    }

    fn fulfils(&self, conditions: &Conditions) -> bool {
        let is = |value: &str, wanted: &ValueMatch| match wanted {
            ValueMatch::Exact(text) => value == text,
            ValueMatch::Prefix(text) => value.starts_with(text),
        };
        let headers = conditions.headers.iter().all(|wanted| {
            let lines: Vec<_> = self
                .fields
                .iter()
                .filter(|(name, _)| *name == wanted.name)
                .map(|(_, value)| *value)
                .collect();
            !lines.is_empty() && is(&lines.join(", "), &wanted.value)
        });
        let query = conditions.query.iter().all(|wanted| {
            let first = self.query.iter().find(|(name, ..)| *name == wanted.name);
            first.is_some_and(|(_, value, _)| is(value, &wanted.value))
        });
        let offered = conditions.subprotocols.iter().any(|name| self.subprotocols.contains(name));
        headers && query && (offered || conditions.subprotocols.is_empty())
    }
}

fn a_request() -> impl Strategy<Value = Asked> {
    let fields = proptest::collection::vec(("[xyz]", a_value()), 0..3);
    let query = proptest::collection::vec(("[xyz]", a_value(), any::<bool>()), 0..3);
    let subprotocols = proptest::collection::vec("[stu]", 0..3);
    (a_host(), a_path(), fields, query, subprotocols).prop_map(|(host, path, fields, query, subprotocols)| {
        Asked { host, path, fields, query, subprotocols }
    })
}

/// What a lookup means, in linear time.
fn oracle(snapshot: &Snapshot, asked: &Asked) -> Option<RouteId> {
    let (host, path) = (&asked.host, &asked.path);
    let (_, suffix) = host.split_once('.').unwrap_or(("", ""));
    let candidates =
        [HostPattern::Exact(host.to_owned()), HostPattern::Wildcard(suffix.to_owned()), HostPattern::Any];
    let section = candidates.into_iter().find_map(|pattern| snapshot.section(&Key::Host(pattern)))?;
    let Ok(Section::Host(Host { routes, .. })) = section else { panic!("{section:?}") };
    let mut best: Option<(usize, RouteId)> = None;
    for route in routes {
        let length = match &route.path {
            PathMatch::Exact(exact) if exact == path => usize::MAX,
            PathMatch::Prefix(prefix) if prefix == "/" => 1,
            PathMatch::Prefix(prefix)
                if path
                    .strip_prefix(&**prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) =>
            {
                prefix.len()
            }
            _ => continue,
        };
        let longer = best.as_ref().is_none_or(|(longest, _)| length > *longest);
        if longer && asked.fulfils(&route.conditions) {
            best = Some((length, route.id));
        }
    }
    best.map(|(_, id)| id)
}

fn a_host() -> impl Strategy<Value = String> {
    "(x|y|z|a\\.x|b\\.x|b\\.a\\.x|c\\.b\\.a\\.x)"
}

proptest! {
    #[test]
    fn a_lookup_equals_the_linear_one(
        hosts in some_hosts(),
        requests in proptest::collection::vec(a_request(), 40),
    ) {
        let snapshot = snapshot_of(&hosts);
        let (table, quarantined) = build(&snapshot, &empty());
        prop_assert!(quarantined.is_empty());
        for asked in requests {
            let found = table.select(&asked.head()).map(|route| (*route.id).clone());
            prop_assert_eq!(found, oracle(&snapshot, &asked), "{:?}", asked);
        }
    }
}

// ---- incremental

/// One step: sections to put (good or undecodable) and to take away.
#[derive(Clone, Debug)]
enum Step {
    Host(HostPattern, Vec<Drawn>),
    Slice(u8, u8, Vec<u16>),
    Unreadable(Key, usize),
    Gone(Key),
}

impl Step {
    fn carry_out(self, snapshot: &mut Snapshot) {
        match self {
            Self::Host(pattern, routes) => {
                let one = snapshot_of(&BTreeMap::from([(pattern.clone(), routes)]));
                let key = Key::Host(pattern);
                snapshot.insert_encoded(key.clone(), one.encoded(&key).unwrap().clone());
            }
            Self::Slice(service, slice, ports) => {
                put_slice(snapshot, &format!("s{service}"), &slice.to_string(), &ports);
            }
            Self::Unreadable(key, length) => snapshot.insert_encoded(key, vec![0xFF; length].into()),
            Self::Gone(key) => snapshot.remove(&key),
        }
    }
}

fn a_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        a_pattern().prop_map(Key::Host),
        (0..4u8, 0..3u8).prop_map(|(service, slice)| {
            Key::Endpoints(upstream_id(&format!("s{service}")), Slice(slice.to_string()))
        }),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    let routes = proptest::collection::vec(a_route(), 0..4);
    prop_oneof![
        3 => (a_pattern(), routes).prop_map(|(pattern, routes)| Step::Host(pattern, routes)),
        3 => (0..4u8, 0..3u8, proptest::collection::btree_set(1..5u16, 0..4))
            .prop_map(|(service, slice, ports)| Step::Slice(service, slice, ports.into_iter().collect())),
        2 => (a_key(), 1..4usize).prop_map(|(key, length)| Step::Unreadable(key, length)),
        2 => a_key().prop_map(Step::Gone),
    ]
}

fn described(route: &Arc<Route>) -> String {
    match &route.action {
        Action::Broken(_) => format!("{} broken", route.id),
        Action::Forward(forward) => {
            let backends: Vec<_> = forward
                .backends()
                .iter()
                .map(|backend| (backend.upstream.id().to_string(), backend.upstream.summary()))
                .collect();
            format!("{} {backends:?}", route.id)
        }
    }
}

/// Everything that can be asked of a table, as text.
fn answers(table: &Table) -> Vec<String> {
    let mut answers = Vec::new();
    for host in ["x", "y", "z", "a.x", "b.x", "b.a.x", "c.b.a.x"] {
        for path in ["/", "/a", "/a/", "/a/b", "/ab", "//a", "/b/a/ab", "/a/b/"] {
            for query in ["", "?x=a", "?y=ab&x=b"] {
                let answer = table.select(&Head::get(host, &format!("{path}{query}"))).map(described);
                answers.push(format!("{host}{path}{query}: {answer:?}"));
            }
        }
    }
    answers.push(format!("{} hosts, upstreams {:?}", table.hosts(), table.upstream_references()));
    answers
}

proptest! {
    #[test]
    fn built_step_by_step_it_equals_one_built_from_the_good_forms(
        steps in proptest::collection::vec(proptest::collection::vec(a_step(), 1..4), 1..8),
    ) {
        let (mut received, mut good, mut table) = (Snapshot::default(), Snapshot::default(), empty());
        for generation in steps {
            for step in generation {
                step.carry_out(&mut received);
            }
            for (key, section) in received.sections() {
                if section.is_ok() {
                    good.insert_encoded(key.clone(), received.encoded(key).unwrap().clone());
                }
            }
            let gone: Vec<_> = good.iter().map(|(key, _)| key.clone()).collect();
            for key in gone.iter().filter(|key| received.encoded(key).is_none()) {
                good.remove(key);
            }
            let (next, quarantined) = build(&received, &table);
            let unreadable: Vec<_> =
                received.sections().filter(|(_, section)| section.is_err()).map(|(key, _)| key).collect();
            prop_assert_eq!(quarantined.iter().map(|section| &section.key).collect::<Vec<_>>(), unreadable);
            prop_assert_eq!(next.served(), good.clone());
            prop_assert_eq!(next.digest(), received.digest());
            // What never had a good form is closed, here as there.
            let mut closed = good.clone();
            for section in quarantined.iter().filter(|section| good.encoded(&section.key).is_none()) {
                if matches!(section.key, Key::Host(_)) {
                    closed.insert_encoded(section.key.clone(), Bytes::from_static(&[0xFF; 3]));
                }
            }
            prop_assert_eq!(answers(&next), answers(&build(&closed, &empty()).0));
            table = next;
        }
    }
}
