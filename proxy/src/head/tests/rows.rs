//! Runs the table of requests that the end-to-end tests run too (`e2e/tests/heads/table.rs`) against the sans-io
//! modules, put together as the proxy puts them together.

#[path = "../../../../e2e/tests/heads/table.rs"]
mod table;

use std::net::{IpAddr, Ipv4Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use table::{Message, Row, Upstream};

use crate::body::{Delimiter, Output};
use crate::forward::{Outgoing, Peer, plain_request, trailer_fields};
use crate::handshake::{self, Asked};
use crate::head::weakness::{self, Weakness};
use crate::head::{Head, Refusal, RequestParser};

const PEER: Peer<'static> = Peer {
    client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    socket_peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    trusted: false,
    scheme: "http",
    port: 80,
    request_id: "id",
    certificate: None,
};

/// One client connection, without sockets: what comes of the bytes that arrive.
#[derive(Default)]
struct Connection {
    buffer: Vec<u8>,
    parser: RequestParser,
    under_way: Option<UnderWay>,
    seen: Seen,
    tunnel: bool,
}

/// A plain request whose body is still arriving.
struct UnderWay {
    head: Head,
    delimiter: Delimiter,
    body: Vec<u8>,
    written: Vec<u8>,
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    answers: Vec<u16>,
    messages: Vec<Recorded>,
    /// A message began upstream that never was complete.
    broken: bool,
    closed: bool,
    refusal: Option<&'static str>,
}

/// A message as an upstream reads it that takes every line as it stands.
#[derive(Debug, PartialEq)]
struct Recorded {
    line: String,
    names: Vec<String>,
    body: Vec<u8>,
}

impl Recorded {
    fn new(written: &[u8], body: Vec<u8>) -> Recorded {
        let text = String::from_utf8_lossy(written);
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let line = lines.next().unwrap_or_default().to_owned();
        let names = lines.map(|line| line.split(':').next().unwrap_or_default().to_ascii_lowercase());
        Recorded { line, names: names.collect(), body }
    }
}

impl Connection {
    fn arrive(&mut self, bytes: &[u8]) {
        if self.seen.closed || self.tunnel {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if let Err(refusal) = self.advance() {
            self.seen.broken |= self.under_way.is_some();
            self.seen.answers.push(refusal.status);
            self.seen.refusal = Some(refusal.message);
            self.seen.closed = refusal.close;
        }
    }

    fn advance(&mut self) -> Result<(), Refusal> {
        while !self.seen.closed && !self.tunnel {
            if let Some(mut under_way) = self.under_way.take() {
                let complete = under_way.advance(&mut self.buffer);
                self.under_way = Some(under_way);
                if !complete? {
                    return Ok(());
                }
                self.answer();
                continue;
            }
            let Some((head, consumed)) = self.parser.parse(&self.buffer)? else { return Ok(()) };
            self.buffer.drain(..consumed);
            self.begin(head)?;
        }
        Ok(())
    }

    fn begin(&mut self, head: Head) -> Result<(), Refusal> {
        let mut written = Vec::new();
        match handshake::examine(&head) {
            Asked::Refuse(refusal) => return Err(refusal),
            Asked::WebSocket(_) => {
                handshake::request(&Outgoing::from(&head), &PEER, &mut written);
                self.seen.messages.push(Recorded::new(&written, Vec::new()));
                self.seen.answers.push(101);
                self.tunnel = true;
            }
            Asked::Plain => {
                plain_request(&Outgoing::from(&head), &PEER, &mut written);
                let delimiter = Delimiter::new(head.framing);
                self.under_way = Some(UnderWay { head, delimiter, body: Vec::new(), written });
            }
        }
        Ok(())
    }

    fn answer(&mut self) {
        if let Some(UnderWay { head, body, written, .. }) = self.under_way.take() {
            self.seen.messages.push(Recorded::new(&written, body));
            self.seen.answers.push(200);
            self.seen.closed = !head.keep_alive;
        }
    }
}

impl UnderWay {
    fn advance(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Refusal> {
        loop {
            let step = self.delimiter.next(buffer)?;
            match step.output {
                Output::Data(range) => self.body.extend_from_slice(&buffer[range]),
                Output::Trailers(trailers) => trailer_fields(&self.head, &trailers, &mut self.written),
                Output::NeedMore | Output::End => {
                    buffer.drain(..step.consumed);
                    return Ok(matches!(step.output, Output::End));
                }
            }
            buffer.drain(..step.consumed);
        }
    }
}

fn observe(request: &[u8], piece: usize) -> Seen {
    let mut connection = Connection::default();
    for piece in request.chunks(piece) {
        connection.arrive(piece);
    }
    connection.seen
}

/// A row's request with a few bytes replaced, taken out or put in.
fn edited(request: &[u8], edits: &[(usize, u8, usize)]) -> Vec<u8> {
    let mut request = request.to_vec();
    for (at, byte, removed) in edits {
        let at = at % request.len();
        let end = (at + removed).min(request.len());
        request.splice(at..end, [*byte]);
    }
    request
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edited_rows_come_to_the_same_however_they_are_cut(
        row in 0..table::rows().count(),
        edits in vec((0_usize..400, prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()], 0_usize..3), 0..4),
        piece in 1_usize..40,
    ) {
        let row = table::rows().nth(row).expect("a row");
        let request = edited(row.request, &edits);
        let whole = observe(&request, request.len());
        prop_assert_eq!(&observe(&request, piece), &whole);
        for message in whole.messages {
            let has = |name: &str| message.names.iter().filter(|found| *found == name).count();
            prop_assert_eq!(has("host"), 1);
            prop_assert!(has("content-length") + has("transfer-encoding") <= 1);
        }
    }
}

fn judge(row: &Row, seen: &Seen) -> Result<(), String> {
    let upstream = match row.upstream {
        Upstream::Nothing => seen.messages.is_empty() && !seen.broken,
        Upstream::Broken => seen.messages.is_empty(),
        Upstream::Exactly(messages) => {
            !seen.broken
                && seen.messages.len() == messages.len()
                && messages.iter().zip(&seen.messages).all(|(message, recorded)| equals(message, recorded))
        }
    };
    if upstream && seen.answers == row.answers && seen.closed != row.keeps {
        return Ok(());
    }
    Err(format!("{} ({}): {seen:#?}", row.name, row.clause))
}

fn equals(message: &Message, recorded: &Recorded) -> bool {
    let has = |name: &str| recorded.names.iter().filter(|found| *found == name).count();
    let (line, _) = recorded.line.rsplit_once(' ').unwrap_or_default();
    line == format!("{} {}", message.method, message.target)
        && recorded.body == message.body
        && has("host") == 1
        && has("content-length") + has("transfer-encoding") <= 1
        && message.without.iter().all(|name| has(name) == 0)
        && message.trailer.is_none_or(|name| has(name) == 1)
}

#[test]
fn every_row_holds_however_its_bytes_are_cut() {
    let mut wrong = Vec::new();
    for row in table::rows() {
        let whole = observe(row.request, row.request.len());
        wrong.extend(judge(row, &whole).err());
        for piece in [1, 2, 3, 7, 100, 1021] {
            assert_eq!(observe(row.request, piece), whole, "{} in pieces of {piece}", row.name);
        }
    }
    assert!(wrong.is_empty(), "{} rows do not hold:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_is_large_and_says_why() {
    let mut names: Vec<&str> = table::rows().map(|row| row.name).collect();
    assert!(names.len() >= 120, "{} rows", names.len());
    assert!(table::rows().all(|row| !row.clause.is_empty()));
    names.sort_unstable();
    let rows = names.len();
    names.dedup();
    assert_eq!(names.len(), rows, "two rows have the same name");
}

#[test]
fn every_weakened_check_is_noticed_by_a_row() {
    let mut unnoticed = Vec::new();
    for weakness in weakness::ALL {
        let rows = noticed_by(*weakness);
        println!("{weakness:?}: {} rows, first {:?}", rows.len(), rows.first());
        if rows.is_empty() {
            unnoticed.push(weakness);
        }
    }
    assert!(unnoticed.is_empty(), "no row notices {unnoticed:?}");
}

fn noticed_by(weakness: Weakness) -> Vec<&'static str> {
    let fails = |row: &&Row| judge(row, &observe(row.request, row.request.len())).is_err();
    weakness::with(weakness, || table::rows().filter(fails).map(|row| row.name).collect())
}
