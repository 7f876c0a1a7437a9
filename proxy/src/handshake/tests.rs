//! The offer, the request that is made of it, and the answers that are none.

use super::*;
use crate::head::{RequestParser, ResponseParser};

/// The key and accept value of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn head(fields: &[&str]) -> Head {
    let fields = fields.join("\r\n");
    let request = format!(
        "GET /chat?token=t HTTP/1.1\r\nHost: A.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n\r\n"
    );
    RequestParser::default().parse(request.replace("\r\n\r\n\r\n", "\r\n\r\n").as_bytes()).unwrap().unwrap().0
}

fn offered(fields: &[&str]) -> Offer {
    match examine(&head(fields)) {
        Asked::WebSocket(offer) => offer,
        other => panic!("{other:?}"),
    }
}

fn answered(lines: &[&str]) -> ResponseHead {
    let response = format!("{}\r\n\r\n", lines.join("\r\n"));
    ResponseParser::default().parse(response.as_bytes(), false).unwrap().unwrap().0
}

#[test]
fn an_offer_has_key_subprotocols_and_extensions() {
    let offer = offered(&[
        "Sec-WebSocket-Protocol: chat, , superchat",
        "Sec-WebSocket-Protocol: graphql-transport-ws",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x; a=\"b,c\", y",
    ]);
    assert_eq!(offer.key, KEY);
    assert_eq!(offer.protocols, ["chat", "superchat", "graphql-transport-ws"]);
    assert_eq!(offer.extensions, ["permessage-deflate", "x", "y"]);
}

#[test]
fn another_version_is_told_the_right_one() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n";
    let (head, _) = RequestParser::default().parse(bytes).unwrap().unwrap();
    let Asked::Refuse(refusal) = examine(&head) else { panic!("not refused") };
    assert_eq!((refusal.status, refusal.close), (426, true));
    assert_eq!(refusal.header, Some(("Sec-WebSocket-Version", "13")));
}

#[test]
fn the_upstream_gets_one_canonical_head() {
    let peer = Peer {
        client: [192, 0, 2, 1].into(),
        socket_peer: [192, 0, 2, 1].into(),
        trusted: false,
        scheme: "https",
        port: 443,
        request_id: "r",
        certificate: None,
    };
    let mut out = Vec::new();
    let head = head(&["Origin: https://a.test", "Cookie: s=1"]);
    request(&Outgoing::from(&head), &peer, &mut out);
    let expected = [
        "GET /chat?token=t HTTP/1.1",
        "Host: A.test",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Origin: https://a.test",
        "Cookie: s=1",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: A.test",
        "X-Forwarded-Port: 443",
        "X-Real-IP: 192.0.2.1",
        "X-Request-Id: r",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "",
        "",
    ];
    assert_eq!(String::from_utf8(out).unwrap(), expected.join("\r\n"));
}

#[test]
fn only_the_right_answer_opens_a_tunnel() {
    let offer =
        offered(&["Sec-WebSocket-Protocol: chat, v2", "Sec-WebSocket-Extensions: permessage-deflate"]);
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}");
    let base = ["Upgrade: WebSocket", "Connection: upgrade", accept.as_str()];
    let answer = |line: &str, fields: &[&str]| check(&offer, &answered(&[&[line], fields].concat()));
    let switching = "HTTP/1.1 101 Switching Protocols";
    let with = |extra: &str| answer(switching, &[&base[..], &[extra]].concat());
    let without = |left_out: usize| {
        let fields: Vec<&str> = (0..3).filter(|at| *at != left_out).map(|at| base[at]).collect();
        answer(switching, &fields)
    };

    assert_eq!(answer(switching, &base), Ok(()));
    assert_eq!(with("Sec-WebSocket-Protocol: v2"), Ok(()));
    assert_eq!(with("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"), Ok(()));

    assert_eq!(answer("HTTP/1.1 200 OK", &base), Err(Violation::Status));
    assert_eq!(answer("HTTP/1.0 101 Switching", &base), Err(Violation::Status));
    assert_eq!(without(0), Err(Violation::Upgrade));
    assert_eq!(with("Upgrade: websocket"), Err(Violation::Upgrade));
    assert_eq!(without(1), Err(Violation::Connection));
    assert_eq!(without(2), Err(Violation::Accept));
    assert_eq!(with(&accept), Err(Violation::Accept));
    let wrong = [base[0], base[1], "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="];
    assert_eq!(answer(switching, &wrong), Err(Violation::Accept));
    assert_eq!(with("Sec-WebSocket-Protocol: Chat"), Err(Violation::Protocol));
    assert_eq!(with("Sec-WebSocket-Protocol: chat, v2"), Err(Violation::Protocol));
    assert_eq!(with("Sec-WebSocket-Protocol:"), Err(Violation::Protocol));
    assert_eq!(with("Sec-WebSocket-Extensions: permessage-deflate, other"), Err(Violation::Extension));
}

#[test]
fn the_client_gets_the_101_in_canonical_form() {
    let head = answered(&[
        "HTTP/1.1 101 Whatever",
        "upgrade: websocket",
        "Content-Length: 0",
        "connection: Upgrade, sec-websocket-accept",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover",
        "Set-Cookie: a=b",
    ]);
    let mut out = Vec::new();
    response(&head, &Additions::default(), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\nSet-Cookie: a=b\r\n\r\n"
    );
}
