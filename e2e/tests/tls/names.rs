//! Server names as clients send them, and the certificate that each gets.

use e2e::foreign::{Foreign, Tool};

use super::{HOST, plan};

/// The name that is sent (none: `-noservername`), and the name in the certificate, or words of the alert.
const NAMES: [(Option<&str>, Result<&str, &str>); 14] = [
    (Some(HOST), Ok(HOST)),
    (Some("APP.Test"), Ok(HOST)),
    (Some("app.test."), Ok(HOST)),
    (Some("a.wild.test"), Ok("*.wild.test")),
    (Some("A.WILD.TEST."), Ok("*.wild.test")),
    (Some("under_score.wild.test"), Ok("*.wild.test")),
    (Some("wild.test"), Ok("fallback.test")),
    (Some("a.b.wild.test"), Ok("fallback.test")),
    (Some("unknown.test"), Ok("fallback.test")),
    // RFC 6066 §3 forbids addresses; they count as no name.
    (Some("127.0.0.1"), Ok("fallback.test")),
    (Some("::1"), Ok("fallback.test")),
    (None, Ok("fallback.test")),
    (Some("a..wild.test"), Err("alert illegal parameter")),
    (Some("a b.wild.test"), Err("alert illegal parameter")),
];

async fn said(address: &str, name: Option<&str>) -> String {
    let flags = name.map_or_else(|| vec!["-noservername"], |name| vec!["-servername", name]);
    Foreign::openssl_client(&[&["-connect", address], &flags[..]].concat()).await.unwrap()
}

#[tokio::test]
async fn a_name_gets_its_certificate_however_it_is_written() {
    if !Tool::OpenSsl.wanted_by("a_name_gets_its_certificate_however_it_is_written") {
        return;
    }
    let (plan, _backend) = plan().await;
    let world = plan.controller_flags(&["--default-tls-secret", "default/fallback"]).start().await;
    let mut world = world.unwrap();
    let address = world.proxy().unwrap().https().to_string();
    // Without a default certificate a name that nobody has is refused, and so is none.
    for name in [Some("unknown.test"), Some("127.0.0.1"), None] {
        let said = said(&address, name).await;
        assert!(
            said.contains("alert unrecognized name") || said.contains("alert number 112"),
            "{name:?}: {said}"
        );
    }
    let fallback = world.authority().issue(&["fallback.test"]).unwrap().secret("default", "fallback");
    world.write("fallback.yaml", &fallback).await.unwrap();
    let mut wrong = Vec::new();
    for (name, wanted) in NAMES {
        let said = said(&address, name).await;
        let right = match wanted {
            Ok(subject) => said.contains(&format!("subject=CN = {subject}\n")),
            Err(alert) => said.contains(alert),
        };
        if !right {
            wrong.push(format!("{name:?}: {wanted:?} wanted, openssl says\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
