//! User names and passwords of a Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::backend::demo::DemoBackend;
use e2e::backend::recorder::{Answer, Recorder};
use e2e::client::{Answer as Got, Target};
use e2e::objects::Ingress;
use e2e::wire::{field, handshake};
use e2e::world::World;
use tokio::task::JoinSet;

const HOST: &str = "app.example.com";
const OPEN: &str = "open.example.com";

/// Of `secret`.
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
const APR1: &str = "$apr1$JMQ2ARmB$VXFpWpuhd4d0aXhFFkqQ9.";
const BCRYPT: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// A fraction of a second's work.
const COSTLY: &str = "$2y$12$abcdefghijklmnopqrstuuT1Iwu6o8Wx7BoOyIMHfgVJq6JO/IJhW";

fn secret(name: &str, data: &[(&str, &str)]) -> String {
    let data: Vec<_> = data.iter().map(|(key, value)| format!("  {key}: {value:?}\n")).collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n{}", data.concat())
}

fn htpasswd(lines: &[(&str, &str)]) -> String {
    let lines: Vec<_> = lines.iter().map(|(name, hash)| format!("{name}:{hash}")).collect();
    secret("users", &[("auth", &lines.join("\n"))])
}

/// A site whose users are in the Secret `users`, and an open one beside it.
async fn world(backend: &DemoBackend, users: &[(&str, &str)]) -> World {
    World::plan()
        .site(HOST, backend.address())
        .annotation("longhaul.dev/auth-basic-secret", "users")
        .annotation("longhaul.dev/auth-basic-realm", "Staff \"only\"")
        .file("users.yaml", htpasswd(users))
        .file("open.yaml", Ingress::new("open", OPEN).path("/", "backend").yaml())
        .start()
        .await
        .unwrap()
}

fn proof(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

async fn page(target: &Target, proof: &str) -> Got {
    target.request("GET", "/whoami", &format!("Authorization: {proof}\r\n"), b"").await.unwrap()
}

/// The status of a handshake.
async fn shake(target: &Target, host: &str, proof: &str) -> u16 {
    let mut wire = target.wire().await.unwrap();
    let further = if proof.is_empty() { String::new() } else { format!("Authorization: {proof}\r\n") };
    wire.send(handshake(host, "/echo", &further)).await.unwrap();
    let head = wire.head().await.unwrap();
    e2e::wire::status(&head).unwrap()
}

#[tokio::test]
async fn who_knows_a_password_comes_in() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = world(&blue, &[("ann", BCRYPT), ("bob", APR1), ("cid", SHA)]).await;
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        for name in ["ann", "bob", "cid"] {
            assert_eq!(page(&target, &proof(name, "secret")).await.status, 200, "{name}");
            let with = [("Authorization", &*proof(name, "secret"))];
            let mut socket = target.websocket_with("/echo", &with).await.unwrap();
            socket.echo("in").await.unwrap();
        }
        for (name, password) in [("ann", "Secret"), ("ann", ""), ("dan", "secret")] {
            let got = page(&target, &proof(name, password)).await;
            assert_eq!(got.status, 401, "{name} {password}");
            let asked = "Basic realm=\"Staff \\\"only\\\"\"";
            assert_eq!(field(&got.head, "www-authenticate"), Some(asked));
            assert_eq!(field(&got.head, "proxy-status"), Some("longhaul; error=http_request_denied"));
            assert_eq!(shake(&target, HOST, &proof(name, password)).await, 401);
        }
        assert_eq!(target.get("/whoami").await.unwrap().status, 401);
        assert_eq!(shake(&target, HOST, "").await, 401);
    }
    assert_eq!(world.plain(OPEN).unwrap().get("/whoami").await.unwrap().status, 200);
    let logs = world.logs();
    for hidden in ["secret", "2r9OfJnf", "VXFpWpuh", "5en6G6Me", &proof("ann", "secret")] {
        assert!(!logs.contains(hidden), "{hidden} is in the logs:\n{logs}");
    }
}

#[tokio::test]
async fn the_backend_gets_authorization_as_with_ingress_nginx() {
    let recorder = Recorder::start(Answer::ok("hi")).await.unwrap();
    let world = World::plan()
        .site(HOST, recorder.address())
        .annotation("nginx.ingress.kubernetes.io/auth-type", "basic")
        .annotation("nginx.ingress.kubernetes.io/auth-secret", "default/users")
        .annotation("nginx.ingress.kubernetes.io/auth-secret-type", "auth-map")
        .annotation("nginx.ingress.kubernetes.io/auth-realm", "Authentication Required")
        .file("users.yaml", secret("users", &[("ann", SHA), ("bob", "no hash")]))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    assert_eq!(page(&target, &proof("ann", "secret")).await.status, 200);
    let got = page(&target, &proof("bob", "no hash")).await;
    assert_eq!(field(&got.head, "www-authenticate"), Some("Basic realm=\"Authentication Required\""));
    let seen = recorder.text();
    assert_eq!(field(&seen, "authorization"), Some(&*proof("ann", "secret")), "{seen}");
    assert_eq!(seen.matches("GET /whoami").count(), 1, "who is kept out does not reach the backend: {seen}");
}

#[tokio::test]
async fn a_changed_secret_counts_at_once_and_a_missing_one_closes() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let mut world = world(&blue, &[("ann", SHA)]).await;
    let (target, open) = (world.plain(HOST).unwrap(), world.plain(OPEN).unwrap());
    let ann = proof("ann", "secret");
    assert_eq!(page(&target, &ann).await.status, 200);
    let mut inside = target.websocket_with("/echo", &[("Authorization", &*ann)]).await.unwrap();

    // Another password: `x`.
    world.write("users.yaml", &htpasswd(&[("ann", "{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=")])).await.unwrap();
    assert_eq!(page(&target, &ann).await.status, 401);
    world.write("users.yaml", &htpasswd(&[("bob", SHA), ("ann", "plain")])).await.unwrap();
    assert_eq!(page(&target, &ann).await.status, 401);
    assert_eq!(page(&target, &proof("ann", "plain")).await.status, 401, "what is no hash is no password");
    assert_eq!(page(&target, &proof("bob", "secret")).await.status, 200);

    world.remove("users.yaml").await.unwrap();
    for sent in [&ann, ""] {
        assert_eq!(page(&target, sent).await.status, 503);
        assert_eq!(shake(&target, HOST, sent).await, 503);
    }
    assert_eq!(open.get("/whoami").await.unwrap().status, 200);
    inside.echo("who is in stays in").await.unwrap();
    let report = world.controller().unwrap().api("/api/objects").await.unwrap().to_string();
    assert!(
        report.contains("SecretNotFound") && report.contains("longhaul.dev/auth-basic-secret"),
        "{report}"
    );

    world.write("users.yaml", &secret("users", &[("auth", "# nobody")])).await.unwrap();
    assert_eq!(page(&target, &ann).await.status, 503);
    world.write("users.yaml", &htpasswd(&[("ann", SHA)])).await.unwrap();
    assert_eq!(page(&target, &ann).await.status, 200);
}

#[tokio::test]
async fn a_storm_of_reconnects_costs_one_hash_for_each_user() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = world(&blue, &[("ann", COSTLY)]).await;
    // One after another these would take minutes.
    let mut storm = JoinSet::new();
    for _ in 0..400 {
        let target = world.plain(HOST).unwrap();
        storm.spawn(async move { shake(&target, HOST, &proof("ann", "secret")).await });
    }
    let statuses = storm.join_all().await;
    assert!(statuses.iter().all(|status| *status == 101), "{statuses:?}");
}

#[tokio::test]
async fn guessing_delays_nobody_else() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = world(&blue, &[("ann", COSTLY)]).await;
    let (target, open) = (world.plain(HOST).unwrap(), world.plain(OPEN).unwrap());
    assert_eq!(page(&target, &proof("ann", "secret")).await.status, 200);
    let mut guesses = JoinSet::new();
    for guess in 0..1500 {
        let target = world.plain(HOST).unwrap();
        guesses.spawn(async move { page(&target, &proof("ann", &format!("guess {guess}"))).await });
    }
    // Once one is refused for want of time, all threads and places for comparing are taken.
    let busy = loop {
        let got = guesses.join_next().await.unwrap().unwrap();
        assert!(matches!(got.status, 401 | 503), "{got:?}");
        if got.status == 503 {
            break got;
        }
    };
    assert_eq!(field(&busy.head, "proxy-status"), Some("longhaul; error=authentication_unavailable"));
    assert!(field(&busy.head, "retry-after").is_some());
    assert_eq!(open.get("/whoami").await.unwrap().status, 200);
    assert_eq!(page(&target, &proof("ann", "secret")).await.status, 200, "who was right is remembered");
    assert_eq!(shake(&target, HOST, &proof("ann", "secret")).await, 101);
    let refusals = world.proxy().unwrap().metrics().await.unwrap();
    let counted = refusals.count("longhaul_refusals_total", &[("reason", "authentication_unavailable")]);
    assert!(counted.unwrap() > 0);
}
