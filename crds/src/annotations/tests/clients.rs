//! Client certificates: keys that mean something together.

use super::*;
use crate::policy::clients::{ClientCertificates, ClientMode, ClientsPatch, Passed};

const OURS: (&str, &str) = ("longhaul.dev/client-ca-secret", "devices");
const OPTIONAL: (&str, &str) = ("longhaul.dev/client-certificate", "optional");
const THEIRS: (&str, &str) = ("nginx.ingress.kubernetes.io/auth-tls-secret", "default/theirs");
const VERIFY: &str = "nginx.ingress.kubernetes.io/auth-tls-verify-client";
const DEPTH: &str = "nginx.ingress.kubernetes.io/auth-tls-verify-depth";
const NAME: &str = "nginx.ingress.kubernetes.io/auth-tls-match-cn";
const PASS: &str = "nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream";

fn ours(mode: ClientMode) -> ClientCertificates {
    ClientCertificates {
        secret: "devices".into(),
        mode,
        depth: None,
        common_name: None,
        passed: Passed::Own,
        field: format!("metadata.annotations[{}]", OURS.0),
    }
}

fn theirs(mode: ClientMode) -> ClientCertificates {
    ClientCertificates {
        secret: "theirs".into(),
        depth: Some(1),
        passed: Passed::Nginx,
        field: format!("metadata.annotations[{}]", THEIRS.0),
        ..ours(mode)
    }
}

#[test]
fn certificates_of_both_families() {
    let required = theirs(ClientMode::Required);
    for (annotations, wanted) in [
        (&[OURS][..], Some(ours(ClientMode::Required))),
        (&[OURS, OPTIONAL], Some(ours(ClientMode::Optional))),
        (&[OURS, THEIRS, (NAME, "CN=x"), (DEPTH, "3")], Some(ours(ClientMode::Required))),
        (&[THEIRS], Some(required.clone())),
        (&[THEIRS, (VERIFY, "on"), (DEPTH, "0"), (PASS, "false")], Some(required.clone())),
        (&[THEIRS, (VERIFY, "optional")], Some(theirs(ClientMode::Optional))),
        (&[THEIRS, (VERIFY, "optional_no_ca")], Some(theirs(ClientMode::Unverified))),
        (&[THEIRS, (VERIFY, "off")], None),
        (&[THEIRS, (DEPTH, "12")], Some(ClientCertificates { depth: Some(12), ..required.clone() })),
        (
            &[THEIRS, (NAME, "CN=a{1,2}"), (PASS, "t")],
            Some(ClientCertificates {
                common_name: Some("CN=a{1,2}".into()),
                passed: Passed::NginxWithCertificate,
                ..required
            }),
        ),
        // Nobody asks, so nothing is missing.
        (&[(VERIFY, "off"), (PASS, "true"), (DEPTH, "1")], None),
    ] {
        let reading = read_all(annotations);
        let wanted = wanted.map(ClientsPatch::Asked);
        assert_eq!(
            (reading.patch.ingress.client_certificates, reading.closed),
            (wanted, None),
            "{annotations:?}"
        );
        assert_eq!(reading.diagnostics, [], "{annotations:?}");
    }
}

#[test]
fn what_cannot_be_asked_closes() {
    for (annotations, said) in [
        (&[OPTIONAL][..], "says nothing without longhaul.dev/client-ca-secret"),
        (&[(OURS.0, "A b")], "is no name of a Secret"),
        (&[OURS, (OPTIONAL.0, "true")], "does not say who must have a certificate"),
        (&[(THEIRS.0, "theirs")], "is no Secret with its namespace"),
        (&[(THEIRS.0, "a/b/c")], "is no Secret with its namespace"),
        (&[(THEIRS.0, "another/theirs")], "is in another namespace"),
        (&[THEIRS, (VERIFY, "On")], "does not say who must have a certificate"),
        (&[THEIRS, (DEPTH, "1000")], "is no number of certificates"),
        (&[THEIRS, (DEPTH, "+1")], "is no number of certificates"),
        (&[THEIRS, (NAME, "OU=x")], "is no common name"),
        (&[THEIRS, (NAME, "CN=x, OU=y")], "is no common name"),
        (&[THEIRS, (PASS, "on")], "is not a boolean"),
        (&[(VERIFY, "optional")], "says nothing without nginx.ingress.kubernetes.io/auth-tls-secret"),
        (&[(NAME, "CN=x")], "says nothing without nginx.ingress.kubernetes.io/auth-tls-secret"),
        (&[THEIRS, (NAME, "CN=x"), (VERIFY, "off")], "so that none is asked for a certificate"),
    ] {
        let reading = read_all(annotations);
        let unreadable =
            matches!(reading.patch.ingress.client_certificates, Some(ClientsPatch::Unreadable(_)));
        assert!(unreadable && reading.closed.is_some(), "{annotations:?}");
        let [diagnostic] = &reading.diagnostics[..] else { panic!("{:?}", reading.diagnostics) };
        assert_eq!(diagnostic.severity, Severity::Error);
        assert!(diagnostic.message.contains(said), "{annotations:?}: {}", diagnostic.message);
    }
}
