//! Changes, origins, and what may not be changed.

use snapshot::{Cors, Headers, Hsts};

use super::*;
use crate::head::RequestParser;

fn head(method: &str, lines: &str) -> Head {
    let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    RequestParser::default().parse(request.as_bytes()).unwrap().unwrap().0
}

fn cors(origins: &[CorsOrigin]) -> Cors {
    Cors {
        allow_origins: origins.to_vec(),
        allow_methods: "GET".into(),
        allow_headers: "X-A".into(),
        expose_headers: "X-B".into(),
        allow_credentials: false,
        max_age: 60,
    }
}

fn fields(headers: Headers) -> Fields {
    *Fields::new(headers).unwrap().unwrap()
}

fn lines(fields: &Fields, head: &Head, scheme: &str) -> Vec<String> {
    fields.additions(head, scheme).lines(200).map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn an_origin_fits_whole_and_a_wildcard_is_one_label() {
    let wildcard = CorsOrigin::Wildcard { before: "https://".into(), after: ".a.test".into() };
    let exact = CorsOrigin::Exact("https://a.test:81".into());
    for (origin, allowed) in [
        ("https://a.test:81", true),
        ("HTTPS://A.test:81", true),
        ("https://a.test", false),
        ("http://a.test:81", false),
        ("https://x.a.test", true),
        ("https://x-1.A.test", true),
        ("https://x.y.a.test", false),
        ("https://.a.test", false),
        ("https://a.test", false),
        ("https://x.a.test.evil.test", false),
        ("https://evil.test/.a.test", false),
        ("https://evil.test#.a.test", false),
        ("http://x.a.test", false),
        ("null", false),
        ("", false),
    ] {
        let fit = fits(&wildcard, origin) || fits(&exact, origin);
        assert_eq!(fit, allowed, "{origin}");
    }
    assert!(fits(&CorsOrigin::Any, "whatever"));
    assert!(fits(&CorsOrigin::Exact("null".into()), "null"));
}

#[test]
fn browsers_are_told_what_the_one_origin_may() {
    let named = fields(Headers {
        cors: Some(cors(&[CorsOrigin::Exact("https://a.test".into())])),
        ..Headers::default()
    });
    let asks = head("GET", "Origin: https://a.test\r\n");
    let told =
        ["Vary: Origin", "Access-Control-Allow-Origin: https://a.test", "Access-Control-Expose-Headers: X-B"];
    assert_eq!(lines(&named, &asks, "http"), told);
    // Nobody's pages, others' pages, and somebody who sends two.
    for other in ["", "Origin: https://b.test\r\n", "Origin: https://a.test\r\nOrigin: https://a.test\r\n"] {
        assert_eq!(lines(&named, &head("GET", other), "http"), ["Vary: Origin"], "{other}");
    }
    let anybody = fields(Headers { cors: Some(cors(&[CorsOrigin::Any])), ..Headers::default() });
    assert_eq!(lines(&anybody, &asks, "http")[0], "Access-Control-Allow-Origin: *");
    let preflight = head("OPTIONS", "Origin: https://a.test\r\nAccess-Control-Request-Method: PUT\r\n");
    assert!(named.is_preflight(&preflight) && !named.is_preflight(&asks));
    assert_eq!(
        lines(&named, &preflight, "http")[2..],
        [
            "Access-Control-Allow-Methods: GET",
            "Access-Control-Allow-Headers: X-A",
            "Access-Control-Max-Age: 60"
        ]
    );
}

#[test]
fn what_the_upstream_says_of_it_is_replaced() {
    let hsts = Some(Hsts { max_age: 60, include_subdomains: true, preload: false });
    let both = fields(Headers { cors: Some(cors(&[CorsOrigin::Any])), hsts, ..Headers::default() });
    let asks = head("GET", "");
    let (plain, tls) = (both.additions(&asks, "http"), both.additions(&asks, "https"));
    assert!(plain.drops("access-control-allow-origin") && plain.drops("Access-Control-X"));
    assert!(!plain.drops("Access") && !plain.drops("Vary") && !plain.drops("é"));
    assert!(!plain.drops("strict-transport-security") && tls.drops("strict-transport-security"));
    assert_eq!(lines(&both, &asks, "http"), [""; 0]);
    assert_eq!(lines(&both, &asks, "https"), ["Strict-Transport-Security: max-age=60; includeSubDomains"]);
}

#[test]
fn what_is_removed_or_set_goes_in_any_case_and_with_underscores() {
    let field = |name: &str| (name.to_owned(), "1".to_owned());
    let request =
        FieldChanges { remove: vec!["A".into()], set: vec![field("X-Tenant")], add: vec![field("B")] };
    let changes = Changes::new(request).unwrap();
    for (name, gone) in [("a", true), ("x-TENANT", true), ("X_Tenant", true), ("B", false), ("c", false)] {
        assert_eq!(changes.drops(name), gone, "{name}");
    }
    let lines: Vec<_> = changes.lines().collect();
    assert_eq!(lines, [("X-Tenant", "1"), ("B", "1")]);
}

#[test]
fn what_would_split_or_reframe_a_message_is_refused() {
    for (name, value) in [
        ("", "1"),
        ("a b", "1"),
        ("a:", "1"),
        ("a", "1\r\nb: 2"),
        ("a", "\n"),
        ("a", "\0"),
        ("Content-Length", "1"),
        ("transfer_encoding", "chunked"),
        ("Host", "a"),
        ("Connection", "close"),
    ] {
        let set = FieldChanges { set: vec![(name.into(), value.into())], ..FieldChanges::default() };
        let add = FieldChanges { add: vec![(name.into(), value.into())], ..FieldChanges::default() };
        assert!(Changes::new(set).is_err() && Changes::new(add).is_err(), "{name}: {value}");
    }
    let odd = Cors { allow_methods: "GET\r\n".into(), ..cors(&[CorsOrigin::Any]) };
    let pair = Cors { allow_credentials: true, ..cors(&[CorsOrigin::Any]) };
    for cors in [odd, pair, cors(&[])] {
        assert!(Fields::new(Headers { cors: Some(cors), ..Headers::default() }).is_err());
    }
    assert!(matches!(Fields::new(Headers::default()), Ok(None)));
}
