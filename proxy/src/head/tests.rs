//! The table of requests, whole and byte by byte, and against weakened checks; then what the table cannot show.

mod rows;

use super::*;

fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
    RequestParser::default().parse(bytes)
}

fn head(bytes: &[u8]) -> Head {
    parse(bytes).unwrap().unwrap().0
}

fn get(target: &str) -> Result<Head, Refusal> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    parse(request.as_bytes()).map(|parsed| parsed.unwrap().0)
}

fn response(bytes: &[u8]) -> Result<ResponseHead, ResponseError> {
    ResponseParser::default().parse(bytes, false).map(|parsed| parsed.unwrap().0)
}

#[test]
fn a_head_says_everything_about_its_message() {
    let bytes = b"\r\nPOST http://A.Test.:80/x%2Fy/%7Ez/../?q=1 HTTP/1.1\r\nhost: a.test.\r\nExpect: 100-Continue\r\n\
                  Content-Length: 3\r\nCookie: s\r\n\r\nabc";
    let (head, consumed) = parse(bytes).unwrap().unwrap();
    assert_eq!(consumed, bytes.len() - 3);
    assert_eq!(head.method, Method::Post);
    assert_eq!(head.target, "/x%2Fy/%7Ez/../?q=1");
    assert_eq!(head.path, "/x%2Fy/");
    assert_eq!(head.query(), Some("q=1"));
    assert_eq!((head.authority.as_str(), head.host.as_str()), ("a.test.", "a.test"));
    assert_eq!((head.version, head.framing), (Version::Http11, Framing::Length(3)));
    assert!(head.keep_alive && head.expect_continue);
    let names: Vec<&str> = head.fields.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["host", "Expect", "Content-Length", "Cookie"]);
    assert!(!format!("{head:?}").contains("Cookie: s"), "values stay out of debug output");
}

#[test]
fn paths_are_normalised_for_matching() {
    for (target, path) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("//a//b", "//a//b"),
        ("/%41%7e%2d", "/A~-"),
        ("/a%2fb%3a", "/a%2Fb%3A"),
        ("/a/./b/.", "/a/b/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a//../b", "/a/b"),
        ("/a/..;/b", "/a/..;/b"),
        ("/.../..a", "/.../..a"),
        ("/a%252e", "/a%252e"),
        ("/?/../..", "/"),
        ("/%2E/a/%2e./b", "/b"),
        ("/a/..%2fb", "/a/..%2Fb"),
        ("/a%2F..%2Fb", "/a%2F..%2Fb"),
        ("/a%2F/../b", "/b"),
        ("/a/%2e%2e%2e", "/a/..."),
        ("/..%2F", "/..%2F"),
        ("/a%5C..%5Cb", "/a%5C..%5Cb"),
        ("/%C3%a9/[x]|{y}", "/%C3%A9/[x]|{y}"),
        ("//..", "/"),
        ("/./", "/"),
    ] {
        assert_eq!(get(target).unwrap().path, path, "{target}");
    }
    for target in
        ["/..", "/../", "/a/../../a", "/%2e%2e", "/./..", "/.%2E/a", "/a/%2e./%2E%2E/b", "/a%00", "/%", "/\\"]
    {
        assert_eq!(get(target).unwrap_err().status, 400, "{target}");
    }
}

#[test]
fn an_asterisk_belongs_to_options() {
    let head = head(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.target.as_str(), head.path.as_str()), ("*", "*"));
    let absolute = b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(super::tests::head(absolute).target, "*");
}

#[test]
fn hosts_are_lower_case_without_port_and_dot() {
    for (written, host) in [
        ("A.Test:8080", "a.test"),
        ("a.test.:80", "a.test"),
        ("a.test:", "a.test"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::FFFF:10.0.0.1]:80", "[::ffff:10.0.0.1]"),
        ("under_score", "under_score"),
    ] {
        assert_eq!(authority(written.as_bytes()).unwrap().host, host);
    }
    for written in
        ["", ".", "a..b", ".a", "a b", "a/b", "[::1", "::1", "[a]", "[::1]x", "a:b", "a:99999", ":80"]
    {
        assert!(authority(written.as_bytes()).is_none(), "{written}");
    }
}

#[test]
fn the_longest_head_is_taken_and_no_longer_one() {
    let head = |length: usize| {
        let fixed = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(length - fixed)).into_bytes()
    };
    assert_eq!(parse(&head(MAX_HEAD)).unwrap().unwrap().1, MAX_HEAD);
    assert_eq!(parse(&head(MAX_HEAD + 1)).unwrap_err().status, 431);
}

#[test]
fn faults_are_seen_when_their_byte_arrives() {
    for beginning in [
        &b"\x16"[..],
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\rH",
        b"GET / HTTP/1.1\r\nA: b\0",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n",
        b"GET /../ HTTP/1.1\r\n",
    ] {
        assert_eq!(parse(beginning).unwrap_err().status, 400, "{beginning:?}");
        assert!(matches!(parse(&beginning[..beginning.len() - 1]), Ok(None)), "{beginning:?}");
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_looked_at_once() {
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(30_000)).into_bytes();
    let mut parser = RequestParser::default();
    assert!(!parser.has_begun(b""));
    for end in 1..bytes.len() {
        assert!(parser.parse(&bytes[..end]).unwrap().is_none());
        assert!(parser.lines.seen() + 1 >= end, "everything before byte {end} is done with");
        assert!(parser.has_begun(&bytes[..end]));
    }
    assert!(parser.parse(&bytes).unwrap().is_some());
}

#[test]
fn empty_lines_are_no_beginning() {
    let mut parser = RequestParser::default();
    assert!(parser.parse(b"\r\n").unwrap().is_none());
    assert!(!parser.has_begun(b"\r\n"));
    assert!(parser.has_begun(b"\r\nG"));
}

#[test]
fn lists_and_repeated_fields_are_found_in_any_case() {
    let head = head(b"GET / HTTP/1.1\r\nHost: a\r\nx: 1, two\r\nX:\tThree ,\r\n\r\n");
    assert_eq!(head.fields.get("X"), Some(&b"1, two"[..]));
    assert_eq!(head.fields.get_all("x").count(), 2);
    assert!(head.fields.has_token("X", "TWO") && head.fields.has_token("x", "three"));
    assert!(!head.fields.has_token("x", "1, two") && !head.fields.has_token("y", "two"));
    assert_eq!((head.fields.len(), head.fields.is_empty()), (3, false));
}

#[test]
fn responses_are_delimited_by_their_status_and_fields() {
    for (bytes, framing, keep_alive) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"[..], ResponseFraming::Length(3), true),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", ResponseFraming::Chunked, true),
        (b"HTTP/1.1 200 \r\n\r\n", ResponseFraming::UntilClose, false),
        (b"HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", ResponseFraming::None, true),
        (b"HTTP/1.1 304 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", ResponseFraming::None, false),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", ResponseFraming::Length(3), false),
        (b"HTTP/1.1 101 Switching\r\n\r\n", ResponseFraming::None, true),
    ] {
        let head = response(bytes).unwrap();
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{head:?}");
    }
    let to_head = ResponseParser::default().parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true);
    assert_eq!(to_head.unwrap().unwrap().0.framing, ResponseFraming::None);
}

#[test]
fn responses_are_read_as_strictly_as_requests() {
    for bytes in [
        &b"HTTP/1.1 200 OK\n\r\n"[..],
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
    ] {
        assert!(response(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(response(b"HTTP/1.1 200 \xff\r\n\r\n").unwrap().reason, "");
}
