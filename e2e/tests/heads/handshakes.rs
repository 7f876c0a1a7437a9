//! WebSocket handshakes: methods, versions, keys, other upgrades, and what stands behind one.

use super::{Row, get, message, passed, refused, switched};

/// A GET with these field lines, and what stands behind it.
macro_rules! chat {
    ($($line:literal),+ $(; $behind:literal)?) => {
        concat!("GET /chat HTTP/1.1\r\nHost: heads.test\r\n", $($line, "\r\n",)+ "\r\n" $(, $behind)?).as_bytes()
    };
}

/// A GET that asks for a WebSocket and is complete but for these field lines.
macro_rules! upgrade {
    ($($line:literal),+ $(; $behind:literal)?) => {
        chat!("Connection: Upgrade", "Upgrade: websocket", $($line),+ $(; $behind)?)
    };
}

const PLAIN: &[super::Message] = &[get("/chat").without(&["upgrade"])];

pub(super) const ROWS: &[Row] = &[
    switched(
        "a handshake",
        "RFC 6455 §4.2.1",
        upgrade!("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"),
    ),
    switched(
        "tokens in lists and in another case",
        "RFC 9110 §7.8",
        chat!(
            "connection: keep-alive, UPGRADE",
            "upgrade: h2c, WebSocket",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version: 13"
        ),
    ),
    switched(
        "a length of zero is no body",
        "RFC 9110 §8.6",
        upgrade!(
            "Content-Length: 0",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13"
        ),
    ),
    switched(
        "handshake fields nominated",
        "RFC 9110 §7.6.1",
        chat!(
            "Connection: upgrade, sec-websocket-key, sec-websocket-version",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13"
        ),
    ),
    switched(
        "a request behind a handshake is the tunnel's",
        "RFC 9110 §7.8",
        upgrade!(
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13";
            "GET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n"
        ),
    ),
    passed(
        "a handshake behind a request",
        "RFC 9112 §9.3.2",
        b"GET /1 HTTP/1.1\r\nHost: heads.test\r\n\r\n\
          GET /chat HTTP/1.1\r\nHost: heads.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        &[get("/1"), get("/chat")],
    )
    .answers(&[200, 101]),
    // What cannot be granted.
    refused(
        "POST",
        "RFC 6455 §4.2.1",
        b"POST /chat HTTP/1.1\r\nHost: heads.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    refused(
        "HEAD",
        "RFC 6455 §4.2.1",
        b"HEAD /chat HTTP/1.1\r\nHost: heads.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    refused(
        "get in lower case",
        "RFC 9110 §9.1",
        b"get /chat HTTP/1.1\r\nHost: heads.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    refused("no key", "RFC 6455 §4.2.1", upgrade!("Sec-WebSocket-Version: 13")),
    refused(
        "an empty key",
        "RFC 6455 §4.2.1",
        upgrade!("Sec-WebSocket-Key:", "Sec-WebSocket-Version: 13"),
    ),
    refused(
        "a key of 13 bytes",
        "RFC 6455 §4.2.1",
        upgrade!("Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ==", "Sec-WebSocket-Version: 13"),
    ),
    refused(
        "a key of 18 bytes",
        "RFC 6455 §4.2.1",
        upgrade!("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA", "Sec-WebSocket-Version: 13"),
    ),
    refused(
        "a key that is not base64",
        "RFC 6455 §4.2.1",
        upgrade!("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!!==", "Sec-WebSocket-Version: 13"),
    ),
    refused(
        "two keys",
        "RFC 6455 §11.3.1",
        upgrade!(
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13"
        ),
    ),
    refused(
        "another version",
        "RFC 6455 §4.4",
        upgrade!("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 8"),
    )
    .answers(&[426]),
    refused(
        "a list of versions",
        "RFC 6455 §11.3.5",
        upgrade!("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13, 8"),
    )
    .answers(&[426]),
    refused("no version", "RFC 6455 §4.2.1", upgrade!("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
    refused(
        "the version twice",
        "RFC 6455 §11.3.5",
        upgrade!(
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Version: 13"
        ),
    ),
    refused(
        "a body with a length",
        "RFC 9110 §7.8",
        upgrade!(
            "Content-Length: 5", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13";
            "hello"
        ),
    ),
    refused(
        "a chunked body",
        "RFC 9110 §7.8",
        upgrade!(
            "Transfer-Encoding: chunked",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13";
            "5\r\nhello\r\n0\r\n\r\n"
        ),
    ),
    // Upgrade smuggling: the proxy believes in a tunnel that the upstream has refused.
    refused(
        "a request behind a wrong version",
        "upgrade smuggling by version",
        upgrade!(
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 777";
            "GET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n"
        ),
    )
    .answers(&[426]),
    refused(
        "a request behind a wrong key",
        "upgrade smuggling by key",
        upgrade!(
            "Sec-WebSocket-Key: no", "Sec-WebSocket-Version: 13";
            "GET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n"
        ),
    ),
    // What is no handshake: the token is dropped.
    passed(
        "a handshake in HTTP/1.0",
        "RFC 9110 §7.8",
        b"GET /chat HTTP/1.0\r\nHost: heads.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        PLAIN,
    )
    .closing(),
    passed(
        "Upgrade that Connection does not name",
        "RFC 9110 §7.8",
        chat!(
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13"
        ),
        PLAIN,
    ),
    passed("Connection: upgrade alone", "RFC 9110 §7.8", chat!("Connection: upgrade"), PLAIN),
    passed(
        "an upgrade to h2c",
        "RFC 9113 §3.1 (h2c smuggling)",
        chat!("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        &[get("/chat").without(&["upgrade", "http2-settings"])],
    ),
    passed(
        "a token that looks like websocket",
        "RFC 9110 §7.8",
        chat!("Connection: Upgrade", "Upgrade: websocket/13"),
        PLAIN,
    ),
    passed(
        "an upgrade to TLS, with a body",
        "RFC 2817 §3",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\nContent-Length: 2\r\n\r\nhi",
        &[message("POST", "/p", b"hi").without(&["upgrade"])],
    ),
];
