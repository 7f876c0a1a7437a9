//! Annotations as people write them: values, mistakes, families, and what closes a route.

mod affinity;
mod anything;
mod auth;
mod clients;

use std::collections::BTreeSet;

use proptest::prelude::*;

mod fields;
mod next_upstream;
mod upstream_tls;

use super::*;
use crate::duration::Duration;
use crate::origin::Origin;
use crate::policy::{Guard, HashPart};
use crate::tls::CipherSuite;

fn ingress() -> ObjectRef {
    ObjectRef::new("Ingress", "default", "chat")
}

fn read_one(key: &str, value: &str) -> Reading {
    read(&BTreeMap::from([(key.to_owned(), value.to_owned())]), &ingress(), true)
}

/// What a key needs beside it to mean something.
fn company(key: &str) -> Vec<(&'static str, &'static str)> {
    let named = |key: &str, prefix: &str, but: &str| key.starts_with(prefix) && !key.ends_with(but);
    if key.ends_with("/enable-cors") || named(key, "nginx.ingress.kubernetes.io/cors-", "allow-origin") {
        let both = [
            ("nginx.ingress.kubernetes.io/enable-cors", "true"),
            ("nginx.ingress.kubernetes.io/cors-allow-origin", "https://a.test"),
        ];
        return both.into_iter().filter(|(other, _)| *other != key).collect();
    }
    let canary = [
        ("nginx.ingress.kubernetes.io/canary", "true"),
        ("nginx.ingress.kubernetes.io/canary-by-header", "x-canary"),
    ];
    if key.starts_with(CANARY) && key != CANARY {
        return canary.into_iter().filter(|(other, _)| *other != key).collect();
    }
    if key.starts_with("longhaul.dev/affinity-cookie-") {
        return vec![("longhaul.dev/affinity-cookie", "route")];
    }
    match key.strip_prefix(NGINX) {
        Some(name) if name == "affinity-mode" || name.starts_with("session-cookie-") => {
            return vec![("nginx.ingress.kubernetes.io/affinity", "cookie")];
        }
        Some("auth-proxy-set-headers") => {
            return vec![("nginx.ingress.kubernetes.io/auth-url", "https://a.test/check")];
        }
        Some("permanent-redirect-code") => {
            return vec![("nginx.ingress.kubernetes.io/permanent-redirect", "https://a.test")];
        }
        Some("temporal-redirect-code") => {
            return vec![("nginx.ingress.kubernetes.io/temporal-redirect", "https://a.test")];
        }
        _ => {}
    }
    if key == "longhaul.dev/client-certificate" {
        return vec![("longhaul.dev/client-ca-secret", "devices")];
    }
    if named(key, "nginx.ingress.kubernetes.io/auth-tls-", "-secret") {
        return vec![("nginx.ingress.kubernetes.io/auth-tls-secret", "default/devices")];
    }
    if key.ends_with("/cors-allow-origin") {
        return vec![("nginx.ingress.kubernetes.io/enable-cors", "true")];
    }
    if named(key, "longhaul.dev/cors-", "allow-origins") {
        return vec![("longhaul.dev/cors-allow-origins", "https://a.test")];
    }
    of_auth(key)
}

/// What an authentication's key says nothing without.
fn of_auth(key: &str) -> Vec<(&'static str, &'static str)> {
    let company: &[(&'static str, &'static str)] = match key.rsplit_once('/').unwrap_or_default() {
        ("longhaul.dev", "auth-basic-realm") => &[("longhaul.dev/auth-basic-secret", "users")],
        ("longhaul.dev", "auth-response-headers" | "auth-timeout") => {
            &[("longhaul.dev/auth-service", "auth:80")]
        }
        (
            "nginx.ingress.kubernetes.io",
            "auth-always-set-cookie"
            | "auth-method"
            | "auth-request-redirect"
            | "auth-response-headers"
            | "auth-signin"
            | "auth-signin-redirect-param",
        ) => &[
            ("nginx.ingress.kubernetes.io/auth-url", "http://auth/"),
            ("nginx.ingress.kubernetes.io/auth-signin", "/login"),
        ],
        ("nginx.ingress.kubernetes.io", "auth-type" | "auth-secret" | "auth-secret-type" | "auth-realm") => {
            &[
                ("nginx.ingress.kubernetes.io/auth-type", "basic"),
                ("nginx.ingress.kubernetes.io/auth-secret", "users"),
            ]
        }
        _ => &[],
    };
    company.iter().copied().filter(|(other, _)| *other != key).collect()
}

fn seconds(seconds: u64) -> Option<Duration> {
    Duration::from_secs(seconds)
}

#[test]
fn each_key_is_there_once_with_a_doc() {
    let keys: BTreeSet<_> = table().map(|annotation| annotation.key).collect();
    assert_eq!(keys.len(), table().count());
    for annotation in table() {
        assert!(annotation.key.starts_with(OWN) || annotation.key.starts_with(NGINX), "{}", annotation.key);
        assert!(!annotation.doc.is_empty(), "{}", annotation.key);
    }
}

#[test]
fn what_is_served_is_documented_by_an_example_that_reads() {
    for annotation in table() {
        let Annotation { key, values, default, example, .. } = annotation;
        if matches!(annotation.support, Support::Served(_)) {
            assert!(!values.is_empty() && !default.is_empty(), "{key}");
            let others = company(key);
            let reading = read_all(&[&[(*key, *example)], &others[..]].concat());
            let loud = |diagnostic: &&Diagnostic| diagnostic.severity != Severity::Info;
            assert_eq!(reading.diagnostics.iter().find(loud), None, "{key}");
            assert_ne!(reading.patch, read_all(&others).patch, "{key}");
        } else {
            assert_eq!((*values, *default, *example), ("", "", ""), "{key}");
        }
    }
}

#[test]
fn what_is_not_served_or_does_not_read_says_so() {
    // Whose value may be anything.
    let takes_all = format!("{CANARY}-by-header-value");
    let takes_all = |key: &str| {
        let ends = ["-realm", "-header-pattern", "proxy-cookie-domain"];
        key == takes_all || ends.iter().any(|end| key.ends_with(end))
    };
    for annotation in table().filter(|annotation| !takes_all(annotation.key)) {
        let reading = read_one(annotation.key, "x y");
        assert_eq!(reading.diagnostics.len(), 1, "{}", annotation.key);
        let diagnostic = &reading.diagnostics[0];
        assert_eq!(diagnostic.field, format!("metadata.annotations[{}]", annotation.key));
        assert!(diagnostic.message.contains("\"x y\""), "{diagnostic}");
        assert!(!diagnostic.remedy.is_empty(), "{diagnostic}");
        let mut patch = reading.patch;
        // That nobody can be asked is a setting, too: its hosts close.
        patch.ingress.client_certificates = None;
        assert_eq!(patch, PolicyPatch::default());
    }
}

#[test]
fn security_settings_that_are_not_served_close() {
    for annotation in table().filter(|annotation| annotation.security) {
        let value = match annotation.key {
            key if key.ends_with("snippet") => "deny all;",
            // A good value of any other.
            "longhaul.dev/auth-basic-secret" | "longhaul.dev/client-ca-secret" => "",
            key if key.starts_with("longhaul.dev/upstream-") => "",
            "nginx.ingress.kubernetes.io/proxy-ssl-name" => "",
            _ => "x",
        };
        let closed = read_one(annotation.key, value).closed;
        let never = matches!(annotation.inert, Inert::Always);
        assert_eq!(closed.is_none(), never, "{}", annotation.key);
    }
    for key in
        ["auth-url", "whitelist-source-range", "auth-tls-secret", "enable-modsecurity", "proxy-ssl-secret"]
    {
        assert!(read_one(&format!("{NGINX}{key}"), "on").closed.is_some(), "{key}");
    }
    for key in ["allow-cidrs", "allow-origins", "auth-basic-secret", "jwt-issuer", "client-ca-secret"] {
        assert!(read_one(&format!("{OWN}{key}"), "").closed.is_some(), "{key}");
    }
}

#[test]
fn what_asks_for_nothing_closes_nothing() {
    for (key, value) in [("enable-modsecurity", "false"), ("enable-global-auth", "false")] {
        let reading = read_one(&format!("{NGINX}{key}"), value);
        assert_eq!((reading.closed, reading.left_out), (None, None), "{key}");
        assert_eq!(reading.diagnostics[0].severity, Severity::Info, "{key}");
    }
}

fn networks(list: &[&str]) -> Guard<Vec<ipnet::IpNet>> {
    Guard::Holds(list.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn networks_of_both_families() {
    let own = |key: &str, text: &str| read_one(key, text).patch.access;
    assert_eq!(
        own("longhaul.dev/allow-cidrs", "10.0.0.5/8, 192.0.2.7,\n  ::ffff:192.0.2.8").allow,
        Some(networks(&["10.0.0.0/8", "192.0.2.7/32", "192.0.2.8/32"]))
    );
    assert_eq!(own("longhaul.dev/deny-cidrs", "2001:db8::/32").deny, Some(networks(&["2001:db8::/32"])));
    let origins = own("longhaul.dev/allow-origins", "SameHost, https://A.test:443").origins;
    assert_eq!(
        origins,
        Some(Guard::Holds(["SameHost", "https://a.test"].map(|text| Origin::read(text).unwrap()).into()))
    );
    // As cert-manager writes it on the Ingress of a challenge.
    for key in ["whitelist-source-range", "allowlist-source-range"] {
        let reading = read_one(&format!("{NGINX}{key}"), "0.0.0.0/0,::/0");
        assert_eq!((&reading.closed, reading.diagnostics.len()), (&None, 0), "{key}");
        assert_eq!(reading.patch.access.allow, Some(networks(&["0.0.0.0/0", "::/0"])));
    }
    assert_eq!(
        own("nginx.ingress.kubernetes.io/denylist-source-range", "192.0.2.7").deny,
        Some(networks(&["192.0.2.7/32"]))
    );
    for key in ["allowlist-source-range", "whitelist-source-range", "denylist-source-range"] {
        assert_eq!(read_one(&format!("{NGINX}{key}"), ""), Reading::default(), "as if it were not there");
    }
}

/// ingress-nginx looks at the old name only where the present one is missing or empty; our own beat both.
#[test]
fn of_two_names_for_one_list_one_counts() {
    let read = |own: Option<&str>, present: &str, old: &str| {
        let all = [
            ("nginx.ingress.kubernetes.io/allowlist-source-range", present),
            ("nginx.ingress.kubernetes.io/whitelist-source-range", old),
        ];
        let own = own.map(|own| ("longhaul.dev/allow-cidrs", own));
        let all = all.into_iter().chain(own).map(|(key, value)| (key.to_owned(), value.to_owned()));
        super::read(&all.collect(), &ingress(), true)
    };
    let both = read(None, "10.0.0.0/8", "192.0.2.0/24");
    assert_eq!((both.patch.access.allow, both.diagnostics.len()), (Some(networks(&["10.0.0.0/8"])), 1));
    assert!(both.diagnostics[0].field.contains("whitelist"), "{}", both.diagnostics[0]);
    assert_eq!(read(None, "", "192.0.2.0/24").patch.access.allow, Some(networks(&["192.0.2.0/24"])));
    assert_eq!(read(None, "10.0.0.0/8", "nonsense").closed, None);
    assert!(read(None, "nonsense", "10.0.0.0/8").closed.is_some());
    assert_eq!(
        read(Some("::1"), "10.0.0.0/8", "192.0.2.0/24").patch.access.allow,
        Some(networks(&["::1/128"]))
    );
}

#[test]
fn a_list_that_does_not_read_closes() {
    for (key, values) in [
        (
            "longhaul.dev/allow-cidrs",
            &["", "10.0.0.0/33", "10.0.0.0/8,", "10.0.0.0/8 192.0.2.7", "example.com"][..],
        ),
        ("longhaul.dev/deny-cidrs", &["", "10.0.0", "010.0.0.0/8"]),
        ("longhaul.dev/allow-origins", &["", "*", "chat.example.com", "https://a/", "https://a,,https://b"]),
        ("nginx.ingress.kubernetes.io/allowlist-source-range", &["10.0.0.0/8,", "10.0.0.0/33", "any"]),
        ("nginx.ingress.kubernetes.io/whitelist-source-range", &["10.0.0.0/8;::/0"]),
        ("nginx.ingress.kubernetes.io/denylist-source-range", &["10.0.0.256"]),
    ] {
        for value in values {
            let Reading { patch, diagnostics, closed, .. } = read_one(key, value);
            assert!(closed.is_some_and(|why| why.contains(key)), "{key}: {value}");
            assert_eq!((diagnostics.len(), diagnostics[0].severity), (1, Severity::Error), "{key}: {value}");
            assert_eq!(patch, PolicyPatch::default(), "{key}: {value}");
        }
    }
    let many = vec!["https://a"; 65].join(",");
    assert!(read_one("longhaul.dev/allow-origins", &many).closed.is_some());
}

#[test]
fn a_snippet_closes_only_where_it_protects() {
    let key = format!("{NGINX}configuration-snippet");
    let headers = "proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";";
    let reading = read_one(&key, headers);
    assert_eq!((reading.closed, reading.diagnostics[0].severity), (None, Severity::Warning));
    for text in ["deny all;", "if ($bad) { return 403; }", "auth_basic \"x\";", "location /x {deny 1.2.3.4;}"]
    {
        assert!(read_one(&key, text).closed.is_some(), "{text}");
    }
}

#[test]
fn what_may_be_a_canary_is_left_out() {
    let reading = read_one(&format!("{NGINX}canary"), "yes");
    assert!(reading.left_out.is_some());
    assert_eq!(reading.diagnostics[0].severity, Severity::Error);
}

#[test]
fn a_canary_says_who_is_taken() {
    let canary = |annotations: &[(&str, &str)]| {
        let annotations =
            annotations.iter().map(|(key, value)| (format!("{NGINX}{key}"), (*value).to_owned()));
        let reading = read(&annotations.collect(), &ingress(), true);
        let warned = reading.diagnostics.first().map(|diagnostic| diagnostic.field.clone());
        (reading.patch.ingress.canary, warned)
    };
    let all = [
        ("canary", "true"),
        ("canary-by-header", "X-Canary"),
        ("canary-by-header-value", "blue green"),
        ("canary-by-cookie", "Canary"),
        ("canary-weight", "20"),
        ("canary-weight-total", "50"),
    ];
    let expected = CanaryPatch {
        enabled: Some(true),
        header: Some("x-canary".into()),
        header_pattern: None,
        header_value: Some("blue green".into()),
        cookie: Some("Canary".into()),
        weight: Some(20),
        total: Some(100),
    };
    assert_eq!(canary(&all), (expected, None));
    let field = |name: &str| Some(format!("metadata.annotations[{NGINX}{name}]"));
    assert_eq!(canary(&[("canary-weight", "20")]).1, field("canary"));
    assert_eq!(canary(&[("canary", "false"), ("canary-weight", "20")]).1, field("canary"));
    let valued = [("canary", "true"), ("canary-by-header-value", "a")];
    assert_eq!(canary(&valued).1, field("canary-by-header-value"));
    assert_eq!(canary(&[("canary", "true"), ("canary-weight", "-5")]).1, field("canary-weight"));
    assert_eq!(canary(&[("canary", "false")]).1, None);
}

#[test]
fn timeouts_of_both_families() {
    let patch = |key: &str, value: &str| read_one(key, value).patch.timeouts;
    assert_eq!(patch("longhaul.dev/idle-timeout", "1h30m").idle, seconds(5_400));
    assert_eq!(patch("longhaul.dev/idle-timeout", "0s").idle, seconds(0));
    assert_eq!(patch("longhaul.dev/connect-timeout", "2s").connect, seconds(2));
    let read = patch("nginx.ingress.kubernetes.io/proxy-read-timeout", "3600");
    assert_eq!(
        (read.idle, read.handshake, read.request, read.send),
        (seconds(3_600), seconds(3_600), seconds(3_600), None)
    );
    assert_eq!(patch("nginx.ingress.kubernetes.io/proxy-send-timeout", "+5").send, seconds(5));
    assert_eq!(patch("nginx.ingress.kubernetes.io/proxy-connect-timeout", "1m").connect, seconds(60));
}

#[test]
fn malformed_values_fall_back_and_are_named() {
    for (key, values) in [
        ("longhaul.dev/idle-timeout", &["60", "", "1d", " 1s", "-1s"][..]),
        ("longhaul.dev/ssl-redirect", &["yes", "True", ""]),
        ("longhaul.dev/access-log", &["1", "TRUE", ""]),
        ("longhaul.dev/websocket-only", &["on", ""]),
        ("longhaul.dev/load-balancing", &["round_robin", "RoundRobin", ""]),
        ("longhaul.dev/hash-on", &["", "header:", "header:a b", "cookie", "query:", "ip", "path:x", "Path"]),
        ("longhaul.dev/max-body-size", &["10m", "-1", "1.5Mi", ""]),
        ("longhaul.dev/rewrite-prefix", &["", "a", "/a b", "/a?b", "/%zz", "/ü", "/a\r\nX: y"]),
        ("longhaul.dev/rewrite-path", &["", "http://a/"]),
        ("longhaul.dev/upstream-host", &["", "a b", "a/b", "a:70000", "a\r\nX: y", "user@a"]),
        ("longhaul.dev/subprotocols", &["", "a,", "a b", ",a", "a;b"]),
        (
            "nginx.ingress.kubernetes.io/proxy-body-size",
            &["", "m", "10mb", "-1", "1.5m", "99999999999999999999", "9999999999999g", "1 m"],
        ),
        (
            "nginx.ingress.kubernetes.io/load-balance",
            &["", "chash", "sticky_balanced", "Round_Robin", "random"],
        ),
        (
            "nginx.ingress.kubernetes.io/upstream-hash-by",
            &[
                "",
                "x",
                "$",
                "${}",
                "$nobody",
                "$remote_addr$nobody",
                "${arg_x",
                "$arg_",
                "$cookie_",
                "$http_",
                "$1",
            ],
        ),
        ("nginx.ingress.kubernetes.io/force-ssl-redirect", &["yes", ""]),
        ("nginx.ingress.kubernetes.io/enable-access-log", &["off", ""]),
        (
            "nginx.ingress.kubernetes.io/proxy-read-timeout",
            &["-5", "60.5", " 60", "", "+", "0", "0s", "99999999999999999999", "+1s"],
        ),
        ("nginx.ingress.kubernetes.io/ssl-redirect", &["yes", "on", "True ", ""]),
    ] {
        fall_back(key, values);
    }
    let zero = read_one("nginx.ingress.kubernetes.io/proxy-read-timeout", "0");
    assert!(zero.diagnostics[0].remedy.contains("longhaul.dev/idle-timeout: 0s"));
}

/// Each of these values is reported, and the default is served.
fn fall_back(key: &str, values: &[&str]) {
    for value in values {
        let reading = read_one(key, value);
        assert_eq!(reading.patch, PolicyPatch::default(), "{key}: {value}");
        assert_eq!(reading.closed, None);
        let [diagnostic] = &reading.diagnostics[..] else { panic!("{key}: {value}") };
        assert_eq!((diagnostic.severity, &*diagnostic.reason), (Severity::Warning, "UnsupportedValue"));
        assert!(diagnostic.message.contains(&quoted(value)), "{diagnostic}");
    }
}

#[test]
fn booleans_as_go_reads_them() {
    let redirect = |value: &str| read_one("nginx.ingress.kubernetes.io/ssl-redirect", value).patch.redirect;
    for value in ["1", "t", "T", "TRUE", "true", "True"] {
        assert_eq!(redirect(value), Some(Redirect::WithCertificate), "{value}");
    }
    for value in ["0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(redirect(value), Some(Redirect::Never), "{value}");
    }
}

fn read_all(annotations: &[(&str, &str)]) -> Reading {
    let owned = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    read(&owned.collect(), &ingress(), true)
}

#[test]
fn what_our_keys_say() {
    let patch = |key: &str, value: &str| read_one(&format!("{OWN}{key}"), value).patch;
    let balancing = |value: &str| patch("load-balancing", value).load_balancing.policy;
    assert_eq!(balancing("least-connections"), Some(LoadBalancing::LeastConnections));
    assert_eq!(balancing("round-robin"), Some(LoadBalancing::RoundRobin));
    assert_eq!(balancing("consistent-hash"), Some(LoadBalancing::ConsistentHash));
    for (value, part) in [
        ("client-address", HashPart::ClientAddress),
        ("header:X-User", HashPart::Header("x-user".into())),
        ("cookie:Sid", HashPart::Cookie("Sid".into())),
        ("query:room", HashPart::QueryParameter("room".into())),
        ("path", HashPart::Path),
    ] {
        let how = patch("hash-on", value).load_balancing;
        assert_eq!(
            (how.policy, how.hash_on),
            (Some(LoadBalancing::ConsistentHash), Some(vec![part])),
            "{value}"
        );
    }
    assert_eq!(patch("max-body-size", "10Mi").max_body, Some(10 << 20));
    assert_eq!(patch("max-body-size", "0").max_body, Some(0));
    assert_eq!(patch("rewrite-prefix", "/").rewrite.path, Some(PathRewrite::Prefix("/".into())));
    assert_eq!(patch("rewrite-path", "/a%20b").rewrite.path, Some(PathRewrite::Whole("/a%20b".into())));
    assert_eq!(patch("upstream-host", "[::1]:80").rewrite.host.as_deref(), Some("[::1]:80"));
    assert_eq!(patch("tls-min-version", "1.3").ingress.tls_min_version, Some(TlsVersion::V1_3));
    let suites = [CipherSuite::TLS_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let named = "TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    assert_eq!(patch("tls-cipher-suites", named).ingress.tls_cipher_suites, Some(suites.into()));
    assert_eq!(patch("subprotocols", "a, b").ingress.subprotocols, Some(vec!["a".into(), "b".into()]));
    assert_eq!(patch("access-log", "false").access_log, Some(false));
    assert_eq!(patch("websocket-only", "true").ingress.websocket_only, Some(true));
}

#[test]
fn what_ingress_nginx_keys_say() {
    let patch = |key: &str, value: &str| read_one(&format!("{NGINX}{key}"), value).patch;
    for (value, bytes) in [
        ("0", 0),
        ("1024", 1024),
        ("8b", 8),
        ("8B", 8),
        ("512k", 512 << 10),
        ("1M", 1 << 20),
        ("2g", 2 << 30),
    ] {
        assert_eq!(patch("proxy-body-size", value).max_body, Some(bytes), "{value}");
    }
    assert_eq!(patch("enable-access-log", "F").access_log, Some(false));
    for (value, policy, noted) in [
        ("round_robin", LoadBalancing::RoundRobin, false),
        ("ewma", LoadBalancing::LeastConnections, true),
        ("least_conn", LoadBalancing::LeastConnections, true),
        ("ip_hash", LoadBalancing::ConsistentHash, true),
    ] {
        let reading = read_one(&format!("{NGINX}load-balance"), value);
        assert_eq!(reading.patch.load_balancing.policy, Some(policy), "{value}");
        let notes: Vec<_> = reading.diagnostics.iter().map(|note| (note.severity, &*note.reason)).collect();
        assert_eq!(notes, if noted { vec![(Severity::Info, "Adapted")] } else { vec![] }, "{value}");
    }
    assert_eq!(patch("load-balance", "ip_hash").load_balancing.hash_on, Some(vec![HashPart::ClientAddress]));
}

#[test]
fn nginx_variables_are_hashed() {
    let parts = |value: &str| {
        let reading = read_one(&format!("{NGINX}upstream-hash-by"), value);
        (reading.patch.load_balancing.hash_on.unwrap_or_default(), reading.diagnostics.len())
    };
    let argument = |name: &str| HashPart::QueryParameter(name.into());
    for (value, expected) in [
        ("$remote_addr", vec![HashPart::ClientAddress]),
        ("$binary_remote_addr$remote_addr", vec![HashPart::ClientAddress]),
        ("$request_uri", vec![HashPart::Target]),
        ("$uri", vec![HashPart::Path]),
        ("$host-$arg_room", vec![HashPart::Host, argument("room")]),
        ("${arg_a}b${arg_c}", vec![argument("a"), argument("c")]),
        ("$http_x_user_id", vec![HashPart::Header("x-user-id".into())]),
        ("prefix_$cookie_JSESSIONID", vec![HashPart::Cookie("JSESSIONID".into())]),
    ] {
        assert_eq!(parts(value), (expected, 0), "{value}");
    }
    // Served, and remarked upon: anybody can send that field.
    assert_eq!(parts("$http_x_forwarded_for"), (vec![HashPart::ClientAddress], 1));
}

#[test]
fn within_ingress_nginx_the_stronger_key_wins() {
    let redirect = |force: &str, redirect: &str| {
        let (force_key, key) = (format!("{NGINX}force-ssl-redirect"), format!("{NGINX}ssl-redirect"));
        read_all(&[(&force_key, force), (&key, redirect)]).patch.redirect
    };
    assert_eq!(redirect("true", "false"), Some(Redirect::Always));
    assert_eq!(redirect("true", "true"), Some(Redirect::Always));
    assert_eq!(redirect("false", "true"), Some(Redirect::WithCertificate));
    assert_eq!(redirect("false", "false"), Some(Redirect::Never));
    let (balance, hash) = (format!("{NGINX}load-balance"), format!("{NGINX}upstream-hash-by"));
    let both = read_all(&[(&balance, "round_robin"), (&hash, "$uri")]).patch.load_balancing;
    assert_eq!(
        (both.policy, both.hash_on),
        (Some(LoadBalancing::ConsistentHash), Some(vec![HashPart::Path]))
    );
    // Ours beat both.
    let ours = read_all(&[(&hash, "$uri"), ("longhaul.dev/load-balancing", "round-robin")]);
    assert_eq!(ours.patch.load_balancing.policy, Some(LoadBalancing::RoundRobin));
    assert_eq!(ours.diagnostics, []);
    let key = format!("{NGINX}force-ssl-redirect");
    let ours = read_all(&[(&key, "true"), ("longhaul.dev/ssl-redirect", "false")]);
    assert_eq!(ours.patch.redirect, Some(Redirect::Never));
}

#[test]
fn our_keys_that_make_no_sense_together() {
    let of_field = |reading: &Reading| {
        let [diagnostic] = &reading.diagnostics[..] else { panic!("{reading:?}") };
        (diagnostic.field.clone(), diagnostic.severity)
    };
    let reading =
        read_all(&[("longhaul.dev/hash-on", "path"), ("longhaul.dev/load-balancing", "round-robin")]);
    assert_eq!(of_field(&reading), ("metadata.annotations[longhaul.dev/hash-on]".into(), Severity::Warning));
    assert_eq!(reading.patch.load_balancing.policy, Some(LoadBalancing::RoundRobin));
    let reading = read_all(&[("longhaul.dev/rewrite-path", "/a"), ("longhaul.dev/rewrite-prefix", "/b")]);
    assert_eq!(
        of_field(&reading),
        ("metadata.annotations[longhaul.dev/rewrite-prefix]".into(), Severity::Warning)
    );
    assert_eq!(reading.patch.rewrite.path, Some(PathRewrite::Whole("/a".into())));
    let tls = |suites: &str| {
        read_all(&[("longhaul.dev/tls-min-version", "1.3"), ("longhaul.dev/tls-cipher-suites", suites)])
    };
    let reading = tls("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
    assert!(reading.closed.is_some() && of_field(&reading).1 == Severity::Error, "{reading:?}");
    assert_eq!(tls("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_256_GCM_SHA384").diagnostics, []);
    let bad = read_all(&[("longhaul.dev/tls-cipher-suites", "RC4")]);
    assert!(bad.closed.is_some() && bad.diagnostics[0].message.contains("is not served"), "{bad:?}");
}

#[test]
fn our_own_keys_win() {
    let annotations = BTreeMap::from([
        ("longhaul.dev/idle-timeout".to_owned(), "2h".to_owned()),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout".to_owned(), "10".to_owned()),
    ]);
    let patch = read(&annotations, &ingress(), true).patch;
    assert_eq!((patch.timeouts.idle, patch.timeouts.handshake), (seconds(7_200), seconds(10)));
    let own_only = read(&annotations, &ingress(), false);
    assert_eq!(own_only.patch.timeouts.handshake, None);
    assert_eq!(own_only.diagnostics, []);
}

#[test]
fn an_unknown_key_is_reported_with_the_nearest() {
    let reading = read_one("longhaul.dev/idle-timout", "5s");
    assert_eq!(reading.diagnostics[0].reason, "UnknownAnnotation");
    assert!(
        reading.diagnostics[0].remedy.ends_with("longhaul.dev/idle-timeout"),
        "{:?}",
        reading.diagnostics
    );
    assert_eq!(reading.closed, None);
    let slip = read_one("longhaul.dev/allow-cidr", "10.0.0.0/8");
    assert!(slip.closed.is_some(), "{slip:?}");
    assert_eq!(read_one("example.com/whatever", "x"), Reading::default());
}

#[test]
fn addresses_belong_on_a_service() {
    assert_eq!(read_one(ADDRESSES, "127.0.0.1:1").diagnostics[0].remedy, "set it on the Service");
    let annotations = BTreeMap::from([
        (ADDRESSES.to_owned(), "127.0.0.1:1".to_owned()),
        ("longhaul.dev/idle-timeout".to_owned(), "1s".to_owned()),
    ]);
    let service = ObjectRef::new("Service", "default", "chat");
    let reading = read_misplaced(&annotations, &service, "set it on the Ingress");
    let [diagnostic] = &reading.diagnostics[..] else { panic!("{reading:?}") };
    assert_eq!(diagnostic.field, "metadata.annotations[longhaul.dev/idle-timeout]");
}

proptest! {
    #[test]
    fn no_value_panics(row in 0..table().count(), value in ".*") {
        let reading = read_one(table().nth(row).unwrap().key, &value);
        prop_assert!(reading.diagnostics.len() <= 1);
    }

    #[test]
    fn no_key_panics(key in "(longhaul\\.dev/|nginx\\.ingress\\.kubernetes\\.io/).*") {
        read_one(&key, "x");
    }
}
