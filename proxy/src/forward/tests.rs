//! Golden heads, and who the client is.

use super::*;
use crate::head::{RequestParser, ResponseParser};

fn head(lines: &[&str]) -> Head {
    let request = format!("{}\r\n\r\n", lines.join("\r\n"));
    RequestParser::default().parse(request.as_bytes()).unwrap().unwrap().0
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn peer(trusted: bool) -> Peer<'static> {
    Peer {
        client: address("192.0.2.7"),
        socket_peer: address("::ffff:10.0.0.1"),
        trusted,
        scheme: "http",
        port: 8080,
        request_id: "r-1",
        certificate: None,
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap().split("\r\n").map(str::to_owned).collect()
}

#[test]
fn a_plain_request_in_canonical_form() {
    let head = head(&[
        "POST http://a.test:80/x/../y?z HTTP/1.1",
        "Accept: */*",
        "connection: close, x-gone, host, content-length",
        "X-Gone: 1",
        "transfer-encoding: CHUNKED",
        "HOST:  a.test",
        "TE: trailers",
        "Trailer: Sum",
        "Expect: 100-CONTINUE",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X_Request_Id: forged",
        "cOOkie: a=b",
        "Cookie: c=d",
    ]);
    assert_eq!(
        written(|out| plain_request(&Outgoing::from(&head), &peer(false), out)),
        [
            "POST /x/../y?z HTTP/1.1",
            "Host: a.test",
            "Accept: */*",
            "Trailer: Sum",
            "cOOkie: a=b",
            "Cookie: c=d",
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a.test",
            "X-Forwarded-Port: 8080",
            "X-Real-IP: 192.0.2.7",
            "X-Request-Id: r-1",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Connection: close",
            "",
            "",
        ]
    );
}

#[test]
fn a_trusted_peer_is_believed_and_appended_to() {
    let head = head(&[
        "GET / HTTP/1.0",
        "Host: inner:81",
        "Connection: keep-alive",
        "X-Forwarded-For: 203.0.113.9,198.51.100.1",
        "X-Forwarded-For: 10.0.0.9",
        "X-Forwarded-Proto: HTTPS",
        "X-Forwarded-Host: outer.test",
        "Forwarded: for=203.0.113.9",
    ]);
    assert_eq!(
        written(|out| plain_request(&Outgoing::from(&head), &peer(true), out)),
        [
            "GET / HTTP/1.0",
            "Host: inner:81",
            "Forwarded: for=203.0.113.9",
            "X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.0.0.9, 10.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: outer.test",
            "X-Forwarded-Port: 443",
            "X-Real-IP: 192.0.2.7",
            "X-Request-Id: r-1",
            "Connection: keep-alive",
            "",
            "",
        ]
    );
}

#[test]
fn the_scheme_is_the_sockets_unless_a_trusted_peer_knows_better() {
    for (said, trusted, scheme) in [
        ("https", true, "https"),
        ("HTTPS", true, "https"),
        ("wss", true, "https"),
        ("ws", true, "http"),
        ("http", true, "http"),
        ("https", false, "http"),
        ("spdy", true, "http"),
        ("", true, "http"),
    ] {
        let head = head(&["GET / HTTP/1.1", "Host: a", &format!("X-Forwarded-Proto: {said}")]);
        assert_eq!(client_scheme(&head, &peer(trusted)), scheme, "{said}");
        let lines = written(|out| request_fields(&Outgoing::from(&head), &peer(trusted), out));
        assert!(lines.contains(&format!("X-Forwarded-Proto: {scheme}")), "{lines:?}");
    }
    let over_tls = Peer { scheme: "https", ..peer(true) };
    let told = head(&["GET / HTTP/1.1", "Host: a", "X-Forwarded-Proto: http"]);
    assert_eq!(client_scheme(&told, &over_tls), "http");
    assert_eq!(client_scheme(&head(&["GET / HTTP/1.1", "Host: a"]), &over_tls), "https");
}

#[test]
fn a_chain_of_longhauls_tells_the_last_upstream_what_the_first_saw() {
    let client =
        head(&["GET /x HTTP/1.1", "Host: a.test", "X-Forwarded-For: 192.0.2.66", "X-Real-IP: forged"]);
    let first = Peer {
        client: address("203.0.113.9"),
        socket_peer: address("203.0.113.9"),
        trusted: false,
        scheme: "https",
        port: 8443,
        request_id: "r-1",
        certificate: None,
    };
    // The first one rewrites both, the second knows it as 10.0.0.1.
    let rewritten = Outgoing { target: "/y".into(), host: "inner.test", ..Outgoing::from(&client) };
    let lines = written(|out| plain_request(&rewritten, &first, out));
    let between = head(&lines[..lines.len() - 2].iter().map(String::as_str).collect::<Vec<_>>());
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    let second = Peer {
        client: client_address(address("10.0.0.1"), &between.fields, &trusted),
        socket_peer: address("10.0.0.1"),
        trusted: true,
        scheme: "http",
        port: 80,
        request_id: &request_id(&between.fields, true).unwrap(),
        certificate: None,
    };
    assert_eq!(second.client, first.client);
    assert_eq!(
        written(|out| plain_request(&Outgoing::from(&between), &second, out)),
        [
            "GET /y HTTP/1.1",
            "Host: inner.test",
            "X-Forwarded-For: 203.0.113.9, 10.0.0.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: a.test",
            "X-Forwarded-Port: 8443",
            "X-Real-IP: 203.0.113.9",
            "X-Request-Id: r-1",
            "",
            "",
        ]
    );
}

#[test]
fn nonsense_from_a_trusted_peer_is_not_believed() {
    let head = head(&[
        "GET / HTTP/1.1",
        "Host: inner",
        "X-Forwarded-Proto: https, http",
        "X-Forwarded-Host: a/b",
        "X-Forwarded-Port: 0",
    ]);
    let lines = written(|out| request_fields(&Outgoing::from(&head), &peer(true), out));
    for line in ["X-Forwarded-Proto: http", "X-Forwarded-Host: inner", "X-Forwarded-Port: 8080"] {
        assert!(lines.iter().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_client_is_the_last_address_that_a_trusted_peer_wrote() {
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect();
    for (socket_peer, forwarded_for, client) in [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.2, 10.1.1.1", "198.51.100.2"),
        ("10.0.0.1", "10.3.3.3, fd00::1", "10.3.3.3"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
    ] {
        let head = head(&["GET / HTTP/1.1", "Host: a", &format!("X-Forwarded-For: {forwarded_for}")]);
        let found = client_address(address(socket_peer), &head.fields, &trusted);
        assert_eq!(found, address(client), "{socket_peer} {forwarded_for}");
    }
    let head =
        head(&["GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.2"]);
    assert_eq!(client_address(address("10.0.0.1"), &head.fields, &trusted), address("192.0.2.1"));
}

#[test]
fn a_request_id_is_kept_when_it_is_sane() {
    let id = |value: &str, trusted| {
        request_id(&head(&["GET / HTTP/1.1", "Host: a", &format!("X-Request-Id: {value}")]).fields, trusted)
    };
    assert_eq!(id("abc-1", true).as_deref(), Some("abc-1"));
    assert_eq!(id("abc-1", false), None);
    for odd in ["", "a b", "\u{e9}", &"x".repeat(129), "a\r\nX-Request-Id: b"] {
        assert_eq!(id(odd, true), None, "{odd}");
    }
}

#[test]
fn responses_keep_what_is_end_to_end() {
    let bytes =
        b"HTTP/1.1 200 OK\r\nConnection: x-gone\r\nX-Gone: 1\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\
                  Set-Cookie: a\r\nUpgrade: h2c\r\nset-cookie: b\r\n\r\n";
    let (head, _) = ResponseParser::default().parse(bytes, false).unwrap().unwrap();
    let lines = written(|out| response_fields(&head, &Additions::default(), out));
    assert_eq!(lines, ["Content-Length: 3", "Set-Cookie: a", "set-cookie: b", ""]);

    let (head, _) = ResponseParser::default()
        .parse(b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", false)
        .unwrap()
        .unwrap();
    assert_eq!(written(|out| response_fields(&head, &Additions::default(), out)), [""]);
}

#[test]
fn trailers_can_be_nominated_too() {
    let head = head(&["POST / HTTP/1.1", "Host: a", "Connection: x-gone", "Transfer-Encoding: chunked"]);
    let mut delimiter = crate::body::Delimiter::new(head.framing);
    let step = delimiter.next(b"0\r\nX-Gone: 1\r\nSum: 2\r\n\r\n").unwrap();
    let crate::body::Output::Trailers(trailers) = step.output else { panic!("no trailers: {step:?}") };
    assert_eq!(written(|out| trailer_fields(&head, &trailers, out)), ["Sum: 2", ""]);
}
