//! Who comes in where.

use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::Target;
use e2e::objects::Ingress;
use e2e::wire::{field, handshake};
use e2e::world::World;

use super::*;

#[tokio::test]
async fn hosts_let_in_whom_their_authorities_signed() {
    let clients = Clients::new();
    let (world, _backend) = world(&clients).await;
    let good = clients.device("ann");
    let wrong = clients.others.issue_user("eve", None).unwrap();
    let expired = clients.devices.issue_expired_user("old").unwrap();
    let between = clients.devices.intermediate("between").unwrap();
    let far = between.issue_user("far", None).unwrap();
    let mut odd = Vec::new();
    for versions in [V1_2, V1_3] {
        for (host, proof, wanted) in [
            (REQUIRED, Some(good.proof(&[])), "200"),
            (REQUIRED, None, "CertificateRequired"),
            (REQUIRED, Some(wrong.proof(&[])), "UnknownCA"),
            (REQUIRED, Some(expired.proof(&[])), "CertificateExpired"),
            (REQUIRED, Some(far.proof(&[&between])), "200"),
            (REQUIRED, Some(far.proof(&[])), "UnknownCA"),
            (OPTIONAL, Some(good.proof(&[])), "200"),
            (OPTIONAL, None, "200"),
            (OPTIONAL, Some(wrong.proof(&[])), "UnknownCA"),
            (OPTIONAL, Some(expired.proof(&[])), "CertificateExpired"),
            (OTHER, Some(good.proof(&[])), "UnknownCA"),
            (OTHER, Some(wrong.proof(&[])), "200"),
            // Nobody asks, so nobody looks.
            (OPEN, Some(wrong.proof(&[])), "200"),
            (OPEN, None, "200"),
        ] {
            let got = page(&world, host, &client(&world, versions, proof)).await;
            if !got.contains(wanted) {
                odd.push(format!("{host} {versions:?}: {wanted} wanted, got {got}"));
            }
        }
    }
    assert!(odd.is_empty(), "{}", odd.join("\n"));
}

#[tokio::test]
async fn a_connection_serves_hosts_that_ask_for_the_same() {
    let clients = Clients::new();
    let (world, backend) = world(&clients).await;
    let config = client(&world, V1_3, Some(clients.device("ann").proof(&[])));
    for (name, host, status) in [
        (OPEN, REQUIRED, 421),
        (OPTIONAL, REQUIRED, 421),
        (REQUIRED, OTHER, 421),
        (REQUIRED, OPEN, 421),
        (REQUIRED, OPTIONAL, 421),
        (REQUIRED, ALSO, 200),
        (OPEN, OPEN, 200),
    ] {
        let mut wire = connect(&world, name, &config).await.unwrap();
        let got = ask(&mut wire, host, "").await.unwrap();
        assert_eq!(got.status, status, "{name} {host}");
        if status == 421 {
            assert_eq!(field(&got.head, "proxy-status"), Some("longhaul; error=http_request_error"));
            assert_eq!(field(&got.head, "connection"), Some("close"));
            let mut wire = connect(&world, name, &config).await.unwrap();
            wire.send(handshake(host, "/page", "")).await.unwrap();
            assert_eq!(Got::read(&mut wire).await.unwrap().status, 421, "{name} {host}");
        }
    }
    assert_eq!(backend.text().matches("GET /whoami").count(), 2);
}

#[tokio::test]
async fn without_tls_nobody_comes_in_who_must_have_a_certificate() {
    let clients = Clients::new();
    let (plan, _backend) = plan(&clients).await;
    let challenges = Ingress::new("solver", REQUIRED)
        .path("/.well-known/acme-challenge/token", "backend")
        .annotation("longhaul.dev/ssl-redirect", "false");
    let world = plan.file("solver.yaml", challenges.yaml()).start().await.unwrap();
    for (host, path, status) in [
        (REQUIRED, "/", 403),
        (REQUIRED, "/.well-known/acme-challenge/other", 403),
        (REQUIRED, "/.well-known/acme-challenge/token", 200),
        (OPTIONAL, "/", 200),
        (OPEN, "/", 200),
    ] {
        let got = world.plain(host).unwrap().get(path).await.unwrap();
        assert_eq!(got.status, status, "{host} {path}");
    }
    let got = world.plain(REQUIRED).unwrap().get("/").await.unwrap();
    assert_eq!(field(&got.head, "proxy-status"), Some("longhaul; error=http_request_denied"));
}

#[tokio::test]
async fn backends_are_told_the_truth_by_nobody_but_longhaul() {
    const LIES: &str = "Client-Cert: :AAAA:\r\nclient_cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n\
                        Client-Cert-Subject: CN=root\r\nssl-client-verify: SUCCESS\r\nSSL_Client_Verify: SUCCESS\r\n\
                        ssl-client-cert: x\r\nssl-client-subject-dn: CN=root\r\nssl-client-issuer-dn: CN=root\r\n";
    let clients = Clients::new();
    let (world, backend) = world(&clients).await;
    let ann = clients.device("ann");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, ann.der());
    let with = client(&world, V1_3, Some(ann.proof(&[])));
    let without = client(&world, V1_3, None);
    let https = world.proxy().unwrap().https();
    for (target, told) in [
        (Target::tls(https, REQUIRED, with.clone()), true),
        (Target::tls(https, OPTIONAL, with.clone()), true),
        (Target::tls(https, OPTIONAL, without.clone()), false),
        (Target::tls(https, OPEN, with), false),
        (Target::tls(https, OPEN, without), false),
        (world.plain(OPEN).unwrap(), false),
        (world.plain(OPTIONAL).unwrap(), false),
    ] {
        let (page, shake) = (ASKED.fetch_add(1, Ordering::Relaxed), ASKED.fetch_add(1, Ordering::Relaxed));
        assert_eq!(target.request("GET", &format!("/?{page}"), LIES, b"").await.unwrap().status, 200);
        let mut wire = target.wire().await.unwrap();
        wire.send(handshake(target.host(), &format!("/?{shake}"), LIES)).await.unwrap();
        assert_eq!(Got::read(&mut wire).await.unwrap().status, 200, "the recorder opens no WebSocket");
        let heads = seen(&backend);
        for seen in [&heads[&page], &heads[&shake]] {
            let certificate = told.then(|| format!(":{encoded}:"));
            assert_eq!(field(seen, "client-cert"), certificate.as_deref(), "{seen}");
            let subject = told.then_some("O=Devices,CN=ann");
            assert_eq!(field(seen, "client-cert-subject"), subject, "{seen}");
            for lie in ["AAAA", "root", "ssl-client", "SSL_Client", "client_cert", "Client-Cert-Chain"] {
                assert!(!seen.contains(lie), "{lie}: {seen}");
            }
        }
    }
}

/// One object's hosts are another's, too: who is older decides, and nobody is let in by that.
#[tokio::test]
async fn a_younger_object_neither_loosens_nor_trusts() {
    let clients = Clients::new();
    let backend = Recorder::start(Answer::ok("hello")).await.unwrap();
    let aged = |name: &str, year: u16, path: &str, client_certificate: &str| {
        route("shared.test", "pair", client_certificate)
            .replace(
                "{name: shared-test}",
                &format!("{{name: {name}, creationTimestamp: \"{year}-01-01T00:00:00Z\"}}"),
            )
            .replace("name: all,", &format!("name: all, matches: [{{path: {{value: {path}}}}}],"))
    };
    let authority = Authority::new().unwrap();
    let files = [
        e2e::objects::backend("backend", &[backend.address()]),
        authority.issue(&["shared.test"]).unwrap().secret("default", "pair"),
        authorities("devices", &clients.devices.pem(), None),
        authorities("others", &clients.others.pem(), None),
    ];
    let plan = World::plan().authority(authority).file("objects.yaml", files.join("---\n"));
    let plan = plan.file("old.yaml", aged("old", 2024, "/old", &asks("devices", "Optional")));
    let plan = plan.file("lax.yaml", aged("lax", 2025, "/lax", ""));
    let plan = plan.file("same.yaml", aged("same", 2025, "/same", &asks("devices", "Optional")));
    let plan = plan.file("strict.yaml", aged("strict", 2025, "/strict", &asks("devices", "Required")));
    let mut world = plan
        .file("foreign.yaml", aged("foreign", 2025, "/foreign", &asks("others", "Optional")))
        .start()
        .await
        .unwrap();
    let ann = clients.device("ann");
    let statuses = async |world: &World| {
        let (with, mut found) = (target(world, "shared.test", &ann), Vec::new());
        for path in ["/old", "/lax", "/same", "/strict", "/foreign"] {
            found.push(with.get(path).await.unwrap().status);
        }
        found
    };
    assert_eq!(statuses(&world).await, [200, 200, 200, 503, 503]);
    let report = world.controller().unwrap().api("/api/objects").await.unwrap().to_string();
    assert!(
        report.contains("host shared.test: client certificates are asked for that the host's TLS"),
        "{report}"
    );

    // Where the oldest asks for more, what is asked for less is as safe.
    world.edit("old.yaml", "Optional", "Required").await.unwrap();
    assert_eq!(statuses(&world).await, [200, 200, 200, 200, 503]);
    assert!(page(&world, "shared.test", &client(&world, V1_3, None)).await.contains("CertificateRequired"));

    world.edit("old.yaml", ", clientCertificate: {caSecretName: devices, mode: Required}", "").await.unwrap();
    assert_eq!(statuses(&world).await, [200, 200, 503, 503, 503]);
}
