//! TLS to backends: what keys say together, and that a WsRoute says the same.

use super::*;
use crate::policy::upstream_tls::{Protocol, SecretName, UpstreamTlsPatch, Verify};
use crate::wsroute::Policy;

const PROTOCOL: (&str, &str) = ("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS");

fn secret(name: &str, key: &str) -> SecretName {
    SecretName { namespace: None, name: name.into(), field: format!("metadata.annotations[{key}]") }
}

fn patch(annotations: &[(&str, &str)]) -> UpstreamTlsPatch {
    let reading = read_all(annotations);
    assert_eq!(reading.closed, None, "{annotations:?}");
    reading.patch.upstream_tls
}

#[test]
fn what_means_tls() {
    for (annotations, spoken) in [
        (&[][..], None),
        (&[("longhaul.dev/upstream-protocol", "https")], Some(Protocol::Https)),
        (&[("longhaul.dev/upstream-protocol", "http")], Some(Protocol::Http)),
        (&[("longhaul.dev/upstream-ca-secret", "ca")], Some(Protocol::Https)),
        (&[("longhaul.dev/upstream-server-name", "chat.internal")], Some(Protocol::Https)),
        (&[("longhaul.dev/upstream-client-secret", "client")], Some(Protocol::Https)),
        (&[PROTOCOL], Some(Protocol::Https)),
        (&[(PROTOCOL.0, "auto_http")], Some(Protocol::AsClient)),
        (&[(PROTOCOL.0, "Http")], Some(Protocol::Http)),
        (&[("nginx.ingress.kubernetes.io/proxy-ssl-secret", "default/both")], None),
        (&[("nginx.ingress.kubernetes.io/proxy-ssl-verify", "on")], None),
        // Ours win.
        (&[PROTOCOL, ("longhaul.dev/upstream-protocol", "http")], Some(Protocol::Http)),
    ] {
        assert_eq!(patch(annotations).spoken(), spoken, "{annotations:?}");
    }
}

#[test]
fn ingress_nginx_verifies_and_names_nothing_unless_it_is_told_to() {
    const VERIFY: &str = "nginx.ingress.kubernetes.io/proxy-ssl-verify";
    const SNI: &str = "nginx.ingress.kubernetes.io/proxy-ssl-server-name";
    for (annotations, verify, sni) in [
        (&[PROTOCOL][..], Verify::Nothing, false),
        (&[PROTOCOL, (VERIFY, "on")], Verify::Certificates, false),
        (&[PROTOCOL, (VERIFY, "off"), (SNI, "on")], Verify::Nothing, true),
        (&[("longhaul.dev/upstream-protocol", "https")], Verify::Certificates, true),
        (&[PROTOCOL, ("longhaul.dev/upstream-ca-secret", "ca")], Verify::Certificates, true),
        (
            &[PROTOCOL, (VERIFY, "off"), ("longhaul.dev/upstream-protocol", "https")],
            Verify::Certificates,
            true,
        ),
    ] {
        let patch = patch(annotations);
        assert_eq!((patch.verify, patch.sni), (Some(verify), Some(sni)), "{annotations:?}");
    }
    let key = "nginx.ingress.kubernetes.io/proxy-ssl-secret";
    let named = patch(&[
        PROTOCOL,
        (key, "default/both"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-name", "chat.internal"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-protocols", "TLSv1.3 TLSv1.2"),
    ]);
    assert_eq!(
        (named.both, named.server_name.as_deref()),
        (Some(secret("both", key)), Some("chat.internal"))
    );
    assert_eq!(named.versions, Some(vec![TlsVersion::V1_3, TlsVersion::V1_2]));
}

#[test]
fn what_cannot_be_kept_closes() {
    for (key, value, said) in [
        (PROTOCOL.0, "GRPCS", "is not spoken"),
        (PROTOCOL.0, "HTTPSS", "is no protocol"),
        ("longhaul.dev/upstream-protocol", "HTTPS", "is no protocol"),
        ("longhaul.dev/upstream-ca-secret", "default/ca", "is no name of a Secret"),
        ("longhaul.dev/upstream-client-secret", "", "is no name of a Secret"),
        ("longhaul.dev/upstream-server-name", "$host", "is no name of a server"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-secret", "both", "with its namespace"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-secret", "a/b/c", "with its namespace"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-secret", "other/both", "is in another namespace"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-verify", "ON", "is neither on nor off"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-name", "$host", "is no name of a server"),
    ] {
        let reading = read_all(&[(key, value)]);
        assert!(reading.closed.is_some(), "{key}: {value}");
        assert!(reading.diagnostics.iter().any(|one| one.message.contains(said)), "{reading:?}");
    }
    // These close nothing.
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/proxy-ssl-protocols", "TLSv1"),
        ("nginx.ingress.kubernetes.io/proxy-ssl-server-name", "yes"),
    ] {
        let reading = read_all(&[PROTOCOL, (key, value)]);
        assert_eq!((reading.closed, reading.diagnostics.len()), (None, 1), "{key}: {value}");
        assert_eq!(
            (reading.patch.upstream_tls.sni, reading.patch.upstream_tls.versions),
            (Some(false), None)
        );
    }
    let reading =
        read_all(&[("longhaul.dev/upstream-protocol", "http"), ("longhaul.dev/upstream-ca-secret", "ca")]);
    assert!(reading.diagnostics[0].message.contains("have no effect"), "{reading:?}");
}

#[test]
fn a_wsroute_says_the_same_as_annotations() {
    let all = [
        ("longhaul.dev/upstream-protocol", "https"),
        ("longhaul.dev/upstream-ca-secret", "ca"),
        ("longhaul.dev/upstream-server-name", "chat.internal"),
        ("longhaul.dev/upstream-client-secret", "client"),
    ];
    for (annotations, yaml) in [
        (
            &all[..],
            "upstreamTLS: {enabled: true, caSecretName: ca, serverName: chat.internal, clientSecretName: client}",
        ),
        (&all[1..], "upstreamTLS: {caSecretName: ca, serverName: chat.internal, clientSecretName: client}"),
        (&all[..1], "upstreamTLS: {enabled: true}"),
        (&[("longhaul.dev/upstream-protocol", "http")], "upstreamTLS: {enabled: false}"),
    ] {
        let policy: Policy = serde_yaml::from_str(yaml).unwrap();
        let (said, diagnostics) = policy.read(&ObjectRef::new("WsRoute", "default", "chat"), "spec.policy");
        assert_eq!(diagnostics, [], "{yaml}");
        let (ours, theirs) = (patch(annotations), said.upstream_tls);
        let names =
            |patch: &UpstreamTlsPatch| patch.secrets().map(|secret| secret.name.clone()).collect::<Vec<_>>();
        assert_eq!(ours.spoken(), theirs.spoken(), "{yaml}");
        assert_eq!(names(&ours), names(&theirs), "{yaml}");
        assert_eq!(ours.server_name, theirs.server_name, "{yaml}");
        if ours.spoken() == Some(Protocol::Https) {
            assert_eq!((ours.verify, ours.sni), (theirs.verify, theirs.sni), "{yaml}");
        }
    }
    for yaml in ["upstreamTLS: {caSecretName: A_b}", "upstreamTLS: {serverName: 'a:80'}"] {
        let policy: Policy = serde_yaml::from_str(yaml).unwrap();
        let (said, diagnostics) = policy.read(&ObjectRef::new("WsRoute", "default", "chat"), "spec.policy");
        assert!(said.upstream_tls.unusable.is_some(), "{yaml}");
        assert_eq!(diagnostics[0].severity, Severity::Error, "{yaml}");
    }
}
