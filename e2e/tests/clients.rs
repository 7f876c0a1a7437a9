//! Clients of other people through both real programs: each first straight to its backend, so that a client which is
//! itself broken is told apart, then through Longhaul over ws or http, then over wss or https.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "clients/events.rs"]
mod events;
#[path = "clients/live.rs"]
mod live;
#[path = "clients/plain.rs"]
mod plain;
#[path = "clients/ways.rs"]
mod ways;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use e2e::backend::demo::{DemoBackend, checksum, pattern};
use e2e::foreign::{Foreign, Tool};
use e2e::world::World;

const HOST: &str = "app.example.com";

/// What curl transfers each way.
const BIG: u64 = 20_000_000;

async fn site(address: SocketAddr) -> World {
    World::plan().site(HOST, address).start().await.unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn npm_ws() {
    if !Tool::Node.wanted_by("npm_ws") {
        return;
    }
    let blue = DemoBackend::start("blue").await.unwrap();
    let wanted = "ok 9 messages, subprotocol \"echo.example\", close 4321 done\n";
    let run = async |arguments: &[&str]| {
        let said = Foreign::node("echo-client.js", arguments).unwrap().text().await.unwrap();
        assert_eq!(said, wanted);
    };
    run(&[&format!("ws://{}/echo", blue.address()), "--host", HOST]).await;

    let world = site(blue.address()).await;
    let ca = world.ca_file();
    run(&[&format!("ws://{}/echo", world.proxy().unwrap().http()), "--host", HOST]).await;
    let wss = format!("wss://{}/echo", world.proxy().unwrap().https());
    run(&[&wss, "--host", HOST, "--ca", text(&ca)]).await;
}

#[tokio::test]
async fn wscat() {
    if !Tool::Node.wanted_by("wscat") {
        return;
    }
    let blue = DemoBackend::start("blue").await.unwrap();
    let run = async |arguments: &[&str]| {
        let mut cat = Foreign::wscat(&[&["-x", "hello from wscat", "-w", "-1"], arguments].concat()).unwrap();
        assert_eq!(cat.line().await.unwrap(), "hello from wscat");
        cat.success().await.unwrap();
    };
    run(&["-c", &format!("ws://{}/echo", blue.address())]).await;

    // A name that resolves to this machine: wscat's TLS handshake names the server that it connects to.
    let world = World::plan().site("localhost", blue.address()).start().await.unwrap();
    let (http, https) = (world.proxy().unwrap().http().port(), world.proxy().unwrap().https().port());
    run(&["-c", &format!("ws://localhost:{http}/echo")]).await;
    run(&["-c", &format!("wss://localhost:{https}/echo"), "--ca", text(&world.ca_file())]).await;
}

#[tokio::test]
async fn python_websockets_with_compression() {
    let name = "python_websockets_with_compression";
    if !Tool::Python.wanted_by(name) || !Tool::Node.wanted_by(name) {
        return;
    }
    let mut server = Foreign::node("echo-server.js", &["--deflate"]).unwrap();
    let port: u16 = server.line().await.unwrap().parse().unwrap();
    let run = async |port: u16, ca: &[&str]| {
        let port = port.to_string();
        let said = Foreign::python("deflate.py", &[&["127.0.0.1", &port, HOST], ca].concat())
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(said.starts_with("ok, agreed on permessage-deflate"), "{said}");
    };
    run(port, &[]).await;

    let world = site(SocketAddr::from(([127, 0, 0, 1], port))).await;
    run(world.proxy().unwrap().http().port(), &[]).await;
    run(world.proxy().unwrap().https().port(), &[text(&world.ca_file())]).await;
}

#[tokio::test]
async fn tungstenite() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = site(blue.address()).await;
    for target in [world.plain(HOST).unwrap(), world.tls(HOST).unwrap()] {
        let mut socket = target.websocket("/echo").await.unwrap();
        assert_eq!(socket.backend(), "blue");
        for length in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
            socket.echo(&"x".repeat(length)).await.unwrap();
        }
        socket.close().await.unwrap();
    }
}

#[tokio::test]
async fn curl() {
    if !Tool::Curl.wanted_by("curl") {
        return;
    }
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = site(blue.address()).await;
    let content: Vec<u8> = (0..BIG).map(pattern).collect();
    let sum = checksum([&content]);
    let file = world.folder().join("upload");
    fs::write(&file, &content).unwrap();
    let ca = world.ca_file();
    let proxy = world.proxy().unwrap();
    let (http, https) = (proxy.http().port(), proxy.https().port());
    let resolve = |port: u16| format!("{HOST}:{port}:127.0.0.1");
    let ways = [
        (format!("http://127.0.0.1:{}", blue.address().port()), vec![]),
        (format!("http://{HOST}:{http}"), vec!["--resolve".to_owned(), resolve(http)]),
        (
            format!("https://{HOST}:{https}"),
            vec!["--resolve".to_owned(), resolve(https), "--cacert".to_owned(), text(&ca).to_owned()],
        ),
    ];
    for (base, flags) in &ways {
        let run = async |further: &[&str]| {
            let flags: Vec<&str> = flags.iter().map(String::as_str).chain(further.iter().copied()).collect();
            Foreign::curl(&flags).unwrap().success().await.unwrap()
        };
        let seen = run(&["--fail", &format!("{base}/whoami")]).await;
        assert!(String::from_utf8_lossy(&seen).contains("\"backend\": \"blue\""));
        let got = run(&["--fail", &format!("{base}/download?bytes={BIG}")]).await;
        assert_eq!(checksum([&got]), sum, "downloaded from {base}");
        let sent = run(&["--fail", "-T", text(&file), &format!("{base}/upload")]).await;
        assert_eq!(String::from_utf8_lossy(&sent), format!("{{\"bytes\":{BIG},\"checksum\":\"{sum}\"}}"));
        let chunked =
            ["--fail", "-H", "Transfer-Encoding: chunked", "-T", text(&file), &format!("{base}/upload")];
        assert_eq!(run(&chunked).await, sent, "uploaded to {base} in chunks");
        // Two requests, one connection.
        let page = format!("{base}/slow?ms=0");
        let twice = run(&["--fail", "-w", "%{num_connects} ", &page, &page]).await;
        let twice = String::from_utf8_lossy(&twice);
        assert_eq!(twice, "blue took its time\n1 blue took its time\n0 ", "{base}");
        let missing = run(&["-o", "/dev/null", "-w", "%{http_code}", &format!("{base}/missing")]).await;
        assert_eq!(missing, b"404", "{base}");
    }
}

#[tokio::test]
async fn chromium_on_the_chat_page() {
    if !Tool::Chromium.wanted_by("chromium_on_the_chat_page") {
        return;
    }
    let blue = DemoBackend::start("blue").await.unwrap();
    let resolve = format!("MAP {HOST} 127.0.0.1");
    let run = async |base: String, over: &str| {
        let said = Foreign::node("browser.js", &[&base, &resolve]).unwrap().text().await.unwrap();
        assert_eq!(said, format!("ok connected over {over}, title \"Longhaul chat\"\n"));
    };
    run(format!("http://{HOST}:{}/", blue.address().port()), "ws").await;

    let world = site(blue.address()).await;
    run(format!("http://{HOST}:{}/", world.proxy().unwrap().http().port()), "ws").await;
    run(format!("https://{HOST}:{}/", world.proxy().unwrap().https().port()), "wss").await;
}
