//! Sessions of Engine.IO whose requests come from all over.

use std::net::{IpAddr, Ipv4Addr};

use e2e::backend::recorder::{Answer, Recorder};
use e2e::objects;
use e2e::world::World;

const HOST: &str = "app.example.com";

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling&t=x";

/// A backend that begins each session with the same sid, and answers the rest with its name.
async fn backend(name: &'static str, chunked: bool) -> Recorder {
    let choose = move |head: &str| {
        if head.contains("sid=") {
            return Answer::ok(name);
        }
        let open = format!("0{{\"sid\":\"of-{name}\",\"upgrades\":[],\"pingInterval\":25000}}");
        if !chunked {
            return Answer::ok(&open);
        }
        let (one, other) = open.split_at(9);
        let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len());
        Answer::Bytes(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes())
    };
    Recorder::start_with(choose).await.unwrap()
}

fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 1, 0, number).into()
}

#[tokio::test]
async fn a_session_is_found_from_every_address_once_it_was_learned() {
    for chunked in [false, true] {
        let (red, blue) = (backend("red", chunked).await, backend("blue", chunked).await);
        let plan = World::plan().site(HOST, red.address()).annotation("longhaul.dev/engine-io", "true");
        let mut world = plan.start().await.unwrap();
        world
            .write("backend.yaml", &objects::backend("backend", &[red.address(), blue.address()]))
            .await
            .unwrap();
        let at = |number| world.plain(HOST).unwrap().from(client(number));
        let mut homes = std::collections::BTreeSet::new();
        for number in 1..=20 {
            let compressed = "Accept-Encoding: gzip, br\r\n";
            let answer = at(number).request("GET", HANDSHAKE, compressed, b"").await.unwrap().text();
            let again = at(number).get(HANDSHAKE).await.unwrap().text();
            assert_eq!(answer, again, "requests without a sid go by the client's address");
            homes.insert(if answer.contains("of-red") { "red" } else { "blue" });
        }
        assert_eq!(homes.len(), 2, "20 clients are at home at both");
        for home in homes {
            let target = format!("/socket.io/?EIO=4&transport=polling&sid=of-{home}");
            for number in 1..=20 {
                assert_eq!(at(number).get(&target).await.unwrap().text(), home, "{number}");
            }
        }
        // What nobody learned goes by the address again: to both.
        let mut strangers = std::collections::BTreeSet::new();
        for number in 1..=20 {
            let target = "/socket.io/?EIO=4&transport=polling&sid=never-seen";
            strangers.insert(at(number).get(target).await.unwrap().text());
        }
        assert_eq!(strangers.len(), 2);
        let asked = red.text() + &blue.text();
        assert!(asked.contains("accept-encoding: identity") && !asked.contains("gzip"), "{asked}");
    }
}
