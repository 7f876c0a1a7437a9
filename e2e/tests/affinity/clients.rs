//! Real clients of libraries that live by coming back, with two backends of them behind two proxies.

use std::net::SocketAddr;

use e2e::foreign::{Foreign, Tool};
use e2e::objects;
use e2e::world::World;

use super::turns::Turns;

/// A name that resolves to this machine wherever the tests run, so that every client takes it.
const HOST: &str = "localhost";

const COOKIE: (&str, &str) = ("longhaul.dev/affinity-cookie", "longhaul");
const ENGINE_IO: (&str, &str) = ("longhaul.dev/engine-io", "true");
const ADDRESS: (&str, &str) = ("longhaul.dev/hash-on", "client-address");
const THEIRS: (&str, &str) = ("nginx.ingress.kubernetes.io/affinity", "cookie");

/// Two backends of one script, behind two proxies.
struct Pair {
    world: World,
    plain: Turns,
    tls: Turns,
    _backends: [Foreign; 2],
}

impl Pair {
    async fn start(backend: &str, (key, value): (&str, &str)) -> Self {
        let mut backends = [Foreign::node(backend, &[]).unwrap(), Foreign::node(backend, &[]).unwrap()];
        let mut addresses = Vec::new();
        for backend in &mut backends {
            let port: u16 = backend.line().await.unwrap().parse().unwrap();
            addresses.push(SocketAddr::from(([127, 0, 0, 1], port)));
        }
        let plan = World::plan().site(HOST, addresses[0]).annotation(key, value).proxies(2);
        let mut world = plan.start().await.unwrap();
        world.write("backend.yaml", &objects::backend("backend", &addresses)).await.unwrap();
        let [one, other] = [0, 1].map(|number| world.proxy_number(number).unwrap());
        let in_the_clear = Turns::between([one.http(), other.http()]).await;
        let tls = Turns::between([one.https(), other.https()]).await;
        Self { world, plain: in_the_clear, tls, _backends: backends }
    }

    /// Runs a client in the clear, then over TLS, and compares what it says at its end.
    async fn runs(&self, script: &str, arguments: &[&str], wanted: &str) {
        let base = format!("http://{HOST}:{}", self.plain.port());
        let client = Foreign::node(script, &[&[&*base], arguments].concat()).unwrap();
        assert_eq!(client.text().await.unwrap(), wanted);
        let base = format!("https://{HOST}:{}", self.tls.port());
        let trusted = self.world.ca_file();
        let client = Foreign::node_trusting(script, &[&[&*base], arguments].concat(), &trusted).unwrap();
        assert_eq!(client.text().await.unwrap(), wanted);
    }

    /// Both proxies had a part in it: else nothing was shown of several.
    async fn both_served(&self) {
        for number in [0, 1] {
            let metrics = self.world.proxy_number(number).unwrap().metrics().await.unwrap();
            let tunnels = metrics.count("longhaul_tunnels_opened_total", &[]).unwrap();
            let requests = metrics.count("longhaul_requests_total", &[]).unwrap();
            assert!(tunnels + requests > 0, "proxy {number}");
        }
    }
}

/// Runs a client's script with two backends and two proxies, and an annotation.
async fn by_turns(
    test: &str,
    (backend, script): (&str, &str),
    annotation: (&str, &str),
    runs: &[(&[&str], &str)],
) {
    if !Tool::Node.wanted_by(test) {
        return;
    }
    let pair = Pair::start(backend, annotation).await;
    for (arguments, wanted) in runs {
        pair.runs(script, arguments, wanted).await;
    }
    pair.both_served().await;
}

const SOCKET_IO: (&str, &str) = ("socket-io-server.js", "socket-io-client.js");

/// With polling alone each message is a request of its own.
const SOCKET_IO_RUNS: [(&[&str], &str); 2] =
    [(&["upgrade"], "ok 3 sessions, polling then websocket\n"), (&["polling"], "ok 3 sessions, polling\n")];

#[tokio::test]
async fn socket_io_with_a_cookie() {
    by_turns("socket_io_with_a_cookie", SOCKET_IO, COOKIE, &SOCKET_IO_RUNS).await;
}

#[tokio::test]
async fn socket_io_with_the_cookie_of_ingress_nginx() {
    by_turns("socket_io_with_the_cookie_of_ingress_nginx", SOCKET_IO, THEIRS, &SOCKET_IO_RUNS).await;
}

#[tokio::test]
async fn socket_io_with_its_own_sid() {
    by_turns("socket_io_with_its_own_sid", SOCKET_IO, ENGINE_IO, &SOCKET_IO_RUNS).await;
}

#[tokio::test]
async fn signalr() {
    let wanted = "ok WebSockets by choice, then ServerSentEvents and LongPolling\n";
    by_turns("signalr", ("signalr-server.js", "signalr-client.js"), COOKIE, &[(&[], wanted)]).await;
}

#[tokio::test]
async fn graphql_ws() {
    let wanted = "ok graphql-transport-ws, 5 events, closed with 4400 4401 4403 4408 4409 4429 and 1000\n";
    by_turns("graphql_ws", ("graphql-server.js", "graphql-client.js"), COOKIE, &[(&[], wanted)]).await;
}

#[tokio::test]
async fn action_cable() {
    let wanted = "ok actioncable-v1-json, 3 messages, a ping, back again, sent away\n";
    let scripts = ("action-cable-server.js", "action-cable-client.js");
    // Two consumers of one room: each is a connection, and what they have in common is where they come from.
    by_turns("action_cable", scripts, ADDRESS, &[(&[], wanted)]).await;
}

#[tokio::test]
async fn phoenix() {
    let wanted = "ok phoenix and phoenix, cut with 1012\n";
    by_turns("phoenix", ("phoenix-server.js", "phoenix-client.js"), COOKIE, &[(&[], wanted)]).await;
}
