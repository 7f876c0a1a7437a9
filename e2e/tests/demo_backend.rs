//! The demo backend as a program of its own: how it leaves. What it serves, the other scenarios tell.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::Command;

use e2e::client::Target;
use e2e::process::{Process, binary};
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test]
async fn a_backend_that_is_told_to_leave_says_goodbye_on_each_tunnel_and_ends() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = Command::new(binary("demo-backend").unwrap());
        command.args(["--name", "blue"]);
        let mut backend = Process::start("blue", command).unwrap();
        let address: SocketAddr = backend
            .line("where it listens", |line| line.split_once(" listens on ")?.1.parse().ok())
            .await
            .unwrap();
        let target = Target::plain(address, "example.com");
        let mut tunnels = Vec::new();
        for path in ["/echo", "/chat"] {
            tunnels.push(target.websocket(path).await.unwrap());
        }
        backend.signal(signal).unwrap();
        for mut tunnel in tunnels {
            let goodbye = tunnel.closed().await.unwrap().expect("a Close comes before the end");
            assert_eq!(goodbye.code, CloseCode::Away);
        }
        assert!(backend.ended().await.unwrap().success());
    }
}
