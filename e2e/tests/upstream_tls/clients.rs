//! A real backend, of other people's TLS: npm `ws` behind node's.

use std::fs;

use e2e::foreign::{Foreign, Tool};

use super::*;

#[tokio::test]
async fn node_takes_us_by_our_certificate() {
    if !Tool::Node.wanted_by("node_takes_us_by_our_certificate") {
        return;
    }
    let authority = Authority::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let pair = authority.issue(&["chat.internal"]).unwrap();
    let files =
        [put("tls.crt", &pair.certificate), put("tls.key", &pair.key), put("ca.crt", &authority.pem())];
    let arguments: Vec<_> = files.iter().map(String::as_str).collect();
    let mut server = Foreign::node("secure-echo-server.js", &arguments).unwrap();
    let port: u16 = server.line().await.unwrap().trim().parse().unwrap();
    let client = authority.issue(&["longhaul"]).unwrap();
    let mut world = plan(SocketAddr::from(([127, 0, 0, 1], port)), &authority)
        .annotation("longhaul.dev/upstream-ca-secret", "authority")
        .annotation("longhaul.dev/upstream-server-name", "chat.internal")
        .annotation("longhaul.dev/upstream-client-secret", "client")
        .file("client.yaml", client.secret("default", "client"))
        .start()
        .await
        .unwrap();
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut socket = target.websocket("/").await.unwrap();
        for text in ["hello", &"x".repeat(300_000)] {
            socket.echo(text).await.unwrap();
        }
        socket.close().await.unwrap();
        let answer = target.get("/").await.unwrap();
        assert_eq!(answer.text(), "chat.internal longhaul TLSv1.3\n");
    }
    world.proxy().unwrap().wait_closed("client_closed", 2).await.unwrap();
    world
        .edit("site.yaml", "upstream-client-secret: \"client\"", "upstream-protocol: \"https\"")
        .await
        .unwrap();
    refused(&world.plain(HOST).unwrap(), HOST, "tls_alert_received").await;
}
