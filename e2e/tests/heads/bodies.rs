//! Lengths, transfer codings, chunks and trailers.

use super::{Row, broken, get, message, padded, passed, post, refused};

/// A POST with these field lines and this body.
macro_rules! post {
    ($($line:literal),+; $body:literal) => {
        concat!("POST /p HTTP/1.1\r\nHost: heads.test\r\n", $($line, "\r\n",)+ "\r\n", $body).as_bytes()
    };
}

/// A chunked POST with this body.
macro_rules! chunked {
    ($body:literal) => {
        post!("Transfer-Encoding: chunked"; $body)
    };
}

pub(super) const ROWS: &[Row] = &[
    // Content-Length.
    passed("a length", "RFC 9112 §6.2", post!("Content-Length: 5"; "hello"), &[post(b"hello")]),
    passed("no bytes", "RFC 9112 §6.2", post!("Content-Length: 0"; ""), &[post(b"")]),
    passed("white space around a length", "RFC 9110 §5.5", post!("Content-Length:\t5 "; "hello"), &[post(b"hello")]),
    passed("leading zeros", "RFC 9110 §8.6", post!("Content-Length: 005"; "hello"), &[post(b"hello")]),
    passed(
        "a body that looks like a request",
        "CL.0",
        b"GET /1 HTTP/1.1\r\nHost: heads.test\r\nContent-Length: 25\r\n\r\nGET /2 HTTP/1.1\r\nX-Ignore",
        &[message("GET", "/1", b"GET /2 HTTP/1.1\r\nX-Ignore")],
    ),
    refused("the same length twice", "RFC 9112 §6.3", post!("Content-Length: 5", "Content-Length: 5"; "hello")),
    refused("two lengths", "RFC 9112 §6.3 (CL.CL)", post!("Content-Length: 0", "Content-Length: 5"; "hello")),
    refused("a list of equal lengths", "RFC 9112 §6.3", post!("Content-Length: 5, 5"; "hello")),
    refused("a length with a plus", "RFC 9110 §8.6", post!("Content-Length: +5"; "hello")),
    refused("a length with a minus", "RFC 9110 §8.6", post!("Content-Length: -5"; "hello")),
    refused("a hexadecimal length", "RFC 9110 §8.6", post!("Content-Length: 0x5"; "hello")),
    refused("a decimal point", "RFC 9110 §8.6", post!("Content-Length: 5.0"; "hello")),
    refused("a space in a length", "RFC 9110 §8.6", post!("Content-Length: 5 0"; "hello")),
    refused("an empty length", "RFC 9110 §8.6", post!("Content-Length:"; "hello")),
    refused("a length that overflows 63 bits", "RFC 9110 §8.6", post!("Content-Length: 9223372036854775808"; "")),
    refused("a length that overflows to 5", "RFC 9110 §8.6", post!("Content-Length: 18446744073709551621"; "hello")),
    refused("a space before a length's colon", "RFC 9112 §5.1", post!("Content-Length : 5"; "hello")),
    passed(
        "underscore for hyphen in a length",
        "0.CL by header name",
        b"POST /p HTTP/1.1\r\nHost: heads.test\r\nContent_Length: 40\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[post(b"").without(&["content_length"]), get("/2")],
    ),
    // Transfer-Encoding.
    passed("chunks", "RFC 9112 §7.1", chunked!("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), &[post(b"hello world")]),
    passed(
        "chunks behind a GET, and a request behind them",
        "RFC 9110 §9.3.1",
        b"GET /1 HTTP/1.1\r\nHost: heads.test\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n",
        &[message("GET", "/1", b"hello"), get("/2")],
    ),
    passed(
        "a coding's name in another case",
        "RFC 9112 §7",
        post!("transfer-encoding: \tChunked\t"; "5\r\nhello\r\n0\r\n\r\n"),
        &[post(b"hello")],
    ),
    refused(
        "length, then coding",
        "RFC 9112 §6.1 (CL.TE)",
        post!("Content-Length: 6", "Transfer-Encoding: chunked"; "0\r\n\r\nG"),
    ),
    refused(
        "coding, then length",
        "RFC 9112 §6.1 (TE.CL)",
        post!("Transfer-Encoding: chunked", "Content-Length: 4"; "5c\r\nGPOST / HTTP/1.1\r\n"),
    ),
    refused(
        "length zero and coding",
        "RFC 9112 §6.1 (CL.TE)",
        post!("Content-Length: 0", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"),
    ),
    refused(
        "two codings",
        "RFC 9112 §6.3 (TE.TE)",
        post!("Transfer-Encoding: chunked", "Transfer-Encoding: identity"; "0\r\n\r\n"),
    ),
    refused(
        "the coding twice",
        "RFC 9112 §7.1 (TE.TE)",
        post!("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"; "0\r\n\r\n"),
    ),
    refused("chunked in chunked", "RFC 9112 §7.1", post!("Transfer-Encoding: chunked, chunked"; "0\r\n\r\n")),
    refused("chunked, but not last", "RFC 9112 §6.3", post!("Transfer-Encoding: chunked, gzip"; "0\r\n\r\n")),
    refused("a coding before chunked", "RFC 9112 §6.1", post!("Transfer-Encoding: gzip, chunked"; "0\r\n\r\n"))
        .answers(&[501]),
    refused("identity", "RFC 9112 §7 (removed)", post!("Transfer-Encoding: identity"; "0\r\n\r\n")),
    refused("a coding that looks like chunked", "TE.TE", post!("Transfer-Encoding: xchunked"; "0\r\n\r\n")),
    refused("chunked with a parameter", "TE.TE", post!("Transfer-Encoding: chunked;a=b"; "0\r\n\r\n")),
    refused("chunked in quotes", "TE.TE", post!("Transfer-Encoding: \"chunked\""; "0\r\n\r\n")),
    refused("chunked behind a comma", "TE.TE", post!("Transfer-Encoding: , chunked"; "0\r\n\r\n")),
    refused("chunked before a comma", "TE.TE", post!("Transfer-Encoding: chunked,"; "0\r\n\r\n")),
    refused("chunked behind a control", "TE.TE", post!("Transfer-Encoding: \x0bchunked"; "0\r\n\r\n")),
    refused("an empty coding", "TE.TE", post!("Transfer-Encoding:"; "0\r\n\r\n")),
    refused("a folded coding", "TE.TE", post!("Transfer-Encoding:", " chunked"; "0\r\n\r\n")),
    refused("a space before the coding's colon", "TE.TE", post!("Transfer-Encoding : chunked"; "0\r\n\r\n")),
    refused("a coding behind a bare LF", "TE.TE", post!("A: b\nTransfer-Encoding: chunked"; "0\r\n\r\n")),
    refused("a coding behind a bare CR", "TE.TE", post!("A: b\rTransfer-Encoding: chunked"; "0\r\n\r\n")),
    refused(
        "chunks in HTTP/1.0",
        "RFC 9112 §6.1",
        b"POST /p HTTP/1.0\r\nHost: heads.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    passed(
        "Transfer-Encoding nominated",
        "RFC 9110 §7.6.1 (Connection: transfer-encoding)",
        post!("Connection: transfer-encoding", "Transfer-Encoding: chunked"; "5\r\nhello\r\n0\r\n\r\n"),
        &[post(b"hello")],
    ),
    // Chunk sizes.
    passed("digits in either case", "RFC 9112 §7.1", chunked!("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"), &[
        post(b"01234567890123456789a"),
    ]),
    passed("leading zeros in sizes", "RFC 9112 §7.1", chunked!("0005\r\nhello\r\n000\r\n\r\n"), &[post(b"hello")]),
    broken("no size", "RFC 9112 §7.1", chunked!("\r\nhello\r\n0\r\n\r\n")),
    broken("a size with 0x", "RFC 9112 §7.1", chunked!("0x5\r\nhello\r\n0\r\n\r\n")),
    broken("a size with a plus", "RFC 9112 §7.1", chunked!("+5\r\nhello\r\n0\r\n\r\n")),
    broken("a size with a minus", "RFC 9112 §7.1", chunked!("-5\r\nhello\r\n0\r\n\r\n")),
    broken("a size in quotes", "RFC 9112 §7.1", chunked!("\"5\"\r\nhello\r\n0\r\n\r\n")),
    broken("a size that is no number", "RFC 9112 §7.1", chunked!("5g\r\nhello\r\n0\r\n\r\n")),
    broken("a space behind a size", "RFC 9112 §7.1", chunked!("5 \r\nhello\r\n0\r\n\r\n")),
    broken("a space before a size", "RFC 9112 §7.1", chunked!(" 5\r\nhello\r\n0\r\n\r\n")),
    broken("a tab behind a size", "RFC 9112 §7.1", chunked!("5\t\r\nhello\r\n0\r\n\r\n")),
    broken("a size that overflows to 5", "RFC 9112 §7.1", chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n")),
    broken("a size of 64 bits", "RFC 9112 §7.1", chunked!("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
    broken("a line that is too long", "RFC 9112 §7.1.1", &LONG_CHUNK_LINE),
    // Chunk lines and data.
    broken("a bare LF behind a size", "RFC 9112 §2.2", chunked!("5\nhello\r\n0\r\n\r\n")),
    broken("a bare CR behind a size", "RFC 9112 §2.2", chunked!("5\rhello\r\n0\r\n\r\n")),
    broken("a bare LF behind the data", "RFC 9112 §7.1", chunked!("5\r\nhello\n0\r\n\r\n")),
    broken("nothing behind the data", "RFC 9112 §7.1", chunked!("5\r\nhello0\r\n\r\n")),
    broken("more data than the size", "RFC 9112 §7.1", chunked!("5\r\nhello!\r\n0\r\n\r\n")),
    broken("less data than the size", "RFC 9112 §7.1", chunked!("7\r\nhello\r\n0\r\n\r\n")),
    broken("two bytes instead of CRLF", "TE.TE by chunk terminator", chunked!("5\r\nhelloXX0\r\n\r\n")),
    broken("a bare LF behind the last size", "RFC 9112 §2.2", chunked!("5\r\nhello\r\n0\n\r\n")),
    // Extensions.
    passed(
        "extensions",
        "RFC 9112 §7.1.1",
        chunked!("5;a;b=c;d=\"e;\\\"f\" ; g = h\r\nhello\r\n0;z\r\n\r\n"),
        &[post(b"hello")],
    ),
    broken("an extension without a name", "RFC 9112 §7.1.1", chunked!("5;\r\nhello\r\n0\r\n\r\n")),
    broken("a value without a name", "RFC 9112 §7.1.1", chunked!("5;=a\r\nhello\r\n0\r\n\r\n")),
    broken("a name without its value", "RFC 9112 §7.1.1", chunked!("5;a=\r\nhello\r\n0\r\n\r\n")),
    broken("a quote that does not end", "RFC 9112 §7.1.1", chunked!("5;a=\"b\r\nhello\r\n0\r\n\r\n")),
    broken("text behind a quote", "RFC 9112 §7.1.1", chunked!("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n")),
    broken("a bare LF ends an extension", "TERM.EXT", chunked!("5;a\nhello\r\n0\r\n\r\n")),
    broken("a bare LF in an extension", "EXT.TERM", chunked!("5;a\nb\r\nhello\r\n0\r\n\r\n")),
    broken("a bare CR in an extension", "EXT.TERM", chunked!("5;a\rb\r\nhello\r\n0\r\n\r\n")),
    broken("NUL in an extension", "RFC 9112 §7.1.1", chunked!("5;a\0b\r\nhello\r\n0\r\n\r\n")),
    // Trailers.
    passed(
        "trailers",
        "RFC 9112 §7.1.2",
        post!("Transfer-Encoding: chunked", "Trailer: X-Sum"; "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
        &[post(b"hello").trailer("x-sum")],
    ),
    passed(
        "trailers that frame, route or authorise",
        "RFC 9110 §6.5.1",
        chunked!(
            "5\r\nhello\r\n0\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\nHost: a\r\nAuthorization: b\r\n\
             Transfer_Encoding: c\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n\r\n"
        ),
        &[post(b"hello").without(&["authorization", "content-length", "transfer_encoding"])],
    ),
    broken("a folded trailer", "RFC 9112 §5.2", chunked!("0\r\nA: b\r\n c\r\n\r\n")),
    broken("a trailer without a colon", "RFC 9112 §5", chunked!("0\r\nA\r\n\r\n")),
    broken("a bare LF ends a trailer", "RFC 9112 §2.2", chunked!("0\r\nA: b\n\r\n")),
    broken("a bare LF ends the trailers", "RFC 9112 §2.2", chunked!("0\r\nA: b\r\n\n")),
    broken("trailers of 10 KiB", "RFC 6585 §5", &LONG_TRAILERS).answers(&[431]),
    passed(
        "a request behind chunks",
        "RFC 9112 §9.3.2",
        chunked!("0\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
        &[post(b""), get("/2")],
    ),
    broken(
        "a request behind broken chunks",
        "TE.CL",
        chunked!("5\r\nhello\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: heads.test\r\n\r\n"),
    ),
];

static LONG_CHUNK_LINE: [u8; 1024] = padded(
    b"POST /p HTTP/1.1\r\nHost: heads.test\r\nTransfer-Encoding: chunked\r\n\r\n5;",
    b"a",
    b"\r\nhello\r\n0\r\n\r\n",
);
static LONG_TRAILERS: [u8; 10 * 1024] = padded(
    b"POST /p HTTP/1.1\r\nHost: heads.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
    b"b",
    b"\r\n\r\n",
);
