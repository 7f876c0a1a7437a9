//! Explanations of small worlds.

use std::net::Ipv4Addr;

use super::answer::{Outcome, Verdict};
use super::backends::{Role, State};
use super::routes::By;
use super::*;
use crate::source::once;

/// Hosts that overlap, in two objects, and one of another class.
const OBJECTS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - host: shop.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: ws}}}}
      - {path: /api, pathType: Prefix, backend: {service: {name: api, port: {name: ws}}}}
      - {path: /api/one, pathType: Exact, backend: {service: {name: web, port: {name: ws}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: wild}
spec:
  rules:
  - host: "*.test"
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: ws}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: young, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  rules:
  - host: shop.test
    http: {paths: [{path: /api, pathType: Prefix, backend: {service: {name: web, port: {name: ws}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: theirs}
spec:
  ingressClassName: nginx
  rules:
  - host: shop.test
    http: {paths: [{path: /theirs, pathType: Prefix, backend: {service: {name: web, port: {name: ws}}}}]}
---
apiVersion: longhaul.dev/v1alpha1
kind: WsRoute
metadata: {name: live}
spec:
  hosts: [shop.test]
  rules:
  - name: blue
    matches: [{path: {type: Prefix, value: /api}, headers: [{name: X-Tenant, value: blue}]}]
    backends: [{service: web, port: ws, weight: 3}, {service: leaving, port: ws, weight: 1}]
---
apiVersion: longhaul.dev/v1alpha1
kind: WsRoute
metadata: {name: bad}
spec:
  hosts: [shop.test]
  rules: [{name: a, backends: [{service: web, port: ws}], policy: {timeouts: {idle: soon}}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {longhaul.dev/addresses: "10.0.0.1:80, 10.0.0.2:80"}}
spec: {ports: [{name: ws, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {ports: [{name: ws, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: leaving}
spec: {ports: [{name: ws, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: leaving-1, labels: {kubernetes.io/service-name: leaving}}
addressType: IPv4
ports: [{name: ws, port: 8080}]
endpoints:
- {addresses: ["10.0.0.3"], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: ["10.0.0.4"], conditions: {ready: false}}
"#;

fn question(host: &str, target: &str) -> Question {
    Question {
        method: "GET".into(),
        host: host.into(),
        target: target.into(),
        fields: Vec::new(),
        client: Ipv4Addr::new(192, 0, 2, 1).into(),
        scheme: Scheme::Http,
        kind: Kind::Plain,
    }
}

fn world() -> World {
    let settings = Settings { built_in_class: Some("longhaul".into()), ..Settings::default() };
    World::of(once::of_text("a.yaml", OBJECTS.as_bytes().to_vec()), settings)
}

fn explained(question: Question) -> Explanation {
    explain(&world(), question).unwrap()
}

fn lost(explanation: &Explanation, object: &str) -> Vec<By> {
    let mut lost: Vec<_> =
        explanation.lost.iter().filter(|one| one.object == object).map(|one| one.by).collect();
    lost.sort();
    lost
}

#[test]
fn the_winner_and_each_loser_have_their_reasons() {
    let said = explained(question("shop.test", "/api/x"));
    let route = said.route.as_ref().unwrap();
    assert_eq!((&*route.object, &*route.matched), ("Ingress default/shop", "/api"), "{}", said.text());
    assert_eq!((&*route.field, route.place.as_deref()), ("spec.rules[0].http.paths[1]", Some("a.yaml:11")));
    assert_eq!(lost(&said, "Ingress default/shop"), [By::Precedence, By::Path]);
    assert_eq!(lost(&said, "WsRoute default/live"), [By::Condition]);
    assert_eq!(lost(&said, "Ingress default/young"), [By::Conflict]);
    assert_eq!(lost(&said, "Ingress default/theirs"), [By::Class]);
    assert_eq!(lost(&said, "Ingress default/wild"), [By::Host]);
    assert_eq!(
        (said.host.as_deref(), &said.passed_over[..]),
        (Some("shop.test"), &["*.test".to_owned()][..])
    );
    let conflict = said.lost.iter().find(|one| one.by == By::Conflict).unwrap();
    assert!(conflict.why.ends_with("is older than this one (2026-01-01T00:00:00Z)"), "{conflict:?}");
    // Nobody to send it to.
    assert_eq!((said.answer.outcome, said.answer.status), (Outcome::Refused, Some(503)));
    assert_eq!(said.checks.last().unwrap().result, Verdict::Decides);
}

#[test]
fn a_condition_that_holds_wins() {
    let fields = vec![("x-tenant".to_owned(), "blue".to_owned())];
    let said =
        explained(Question { fields, kind: Kind::Handshake, ..question("shop.test:8080", "/api?a=1") });
    assert_eq!(said.route.as_ref().unwrap().object, "WsRoute default/live", "{}", said.text());
    assert_eq!(said.answer.outcome, Outcome::Forwarded);
    let api = said.lost.iter().find(|one| one.by == By::Precedence).unwrap();
    assert!(api.why.contains("more conditions"), "{api:?}");
    let backends = &said.backends;
    assert_eq!((backends[0].share, backends[1].share, backends[0].role), (75.0, 25.0, Role::Backend));
    let states: Vec<_> = backends[1].endpoints.iter().map(|endpoint| endpoint.state).collect();
    assert_eq!(
        (&states[..], &backends[1].waiting[..]),
        (&[State::Terminating][..], &["10.0.0.4".to_owned()][..])
    );
}

#[test]
fn other_hosts_have_other_answers() {
    let wild = explained(question("other.test", "/"));
    assert_eq!(wild.route.unwrap().object, "Ingress default/wild");
    let nothing = explained(question("other.example", "/"));
    assert_eq!((nothing.answer.status, nothing.route), (Some(404), None));
    let tls = explained(Question { scheme: Scheme::Https, ..question("shop.test", "/") });
    assert_eq!(tls.answer.outcome, Outcome::NoConnection);
    assert!(explain(&world(), question("shop.test", "/../x")).is_err());
}

#[test]
fn an_object_that_was_refused_is_spoken_of() {
    let said = explained(question("shop.test", "/"));
    let remark = said.remarks.iter().find(|remark| remark.object == "WsRoute default/bad").unwrap();
    assert_eq!((&*remark.severity, &*remark.field), ("error", "spec.rules[0].policy.timeouts.idle"));
    assert!(said.text().contains("What is wrong with these objects"), "{}", said.text());
}

#[test]
fn an_explanation_travels_whole() {
    let said = explained(Question { kind: Kind::Handshake, ..question("shop.test", "/api/one") });
    assert_eq!(serde_json::from_str::<Explanation>(&said.json()).unwrap(), said);
}
