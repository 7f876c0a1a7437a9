//! The same by ingress-nginx's annotations.

use e2e::objects::Ingress;
use e2e::wire::field;

use super::*;

const HOST: &str = "nginx.test";
const SECRET: (&str, &str) = ("nginx.ingress.kubernetes.io/auth-tls-secret", "default/devices");
const VERIFY: &str = "nginx.ingress.kubernetes.io/auth-tls-verify-client";
const DEPTH: &str = "nginx.ingress.kubernetes.io/auth-tls-verify-depth";
const NAME: &str = "nginx.ingress.kubernetes.io/auth-tls-match-cn";
const PASS: &str = "nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream";

fn ingress(annotations: &[(&str, &str)]) -> String {
    let ingress = Ingress::new("nginx", HOST).path("/", "backend").tls_beside_plain("nginx-pair");
    annotations.iter().fold(ingress, |ingress, (key, value)| ingress.annotation(key, value)).yaml()
}

async fn world(clients: &Clients, annotations: &[(&str, &str)]) -> (World, Recorder) {
    let (plan, backend) = plan(clients).await;
    let authority = Authority::new().unwrap();
    let plan =
        plan.file("nginx-pair.yaml", authority.issue(&[HOST]).unwrap().secret("default", "nginx-pair"));
    let plan = plan.file("nginx.yaml", ingress(annotations)).authority(authority);
    (plan.start().await.unwrap(), backend)
}

/// What the backend is told: verify, subject, issuer, and whether of the certificate in either way.
fn told(backend: &Recorder) -> (String, String, String, bool, bool) {
    let (_, seen) = seen(backend).pop_last().unwrap();
    let of = |name: &str| field(&seen, name).unwrap_or("-").to_owned();
    let pem = field(&seen, "ssl-client-cert")
        .is_some_and(|pem| pem.starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
    let own = field(&seen, "client-cert").is_some();
    (of("ssl-client-verify"), of("ssl-client-subject-dn"), of("ssl-client-issuer-dn"), pem, own)
}

fn words(
    verify: &str,
    subject: &str,
    issuer: &str,
    pem: bool,
    own: bool,
) -> (String, String, String, bool, bool) {
    (verify.into(), subject.into(), issuer.into(), pem, own)
}

/// longhaul.dev/client-ca-secret and longhaul.dev/client-certificate, in place of what ingress-nginx's say.
#[tokio::test]
async fn our_own_annotations_win() {
    let clients = Clients::new();
    let own = [
        ("longhaul.dev/client-ca-secret", "devices"),
        ("nginx.ingress.kubernetes.io/auth-tls-secret", "default/others"),
        (NAME, "CN=nobody"),
    ];
    let (mut world, backend) = world(&clients, &own).await;
    let ann = client(&world, V1_3, Some(clients.device("ann").proof(&[])));
    let none = client(&world, V1_3, None);
    assert_eq!(page(&world, HOST, &ann).await, "200");
    assert_eq!(told(&backend), words("-", "-", "-", false, true));
    assert!(page(&world, HOST, &none).await.contains("CertificateRequired"));
    let optional = [own[0], ("longhaul.dev/client-certificate", "optional")];
    world.write("nginx.yaml", &ingress(&optional)).await.unwrap();
    assert_eq!(page(&world, HOST, &none).await, "200");
}

#[tokio::test]
async fn backends_are_told_as_ingress_nginx_tells_them() {
    let clients = Clients::new();
    let (mut world, backend) = world(&clients, &[SECRET]).await;
    let ann = client(&world, V1_3, Some(clients.device("ann").proof(&[])));
    let eve = client(&world, V1_3, Some(clients.others.issue_user("eve", None).unwrap().proof(&[])));
    let none = client(&world, V1_3, None);
    let (subject, issuer) = ("O=Devices,CN=ann", "CN=Longhaul test authority");

    assert!(page(&world, HOST, &none).await.contains("CertificateRequired"));
    assert_eq!(world.plain(HOST).unwrap().get("/").await.unwrap().status, 403);
    assert_eq!(page(&world, HOST, &ann).await, "200");
    assert_eq!(told(&backend), words("SUCCESS", subject, issuer, false, false));

    world.write("nginx.yaml", &ingress(&[SECRET, (PASS, "true"), (VERIFY, "on")])).await.unwrap();
    assert_eq!(page(&world, HOST, &ann).await, "200");
    assert_eq!(told(&backend), words("SUCCESS", subject, issuer, true, true));

    world.write("nginx.yaml", &ingress(&[SECRET, (VERIFY, "optional"), (PASS, "true")])).await.unwrap();
    assert_eq!(page(&world, HOST, &none).await, "200");
    assert_eq!(told(&backend), words("NONE", "-", "-", false, false));
    assert!(page(&world, HOST, &eve).await.contains("UnknownCA"));

    world.write("nginx.yaml", &ingress(&[SECRET, (VERIFY, "optional_no_ca"), (PASS, "true")])).await.unwrap();
    assert_eq!(page(&world, HOST, &none).await, "200");
    assert_eq!(told(&backend), words("NONE", "-", "-", false, false));
    assert_eq!(page(&world, HOST, &eve).await, "200");
    let failed = "FAILED:unable to get local issuer certificate";
    assert_eq!(
        told(&backend),
        words(failed, "CN=eve", "CN=Others", true, false),
        "what nobody vouches for is not ours to tell"
    );
    assert_eq!(page(&world, HOST, &ann).await, "200");
    assert_eq!(told(&backend), words("SUCCESS", subject, issuer, true, true));

    world.write("nginx.yaml", &ingress(&[SECRET, (VERIFY, "off")])).await.unwrap();
    assert_eq!(page(&world, HOST, &none).await, "200");
    assert_eq!(told(&backend), words("-", "-", "-", false, false));
}

#[tokio::test]
async fn names_and_lengths_of_chains_are_looked_at() {
    let clients = Clients::new();
    let (mut world, _backend) = world(&clients, &[SECRET, (NAME, "CN=(ann|bob)$")]).await;
    let of =
        |world: &World, pair: &Pair, between: &[&Authority]| client(world, V1_3, Some(pair.proof(between)));
    for (name, status) in [("ann", "200"), ("bob", "200"), ("anna", "403"), ("an ann", "403")] {
        assert_eq!(page(&world, HOST, &of(&world, &clients.device(name), &[])).await, status, "{name}");
    }
    // Whoever comes without one has no name, and a name that nobody vouches for is none.
    let eve = clients.others.issue_user("ann", None).unwrap();
    world
        .write("nginx.yaml", &ingress(&[SECRET, (NAME, "CN=ann"), (VERIFY, "optional_no_ca")]))
        .await
        .unwrap();
    assert_eq!(page(&world, HOST, &client(&world, V1_3, None)).await, "403");
    assert_eq!(page(&world, HOST, &of(&world, &eve, &[])).await, "403");
    assert_eq!(world.plain(HOST).unwrap().get("/").await.unwrap().status, 403);
    assert_eq!(page(&world, HOST, &of(&world, &clients.device("ann"), &[])).await, "200");

    let first = clients.devices.intermediate("first").unwrap();
    let second = first.intermediate("second").unwrap();
    let (near, far) = (first.issue_user("near", None).unwrap(), second.issue_user("far", None).unwrap());
    for (depth, wanted) in [(None, "AccessDenied"), (Some("0"), "AccessDenied"), (Some("2"), "200")] {
        let depth = depth.map(|depth| (DEPTH, depth));
        let annotations: Vec<_> = [SECRET].into_iter().chain(depth).collect();
        world.write("nginx.yaml", &ingress(&annotations)).await.unwrap();
        assert_eq!(page(&world, HOST, &of(&world, &near, &[&first])).await, "200");
        assert_eq!(
            page(&world, HOST, &of(&world, &near, &[&first, &clients.devices])).await,
            "200",
            "the authority itself does not count"
        );
        let got = page(&world, HOST, &of(&world, &far, &[&second, &first])).await;
        assert!(got.contains(wanted), "{depth:?}: {got}");
    }
}

#[tokio::test]
async fn what_does_not_read_closes_the_host() {
    let clients = Clients::new();
    let (mut world, backend) = world(&clients, &[SECRET]).await;
    let ann = client(&world, V1_3, Some(clients.device("ann").proof(&[])));
    // Its neighbour on the same host asks for nothing.
    let neighbour = Ingress::new("zz-neighbour", HOST).path("/neighbour", "backend").yaml();
    world.write("neighbour.yaml", &neighbour).await.unwrap();
    for (annotations, field) in [
        (&[("nginx.ingress.kubernetes.io/auth-tls-secret", "devices")][..], "auth-tls-secret"),
        (&[("nginx.ingress.kubernetes.io/auth-tls-secret", "elsewhere/devices")], "auth-tls-secret"),
        (&[SECRET, (VERIFY, "yes")], "auth-tls-verify-client"),
        (&[SECRET, (DEPTH, "-1")], "auth-tls-verify-depth"),
        (&[SECRET, (NAME, "ann")], "auth-tls-match-cn"),
        (&[SECRET, (NAME, "CN=(ann")], "metadata.annotations"),
        (&[SECRET, (NAME, "CN=ann,O=Devices")], "auth-tls-match-cn"),
        (&[SECRET, (NAME, "CN=ann"), (VERIFY, "off")], "auth-tls-match-cn"),
        (&[SECRET, (PASS, "yes")], "auth-tls-pass-certificate-to-upstream"),
        (&[(VERIFY, "on")], "auth-tls-verify-client"),
        (&[("longhaul.dev/client-certificate", "required")], "longhaul.dev/client-certificate"),
        (&[("longhaul.dev/client-ca-secret", "a b")], "longhaul.dev/client-ca-secret"),
    ] {
        world.write("nginx.yaml", &ingress(annotations)).await.unwrap();
        let target = Target::tls(world.proxy().unwrap().https(), HOST, ann.clone());
        for path in ["/", "/neighbour"] {
            assert_eq!(target.get(path).await.unwrap().status, 503, "{annotations:?} {path}");
        }
        let report = world.controller().unwrap().api("/api/objects").await.unwrap().to_string();
        assert!(report.contains(field), "{annotations:?}: {report}");
        assert_eq!(world.plain(OPEN).unwrap().get("/").await.unwrap().status, 200);
    }
    assert!(!backend.text().contains(HOST));
    // A host that no certificate is there for can ask nobody.
    let bare = Ingress::new("nginx", HOST).path("/", "backend").annotation(SECRET.0, SECRET.1);
    world.write("nginx.yaml", &bare.yaml()).await.unwrap();
    assert_eq!(world.plain(HOST).unwrap().get("/").await.unwrap().status, 503);
    assert_eq!(world.plain(HOST).unwrap().get("/neighbour").await.unwrap().status, 200);
}
