//! Bodies of HTTP/1 messages, sans-io: where one ends, and what is in it (RFC 9112 §6 and §7).
//!
//! The [`Delimiter`] follows each body with the same strictness as the head parser, whatever reads it afterwards:
//! a chunk line has a plain hexadecimal size, extensions are checked and dropped, lines end with CRLF. What it
//! lets out is data and permitted trailer fields, from which [`write_chunk`] and [`write_last_chunk`] make one
//! canonical form.
//!
//! Invariant: the outcome does not depend on how the bytes are cut.

mod chunk_line;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;

use crate::head::weakness::{Weakness, tolerated};
use crate::head::{Fault, Fields, Framing, Lines, Refusal, Section, canonical};
use chunk_line::{ChunkLine, Progress};

/// The longest trailer section that is taken.
pub const MAX_TRAILERS: usize = 8 * 1024;

/// Follows one body to its end.
#[derive(Debug)]
pub struct Delimiter {
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes of a body with a length are left.
    Length(u64),
    /// In the line that begins a chunk.
    ChunkLine(ChunkLine),
    /// So many bytes of a chunk are left.
    ChunkData(u64),
    /// Behind a chunk's data: so many bytes of CRLF have been seen.
    ChunkEnd(usize),
    /// In the trailer section.
    Trailers(Box<Trailers>),
    End,
}

/// What the delimiter made of some input.
#[derive(Debug)]
pub struct Step {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they were.
    pub output: Output,
}

/// What the delimiter found.
#[derive(Debug)]
pub enum Output {
    /// Nothing to pass on; all of the input is consumed and the rest of the body has not arrived.
    NeedMore,
    /// Data of the body, at this place of the input. Never empty.
    Data(Range<usize>),
    /// The trailer fields that may be passed on; at most once, only when there are some, right before the end.
    Trailers(Fields),
    /// The body is complete; what follows in the input is another message.
    End,
}

impl Delimiter {
    /// For a body that is framed so.
    pub fn new(framing: Framing) -> Delimiter {
        Delimiter {
            state: match framing {
                Framing::None => State::End,
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::ChunkLine(ChunkLine::default()),
            },
        }
    }

    /// Looks at the input: call it again with the rest (from `consumed`) until it says that it needs more or that
    /// the body has ended. After a refusal there is nothing more to be learnt.
    pub fn next(&mut self, input: &[u8]) -> Result<Step, Refusal> {
        let mut consumed = 0;
        loop {
            let (taken, output) = self.advance(&input[consumed..])?;
            let start = consumed;
            consumed += taken;
            let output = match output {
                None => continue,
                Some(Output::Data(_)) => Output::Data(start..consumed),
                Some(output) => output,
            };
            return Ok(Step { consumed, output });
        }
    }

    /// One step: how many bytes it took, and what it found, data being counted from the start of this input.
    fn advance(&mut self, input: &[u8]) -> Result<(usize, Option<Output>), Fault> {
        match &mut self.state {
            State::End | State::Length(0) => Ok((0, Some(Output::End))),
            State::ChunkData(0) => self.enter(0, State::ChunkEnd(0)),
            _ if input.is_empty() => Ok((0, Some(Output::NeedMore))),
            State::Length(left) | State::ChunkData(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                Ok((taken, Some(Output::Data(0..taken))))
            }
            State::ChunkEnd(seen) => match chunk_end(seen, input[0])? {
                taken if *seen == 2 => self.enter(taken, State::ChunkLine(ChunkLine::default())),
                taken => Ok((taken, None)),
            },
            State::ChunkLine(line) => match line.advance(input[0])? {
                Progress::Incomplete => Ok((1, None)),
                Progress::Size(0) => self.enter(1, State::Trailers(Box::default())),
                Progress::Size(size) => self.enter(1, State::ChunkData(size)),
            },
            State::Trailers(trailers) => match trailers.advance(input)? {
                (taken, None) => Ok((taken, None)),
                (taken, Some(fields)) => {
                    self.state = State::End;
                    Ok((taken, Some(fields).filter(|fields| !fields.is_empty()).map(Output::Trailers)))
                }
            },
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "every step ends in this shape")]
    fn enter(&mut self, taken: usize, state: State) -> Result<(usize, Option<Output>), Fault> {
        self.state = state;
        Ok((taken, None))
    }
}

/// Behind a chunk's data stands CRLF and nothing else. Says how many bytes were taken.
fn chunk_end(seen: &mut usize, byte: u8) -> Result<usize, Fault> {
    match (*seen, byte) {
        (0, b'\r') | (1, b'\n') => {
            *seen += 1;
            Ok(1)
        }
        (0, b'\n') if tolerated(Weakness::ChunkBareLf) => {
            *seen = 2;
            Ok(1)
        }
        _ if tolerated(Weakness::ChunkEnd) => {
            *seen = 2;
            Ok(0)
        }
        _ => Err(Fault::new(400, "a chunk's data is longer or shorter than its size says")),
    }
}

/// A trailer section that is still arriving (RFC 9112 §7.1.2).
#[derive(Debug, Default)]
struct Trailers {
    buffer: Vec<u8>,
    lines: Lines,
    section: Section,
}

impl Trailers {
    /// How many bytes of the input belong to the section and, when it is complete, its permitted fields.
    fn advance(&mut self, input: &[u8]) -> Result<(usize, Option<Fields>), Fault> {
        let held = self.buffer.len();
        let room = MAX_TRAILERS - held;
        self.buffer.extend_from_slice(&input[..input.len().min(room)]);
        while let Some(line) = self.lines.next(&self.buffer, MAX_TRAILERS)? {
            if !line.is_empty() {
                self.section.push(&self.buffer, line)?;
                continue;
            }
            let consumed = self.lines.consumed();
            let section = std::mem::take(&mut self.section);
            let fields = section.finish(Bytes::copy_from_slice(&self.buffer[..consumed]));
            return Ok((consumed - held, Some(fields.filtered(permitted))));
        }
        Ok((self.buffer.len() - held, None))
    }
}

/// Whether a field may stand in trailers, of a request or a response: not what frames, routes or authorises a message, says how to read it,
/// or belongs to one connection (RFC 9110 §6.5.1), nor what tells the upstream who the client is. An underscore
/// counts as a hyphen, since servers after the manner of CGI cannot tell them apart.
pub(crate) fn permitted(name: &str) -> bool {
    const FORBIDDEN: [&str; 39] = [
        "accept-encoding",
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "keep-alive",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "warning",
        "www-authenticate",
        "x-real-ip",
    ];
    let name = canonical(name);
    let forbidden = FORBIDDEN.contains(&name.as_str())
        || name == "x-request-id"
        || name.starts_with("x-forwarded-")
        || crate::tls::clients::FIELDS.contains(&name.as_str())
        || name.starts_with("sec-websocket-");
    !forbidden || tolerated(Weakness::ForbiddenTrailer)
}

/// Writes one chunk. Without data nothing is written, since an empty chunk would end the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    write!(out, "{:x}\r\n", data.len()).expect("writing to a Vec cannot fail");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes the chunk that ends a body, `trailers` being complete field lines (see
/// [`trailer_fields`](crate::forward::trailer_fields)) or nothing.
pub fn write_last_chunk(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}
