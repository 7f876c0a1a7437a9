//! What holds for any bytes at all: nothing panics, how the bytes are cut does not matter, and what is written
//! anew means what was read. The fuzz targets and the ordinary tests of `proxy/tests/heads.rs` share it.

use std::net::{IpAddr, Ipv4Addr};

use proxy::body::{Delimiter, Output, write_chunk, write_last_chunk};
use proxy::fields::Additions;
use proxy::forward::{
    Outgoing, Peer, client_address, plain_request, request_id, response_fields, trailer_fields,
};
use proxy::handshake::{self, Asked};
use proxy::head::{
    Fields, Framing, Head, MAX_FIELDS, MAX_HEAD, Refusal, RequestParser, ResponseHead, ResponseParser,
};

const PEER: Peer<'static> = Peer {
    client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    socket_peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    trusted: false,
    scheme: "https",
    port: 443,
    request_id: "id",
    certificate: None,
};

/// The head of a request, and what is made of it.
pub(crate) fn request_head(data: &[u8]) {
    let mut parser = RequestParser::default();
    let whole = RequestParser::default().parse(data);
    let pieces = first(data, |prefix| parser.parse(prefix));
    assert_eq!(outcome(&whole, told), outcome(&pieces, told));
    let Ok(Some((head, consumed))) = whole else { return };
    assert!(consumed <= data.len().min(MAX_HEAD));
    client_address(PEER.client, &head.fields, &["127.0.0.0/8".parse().expect("a network")]);
    request_id(&head.fields, true);

    let mut written = Vec::new();
    plain_request(&Outgoing::from(&head), &PEER, &mut written);
    let Some(again) = parse_again(&head, &written) else { return };
    assert_eq!(message(&head), message(&again));
    let mut twice = Vec::new();
    plain_request(&Outgoing::from(&again), &PEER, &mut twice);
    assert_eq!(text(&written), text(&twice), "the canonical form is one");

    if let Asked::WebSocket(offer) = handshake::examine(&head) {
        let mut written = Vec::new();
        handshake::request(&Outgoing::from(&head), &PEER, &mut written);
        let again = parse_again(&head, &written).expect("as many fields as the plain form");
        assert!(matches!(handshake::examine(&again), Asked::WebSocket(same) if same == offer));
    }
}

/// The head of a response; the first byte says whether the request was HEAD.
pub(crate) fn response_head(data: &[u8]) {
    let Some((flag, data)) = data.split_first() else { return };
    let to_head = flag % 2 == 1;
    let mut parser = ResponseParser::default();
    let whole = ResponseParser::default().parse(data, to_head);
    let pieces = first(data, |prefix| parser.parse(prefix, to_head));
    assert_eq!(outcome(&whole, told_of_response), outcome(&pieces, told_of_response));
    let Ok(Some((head, _))) = whole else { return };

    let mut fields = Vec::new();
    response_fields(&head, &Additions::default(), &mut fields);
    let rewritten = [b"HTTP/1.1 200 OK\r\n".as_slice(), &fields, b"\r\n"].concat();
    if head.fields.len() < MAX_FIELDS && rewritten.len() <= MAX_HEAD {
        let again = ResponseParser::default().parse(&rewritten, to_head).expect("what we write we take");
        assert_eq!(again.expect("it is whole").1, rewritten.len());
    }
    handshake::response(&head, &Additions::default(), &mut fields);
}

/// A chunked body.
pub(crate) fn body(data: &[u8]) {
    let whole = follow(data, data.len().max(1));
    for piece in [1, 2, 3, 17] {
        assert_eq!(follow(data, piece), whole);
    }
    let Ok(read) = whole else { return };
    assert!(read.taken <= data.len());
    if read.complete {
        let mut written = Vec::new();
        write_chunk(&read.data, &mut written);
        write_last_chunk(&read.trailers, &mut written);
        let again = follow(&written, 5).expect("what we write we take");
        assert_eq!((again.data, again.trailers, again.taken), (read.data, read.trailers, written.len()));
    }
}

#[derive(Debug, Default, PartialEq)]
struct Read {
    data: Vec<u8>,
    trailers: Vec<u8>,
    taken: usize,
    complete: bool,
}

/// What the delimiter makes of the input in pieces.
fn follow(input: &[u8], piece: usize) -> Result<Read, Refusal> {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (head, _) = RequestParser::default().parse(head)?.expect("it is whole");
    let mut delimiter = Delimiter::new(Framing::Chunked);
    let mut read = Read::default();
    for end in (0..input.len()).step_by(piece).skip(1).chain([input.len()]) {
        loop {
            let rest = &input[read.taken..end];
            let step = delimiter.next(rest)?;
            read.taken += step.consumed;
            match step.output {
                Output::Data(range) => read.data.extend_from_slice(&rest[range]),
                Output::Trailers(trailers) => trailer_fields(&head, &trailers, &mut read.trailers),
                Output::NeedMore => break,
                Output::End => {
                    read.complete = true;
                    return Ok(read);
                }
            }
        }
    }
    Ok(read)
}

/// What a parser says first when its buffer grows byte by byte.
fn first<T, E>(data: &[u8], mut parse: impl FnMut(&[u8]) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    for end in 0..=data.len() {
        if let Some(parsed) = parse(&data[..end])? {
            return Ok(Some(parsed));
        }
    }
    Ok(None)
}

/// Everything that was read, in a form that compares.
fn told((head, consumed): &(Head, usize)) -> (String, Vec<(String, Vec<u8>)>, usize) {
    (message(head), all(&head.fields), *consumed)
}

fn told_of_response((head, consumed): &(ResponseHead, usize)) -> (String, Vec<(String, Vec<u8>)>, usize) {
    (format!("{head:?}"), all(&head.fields), *consumed)
}

/// The same outcome, told.
fn outcome<T, U, E: Copy>(parsed: &Result<Option<T>, E>, told: impl Fn(&T) -> U) -> Result<Option<U>, E> {
    match parsed {
        Ok(parsed) => Ok(parsed.as_ref().map(told)),
        Err(error) => Err(*error),
    }
}

/// Everything that decides about a message, but for its fields.
fn message(head: &Head) -> String {
    let Head { method, target, path, authority, host, version, framing, keep_alive, expect_continue, .. } =
        head;
    format!(
        "{method} {target} {path} {authority} {host} {version:?} {framing:?} {keep_alive} {expect_continue}"
    )
}

fn all(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// The head that was written, unless the fields that we add make it too large for ourselves.
fn parse_again(head: &Head, written: &[u8]) -> Option<Head> {
    if head.fields.len() + 9 > MAX_FIELDS || written.len() > MAX_HEAD {
        return None;
    }
    let (again, consumed) = RequestParser::default().parse(written).expect("what we write we take")?;
    assert_eq!(consumed, written.len());
    Some(again)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
