//! Certificates that we show, Secrets that are missing, wrong or changed, and connections that belong to one policy.

use e2e::certificate::{Pair, secret};
use e2e::objects::Ingress;
use e2e::world::World;

use super::*;

/// A backend that takes nobody without a certificate of the second authority.
async fn guarded(servers: &Authority, clients: &Authority) -> (DemoBackend, Secured) {
    let demo = DemoBackend::start("blue").await.unwrap();
    let pair = servers.issue(&[SERVICE]).unwrap();
    let front = Secured::start(pair.server_for(clients).unwrap(), demo.address()).await.unwrap();
    (demo, front)
}

fn shown(front: &Secured, pair: &Pair) -> usize {
    let shows = |began: &&Began| matches!(began, Began::Tls { client: Some(der), .. } if der == pair.der());
    front.began().iter().filter(shows).count()
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_backend_that_asks_and_a_new_one_to_new_connections() {
    let (servers, clients) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (_demo, front) = guarded(&servers, &clients).await;
    let (first, second) = (clients.issue(&["one"]).unwrap(), clients.issue(&["two"]).unwrap());
    let foreign = servers.issue(&["three"]).unwrap();
    let mut world = plan(front.address(), &servers)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .file("client.yaml", first.secret("default", "client"))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    refused(&target, HOST, "tls_alert_received").await;
    let to =
        "longhaul.dev/upstream-ca-secret: \"authority\"\n    longhaul.dev/upstream-client-secret: \"client\"";
    world.edit("site.yaml", "longhaul.dev/upstream-ca-secret: \"authority\"", to).await.unwrap();
    served(&target).await;
    assert_eq!((shown(&front, &first), shown(&front, &second)), (2, 0));
    let mut open = target.websocket("/echo").await.unwrap();
    world.write("client.yaml", &second.secret("default", "client")).await.unwrap();
    served(&target).await;
    assert_eq!((shown(&front, &first), shown(&front, &second)), (3, 2), "requests too, on a new connection");
    world.write("client.yaml", &foreign.secret("default", "client")).await.unwrap();
    refused(&target, HOST, "tls_alert_received").await;
    open.echo("opened with the first").await.unwrap();
    world.write("client.yaml", &first.secret("default", "client")).await.unwrap();
    served(&target).await;
}

#[tokio::test]
async fn a_secret_that_is_missing_or_wrong_closes_its_route_only() {
    let authority = Authority::new().unwrap();
    let (_demo, front) = backend(&authority, SERVICE).await;
    let client = authority.issue(&["one"]).unwrap();
    let open = Ingress::new("open", "open.test")
        .path("/", "backend")
        .annotation("longhaul.dev/upstream-ca-secret", "authority");
    let mut world = plan(front.address(), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "late")
        .annotation("longhaul.dev/upstream-client-secret", "client")
        .file("client.yaml", client.secret("default", "client"))
        .file("open.yaml", open.yaml())
        .start()
        .await
        .unwrap();
    let closed = async |world: &World, said: &str| {
        let target = world.plain(HOST).unwrap();
        for got in [shake(&target, HOST).await, target.get("/whoami").await.unwrap()] {
            let told = field(&got.head, "proxy-status");
            assert_eq!((got.status, told), (503, Some("longhaul; error=proxy_configuration_error")));
        }
        served(&world.plain("open.test").unwrap()).await;
        let diagnostics = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
        assert!(diagnostics.contains(said), "{said}: {diagnostics}");
    };
    closed(&world, "there is no Secret default/late").await;
    world.write("late.yaml", &opaque("late", &[("ca.crt", "junk")])).await.unwrap();
    closed(&world, "its ca.crt holds no certificate in PEM").await;
    world.write("late.yaml", &opaque("late", &[("ca.crt", &authority.pem())])).await.unwrap();
    served(&world.plain(HOST).unwrap()).await;
    world.write("client.yaml", &secret("default", "client", &client.certificate, "junk")).await.unwrap();
    closed(&world, "its tls.key holds no private key in PEM").await;
    // Only the TLS library can tell that a key is another's.
    let other = authority.issue(&["two"]).unwrap();
    world.write("client.yaml", &secret("default", "client", &client.certificate, &other.key)).await.unwrap();
    closed(&world, "the client certificate cannot be used").await;
    world.write("client.yaml", &client.secret("default", "client")).await.unwrap();
    served(&world.plain(HOST).unwrap()).await;
    world.remove("late.yaml").await.unwrap();
    closed(&world, "there is no Secret default/late").await;
}

#[tokio::test]
async fn connections_never_cross_from_one_policy_to_another() {
    let authority = Authority::new().unwrap();
    let (_demo, front) = backend(&authority, SERVICE).await;
    let other = |host: &str, annotations: &[(&str, &str)]| {
        let ingress = Ingress::new(&host.replace('.', "-"), host).path("/", "backend");
        let add = |ingress: Ingress, (key, value): &(&str, &str)| ingress.annotation(key, value);
        annotations.iter().fold(ingress, add).yaml()
    };
    let lax = ("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS");
    let strict = ("longhaul.dev/upstream-ca-secret", "authority");
    let world = plan(front.address(), &authority)
        .file("strict.yaml", other("strict.test", &[strict]))
        .file("same.yaml", other("same.test", &[strict]))
        .file("lax.yaml", other("lax.test", &[lax]))
        .file("named.yaml", other("named.test", &[lax, ("longhaul.dev/upstream-server-name", "x.test")]))
        .start()
        .await
        .unwrap();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        for host in [HOST, "lax.test", "strict.test", "same.test", "named.test"] {
            statuses.push(world.plain(host).unwrap().get("/whoami").await.unwrap().status);
        }
    }
    let each = [200, 200, 200, 200, 502];
    assert_eq!(statuses, [each, each, each].concat());
    // One in the clear, one for whoever asks for nothing, one for the two that ask for the same.
    let began = front.began();
    let count = |wanted: Began| began.iter().filter(|one| **one == wanted).count();
    assert_eq!(
        (count(Began::InTheClear), count(tls(None, false)), count(tls(Some(SERVICE), false))),
        (1, 1, 1)
    );
    assert_eq!(began.iter().filter(|one| matches!(one, Began::Failed(_))).count(), 3, "{began:?}");
    assert_eq!(began.len(), 6, "{began:?}");
}
