//! Field lines, Host, and the fields that belong to one connection.

use super::{Row, get, message, padded, passed, post, refused};

pub(super) const ROWS: &[Row] = &[
    // Field lines.
    refused("a space before the colon", "RFC 9112 §5.1", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA : b\r\n\r\n"),
    refused("a tab before the colon", "RFC 9112 §5.1", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA\t: b\r\n\r\n"),
    refused("a space in a name", "RFC 9110 §5.1", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA B: c\r\n\r\n"),
    refused("an empty name", "RFC 9110 §5.1", b"GET / HTTP/1.1\r\nHost: heads.test\r\n: b\r\n\r\n"),
    refused("no colon", "RFC 9112 §5", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA\r\n\r\n"),
    refused("a name that is no token", "RFC 9110 §5.1", b"GET / HTTP/1.1\r\nHost: heads.test\r\n(A): b\r\n\r\n"),
    refused("a name beyond ASCII", "RFC 9110 §5.1", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA\xff: b\r\n\r\n"),
    refused("NUL in a name", "RFC 9110 §5.5", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA\0: b\r\n\r\n"),
    refused("NUL in a value", "RFC 9110 §5.5", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: b\0c\r\n\r\n"),
    refused("a control character in a value", "RFC 9110 §5.5", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: \x0bb\r\n\r\n"),
    refused("DEL in a value", "RFC 9110 §5.5", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: b\x7f\r\n\r\n"),
    passed(
        "tab, bytes beyond ASCII and no value at all",
        "RFC 9110 §5.5",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: b\tc\r\nB:\t\xc3\xa9 \r\nC:\r\n\r\n",
        &[get("/")],
    ),
    refused("a folded line", "RFC 9112 §5.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: b\r\n c: d\r\n\r\n"),
    refused("a line folded with a tab", "RFC 9112 §5.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: b\r\n\tc\r\n\r\n"),
    refused("white space before the first field", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\n A: b\r\nHost: heads.test\r\n\r\n"),
    refused("a line of white space", "RFC 9112 §5.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\n \r\n\r\n"),
    refused("more fields than anybody needs", "RFC 6585 §5", &MANY_FIELDS).answers(&[431]),
    refused("more nominations than fields", "RFC 6585 §5", &MANY_NOMINATIONS).answers(&[431]),
    // Host.
    refused("no Host", "RFC 9112 §3.2", b"GET / HTTP/1.1\r\nA: b\r\n\r\n"),
    refused("no Host in HTTP/1.0", "RFC 9112 §3.2 (made stricter)", b"GET / HTTP/1.0\r\n\r\n"),
    refused("an empty Host", "RFC 9110 §4.2.1", b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    refused("Host twice", "RFC 9112 §3.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\nHost: heads.test\r\n\r\n"),
    refused("two Hosts", "RFC 9112 §3.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\nhost: other.test\r\n\r\n"),
    refused("a list of Hosts", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: heads.test, other.test\r\n\r\n"),
    refused("a space in Host", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: heads.test other.test\r\n\r\n"),
    refused("a path in Host", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: heads.test/a\r\n\r\n"),
    refused("user information in Host", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: user@heads.test\r\n\r\n"),
    refused("a query in Host", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: heads.test?a\r\n\r\n"),
    refused("an encoded Host", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: heads%2etest\r\n\r\n"),
    refused("two dots in Host", "RFC 1034 §3.5", b"GET / HTTP/1.1\r\nHost: heads..test\r\n\r\n"),
    refused("a Host beyond ASCII", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: h\xc3\xa9ads.test\r\n\r\n"),
    refused("a port that is none", "RFC 3986 §3.2.3", b"GET / HTTP/1.1\r\nHost: heads.test:http\r\n\r\n"),
    refused("a port that is too large", "RFC 3986 §3.2.3", b"GET / HTTP/1.1\r\nHost: heads.test:65536\r\n\r\n"),
    refused("a signed port", "RFC 3986 §3.2.3", b"GET / HTTP/1.1\r\nHost: heads.test:+80\r\n\r\n"),
    refused("two ports", "RFC 3986 §3.2.3", b"GET / HTTP/1.1\r\nHost: heads.test:80:80\r\n\r\n"),
    refused("half a bracket", "RFC 3986 §3.2.2", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    refused("text behind a bracket", "RFC 3986 §3.2.2", b"GET / HTTP/1.1\r\nHost: [::1]heads.test\r\n\r\n"),
    refused("an IPv6 zone", "RFC 9110 §4.2.1", b"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n"),
    passed("a port", "RFC 9110 §7.2", b"GET / HTTP/1.1\r\nHost: heads.test:8080\r\n\r\n", &[get("/")]),
    passed("no space behind the colon", "RFC 9112 §5", b"GET / HTTP/1.1\r\nhOsT:heads.test\r\n\r\n", &[get("/")]),
    passed("Host in upper case", "RFC 9110 §4.2.3", b"GET / HTTP/1.1\r\nHost: HEADS.test.\r\n\r\n", &[get("/")]),
    // What belongs to the connection, and what only we may say.
    passed(
        "a nominated field",
        "RFC 9110 §7.6.1",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nConnection: x-a,  X-B\r\nX-A: 1\r\nx-b: 2\r\nX-C: 3\r\n\r\n",
        &[get("/").without(&["x-a", "x-b"])],
    ),
    passed(
        "Host nominated",
        "RFC 9110 §7.6.1 (Connection: host)",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nConnection: host\r\n\r\n",
        &[get("/")],
    ),
    passed(
        "Content-Length nominated",
        "RFC 9110 §7.6.1 (Connection: content-length)",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello",
        &[post(b"hello")],
    ),
    passed(
        "hop-by-hop fields",
        "RFC 9110 §7.6.1",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
          TE: gzip\r\nProxy-Authorization: Basic eDp5\r\n\r\n",
        &[get("/").without(&["keep-alive", "proxy-connection", "te", "proxy-authorization"])],
    ),
    passed(
        "underscore for hyphen in what only we may say",
        "CGI (RFC 3875 §4.1.18)",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nX_Forwarded_For: 192.0.2.1\r\nX-Real_IP: 192.0.2.1\r\n\r\n",
        &[get("/").without(&["x_forwarded_for", "x-real_ip"])],
    ),
    passed(
        "underscore for hyphen in framing fields",
        "TE.CL by header name",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\nhello",
        &[post(b"hello").without(&["transfer_encoding"])],
    ),
    passed(
        "Forwarded from a stranger",
        "RFC 7239 §8.1",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nForwarded: for=192.0.2.1\r\n\r\n",
        &[get("/").without(&["forwarded"])],
    ),
    // Expect.
    passed(
        "an expectation",
        "RFC 9110 §10.1.1",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
        &[post(b"hello")],
    ),
    passed(
        "an expectation without a body",
        "RFC 9110 §10.1.1",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nExpect: 100-continue\r\n\r\n",
        &[message("GET", "/", b"").without(&["expect"])],
    ),
    refused(
        "an obfuscated expectation",
        "0.CL by Expect",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nExpect: y 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    )
    .answers(&[417]),
    refused(
        "two expectations",
        "RFC 9110 §10.1.1",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
    )
    .answers(&[417]),
];

static MANY_FIELDS: [u8; 2048] =
    padded(b"GET / HTTP/1.1\r\nHost: heads.test\r\n", b"A:b\r\n", b"C:d\r\n\r\n");
static MANY_NOMINATIONS: [u8; 2048] =
    padded(b"GET / HTTP/1.1\r\nHost: heads.test\r\nConnection: a", b",a", b"\r\n\r\n");
