//! TLS to backends at the level of one connection: whom it believes, what it resumes, what it holds.

use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use snapshot::{ClientPair, PrivateKey};
use tikv_jemalloc_ctl::thread::{allocatedp, deallocatedp};
use tokio::net::TcpListener;

use super::*;

const NAME: &str = "chat.default.svc";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A certificate and its key, in DER.
#[derive(Clone)]
struct Pair(CertificateDer<'static>, Vec<u8>);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Pair(params.signed_by(&key, &self.0).unwrap().der().clone(), key.serialize_der())
    }
}

/// As `openssl req -x509` makes it.
fn self_signed(name: &str, year: i32) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(year, 1, 1);
    Pair(params.self_signed(&key).unwrap().der().clone(), key.serialize_der())
}

/// A server that shows this certificate, and may ask for one of this authority.
fn server(pair: &Pair, asks: Option<&Authority>) -> Arc<ServerConfig> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match asks {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(&pair.1[..]).unwrap().clone_key();
    Arc::new(builder.with_single_cert(vec![pair.0.clone()], key).unwrap())
}

fn tls(verify: Verify) -> snapshot::UpstreamTls {
    snapshot::UpstreamTls {
        to: SecuredUpstreams::All,
        verify,
        server_name: None,
        sni: Sni::Sent,
        versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
        client: None,
    }
}

fn by(certificates: &[&CertificateDer<'_>]) -> Verify {
    Verify::By(certificates.iter().map(|der| bytes::Bytes::copy_from_slice(der)).collect())
}

fn secured(tls: &snapshot::UpstreamTls) -> Secured {
    let upstream = UpstreamId::endpoints("default", "chat", "ws");
    Policies::new(provider()).of(tls).unwrap().to(&upstream, false).unwrap()
}

/// The two ends of a handshake: how each of them took it.
async fn shake(
    secured: &Secured,
    server: &Arc<ServerConfig>,
) -> (Result<Leg, HandshakeError>, Result<Leg, HandshakeError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let far = listener.accept().await.unwrap().0;
    let mut ahead = BytesMut::new();
    let accepting = TlsLeg::accept(far, server.clone(), Vec::new(), &mut ahead);
    let (near, far) = tokio::join!(secured.connect(near), accepting);
    (near, far.map(Leg::Tls))
}

/// What comes of a handshake, after the first bytes of each: in TLS 1.3 a server looks at the client's certificate last.
async fn met(secured: &Secured, server: &Arc<ServerConfig>) -> Result<(), String> {
    let (near, far) = shake(secured, server).await;
    let mut near = near.map_err(|error| error.to_string())?;
    let mut got = BytesMut::new();
    if let Ok(mut far) = far {
        near.write_all(b"ping").await.unwrap();
        far.append(&mut got, usize::MAX).await.unwrap();
        far.write_all(&got.split()).await.unwrap();
    }
    match near.append(&mut got, usize::MAX).await {
        Ok(_) if &*got == b"ping" => Ok(()),
        Ok(_) => Err("it left".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn a_server_must_prove_whom_it_is_asked_to_be() {
    let (ours, others) = (Authority::new(), Authority::new());
    let (right, wrong) = (ours.issue(NAME), ours.issue("other.default.svc"));
    let (alone, old) = (self_signed(NAME, 2999), self_signed(NAME, 2001));
    let misnamed = self_signed("other.default.svc", 2999);
    let ours = ours.der();
    for (verify, shown, refused) in [
        (by(&[&ours]), &right, None),
        (by(&[&others.der(), &ours]), &right, None),
        (by(&[&ours]), &wrong, Some("not valid for name")),
        (by(&[&others.der()]), &right, Some("invalid peer certificate")),
        (Verify::Public, &right, Some("UnknownIssuer")),
        (by(&[&ours]), &alone, Some("invalid peer certificate")),
        // The very certificate is named.
        (by(&[&alone.0]), &alone, None),
        (by(&[&old.0]), &old, Some("expired")),
        (by(&[&misnamed.0]), &misnamed, Some("not valid for name")),
        (Verify::Nothing, &right, None),
        (Verify::Nothing, &wrong, None),
        (Verify::Nothing, &old, None),
    ] {
        for versions in [&[TlsVersion::V1_2][..], &[TlsVersion::V1_3], &[TlsVersion::V1_2, TlsVersion::V1_3]]
        {
            let tls = snapshot::UpstreamTls { versions: versions.to_vec(), ..tls(verify.clone()) };
            let met = met(&secured(&tls), &server(shown, None)).await;
            match refused {
                None => assert_eq!(met, Ok(()), "{verify:?}"),
                Some(why) => {
                    let said = met.expect_err("it proves nothing");
                    assert!(said.contains(why), "{verify:?}: {said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn we_prove_ourselves_where_a_server_asks() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = server(&servers.issue(NAME), Some(&clients));
    let mut tls = tls(by(&[&servers.der()]));
    let pair = |Pair(certificate, key): Pair| ClientPair {
        chain: vec![bytes::Bytes::copy_from_slice(&certificate)],
        key: PrivateKey::new(&key),
    };
    for versions in [vec![TlsVersion::V1_2], vec![TlsVersion::V1_3]] {
        tls.versions = versions;
        tls.client = None;
        let said = met(&secured(&tls), &server).await.expect_err("it asks for a certificate");
        assert!(said.contains("fatal alert"), "{said}");
        tls.client = Some(pair(servers.issue("longhaul")));
        assert!(met(&secured(&tls), &server).await.is_err(), "another authority's");
        tls.client = Some(pair(clients.issue("longhaul")));
        assert_eq!(met(&secured(&tls), &server).await, Ok(()));
    }
    // Somebody else's key.
    let odd = ClientPair { key: PrivateKey::new(&clients.issue("b").1), ..pair(clients.issue("a")) };
    let tls = snapshot::UpstreamTls { client: Some(odd), ..tls };
    let said = Policies::new(provider()).of(&tls).expect_err("the key is another's");
    assert!(said.contains("client certificate"), "{said}");
}

#[tokio::test]
async fn sessions_are_resumed_within_a_policy_and_never_across() {
    let authority = Authority::new();
    let server = server(&authority.issue(NAME), None);
    let resumed = async |secured: &Secured| {
        let (near, far) = shake(secured, &server).await;
        let (Ok(mut near), Ok(Leg::Tls(far))) = (near, far) else { panic!("the two agree") };
        let resumed = far.session().1;
        // Tickets come with the first bytes.
        Leg::Tls(far).write_all(b"ping").await.unwrap();
        near.append(&mut BytesMut::new(), usize::MAX).await.unwrap();
        resumed
    };
    let mut policies = Policies::new(provider());
    let upstream = UpstreamId::endpoints("default", "chat", "ws");
    let mut secured = |verify: Verify| policies.of(&tls(verify)).unwrap().to(&upstream, false).unwrap();
    let lax = secured(Verify::Nothing);
    assert!(!resumed(&lax).await);
    assert!(resumed(&lax).await);
    let strict = secured(by(&[&authority.der()]));
    assert!(!resumed(&strict).await, "a session that was not verified proves nothing");
    assert!(resumed(&strict).await);
    assert!(resumed(&secured(Verify::Nothing)).await, "found again");
}

#[test]
fn a_policy_is_one_for_all_who_ask_for_the_same() {
    let (one, other) = (Authority::new().der(), Authority::new().der());
    let upstream = UpstreamId::endpoints("default", "chat", "ws");
    let mut policies = Policies::new(provider());
    let mut likeness = |tls: &snapshot::UpstreamTls| {
        let made = policies.of(tls).unwrap();
        (made.to(&upstream, false).unwrap().likeness(), made)
    };
    let base = tls(by(&[&one]));
    let (first, first_config) = likeness(&base);
    let only = SecuredUpstreams::Only(vec![upstream.clone()]);
    assert_eq!(likeness(&snapshot::UpstreamTls { to: only, ..base.clone() }).0, first);
    let named = snapshot::UpstreamTls { server_name: Some("a.test".into()), ..base.clone() };
    let (named, _) = likeness(&named);
    assert_eq!((named.0, named.1 == first.1), (first.0, false), "another server");
    for different in [
        tls(by(&[&other])),
        tls(by(&[&one, &other])),
        tls(Verify::Public),
        tls(Verify::Nothing),
        snapshot::UpstreamTls { sni: Sni::Omitted, ..base.clone() },
        snapshot::UpstreamTls { versions: vec![TlsVersion::V1_3], ..base.clone() },
    ] {
        assert_ne!(likeness(&different).0.0, first.0, "{different:?}");
    }
    drop(first_config);
    assert_ne!(likeness(&base).0.0, first.0, "a number is never given twice");
}

#[test]
fn tls_is_spoken_to_whom_it_is_meant_for() {
    let (chat, other) =
        (UpstreamId::endpoints("default", "chat", "ws"), UpstreamId::endpoints("default", "other", "ws"));
    let mut policies = Policies::new(provider());
    let mut spoken = |to: SecuredUpstreams| {
        let made = policies.of(&snapshot::UpstreamTls { to, ..tls(Verify::Public) }).unwrap();
        [(&chat, true), (&chat, false), (&other, true), (&other, false)]
            .map(|(upstream, client)| made.to(upstream, client).is_some())
    };
    assert_eq!(spoken(SecuredUpstreams::All), [true; 4]);
    assert_eq!(spoken(SecuredUpstreams::AsClient), [true, false, true, false]);
    assert_eq!(spoken(SecuredUpstreams::Only(vec![chat.clone()])), [true, true, false, false]);
    let made = policies.of(&tls(Verify::Public)).unwrap();
    assert_eq!(made.to(&chat, false).unwrap().likeness().1, ServerName::try_from(NAME).unwrap());
}

#[tokio::test]
async fn an_idle_leg_holds_little() {
    let authority = Authority::new();
    let server = server(&authority.issue(NAME), None);
    let secured = secured(&tls(by(&[&authority.der()])));
    let (mut legs, rounds) = (Vec::new(), 64);
    let (allocated, freed) = (allocatedp::read().unwrap(), deallocatedp::read().unwrap());
    let held = || (allocated.get() - freed.get()).cast_signed();
    let mut before = 0;
    for round in 0..rounds + 8 {
        if round == 8 {
            // Sessions and the thread's buffers are there.
            before = held();
        }
        let (near, far) = shake(&secured, &server).await;
        let (Ok(mut near), Ok(mut far)) = (near, far) else { panic!("the two agree") };
        far.write_all(b"ping").await.unwrap();
        near.append(&mut BytesMut::new(), usize::MAX).await.unwrap();
        legs.push((near, far));
    }
    let (mut near, far): (Vec<_>, Vec<_>) = legs.drain(8..).unzip();
    drop(far);
    let each = (held() - before) / i64::from(rounds);
    println!("an idle leg to a server holds {each} bytes, its socket among them");
    assert!(each < 8 * 1024, "{each} bytes a leg");
    near.clear();
}
