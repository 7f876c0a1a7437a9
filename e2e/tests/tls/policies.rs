//! Versions, cipher suites, ALPN, and sessions that are taken up again under the policy they began under only.

use std::sync::Arc;

use e2e::certificate::Authority;
use e2e::foreign::{Foreign, Tool};
use e2e::world::World;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, ProtocolVersion, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HOST, any_client, client, connect, refused, route, world};

const V1_2: &[&SupportedProtocolVersion] = &[&version::TLS12];
const V1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];
const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// What a client gets: the version and the suite, or words of the alert.
type Wanted = Result<(ProtocolVersion, CipherSuite), &'static str>;

const VERSION: Wanted = Err("ProtocolVersion");
const NOTHING_COMMON: Wanted = Err("HandshakeFailure");

const fn tls_1_2(suite: CipherSuite) -> (ProtocolVersion, CipherSuite) {
    (ProtocolVersion::TLSv1_2, suite)
}

const fn tls_1_3(suite: CipherSuite) -> (ProtocolVersion, CipherSuite) {
    (ProtocolVersion::TLSv1_3, suite)
}

/// Host, versions and suites of the client in its order (none: all of rustls' own), what it gets.
fn rows() -> Vec<(&'static str, &'static [&'static SupportedProtocolVersion], Vec<CipherSuite>, Wanted)> {
    use CipherSuite as C;
    let (aes_128, chacha) = (C::TLS13_AES_128_GCM_SHA256, C::TLS13_CHACHA20_POLY1305_SHA256);
    let (old_128, old_256, old_chacha) = (
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    );
    let best = Ok(tls_1_3(C::TLS13_AES_256_GCM_SHA384));
    vec![
        // No list: the client's order counts.
        (HOST, BOTH, vec![], best),
        (HOST, V1_2, vec![], Ok(tls_1_2(old_256))),
        (HOST, BOTH, vec![chacha, aes_128], Ok(tls_1_3(chacha))),
        (HOST, BOTH, vec![aes_128, chacha], Ok(tls_1_3(aes_128))),
        (HOST, V1_2, vec![old_chacha, old_256], Ok(tls_1_2(old_chacha))),
        // The certificate's key is no RSA key.
        (HOST, V1_2, vec![C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], NOTHING_COMMON),
        // The lowest version.
        ("strict.test", BOTH, vec![], best),
        ("strict.test", V1_3, vec![chacha], Ok(tls_1_3(chacha))),
        ("strict.test", V1_2, vec![], VERSION),
        // One suite of TLS 1.3 leaves nothing of TLS 1.2.
        ("one.test", BOTH, vec![], best),
        ("one.test", V1_3, vec![chacha, aes_128], NOTHING_COMMON),
        ("one.test", V1_2, vec![], VERSION),
        // Suites of TLS 1.2 leave nothing of TLS 1.3, and their order is the proxy's.
        ("old.test", BOTH, vec![], Ok(tls_1_2(old_chacha))),
        ("old.test", V1_2, vec![old_128, old_chacha], Ok(tls_1_2(old_chacha))),
        ("old.test", V1_2, vec![old_256, old_128], Ok(tls_1_2(old_128))),
        ("old.test", V1_2, vec![old_256], NOTHING_COMMON),
        ("old.test", V1_3, vec![], VERSION),
        // One of each.
        ("both.test", BOTH, vec![], Ok(tls_1_3(chacha))),
        ("both.test", V1_3, vec![aes_128], NOTHING_COMMON),
        ("both.test", V1_2, vec![], Ok(tls_1_2(old_256))),
        ("both.test", V1_2, vec![old_128, old_chacha], NOTHING_COMMON),
    ]
}

fn provider(suites: &[CipherSuite]) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        let all = aws_lc_rs::ALL_CIPHER_SUITES;
        let find = |wanted: &CipherSuite| *all.iter().find(|suite| suite.suite() == *wanted).unwrap();
        provider.cipher_suites = suites.iter().map(find).collect();
    }
    provider
}

#[tokio::test]
async fn every_host_has_the_versions_and_suites_it_asks_for() {
    let (world, _backend) = world().await;
    let mut wrong = Vec::new();
    for (host, versions, suites, wanted) in rows() {
        let config = client(world.authority().roots().unwrap(), provider(&suites), versions);
        let got = connect(&world, host, &Arc::new(config)).await.map(|stream| {
            let tls = stream.get_ref().1;
            (tls.protocol_version().unwrap(), tls.negotiated_cipher_suite().unwrap().suite())
        });
        let right = match (&got, wanted) {
            (Ok(got), Ok(wanted)) => *got == wanted,
            (Err(error), Err(alert)) => format!("{error:#}").contains(alert),
            _ => false,
        };
        if !right {
            wrong.push(format!("{host} {versions:?} {suites:?}: {wanted:?} wanted, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn openssl_gets_the_same() {
    if !Tool::OpenSsl.wanted_by("openssl_gets_the_same") {
        return;
    }
    let (world, _backend) = world().await;
    let address = world.proxy().unwrap().https().to_string();
    let ca = world.ca_file();
    for (host, flags, wanted) in [
        (HOST, "", "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        (HOST, "-tls1_2", "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        (HOST, "-tls1_1 -cipher ALL:@SECLEVEL=0", "alert handshake failure"),
        (HOST, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", "alert handshake failure"),
        ("strict.test", "-tls1_2", "alert protocol version"),
        ("strict.test", "", "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        ("old.test", "", "New, TLSv1.2, Cipher is ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("old.test", "-tls1_3", "alert protocol version"),
        ("both.test", "-ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20"),
    ] {
        let mut arguments = vec!["-connect", &address, "-servername", host, "-verify_return_error"];
        arguments.extend(["-verify_hostname", host, "-CAfile", ca.to_str().unwrap()]);
        arguments.extend(flags.split_whitespace());
        let said = Foreign::openssl_client(&arguments).await.unwrap();
        assert!(said.contains(wanted), "{host} {flags}: {wanted} wanted\n{said}");
    }
}

/// nginx.ingress.kubernetes.io/ssl-ciphers, by OpenSSL's names.
#[tokio::test]
async fn suites_may_be_named_as_openssl_names_them() {
    const KEY: &str = "nginx.ingress.kubernetes.io/ssl-ciphers";
    let (mut world, _backend) = world().await;
    let site = |ciphers: &str| {
        let ingress = e2e::objects::Ingress::new("site", HOST).path("/", "backend").tls("site-tls");
        ingress.annotation(KEY, ciphers).yaml()
    };
    let chosen = async |world: &World, versions: &[&'static SupportedProtocolVersion]| {
        let config = client(world.authority().roots().unwrap(), provider(&[]), versions);
        let stream = connect(world, HOST, &Arc::new(config)).await.unwrap();
        stream.get_ref().1.negotiated_cipher_suite().unwrap().suite()
    };
    let newest = CipherSuite::TLS13_AES_256_GCM_SHA384;
    for (ciphers, wanted, said) in [
        ("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384", "CHACHA20_POLY1305_SHA256", false),
        ("ECDHE-ECDSA-AES128-GCM-SHA256,DHE-RSA-AES256-SHA:!aNULL", "AES_128_GCM_SHA256", true),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:!ECDHE-ECDSA-AES128-GCM-SHA256",
            "CHACHA20_POLY1305_SHA256",
            false,
        ),
        // Nothing that is served: the default is.
        ("HIGH:!aNULL", "AES_256_GCM_SHA384", true),
    ] {
        world.write("site.yaml", &site(ciphers)).await.unwrap();
        let found = format!("{:?}", chosen(&world, V1_2).await);
        assert_eq!(found, format!("TLS_ECDHE_ECDSA_WITH_{wanted}"), "{ciphers}");
        assert_eq!(chosen(&world, V1_3).await, newest, "TLS 1.3 stays as it is: {ciphers}");
        let all = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
        assert_eq!(all.contains(KEY), said, "{ciphers}: {all}");
    }
}

#[tokio::test]
async fn http_1_1_is_all_that_alpn_chooses() {
    let (world, _backend) = world().await;
    for (offered, chosen) in [
        (&[][..], Ok(None)),
        (&["http/1.1"], Ok(Some("http/1.1"))),
        (&["h2", "http/1.1"], Ok(Some("http/1.1"))),
        // RFC 7301 §3.2: with nothing in common there is no connection.
        (&["h2"], Err("NoApplicationProtocol")),
        (&["http/1.0", "a protocol of tomorrow"], Err("NoApplicationProtocol")),
    ] {
        let mut config = any_client(&world);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        match (connect(&world, HOST, &Arc::new(config)).await, chosen) {
            (Ok(stream), Ok(chosen)) => {
                assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
            }
            (got, Err(alert)) => {
                let error = refused(got);
                assert!(error.contains(alert), "{offered:?}: {error}");
            }
            (Err(error), Ok(_)) => panic!("{offered:?}: {error:#}"),
        }
    }
}

/// Shakes hands, asks for a page (tickets of TLS 1.3 come behind the handshake), and leaves.
async fn session(world: &World, host: &str, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut stream = connect(world, host, config).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    kind
}

#[tokio::test]
async fn a_session_is_taken_up_again_under_its_own_policy_only() {
    for versions in [V1_2, V1_3] {
        let (mut world, _backend) = world().await;
        let config = client(world.authority().roots().unwrap(), aws_lc_rs::default_provider(), versions);
        let config = Arc::new(config);
        assert_eq!(session(&world, HOST, &config).await, HandshakeKind::Full, "{versions:?}");
        assert_eq!(session(&world, HOST, &config).await, HandshakeKind::Resumed, "{versions:?}");

        // Other tables and another certificate: the keys of tickets stay as they are.
        let another = world.authority().issue(&[HOST]).unwrap();
        world.write("secret.yaml", &another.secret("default", "site-tls")).await.unwrap();
        assert_eq!(world.tls(HOST).unwrap().certificate().await.unwrap(), *another.der());
        assert_eq!(session(&world, HOST, &config).await, HandshakeKind::Resumed, "{versions:?}");

        // The same host under another policy, although it allows all that the one before did.
        let suites = [
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ];
        let ingress = std::fs::read_to_string(world.objects().join("site.yaml")).unwrap();
        world.write("site.yaml", &route("site-tls", HOST, "1.2", &suites)).await.unwrap();
        assert_eq!(session(&world, HOST, &config).await, HandshakeKind::Full, "{versions:?}");
        assert_eq!(session(&world, HOST, &config).await, HandshakeKind::Resumed, "{versions:?}");
        world.write("site.yaml", &ingress).await.unwrap();
        assert_eq!(session(&world, HOST, &config).await, HandshakeKind::Full, "{versions:?}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_served_for_want_of_a_better_one_and_said() {
    let authority = Authority::new().unwrap();
    let expired = authority.issue_expired(&[HOST]).unwrap();
    let good = authority.issue(&[HOST]).unwrap();
    let ingress = e2e::objects::Ingress::new("site", HOST).path("/", "backend").tls("site-tls");
    let plan = World::plan().authority(authority);
    let plan = plan.file("site.yaml", ingress.yaml()).file("backend.yaml", e2e::objects::service("backend"));
    let plan = plan.file("secret.yaml", expired.secret("default", "site-tls"));
    let mut world = plan.start().await.unwrap();
    let error = refused(world.tls(HOST).unwrap().certificate().await);
    assert!(error.contains("expired"), "what is served has expired: {error}");
    let gauge = "longhaul_certificates_expired";
    assert_eq!(world.proxy().unwrap().metrics().await.unwrap().count(gauge, &[]).unwrap(), 1);
    let said = world.controller().unwrap().api("/api/objects").await.unwrap().to_string();
    assert!(said.contains("expired"), "{said}");

    world.write("secret.yaml", &good.secret("default", "site-tls")).await.unwrap();
    assert_eq!(world.tls(HOST).unwrap().certificate().await.unwrap(), *good.der());
    assert_eq!(world.proxy().unwrap().metrics().await.unwrap().count(gauge, &[]).unwrap(), 0);
    // A better one is not given up for one that has expired.
    world.write("secret.yaml", &expired.secret("default", "site-tls")).await.unwrap();
    assert_eq!(world.tls(HOST).unwrap().certificate().await.unwrap(), *good.der());
}
