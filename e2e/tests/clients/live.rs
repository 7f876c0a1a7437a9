//! Libraries that bring their own protocol for live messages, with their own ways to fall back and to come back.

use super::ways::every_way;

#[tokio::test]
async fn socket_io_upgrades_from_polling() {
    // The client's last session stays with polling.
    every_way("socket_io_upgrades_from_polling", "socket-io-server.js", 2, async |way| {
        let said = way.node("socket-io-client.js", &["upgrade"]).await;
        assert_eq!(said, "ok 3 sessions, polling then websocket\n");
    })
    .await;
}

#[tokio::test]
async fn socket_io_polls() {
    every_way("socket_io_polls", "socket-io-server.js", 0, async |way| {
        assert_eq!(way.node("socket-io-client.js", &["polling"]).await, "ok 3 sessions, polling\n");
    })
    .await;
}

#[tokio::test]
async fn socket_io_with_websocket_alone() {
    every_way("socket_io_with_websocket_alone", "socket-io-server.js", 3, async |way| {
        assert_eq!(way.node("socket-io-client.js", &["websocket"]).await, "ok 3 sessions, websocket\n");
    })
    .await;
}

#[tokio::test]
async fn graphql_ws() {
    every_way("graphql_ws", "graphql-server.js", 7, async |way| {
        let said = way.node("graphql-client.js", &[]).await;
        assert_eq!(
            said,
            "ok graphql-transport-ws, 5 events, closed with 4400 4401 4403 4408 4409 4429 and 1000\n"
        );
    })
    .await;
}

#[tokio::test]
async fn signalr() {
    every_way("signalr", "signalr-server.js", 2, async |way| {
        let said = way.node("signalr-client.js", &[]).await;
        assert_eq!(said, "ok WebSockets by choice, then ServerSentEvents and LongPolling\n");
    })
    .await;
}

#[tokio::test]
async fn action_cable() {
    every_way("action_cable", "action-cable-server.js", 3, async |way| {
        let said = way.node("action-cable-client.js", &[]).await;
        assert_eq!(said, "ok actioncable-v1-json, 3 messages, a ping, back again, sent away\n");
    })
    .await;
}

#[tokio::test]
async fn phoenix() {
    every_way("phoenix", "phoenix-server.js", 2, async |way| {
        let said = way.node("phoenix-client.js", &[]).await;
        assert_eq!(said, "ok phoenix and phoenix, cut with 1012\n");
    })
    .await;
}
