//! Header and trailer fields (RFC 9110 §5, RFC 9112 §5): kept in order and as they were spelt, as ranges over one
//! buffer. A field line is a token, a colon and a value; nothing else is taken.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::lines::Fault;
use super::weakness::{Weakness, tolerated};
use super::{MAX_FIELDS, MAX_HEAD, is_token, trim};

/// The fields of a head or of a trailer section.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Bytes,
    lines: Box<[Line]>,
}

/// Where one field stands. A head is at most 32 KiB, so 16 bits are enough.
#[derive(Debug, Clone, Copy)]
struct Line {
    name: (u16, u16),
    value: (u16, u16),
}

const _: () = assert!(MAX_HEAD <= u16::MAX as usize, "a field's place must fit its numbers");

impl Fields {
    /// Name and value of each field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|line| (self.name(*line), self.slice(line.value)))
    }

    /// The value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of that name, in any case, in order.
    pub fn get_all(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.lines
            .iter()
            .filter(move |line| self.slice(line.name).eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| self.slice(line.value))
    }

    /// Whether one of the comma-separated lists of that name holds the token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The members of all comma-separated lists of that name, trimmed, without empty ones (RFC 9110 §5.6.1).
    pub(crate) fn tokens(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        routing::text::tokens(self.get_all(name))
    }

    /// These fields without those whose name is refused.
    pub(crate) fn filtered(self, keep: impl Fn(&str) -> bool) -> Fields {
        let lines = self.lines.iter().filter(|line| keep(self.name(**line))).copied().collect();
        Fields { lines, bytes: self.bytes }
    }

    /// The one value of that name: nothing when it is absent, an error when there is more than one.
    pub(crate) fn only(&self, name: &str) -> Result<Option<&[u8]>, ()> {
        let mut values = self.get_all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            (_, Some(_)) => Err(()),
        }
    }

    fn name(&self, line: Line) -> &str {
        std::str::from_utf8(self.slice(line.name)).expect("a field name is a token, which is ASCII")
    }

    fn slice(&self, (start, end): (u16, u16)) -> &[u8] {
        &self.bytes[usize::from(start)..usize::from(end)]
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A section of field lines that is still arriving.
#[derive(Debug, Default)]
pub(crate) struct Section {
    lines: Vec<Line>,
}

impl Section {
    /// Takes the line that stands at `range` of the buffer, without its CRLF.
    pub(crate) fn push(&mut self, buffer: &[u8], range: Range<usize>) -> Result<(), Fault> {
        let line = &buffer[range.clone()];
        if self.lines.len() == MAX_FIELDS {
            return Err(Fault::new(431, "the message has more than 100 header fields"));
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            let fault = Fault::new(400, "a header line begins with white space");
            return if tolerated(Weakness::FoldedLine) { Ok(()) } else { Err(fault) };
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(Fault::new(400, "a header line has no colon"));
        };
        let name = name(&line[..colon])?;
        let value = trim(&line[colon + 1..]);
        let name_start = range.start + offset(line, name);
        let value_start = range.start + offset(line, value);
        self.lines.push(Line {
            name: (name_start as u16, (name_start + name.len()) as u16),
            value: (value_start as u16, (value_start + value.len()) as u16),
        });
        Ok(())
    }

    /// The whole section, whose lines were ranges of `bytes`.
    pub(crate) fn finish(self, bytes: Bytes) -> Fields {
        Fields { bytes, lines: self.lines.into_boxed_slice() }
    }
}

fn name(written: &[u8]) -> Result<&[u8], Fault> {
    let name = if tolerated(Weakness::SpaceBeforeColon) { trim(written) } else { written };
    if is_token(name) {
        Ok(name)
    } else if name.ends_with(b" ") || name.ends_with(b"\t") {
        Err(Fault::new(400, "there is white space between a header's name and its colon"))
    } else {
        Err(Fault::new(400, "a header's name is empty or has a character that names cannot have"))
    }
}

/// How far `part`, a subslice, stands behind the start of `whole`.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// A field's name in lower case, and without the underscores that servers after the manner of CGI take for hyphens.
pub(crate) fn canonical(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Whether such a server takes two names for the same.
pub(crate) fn alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.bytes().map(plain).eq(other.bytes().map(plain))
}
