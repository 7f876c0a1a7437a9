//! Hashing by the names of pods.

use std::fmt::Write;
use std::net::SocketAddr;

use e2e::backend::demo::DemoBackend;
use e2e::objects;
use e2e::world::World;

const HOST: &str = "app.example.com";

/// The Service `backend` with a slice for each of the pods `chat-0`, `chat-1`, ….
fn pods(addresses: &[SocketAddr]) -> String {
    let mut text = objects::service("backend");
    for (number, address) in addresses.iter().enumerate() {
        let slice = objects::slice("backend", number, *address);
        let _ = write!(text, "---\n{slice}  targetRef: {{kind: Pod, name: chat-{number}}}\n");
    }
    text
}

/// Which backend each of 40 rooms is at.
async fn rooms(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for room in 0..40 {
        let target = format!("/whoami?room={room}");
        let answer = world.plain(HOST).unwrap().get(&target).await.unwrap();
        found.push(answer.json().unwrap()["backend"].as_str().unwrap().to_owned());
    }
    found
}

/// How many of the rooms are where they were when each pod has been restarted at another address.
async fn stay(ring: &str) -> usize {
    let start = async || {
        let mut all = Vec::new();
        for name in ["chat-0", "chat-1", "chat-2"] {
            all.push(DemoBackend::start(name).await.unwrap());
        }
        all
    };
    let addresses = |backends: &[DemoBackend]| backends.iter().map(DemoBackend::address).collect::<Vec<_>>();
    let before = start().await;
    let plan = World::plan()
        .site(HOST, before[0].address())
        .annotation("longhaul.dev/hash-on", "query:room")
        .annotation("longhaul.dev/hash-ring", ring);
    let mut world = plan.start().await.unwrap();
    world.write("backend.yaml", &pods(&addresses(&before))).await.unwrap();
    let were = rooms(&world).await;
    let after = start().await;
    world.write("backend.yaml", &pods(&addresses(&after))).await.unwrap();
    let are = rooms(&world).await;
    were.iter().zip(&are).filter(|(were, are)| were == are).count()
}

#[tokio::test]
async fn pods_that_are_restarted_keep_their_keys_by_name_and_not_by_address() {
    assert_eq!(stay("pod-name").await, 40);
    let by_address = stay("address").await;
    assert!(by_address < 40, "ports that are chosen by chance would all have the same order");
}
