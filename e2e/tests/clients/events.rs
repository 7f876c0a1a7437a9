//! Server-sent events in a browser.

use e2e::foreign::Tool;

use super::ways::every_way;

#[tokio::test]
async fn chromium_sees_each_event_as_it_is_sent() {
    let name = "chromium_sees_each_event_as_it_is_sent";
    if !Tool::Chromium.wanted_by(name) {
        return;
    }
    every_way(name, "events-server.js", 0, async |way| {
        let said = way.node("events-browser.js", &["MAP localhost 127.0.0.1"]).await;
        let wanted = "ok event 1, event 2, event 3, event 4, event 5; came with nothing, 3\n";
        assert_eq!(said, wanted, "{}", way.name);
    })
    .await;
}
