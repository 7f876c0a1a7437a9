//! Affinity: what keys say together, and that a WsRoute says the same.

use super::*;
use crate::policy::{AffinityPatch, Ring, SameSite};
use crate::wsroute::Policy;

fn policy(yaml: &str) -> (PolicyPatch, Vec<Diagnostic>) {
    let policy: Policy = serde_yaml::from_str(yaml).unwrap();
    policy.read(&ObjectRef::new("WsRoute", "default", "chat"), "spec.policy")
}

#[test]
fn a_wsroute_says_the_same_as_annotations() {
    for (annotations, yaml) in [
        (
            &[
                ("longhaul.dev/affinity-cookie", "route"),
                ("longhaul.dev/affinity-cookie-max-age", "90s"),
                ("longhaul.dev/affinity-cookie-path", "/chat"),
                ("longhaul.dev/affinity-cookie-same-site", "none"),
                ("longhaul.dev/affinity-cookie-secure", "true"),
                ("longhaul.dev/affinity-cookie-domain", "example.com"),
            ][..],
            "affinity: {cookie: {name: route, maxAge: 90s, path: /chat, sameSite: None, secure: true, domain: example.com}}",
        ),
        (&[("longhaul.dev/affinity-cookie", "off")], "affinity: {cookie: {enabled: false}}"),
        (
            &[("longhaul.dev/engine-io", "true"), ("longhaul.dev/hash-ring", "pod-name")],
            "{affinity: {engineIO: true}, loadBalancing: {ring: PodName}}",
        ),
        (
            &[("longhaul.dev/engine-io", "false"), ("longhaul.dev/hash-ring", "address")],
            "{affinity: {engineIO: false}, loadBalancing: {ring: Address}}",
        ),
    ] {
        let reading = read_all(annotations);
        assert_eq!(reading.diagnostics, []);
        assert_eq!((reading.patch, Vec::new()), policy(yaml), "{yaml}");
    }
}

#[test]
fn ingress_nginx_has_defaults_of_its_own_which_ours_win_over() {
    let read = |more: &[(&str, &str)]| {
        let reading = read_all(&[&[("nginx.ingress.kubernetes.io/affinity", "cookie")], more].concat());
        assert_eq!(reading.diagnostics, []);
        reading.patch.affinity
    };
    let theirs = AffinityPatch {
        cookie: Some(true),
        name: Some("INGRESSCOOKIE".into()),
        rebalance: Some(true),
        change_on_failure: Some(false),
        ..AffinityPatch::default()
    };
    assert_eq!(read(&[]), theirs);
    let all = read(&[
        ("nginx.ingress.kubernetes.io/affinity-mode", "persistent"),
        ("nginx.ingress.kubernetes.io/affinity-canary-behavior", "legacy"),
        ("nginx.ingress.kubernetes.io/session-cookie-change-on-failure", "True"),
        ("nginx.ingress.kubernetes.io/session-cookie-domain", ".example.com"),
        ("nginx.ingress.kubernetes.io/session-cookie-expires", "100"),
        ("nginx.ingress.kubernetes.io/session-cookie-max-age", "200"),
        ("nginx.ingress.kubernetes.io/session-cookie-name", "route"),
        ("nginx.ingress.kubernetes.io/session-cookie-path", "/chat"),
        ("nginx.ingress.kubernetes.io/session-cookie-samesite", "sTRICT"),
        ("nginx.ingress.kubernetes.io/session-cookie-secure", "0"),
    ]);
    let expected = AffinityPatch {
        cookie: Some(true),
        name: Some("route".into()),
        max_age: Some(200),
        path: Some("/chat".into()),
        domain: Some(".example.com".into()),
        same_site: Some(SameSite::Strict),
        secure: Some(false),
        change_on_failure: Some(true),
        rebalance: Some(false),
        canary_sticky: Some(false),
        engine_io: None,
    };
    assert_eq!(all, expected);
    assert_eq!(read(&[("nginx.ingress.kubernetes.io/session-cookie-expires", "100")]).max_age, Some(100));
    assert_eq!(read(&[("longhaul.dev/affinity-cookie", "ours")]).name.as_deref(), Some("ours"));
    assert_eq!(read(&[("longhaul.dev/affinity-cookie", "off")]).cookie, Some(false));
}

#[test]
fn what_is_said_of_a_cookie_that_nobody_asks_for_is_remarked_upon() {
    let spoken_of = |annotations: &[(&str, &str)]| {
        let reading = read_all(annotations);
        let fields = reading.diagnostics.iter().map(|one| one.field.replace("metadata.annotations", ""));
        (fields.collect::<Vec<_>>(), reading.patch)
    };
    let theirs = "nginx.ingress.kubernetes.io/session-cookie-name";
    assert_eq!(spoken_of(&[(theirs, "route")]), (vec![format!("[{theirs}]")], PolicyPatch::default()));
    let ours = "longhaul.dev/affinity-cookie-path";
    assert_eq!(spoken_of(&[(ours, "/")]).0, [format!("[{ours}]")]);
    assert_eq!(spoken_of(&[(ours, "/"), ("nginx.ingress.kubernetes.io/affinity", "cookie")]).0, [""; 0]);
    // A canary has no cookie of its own.
    let canary = [
        ("nginx.ingress.kubernetes.io/canary", "true"),
        ("nginx.ingress.kubernetes.io/affinity-canary-behavior", "legacy"),
    ];
    let (fields, patch) = spoken_of(&canary);
    assert_eq!((fields, patch.affinity.canary_sticky), (Vec::new(), Some(false)));
}

#[test]
fn a_cookie_that_browsers_drop_is_remarked_upon() {
    let same_site = "longhaul.dev/affinity-cookie-same-site";
    let reading = read_all(&[
        ("longhaul.dev/affinity-cookie", "route"),
        ("longhaul.dev/affinity-cookie-secure", "false"),
        (same_site, "None"),
    ]);
    assert_eq!(reading.diagnostics.len(), 1);
    assert_eq!(reading.diagnostics[0].field, format!("metadata.annotations[{same_site}]"));
    let (_, diagnostics) = policy("affinity: {cookie: {sameSite: None, secure: false}}");
    assert_eq!(diagnostics.len(), 1);
}

#[test]
fn what_does_not_read_is_the_default_with_a_remark() {
    for (key, values) in [
        ("longhaul.dev/affinity-cookie", &["", "a b", "a;b", "a=b"][..]),
        ("longhaul.dev/affinity-cookie-max-age", &["", "60", "-1s", "1d"]),
        ("longhaul.dev/affinity-cookie-path", &["", "a", "/a;b", "/a b", "/\r\nX: y"]),
        ("longhaul.dev/affinity-cookie-same-site", &["", "Sometimes"]),
        ("longhaul.dev/affinity-cookie-secure", &["", "yes"]),
        ("longhaul.dev/affinity-cookie-domain", &["", "a b", "a;b", "*.a"]),
        ("longhaul.dev/engine-io", &["", "1"]),
        ("longhaul.dev/hash-ring", &["", "PodName", "pod"]),
        ("nginx.ingress.kubernetes.io/affinity", &["", "ip", "Cookie"]),
        ("nginx.ingress.kubernetes.io/affinity-mode", &["", "Balanced"]),
        ("nginx.ingress.kubernetes.io/affinity-canary-behavior", &["", "Sticky"]),
        ("nginx.ingress.kubernetes.io/session-cookie-change-on-failure", &["", "on"]),
        ("nginx.ingress.kubernetes.io/session-cookie-domain", &["", "a/b"]),
        // ingress-nginx's expressions have no anchors: it takes x1x.
        ("nginx.ingress.kubernetes.io/session-cookie-expires", &["", "-1", "1h", "x1x", "9999999999"]),
        ("nginx.ingress.kubernetes.io/session-cookie-max-age", &["", "-1", "1.5", "x1x"]),
        ("nginx.ingress.kubernetes.io/session-cookie-name", &["", "a b"]),
        ("nginx.ingress.kubernetes.io/session-cookie-path", &["", "x", "/;"]),
        ("nginx.ingress.kubernetes.io/session-cookie-samesite", &["", "Any"]),
        ("nginx.ingress.kubernetes.io/session-cookie-secure", &["", "on"]),
    ] {
        for value in values {
            let reading = read_one(key, value);
            assert_eq!(reading.diagnostics.len(), 1, "{key}: {value:?}");
            assert_eq!(reading.diagnostics[0].severity, Severity::Warning, "{key}");
            assert_eq!((reading.patch, reading.closed), (PolicyPatch::default(), None), "{key}: {value:?}");
        }
    }
    let (_, diagnostics) = policy("affinity: {cookie: {name: 'a b', path: x, domain: 'a b', maxAge: 1d}}");
    let fields: BTreeSet<_> = diagnostics.iter().map(|one| one.field.rsplit('.').next().unwrap()).collect();
    assert_eq!(fields, BTreeSet::from(["name", "path", "domain", "maxAge"]));
    assert_eq!(policy("{loadBalancing: {ring: PodName}}").0.load_balancing.ring, Some(Ring::PodName));
}
