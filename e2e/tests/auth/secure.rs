//! Authentication services whose address is `https`, and the cookies that they set on the way in.

use e2e::backend::recorder::{Answer, Recorder};
use e2e::backend::secured::{Began, Secured};
use e2e::certificate::Authority;
use e2e::client::Answer as Got;
use e2e::wire::{field, fields, handshake};
use e2e::world::{Plan, World};

const HOST: &str = "localhost";

/// A service that lets everybody in and renews a cookie.
async fn service(authority: &Authority, name: &str) -> (Recorder, Secured) {
    let says = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-User: ann\r\nSet-Cookie: _oauth2_proxy=new; Path=/\r\n\
                Set-Cookie: b=2\r\n\r\n";
    let recorder = Recorder::start(Answer::Bytes(says.into())).await.unwrap();
    let pair = authority.issue(&[name]).unwrap();
    let front = Secured::start(pair.server().unwrap(), recorder.address()).await.unwrap();
    (recorder, front)
}

/// A backend that answers what the path says, and takes every handshake to `/echo`.
async fn backend() -> Recorder {
    Recorder::start_with(|head| {
        let status = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        if status == "echo" {
            return Answer::Upgrade(Vec::new());
        }
        let own = "Set-Cookie: own=1\r\nContent-Length: 0\r\n";
        Answer::Bytes(format!("HTTP/1.1 {status} Whatever\r\n{own}\r\n").into_bytes())
    })
    .await
    .unwrap()
}

fn plan(backend: &Recorder, port: u16) -> Plan {
    World::plan()
        .site(HOST, backend.address())
        .annotation(
            "nginx.ingress.kubernetes.io/auth-url",
            &format!("https://$host:{port}/oauth2/auth?to=$escaped_request_uri"),
        )
        .annotation("nginx.ingress.kubernetes.io/auth-response-headers", "X-User")
        // Each has a pool of its own.
        .proxy_flags(&["--workers", "1"])
}

async fn shake(world: &World, path: &str) -> String {
    let mut wire = world.plain(HOST).unwrap().wire().await.unwrap();
    wire.send(handshake(HOST, path, "")).await.unwrap();
    wire.head().await.unwrap()
}

fn cookies(head: &str) -> Vec<&str> {
    fields(head, "set-cookie").collect()
}

#[tokio::test]
async fn a_service_is_asked_over_tls() {
    const NEW: [&str; 2] = ["_oauth2_proxy=new; Path=/", "b=2"];
    let authority = Authority::new().unwrap();
    let (auth, front) = service(&authority, HOST).await;
    let backend = backend().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let flags = ["--auth-ca-file", file.to_str().unwrap()];
    let port = front.address().port();
    let world = plan(&backend, port).proxy_flags(&flags).start().await.unwrap();
    let get = async |path: &str| world.plain(HOST).unwrap().get(path).await.unwrap();
    assert_eq!(get("/200").await.status, 200);
    let asked = auth.text();
    assert!(asked.starts_with("GET /oauth2/auth?to=%2F200 HTTP/1.1\r\n"), "{asked}");
    assert_eq!(field(&asked, "host"), Some(&*format!("{HOST}:{port}")));
    assert_eq!(field(&backend.text(), "x-user"), Some("ann"));
    assert!(shake(&world, "/echo").await.starts_with("HTTP/1.1 101"));
    let wanted = Began::Tls { name: Some(HOST.into()), resumed: false, client: None };
    assert_eq!(front.began(), [wanted], "asked twice over one connection");

    // What it sets reaches the client, unless the backend refuses.
    let own: Vec<_> = ["own=1"].into_iter().chain(NEW).collect();
    for status in ["200", "302", "304"] {
        assert_eq!(cookies(&get(&format!("/{status}")).await.head), own, "{status}");
    }
    assert_eq!(cookies(&shake(&world, "/echo").await), NEW);
    for status in ["404", "500"] {
        assert_eq!(cookies(&get(&format!("/{status}")).await.head), ["own=1"], "{status}");
        assert_eq!(cookies(&shake(&world, &format!("/{status}")).await), ["own=1"], "{status}");
    }
    let mut world = world;
    let always = "annotations:\n    nginx.ingress.kubernetes.io/auth-always-set-cookie: \"true\"\n";
    world.edit("site.yaml", "annotations:\n", always).await.unwrap();
    for status in ["200", "404", "500"] {
        let got = world.plain(HOST).unwrap().get(&format!("/{status}")).await.unwrap();
        assert_eq!(cookies(&got.head), own, "{status}");
        assert_eq!(cookies(&shake(&world, &format!("/{status}")).await), own, "{status}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_prove_its_name_lets_nobody_in() {
    let authority = Authority::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let flags = ["--auth-ca-file", file.to_str().unwrap()];
    for (name, flags) in [("other.test", &flags[..]), (HOST, &[])] {
        let ((auth, front), backend) = (service(&authority, name).await, backend().await);
        let world = plan(&backend, front.address().port()).proxy_flags(flags).start().await.unwrap();
        let page: Got = world.plain(HOST).unwrap().get("/200").await.unwrap();
        for head in [page.head, shake(&world, "/echo").await] {
            assert!(head.starts_with("HTTP/1.1 503"), "{head}");
            assert_eq!(field(&head, "proxy-status"), Some("longhaul; error=authentication_unavailable"));
        }
        assert_eq!((auth.text(), backend.text()), (String::new(), String::new()), "nothing was asked");
    }
}
