//! Line ends, request lines, targets and what comes behind a request.

use super::{Row, get, message, padded, passed, post, refused};

pub(super) const ROWS: &[Row] = &[
    // Line ends.
    refused("a bare LF ends the request line", "RFC 9112 §2.2", b"GET / HTTP/1.1\nHost: heads.test\r\n\r\n"),
    refused("a bare LF ends a field", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\nHost: heads.test\n\r\n"),
    refused("a bare LF ends the head", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\n\n"),
    refused("bare LF only", "RFC 9112 §2.2", b"GET / HTTP/1.1\nHost: heads.test\n\n"),
    refused("a bare LF before the request line", "RFC 9112 §2.2", b"\nGET / HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a bare CR in a value", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: b\rc\r\n\r\n"),
    refused("a bare CR for an end of line", "RFC 9112 §2.2", b"GET / HTTP/1.1\rHost: heads.test\r\n\r\n"),
    refused("CR CR LF", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\r\nHost: heads.test\r\n\r\n"),
    refused("LF CR", "RFC 9112 §2.2", b"GET / HTTP/1.1\n\rHost: heads.test\n\r\n\r"),
    passed(
        "an empty line before the request line",
        "RFC 9112 §2.2",
        b"\r\nGET / HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/")],
    ),
    refused(
        "many empty lines before the request line",
        "RFC 9112 §2.2 (at least one)",
        b"\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    refused("a space before the method", "RFC 9112 §3", b" GET / HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    // The request line.
    passed("a plain request", "RFC 9112 §2.1", b"GET /a?b=c HTTP/1.1\r\nHost: heads.test\r\n\r\n", &[get("/a?b=c")]),
    refused("two spaces before the target", "RFC 9112 §3", b"GET  / HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("two spaces before the version", "RFC 9112 §3", b"GET /  HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a tab instead of a space", "RFC 9112 §3", b"GET\t/ HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a space behind the version", "RFC 9112 §3", b"GET / HTTP/1.1 \r\nHost: heads.test\r\n\r\n"),
    refused("no version, as HTTP/0.9", "RFC 9112 §3", b"GET /\r\n\r\n"),
    refused("a version in lower case", "RFC 9112 §2.3", b"GET / http/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a version with two digits", "RFC 9112 §2.3", b"GET / HTTP/1.10\r\nHost: heads.test\r\n\r\n"),
    refused("a version with a leading zero", "RFC 9112 §2.3", b"GET / HTTP/01.1\r\nHost: heads.test\r\n\r\n"),
    refused("another protocol's version", "RFC 9112 §2.3", b"GET / HTTPS/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("HTTP/0.9 written out", "RFC 9110 §15.6.6", b"GET / HTTP/0.9\r\nHost: heads.test\r\n\r\n").answers(&[505]),
    refused("HTTP/1.2", "RFC 9110 §15.6.6", b"GET / HTTP/1.2\r\nHost: heads.test\r\n\r\n").answers(&[505]),
    refused("HTTP/2.0", "RFC 9110 §15.6.6", b"GET / HTTP/2.0\r\nHost: heads.test\r\n\r\n").answers(&[505]),
    refused("the HTTP/2 preface", "RFC 9113 §3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    refused("a TLS ClientHello on the plain port", "RFC 8446 §4.1.2", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
    refused(
        "a PROXY line that nobody asked for",
        "PROXY protocol §2.1",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    refused("no method", "RFC 9110 §9.1", b"/ HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a method that is no token", "RFC 9110 §9.1", b"G/ET / HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a method beyond ASCII", "RFC 9110 §9.1", b"G\xc3\xa9T / HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    passed(
        "an unknown method",
        "RFC 9110 §9.1",
        b"M-SEARCH / HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[message("M-SEARCH", "/", b"")],
    ),
    passed(
        "a method in lower case is another method",
        "RFC 9110 §9.1",
        b"get / HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[message("get", "/", b"")],
    ),
    refused("CONNECT", "RFC 9110 §9.3.6", b"CONNECT heads.test:80 HTTP/1.1\r\nHost: heads.test:80\r\n\r\n"),
    refused("CONNECT with a path", "RFC 9110 §9.3.6", b"CONNECT / HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a head of 40 KiB", "RFC 6585 §5", &LONG_HEAD).answers(&[431]),
    refused("a target of 40 KiB", "RFC 6585 §5", &LONG_TARGET).answers(&[431]),
    // Targets.
    passed(
        "absolute form",
        "RFC 9112 §3.2.2",
        b"GET http://heads.test/a?b HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/a?b")],
    ),
    passed(
        "absolute form in upper case with its default port",
        "RFC 9110 §4.2.3",
        b"GET HTTP://HEADS.test:80/ HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/")],
    ),
    passed(
        "absolute form without a path",
        "RFC 9112 §3.2.1",
        b"GET ws://heads.test?b HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/?b")],
    ),
    refused(
        "absolute form, another Host",
        "RFC 9112 §3.2.2",
        b"GET http://heads.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
    ),
    refused(
        "absolute form, another port",
        "RFC 9112 §3.2.2",
        b"GET http://heads.test:81/ HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    refused("absolute form, no Host", "RFC 9112 §3.2", b"GET http://heads.test/ HTTP/1.1\r\n\r\n"),
    refused(
        "absolute form, user information",
        "RFC 9110 §4.2.4",
        b"GET http://user@heads.test/ HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    refused(
        "absolute form, another scheme",
        "RFC 9112 §3.2.2",
        b"GET ftp://heads.test/ HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    refused(
        "absolute form without a host",
        "RFC 9110 §4.2.1",
        b"GET http:///a HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    refused("authority form", "RFC 9112 §3.2.3", b"GET heads.test:80 HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("an asterisk for GET", "RFC 9112 §3.2.4", b"GET * HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a relative target", "RFC 9112 §3.2", b"GET a HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a fragment", "RFC 9112 §3.2", b"GET /a#b HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a fragment in a query", "RFC 9112 §3.2", b"GET /a?b#c HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a raw byte beyond ASCII", "RFC 3986 §2", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a quote in a path", "RFC 3986 §2", b"GET /a\"b HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("an angle bracket in a query", "RFC 3986 §2", b"GET /?<b> HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a backslash in a path", "RFC 3986 §2", b"GET /a\\..\\b HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("DEL in a target", "RFC 3986 §2", b"GET /\x7f HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    passed(
        "what browsers leave raw in a path",
        "URL standard, path percent-encode set",
        b"GET /[a]|b^c HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/[a]|b^c")],
    ),
    passed(
        "what browsers leave raw in a query",
        "URL standard, query percent-encode set",
        b"GET /?{a}|`b`^[c]\\d=100% HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/?{a}|`b`^[c]\\d=100%")],
    ),
    refused("a percent sign alone in a path", "RFC 3986 §2.1", b"GET /100% HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a wrong percent-encoding", "RFC 3986 §2.1", b"GET /%zz HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("an encoded NUL in a path", "RFC 3986 §7.3", b"GET /a%00b HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("a path above the root", "RFC 3986 §6.2.2.3", b"GET /../a HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("an encoded path above the root", "RFC 3986 §6.2.2.2", b"GET /%2e%2E/ HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("above the root later on", "RFC 3986 §5.2.4", b"GET /a/../../b HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    refused("above the root at the end", "RFC 3986 §5.2.4", b"GET /a/../.. HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    passed(
        "dot segments go upstream as they came",
        "RFC 3986 §5.2.4",
        b"GET /a/./b/../c HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/a/./b/../c")],
    ),
    passed(
        "empty segments and encoded slashes stay",
        "RFC 3986 §2.2",
        b"GET //a//b%2Fc%2f.. HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("//a//b%2Fc%2f..")],
    ),
    // Versions and the end of a connection.
    passed("HTTP/1.0", "RFC 9112 §9.3", b"GET / HTTP/1.0\r\nHost: heads.test\r\n\r\n", &[get("/")]).closing(),
    passed(
        "HTTP/1.0 that stays",
        "RFC 9112 §9.3",
        b"GET / HTTP/1.0\r\nHost: heads.test\r\nConnection: Keep-Alive\r\n\r\n",
        &[get("/")],
    ),
    passed(
        "Connection: close",
        "RFC 9112 §9.6",
        b"GET / HTTP/1.1\r\nHost: heads.test\r\nConnection: x, Close\r\n\r\n",
        &[get("/")],
    )
    .closing(),
    // Pipelining.
    passed(
        "two requests behind each other",
        "RFC 9112 §9.3.2",
        b"GET /1 HTTP/1.1\r\nHost: heads.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/1"), get("/2")],
    ),
    passed(
        "three, with bodies",
        "RFC 9112 §9.3.2",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nContent-Length: 2\r\n\r\nhi\
          POST /p HTTP/1.1\r\nHost: heads.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n\
          GET /3 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[post(b"hi"), post(b"ho"), get("/3")],
    ),
    refused(
        "a request behind a refusal",
        "RFC 9112 §9.6",
        b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
    ),
    passed(
        "a refusal behind a request",
        "RFC 9112 §9.3.2",
        b"GET /1 HTTP/1.1\r\nHost: heads.test\r\n\r\nGET /2 HTTP/1.1\r\n\r\n",
        &[get("/1")],
    )
    .answers(&[200, 400])
    .closing(),
    passed(
        "a request behind Connection: close",
        "RFC 9112 §9.6",
        b"GET /1 HTTP/1.1\r\nHost: heads.test\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/1")],
    )
    .closing(),
    passed(
        "a request behind HTTP/1.0",
        "RFC 9112 §9.3",
        b"GET /1 HTTP/1.0\r\nHost: heads.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[get("/1")],
    )
    .closing(),
];

static LONG_HEAD: [u8; 40 * 1024] = padded(b"GET / HTTP/1.1\r\nHost: heads.test\r\nA: ", b"b", b"\r\n\r\n");
static LONG_TARGET: [u8; 40 * 1024] = padded(b"GET /", b"a", b" HTTP/1.1\r\nHost: heads.test\r\n\r\n");
