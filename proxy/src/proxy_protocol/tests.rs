//! Headers as balancers write them, as they must not, and any bytes at all.

use proptest::prelude::*;

use super::*;

fn client(text: &str) -> Source {
    Source::Client(text.parse().unwrap())
}

/// A header of version 2.
fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, content].concat()
}

fn tcp4() -> Vec<u8> {
    [&[192, 0, 2, 7][..], &[10, 0, 0, 1], &[0x1f, 0x90], &[1, 187]].concat()
}

fn tcp6() -> Vec<u8> {
    let mut content = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    content.extend([0; 16]);
    content.extend([0x1f, 0x90, 1, 187]);
    content
}

/// Good ones, and who comes in by them.
fn good() -> Vec<(Vec<u8>, Source)> {
    let line = |text: &str| text.as_bytes().to_vec();
    // ALPN, then TLS with a version and a common name in it, then nothing of a kind that nobody knows.
    let further = b"\x01\x00\x02h2\x20\x00\x14\x01\0\0\0\0\x21\x00\x07TLSv1.3\x22\x00\x02me\xe0\0\0";
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LONGEST_LINE - 16));
    assert_eq!(longest.len(), LONGEST_LINE);
    vec![
        (line("PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n"), client("192.0.2.7:8080")),
        (line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), client("255.255.255.255:65535")),
        (line("PROXY TCP6 2001:db8::7 ::1 0 443\r\n"), client("[2001:db8::7]:0")),
        (line("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 443\r\n"), client("[::ffff:192.0.2.7]:1")),
        (line("PROXY UNKNOWN\r\n"), Source::Peer),
        (line("PROXY UNKNOWN ffff::1 ::1 65535 65535\r\n"), Source::Peer),
        (line(&longest), Source::Peer),
        (v2(0x21, 0x11, &tcp4()), client("192.0.2.7:8080")),
        (v2(0x21, 0x11, &[&tcp4(), &further[..]].concat()), client("192.0.2.7:8080")),
        (v2(0x21, 0x21, &tcp6()), client("[2001:db8::7]:8080")),
        (v2(0x21, 0x21, &[&tcp6(), &further[..]].concat()), client("[2001:db8::7]:8080")),
        (v2(0x21, 0x11, &[&tcp4(), &vec![0; LONGEST - 12][..]].concat()), client("192.0.2.7:8080")),
        // The balancer's own, whatever else is said.
        (v2(0x20, 0x00, &[]), Source::Peer),
        (v2(0x20, 0x11, &tcp4()), Source::Peer),
        (v2(0x20, 0x11, &[1, 2]), Source::Peer),
        // Unspecified, datagrams, Unix sockets.
        (v2(0x21, 0x00, &[]), Source::Peer),
        (v2(0x21, 0x00, &[9; 40]), Source::Peer),
        (v2(0x21, 0x12, &tcp4()), Source::Peer),
        (v2(0x21, 0x31, &[b'/'; 216]), Source::Peer),
    ]
}

#[test]
fn headers_say_who_comes_in() {
    for (header, source) in good() {
        let behind = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&behind), Ok(Some((source, header.len()))), "{}", header.escape_ascii());
    }
}

#[test]
fn what_is_no_header_is_dropped() {
    for (bytes, why) in [
        (&b"GET / HTTP/1.1\r\n"[..], Malformed::Absent),
        (b"\x16\x03\x01", Malformed::Absent),
        (b"PROXY\tTCP4", Malformed::Absent),
        (b"proxy TCP4 192.0.2.7 10.0.0.1 8080 443\r\n", Malformed::Absent),
        (b"\r\n\r\n\0\r\nQUIT\r", Malformed::Absent),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443 1\r\n", Malformed::Line),
        (b"PROXY TCP4  192.0.2.7 10.0.0.1 8080 443\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 65536\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 +80 443\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 080 443\r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.07 10.0.0.1 80 443\r\n", Malformed::Line),
        (b"PROXY TCP4 2001:db8::7 ::1 80 443\r\n", Malformed::Line),
        (b"PROXY TCP6 192.0.2.7 10.0.0.1 80 443\r\n", Malformed::Line),
        (b"PROXY UDP4 192.0.2.7 10.0.0.1 80 443\r\n", Malformed::Line),
        (b"PROXY \r\n", Malformed::Line),
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 80 443\nGET / HTTP/1.1\r\n", Malformed::Line),
        (&[b"PROXY UNKNOWN ", &[b'f'; 94][..]].concat(), Malformed::Line),
        (&v2(0x11, 0x11, &tcp4()), Malformed::Binary),
        (&v2(0x22, 0x11, &tcp4()), Malformed::Binary),
        (&v2(0x21, 0x41, &tcp4()), Malformed::Binary),
        (&v2(0x21, 0x13, &tcp4()), Malformed::Binary),
        (&v2(0x21, 0x11, &tcp4()[..11]), Malformed::Binary),
        (&v2(0x21, 0x11, &[]), Malformed::Binary),
        (&v2(0x21, 0x21, &tcp4()), Malformed::Binary),
        (&v2(0x21, 0x21, &tcp6()[..35]), Malformed::Binary),
        (&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat(), Malformed::TooLong),
    ] {
        assert_eq!(parse(bytes), Err(why), "{}", bytes.escape_ascii());
    }
}

/// Something like a header: a beginning of one, with a byte or two changed.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let all: Vec<_> = good().into_iter().map(|(header, _)| header).collect();
    (proptest::sample::select(all), changes, proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(mut header, changes, behind)| {
            for (at, byte) in changes {
                let at = at.index(header.len());
                header[at] = byte;
            }
            header.extend(behind);
            header
        },
    )
}

proptest! {
    /// In whatever pieces it comes, a header is known when its last byte is there and not before; what is behind it is
    /// not looked at.
    #[test]
    fn a_header_ends_where_it_ends((header, source) in proptest::sample::select(good()), behind: Vec<u8>) {
        for cut in 0..header.len().min(400) {
            prop_assert_eq!(parse(&header[..cut]), Ok(None), "{}", cut);
        }
        prop_assert_eq!(parse(&header[..header.len() - 1]), Ok(None));
        prop_assert_eq!(parse(&[header.clone(), behind].concat()), Ok(Some((source, header.len()))));
    }

    /// No bytes panic; what is read is there; what was read or refused stays so, whatever comes behind; and nobody is
    /// waited for without end.
    #[test]
    fn any_bytes_are_read_refused_or_waited_for(
        bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), nearly()],
    ) {
        let whole = parse(&bytes);
        prop_assert!(whole != Ok(None) || bytes.len() < 16 + LONGEST);
        for cut in (0..bytes.len()).take(300) {
            match parse(&bytes[..cut]) {
                Ok(None) => {}
                Ok(Some((source, length))) => {
                    prop_assert!(length <= cut);
                    prop_assert_eq!(whole, Ok(Some((source, length))));
                }
                Err(why) => prop_assert_eq!(whole, Err(why)),
            }
        }
    }
}
