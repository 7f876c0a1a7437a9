//! Situations that people write nginx configuration for, said in the objects of `e2e/scenarios/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use e2e::backend::demo::DemoBackend;
use e2e::certificate::Authority;
use e2e::client::Socket;
use e2e::foreign::{Foreign, Tool};
use e2e::objects::backend;
use e2e::wire::field;
use e2e::world::World;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn header<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().unwrap();
    headers.iter().filter(|header| header[0] == name).map(|header| header[1].as_str().unwrap()).collect()
}

/// ALPN (RFC 7301): HTTP/1.1 is agreed where it is offered, and nothing where it is not.
#[tokio::test]
async fn http_1_1_is_what_tls_clients_agree_on() {
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = World::plan().site("app.example.com", blue.address()).start().await.unwrap();
    let agreed = async |offered: &[&str]| {
        let mut config = ClientConfig::clone(&*world.authority().trusting_client().unwrap());
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(world.proxy().unwrap().https()).await.unwrap();
        let name = "app.example.com".try_into().unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        std::io::Result::Ok(tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(&["h2", "http/1.1"]).await.unwrap().as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(agreed(&[]).await.unwrap(), None);
    assert!(agreed(&["h2"]).await.is_err(), "no_application_protocol");
}

/// TLS for a host, the socket under one path and the site under `/`.
#[tokio::test]
async fn tls_for_a_host_with_a_socket_and_a_site() {
    const HOST: &str = "app.example.com";
    let socket_backend = DemoBackend::start("socket").await.unwrap();
    let site_backend = DemoBackend::start("site").await.unwrap();
    let authority = Authority::new().unwrap();
    let pair = authority.issue(&[HOST]).unwrap();
    let world = World::plan()
        .file("app.yaml", scenario("tls-host.yaml"))
        .file("secret.yaml", pair.secret("default", "app-tls"))
        .file("socket.yaml", backend("socket", &[socket_backend.address()]))
        .file("site.yaml", backend("site", &[site_backend.address()]))
        .authority(authority)
        .start()
        .await
        .unwrap();
    let tls = world.tls(HOST).unwrap();

    let mut socket = tls.websocket_with("/ws/whoami", &[("x-forwarded-for", "203.0.113.7")]).await.unwrap();
    assert_eq!(socket.backend(), "socket");
    let seen: Value = serde_json::from_str(&socket.text().await.unwrap()).unwrap();
    assert_eq!(seen["target"], "/ws/whoami", "the path is not rewritten");
    assert_eq!(header(&seen, "host"), [HOST]);
    assert_eq!(header(&seen, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(
        header(&seen, "x-forwarded-for"),
        ["127.0.0.1"],
        "a client that nobody trusts is not believed"
    );
    assert_eq!(header(&seen, "x-forwarded-proto"), ["https"]);
    assert_eq!(header(&seen, "x-forwarded-host"), [HOST]);
    assert_eq!(header(&seen, "x-request-id").len(), 1);
    socket.echo("through TLS").await.unwrap();

    let site = tls.get("/whoami").await.unwrap();
    assert_eq!(field(&site.head, "x-backend"), Some("site"));
    let seen = site.json().unwrap();
    assert_eq!(header(&seen, "host"), [HOST]);
    assert_eq!(header(&seen, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(header(&seen, "x-forwarded-for"), ["127.0.0.1"]);

    let plain = world.plain(HOST).unwrap().get("/page?q=1").await.unwrap();
    assert_eq!(plain.status, 308, "the plain port sends people to https");
    let location = field(&plain.head, "location").unwrap();
    assert!(
        location.starts_with(&format!("https://{HOST}")) && location.ends_with("/page?q=1"),
        "{location}"
    );

    socket.echo("still there").await.unwrap();
    socket.close().await.unwrap();
}

/// The same objects behind a load balancer that says who the client is.
#[tokio::test]
async fn a_trusted_proxy_in_front_is_believed() {
    const HOST: &str = "app.example.com";
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = World::plan()
        .site(HOST, blue.address())
        .controller_flags(&["--trusted-proxies", "127.0.0.0/8,198.51.100.0/24"])
        .start()
        .await
        .unwrap();
    let further = "X-Forwarded-For: 203.0.113.7, 192.0.2.1, 198.51.100.9\r\nX-Request-Id: from-the-front\r\n\
        X-Forwarded-Proto: https\r\n";
    let seen =
        world.plain(HOST).unwrap().request("GET", "/whoami", further, b"").await.unwrap().json().unwrap();
    let forwarded = header(&seen, "x-forwarded-for").join(", ");
    assert_eq!(forwarded, "203.0.113.7, 192.0.2.1, 198.51.100.9, 127.0.0.1", "appended to");
    assert_eq!(header(&seen, "x-real-ip"), ["192.0.2.1"], "the last one that is not trusted itself");
    assert_eq!(header(&seen, "x-request-id"), ["from-the-front"]);
    assert_eq!(header(&seen, "x-forwarded-proto"), ["https"]);
}

/// npm `ws` behind a proxy, tried with `wscat`.
#[tokio::test]
async fn npm_ws_echo_with_wscat() {
    if !Tool::Node.wanted_by("npm_ws_echo_with_wscat") {
        return;
    }
    let mut server = Foreign::node("echo-server.js", &[]).unwrap();
    let port = server.line().await.unwrap();
    // Two 8010s: the Service's own port stays, the one that the slice lists is where the server listens.
    let objects =
        scenario("npm-ws.yaml").replace("name: \"\", port: 8010", &format!("name: \"\", port: {port}"));
    let world = World::plan().file("websocket.yaml", objects).start().await.unwrap();

    let url = format!("ws://{}", world.proxy().unwrap().http());
    let mut cat = Foreign::wscat(&["--connect", &url, "-x", "Hello, World!", "-w", "-1"]).unwrap();
    assert_eq!(cat.line().await.unwrap(), "Hello, World!");
    cat.success().await.unwrap();
}

/// wss outside, a second proxy inside, ws behind: each proxy adds the peer that it saw, and the backend learns who
/// the client is and how it came.
#[tokio::test]
async fn a_longhaul_behind_a_longhaul() {
    const HOST: &str = "app.example.com";
    let blue = DemoBackend::start("blue").await.unwrap();
    let trusting = ["--trusted-proxies", "127.0.0.1/32"];
    let inner = World::plan().site(HOST, blue.address()).controller_flags(&trusting).start().await.unwrap();
    let outer = World::plan().site(HOST, inner.proxy().unwrap().http()).start().await.unwrap();
    let client = outer.tls(HOST).unwrap().from("127.0.0.9".parse().unwrap());

    let mut socket = client.websocket_with("/whoami", &[("x-forwarded-for", "203.0.113.7")]).await.unwrap();
    let seen: Value = serde_json::from_str(&socket.text().await.unwrap()).unwrap();
    assert_eq!(header(&seen, "x-forwarded-for"), ["127.0.0.9, 127.0.0.1"], "nobody trusts the client");
    assert_eq!(header(&seen, "x-real-ip"), ["127.0.0.9"]);
    assert_eq!(header(&seen, "x-forwarded-proto"), ["https"]);
    assert_eq!(header(&seen, "x-forwarded-host"), [HOST]);
    let port = outer.proxy().unwrap().https().port().to_string();
    assert_eq!(header(&seen, "x-forwarded-port"), [port], "the outer one's, which the client used");
    socket.echo("through both").await.unwrap();

    let answer = client.get("/whoami").await.unwrap();
    let seen = answer.json().unwrap();
    assert_eq!(header(&seen, "x-real-ip"), ["127.0.0.9"]);
    let ids = header(&seen, "x-request-id");
    assert_eq!(ids.len(), 1);
    for world in [&outer, &inner] {
        let record = world.proxy().unwrap().process.line("the record of the request", |line| {
            let record: Value = serde_json::from_str(line).ok()?;
            (record["id"] == ids[0]).then_some(record)
        });
        let record = record.await.unwrap();
        assert_eq!(record["client"], "127.0.0.9", "both records name the client: {record}");
    }
    socket.close().await.unwrap();
}

/// Three servers behind one name: each is used; hashed by the client's address, one client meets one server.
#[tokio::test]
async fn three_servers_behind_one_name() {
    const HOST: &str = "chat.example.com";
    let mut servers = Vec::new();
    for name in ["one", "two", "three"] {
        servers.push(DemoBackend::start(name).await.unwrap());
    }
    let addresses: Vec<_> = servers.iter().map(DemoBackend::address).collect();
    let mut world = World::plan()
        .file("chat.yaml", scenario("three-servers.yaml"))
        .file("servers.yaml", backend("chat", &addresses))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    let mut open = Vec::new();
    for _ in 0..9 {
        open.push(target.websocket("/").await.unwrap());
    }
    let served = |name: &str, sockets: &[Socket]| sockets.iter().filter(|one| one.backend() == name).count();
    assert_eq!(["one", "two", "three"].map(|name| served(name, &open)), [3, 3, 3], "the fewest tunnels");

    let hashed =
        "    policy: {loadBalancing: {policy: ConsistentHash, hashOn: {clientAddress: {}}}}\n    backends:";
    world.edit("chat.yaml", "    backends:", hashed).await.unwrap();
    let mut owners = BTreeMap::new();
    for number in 2..42 {
        let client = world.plain(HOST).unwrap().from(format!("127.0.0.{number}").parse().unwrap());
        let owner = client.websocket("/").await.unwrap().backend().to_owned();
        for _ in 0..3 {
            assert_eq!(client.websocket("/").await.unwrap().backend(), owner, "client {number}");
            let answer = client.get("/whoami").await.unwrap();
            assert_eq!(field(&answer.head, "x-backend"), Some(&*owner), "client {number}");
        }
        owners.insert(number, owner);
    }
    let used: BTreeSet<_> = owners.values().collect();
    assert_eq!(used.len(), 3, "{owners:?}");

    // A server goes: its clients meet others, everybody else the same one as before.
    world.write("servers.yaml", &backend("chat", &addresses[..2])).await.unwrap();
    for (number, owner) in &owners {
        let client = world.plain(HOST).unwrap().from(format!("127.0.0.{number}").parse().unwrap());
        let now = client.websocket("/").await.unwrap().backend().to_owned();
        assert!(now == *owner || owner == "three", "client {number} met {owner} and now {now}");
    }
    for socket in &mut open {
        socket.echo("none of this concerns a tunnel that is open").await.unwrap();
    }
}

/// A prefix that the server behind does not know is taken away, or replaced, on the way.
#[tokio::test]
async fn a_prefix_is_rewritten_on_its_way() {
    const HOST: &str = "app.example.com";
    let blue = DemoBackend::start("blue").await.unwrap();
    let world = World::plan()
        .file("app.yaml", scenario("rewritten-prefix.yaml"))
        .file("backend.yaml", backend("app", &[blue.address()]))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    for (path, arrives, host) in [
        ("/socket/whoami", "/whoami", HOST),
        ("/socket/a/whoami?room=1&x=%2F", "/a/whoami?room=1&x=%2F", HOST),
        ("/live/whoami", "/internal/v2/whoami", "app.internal"),
        ("/live/a%20b/whoami", "/internal/v2/a%20b/whoami", "app.internal"),
    ] {
        let mut socket = target.websocket(path).await.unwrap();
        let by_socket: Value = serde_json::from_str(&socket.text().await.unwrap()).unwrap();
        let by_request = target.get(path).await.unwrap().json().unwrap();
        for seen in [by_socket, by_request] {
            assert_eq!(seen["target"], arrives, "{path}");
            assert_eq!(header(&seen, "host"), [host], "{path}");
            assert_eq!(header(&seen, "x-forwarded-host"), [HOST], "{path}");
        }
    }
    assert_eq!(target.get("/socketwhoami").await.unwrap().status, 404);
}
