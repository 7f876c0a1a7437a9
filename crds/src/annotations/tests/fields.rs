//! Fields of requests and responses, CORS, Strict-Transport-Security: what keys say together, and that a WsRoute says
//! the same.

use super::*;
use crate::policy::cors::CorsOrigin;
use crate::wsroute::Policy;

/// The patch of a WsRoute's policy, which reads without a remark.
fn policy(yaml: &str) -> PolicyPatch {
    let policy: Policy = serde_yaml::from_str(yaml).unwrap();
    let (patch, diagnostics) = policy.read(&ObjectRef::new("WsRoute", "default", "chat"), "spec.policy");
    assert_eq!(diagnostics, [], "{yaml}");
    patch
}

#[test]
fn a_wsroute_says_the_same_as_annotations() {
    for (annotations, yaml) in [
        (
            &[
                ("longhaul.dev/set-request-headers", "\nX-A: 1, 2\n  X-B:\n"),
                ("longhaul.dev/add-response-headers", "Link: <a>"),
            ][..],
            "headers: {request: {set: {X-A: '1, 2', X-B: ''}}, response: {add: {Link: <a>}}}",
        ),
        (
            &[("longhaul.dev/hsts", "8760h, includeSubdomains, preload")],
            "hsts: {maxAge: 8760h, includeSubdomains: true, preload: true}",
        ),
        (
            &[
                ("longhaul.dev/cors-allow-origins", "https://a.test, https://*.b.test:81, null"),
                ("longhaul.dev/cors-allow-methods", "GET, PUT"),
                ("longhaul.dev/cors-allow-headers", "X-A"),
                ("longhaul.dev/cors-expose-headers", "X-B"),
                ("longhaul.dev/cors-allow-credentials", "true"),
                ("longhaul.dev/cors-max-age", "1h"),
            ],
            "cors: {allowOrigins: ['https://a.test', 'https://*.b.test:81', 'null'], allowMethods: [GET, PUT], \
             allowHeaders: [X-A], exposeHeaders: [X-B], allowCredentials: true, maxAge: 1h}",
        ),
        (
            &[
                ("nginx.ingress.kubernetes.io/enable-cors", "true"),
                ("nginx.ingress.kubernetes.io/cors-allow-origin", "https://a.test"),
                ("nginx.ingress.kubernetes.io/cors-max-age", "600"),
            ],
            "cors: {allowOrigins: ['https://a.test'], allowCredentials: true, maxAge: 10m}",
        ),
    ] {
        let reading = read_all(annotations);
        assert_eq!((reading.patch, reading.diagnostics), (policy(yaml), vec![]), "{yaml}");
    }
}

#[test]
fn what_does_not_read_falls_back_and_is_named() {
    for (key, values) in [
        (
            "longhaul.dev/set-request-headers",
            &[
                "",
                "X-A",
                "X A: 1",
                ": 1",
                "X-A: 1\nx-a: 2",
                "X-A: \u{0}",
                "Host: a",
                "Content-Length: 1",
                "X-Forwarded-For: 10.0.0.1",
                "X_Real_IP: 10.0.0.1",
                "Connection: close",
                "Sec-WebSocket-Key: x",
            ][..],
        ),
        ("longhaul.dev/add-response-headers", &["", "X-A", "Transfer-Encoding: chunked", "Upgrade: x"]),
        (
            "longhaul.dev/hsts",
            &["", "60", "1d", "1h, subdomains", "8760h, preload", "1h, includeSubdomains, preload"],
        ),
        (
            "longhaul.dev/cors-allow-origins",
            &["", "a.test", "https://a.test,", "https://a.test/", "https://*"],
        ),
        ("longhaul.dev/cors-allow-methods", &["", "GET,", "G T"]),
        ("longhaul.dev/cors-allow-headers", &["", "a b"]),
        ("longhaul.dev/cors-expose-headers", &["", "a:b"]),
        ("longhaul.dev/cors-allow-credentials", &["", "1"]),
        ("longhaul.dev/cors-max-age", &["", "60"]),
        ("nginx.ingress.kubernetes.io/enable-cors", &["", "yes"]),
        ("nginx.ingress.kubernetes.io/cors-allow-origin", &["", "a.test", "https://"]),
        ("nginx.ingress.kubernetes.io/cors-allow-methods", &["", "G T"]),
        ("nginx.ingress.kubernetes.io/cors-allow-headers", &["", "a b"]),
        ("nginx.ingress.kubernetes.io/cors-expose-headers", &["", "a b"]),
        ("nginx.ingress.kubernetes.io/cors-allow-credentials", &["", "on"]),
        ("nginx.ingress.kubernetes.io/cors-max-age", &["", "-1", "1h", "1.5", "9999999999"]),
        (
            "nginx.ingress.kubernetes.io/permanent-redirect",
            &[
                "",
                "/a",
                "a.test",
                "ftp://a.test",
                "https://",
                "https:///a",
                "https://a.test/$args",
                "https://a.test/$",
                "https://a.test/a b",
                "https://a.test/\r\nX: y",
                "javascript:alert(1)",
            ],
        ),
        ("nginx.ingress.kubernetes.io/temporal-redirect", &["", "//a.test"]),
        ("nginx.ingress.kubernetes.io/permanent-redirect-code", &["", "299", "309", "304", "+301", "200"]),
        ("nginx.ingress.kubernetes.io/temporal-redirect-code", &["", "308", "305", "x"]),
        ("nginx.ingress.kubernetes.io/app-root", &["", "/", "a", "//evil.test", "/a b", "/a?b"]),
        (
            "nginx.ingress.kubernetes.io/rewrite-target",
            &["", "x", "$1", "/$", "/$0", "/$request_uri", "/a b", "https://a.test/", "/a?b", "/\u{e9}"],
        ),
        ("nginx.ingress.kubernetes.io/x-forwarded-prefix", &["", "true", "/$x", "/a\r\nb"]),
        ("nginx.ingress.kubernetes.io/upstream-vhost", &["", "a b", "$host", "a/b"]),
        ("nginx.ingress.kubernetes.io/use-regex", &["", "yes"]),
    ] {
        fall_back(key, values);
    }
}

/// The keys that are spoken of, and the origins that are allowed.
fn cors(annotations: &[(&str, &str)]) -> (Vec<String>, Option<Vec<CorsOrigin>>) {
    let reading = read_all(annotations);
    assert_eq!(reading.closed, None);
    let keys = reading.diagnostics.iter().map(|one| one.field.replace("metadata.annotations", ""));
    (keys.collect(), reading.patch.cors.allow_origins)
}

#[test]
fn ingress_nginx_speaks_of_cors_where_it_is_enabled() {
    const ENABLE: (&str, &str) = ("nginx.ingress.kubernetes.io/enable-cors", "true");
    const ORIGIN: &str = "nginx.ingress.kubernetes.io/cors-allow-origin";
    const CREDENTIALS: &str = "nginx.ingress.kubernetes.io/cors-allow-credentials";
    let exact = |text: &str| CorsOrigin::Exact(text.into());
    // Everybody's pages, with credentials by default: which browsers refuse.
    let (keys, origins) = cors(&[ENABLE]);
    assert_eq!((keys, origins), (vec![format!("[{}]", ENABLE.0)], Some(vec![CorsOrigin::Any])));
    let (keys, _) = cors(&[ENABLE, (CREDENTIALS, "true")]);
    assert_eq!(keys, [format!("[{CREDENTIALS}]")]);
    assert_eq!(cors(&[ENABLE, (CREDENTIALS, "false")]).0, [""; 0]);
    // One that is no origin is left out, and said; where none is left, everybody's are not let in for that.
    let (keys, origins) = cors(&[ENABLE, (ORIGIN, "https://a.test, b.test")]);
    assert_eq!((keys, origins), (vec![format!("[{ORIGIN}]")], Some(vec![exact("https://a.test")])));
    let (keys, origins) = cors(&[ENABLE, (ORIGIN, "b.test")]);
    assert_eq!((keys, origins), (vec![format!("[{ORIGIN}]"), format!("[{}]", ENABLE.0)], Some(vec![])));
    // Without the key that enables it, nothing.
    assert_eq!(cors(&[(ORIGIN, "https://a.test")]), (vec![format!("[{ORIGIN}]")], None));
    assert_eq!(cors(&[(ORIGIN, "https://a.test"), (ENABLE.0, "false")]), (vec![], Some(vec![])));
    // Ours win, and mean nothing without origins.
    let (keys, origins) =
        cors(&[ENABLE, (ORIGIN, "https://a.test"), ("longhaul.dev/cors-allow-origins", "https://b.test")]);
    assert_eq!((keys, origins), (vec![], Some(vec![exact("https://b.test")])));
    assert_eq!(cors(&[("longhaul.dev/cors-max-age", "1h")]).0, ["[longhaul.dev/cors-max-age]"]);
    let both = [("longhaul.dev/cors-allow-origins", "*"), ("longhaul.dev/cors-allow-credentials", "true")];
    assert_eq!(cors(&both).0, ["[longhaul.dev/cors-allow-credentials]"]);
    // Not read, not spoken of.
    let reading = read(&BTreeMap::from([(ENABLE.0.into(), "true".into())]), &ingress(), false);
    assert_eq!(reading, Reading::default());
}

#[test]
fn what_a_wsroute_may_not_change_is_left_out_and_named() {
    let yaml = "
        headers:
          request: {set: {Host: a, X-A: '1', x-a: '2', X-B: \"a\\nb\"}, add: {a b: c, X-Real-IP: d}, remove: [Upgrade, X-C]}
          response: {set: {Content-Length: '1'}}
        hsts: {maxAge: bad}
        cors: {allowOrigins: ['https://a/', '*'], allowMethods: [a b], allowCredentials: true, maxAge: x}";
    let policy: Policy = serde_yaml::from_str(yaml).unwrap();
    let (patch, diagnostics) = policy.read(&ObjectRef::new("WsRoute", "default", "chat"), "p");
    let fields: Vec<_> = diagnostics.iter().map(|diagnostic| &*diagnostic.field).collect();
    assert_eq!(
        fields,
        [
            "p.headers.request.set[Host]",
            "p.headers.request.set[X-B]",
            "p.headers.request.set[x-a]",
            "p.headers.request.add[X-Real-IP]",
            "p.headers.request.add[a b]",
            "p.headers.request.remove[0]",
            "p.headers.response.set[Content-Length]",
            "p.cors.allowOrigins[0]",
            "p.cors.allowMethods[0]",
            "p.cors.maxAge",
            "p.cors.allowCredentials",
            "p.hsts.maxAge",
        ]
    );
    assert!(diagnostics[0].remedy.contains("rewrite.upstreamHost"), "{}", diagnostics[0]);
    assert!(diagnostics[3].remedy.contains("--trusted-proxies"), "{}", diagnostics[3]);
    let request = patch.headers.request;
    assert_eq!(request.set, Some(vec![("X-A".to_owned(), "1".to_owned())]));
    assert_eq!((request.add, request.remove), (Some(vec![]), Some(vec!["X-C".to_owned()])));
    assert_eq!((patch.hsts.max_age, patch.cors.allow_origins), (None, Some(vec![CorsOrigin::Any])));
}

#[test]
fn the_fields_of_one_direction_have_a_length() {
    let long = "x".repeat(4_000);
    let yaml =
        format!("headers: {{request: {{set: {{A: {long}, B: {long}, C: {long}, D: {long}, E: {long}}}}}}}");
    let policy: Policy = serde_yaml::from_str(&yaml).unwrap();
    let (patch, diagnostics) = policy.read(&ingress(), "p");
    assert_eq!(diagnostics[0].field, "p.headers.request.set[E]");
    assert_eq!(patch.headers.request.set.map(|set| set.len()), Some(4));
    let lines = format!("A: {long}\nB: {long}\nC: {long}\nD: {long}\nE: {long}");
    assert!(read_one("longhaul.dev/set-request-headers", &lines).patch.headers.request.set.is_none());
}
