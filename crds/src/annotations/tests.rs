//! Annotations as people write them: values, mistakes, families, and what closes a route.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::policy::Redirect;

use super::*;
use crate::duration::Duration;

fn ingress() -> ObjectRef {
    ObjectRef::new("Ingress", "default", "chat")
}

fn read_one(key: &str, value: &str) -> Reading {
    read(&BTreeMap::from([(key.to_owned(), value.to_owned())]), &ingress(), true)
}

fn seconds(seconds: u64) -> Option<Duration> {
    Duration::from_secs(seconds)
}

#[test]
fn each_key_is_there_once_with_a_doc() {
    let keys: BTreeSet<_> = TABLE.iter().map(|annotation| annotation.key).collect();
    assert_eq!(keys.len(), TABLE.len());
    for annotation in TABLE {
        assert!(annotation.key.starts_with(OWN) || annotation.key.starts_with(NGINX), "{}", annotation.key);
        assert!(!annotation.doc.is_empty(), "{}", annotation.key);
    }
}

#[test]
fn every_key_that_is_not_served_says_so() {
    for annotation in TABLE {
        let reading = read_one(annotation.key, "x");
        assert_eq!(reading.diagnostics.len(), 1, "{}", annotation.key);
        let diagnostic = &reading.diagnostics[0];
        assert_eq!(diagnostic.field, format!("metadata.annotations[{}]", annotation.key));
        assert!(diagnostic.message.contains("\"x\""), "{diagnostic}");
        assert!(!diagnostic.remedy.is_empty(), "{diagnostic}");
        assert_eq!(reading.patch, PolicyPatch::default());
    }
}

#[test]
fn security_settings_that_are_not_served_close() {
    for annotation in TABLE.iter().filter(|annotation| annotation.security) {
        let value = if annotation.key.ends_with("snippet") { "deny all;" } else { "x" };
        let closed = read_one(annotation.key, value).closed;
        let never = matches!(annotation.inert, Inert::Always);
        assert_eq!(closed.is_none(), never, "{}", annotation.key);
    }
    for key in
        ["auth-url", "whitelist-source-range", "auth-tls-secret", "enable-modsecurity", "proxy-ssl-verify"]
    {
        assert!(read_one(&format!("{NGINX}{key}"), "on").closed.is_some(), "{key}");
    }
    for key in ["allow-cidrs", "allow-origins", "auth-basic-secret", "jwt-issuer", "client-ca-secret"] {
        assert!(read_one(&format!("{OWN}{key}"), "").closed.is_some(), "{key}");
    }
}

#[test]
fn what_asks_for_nothing_closes_nothing() {
    for (key, value) in [
        ("enable-modsecurity", "false"),
        ("auth-tls-verify-client", "off"),
        ("enable-global-auth", "false"),
        ("backend-protocol", "HTTP"),
        ("satisfy", "all"),
        ("canary", "false"),
    ] {
        let reading = read_one(&format!("{NGINX}{key}"), value);
        assert_eq!((reading.closed, reading.left_out), (None, None), "{key}");
        assert_eq!(reading.diagnostics[0].severity, Severity::Info, "{key}");
    }
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
fn a_canary_is_left_out() {
    let reading = read_one(&format!("{NGINX}canary"), "true");
    assert!(reading.left_out.is_some());
    assert_eq!(reading.diagnostics[0].severity, Severity::Error);
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
        (
            "nginx.ingress.kubernetes.io/proxy-read-timeout",
            &["-5", "60.5", " 60", "", "+", "0", "0s", "99999999999999999999", "+1s"],
        ),
        ("nginx.ingress.kubernetes.io/ssl-redirect", &["yes", "on", "True ", ""]),
    ] {
        for value in values {
            let reading = read_one(key, value);
            assert_eq!(reading.patch, PolicyPatch::default(), "{key}: {value}");
            assert_eq!(reading.closed, None);
            let [diagnostic] = &reading.diagnostics[..] else { panic!("{key}: {value}") };
            assert_eq!((diagnostic.severity, &*diagnostic.reason), (Severity::Warning, "UnsupportedValue"));
            assert!(diagnostic.message.contains(&format!("\"{value}\"")), "{diagnostic}");
        }
    }
    let zero = read_one("nginx.ingress.kubernetes.io/proxy-read-timeout", "0");
    assert!(zero.diagnostics[0].remedy.contains("longhaul.dev/idle-timeout: 0s"));
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
    fn no_value_panics(row in 0..TABLE.len(), value in ".*") {
        let reading = read_one(TABLE[row].key, &value);
        prop_assert!(reading.diagnostics.len() <= 1);
    }

    #[test]
    fn no_key_panics(key in "(longhaul\\.dev/|nginx\\.ingress\\.kubernetes\\.io/).*") {
        read_one(&key, "x");
    }
}
