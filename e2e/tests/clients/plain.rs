//! Plain requests of the usual clients: what they send arrives, and what they are answered comes back as it was.

use e2e::foreign::Tool;

use super::ways::every_way;

#[tokio::test]
async fn node_http_and_fetch() {
    every_way("node_http_and_fetch", "http-server.js", 0, async |way| {
        let said = way.node("http-client.js", &[]).await;
        assert_eq!(said, "ok http 117 on 1, fetch 100 on 0 more\n", "{}", way.name);
    })
    .await;
}

#[tokio::test]
async fn python_http_client_urllib_and_requests() {
    let name = "python_http_client_urllib_and_requests";
    if !Tool::Python.wanted_by(name) {
        return;
    }
    every_way(name, "http-server.js", 0, async |way| {
        let said = way.python("http_client.py").await;
        assert_eq!(said, "ok http.client 111 on 1, urllib 3, requests 108 on 1\n", "{}", way.name);
    })
    .await;
}
