//! The line that begins a chunk (RFC 9112 §7.1): a hexadecimal size, then extensions that are checked and
//! forgotten. Byte by byte, since it may arrive so and holds nothing worth a buffer.
//!
//! Programs disagree about everything else that can stand here: white space, signs, `0x`, sizes that overflow,
//! a bare LF or CR that ends the line or is part of an extension. None of it is taken.

use crate::head::weakness::{Weakness, tolerated};
use crate::head::{Fault, is_token_byte};

/// The longest chunk line that is taken, its CRLF included.
const MAX_LINE: usize = 256;

/// The largest size; beyond it other programs' signed numbers overflow.
const MAX_SIZE: u64 = i64::MAX as u64;

/// What a byte of the line brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Incomplete,
    /// The line is complete; this is the chunk's size.
    Size(u64),
}

/// A chunk line that is still arriving.
#[derive(Debug, Default)]
pub(super) struct ChunkLine {
    place: Place,
    size: u64,
    digits: usize,
    length: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    /// White space before a semicolon.
    BeforeSemicolon,
    /// Behind a semicolon, before the name.
    BeforeName,
    Name,
    /// White space behind a name.
    AfterName,
    /// Behind `=`, before the value.
    BeforeValue,
    Token,
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    /// Behind the closing quote.
    AfterQuoted,
    /// Behind CR.
    Cr,
}

impl Place {
    /// Whether an extension may be complete here, so that another one can follow.
    fn ends_extension(self) -> bool {
        use Place::{AfterName, AfterQuoted, BeforeSemicolon, Name, Token};
        matches!(self, Name | AfterName | Token | AfterQuoted | BeforeSemicolon)
    }
}

impl ChunkLine {
    /// Takes the next byte.
    pub(super) fn advance(&mut self, byte: u8) -> Result<Progress, Fault> {
        self.length += 1;
        if self.length > MAX_LINE {
            return Err(Fault::new(400, "the line that begins a chunk is too long"));
        }
        if self.ends(byte) {
            return Ok(Progress::Size(self.size));
        }
        self.place = self.step(byte)?;
        Ok(Progress::Incomplete)
    }

    fn ends(&self, byte: u8) -> bool {
        byte == b'\n' && (self.place == Place::Cr || tolerated(Weakness::ChunkBareLf))
    }

    fn step(&mut self, byte: u8) -> Result<Place, Fault> {
        let blank = byte == b' ' || byte == b'\t';
        if self.place == Place::Size && byte.is_ascii_hexdigit() {
            return self.digit(byte);
        }
        if self.place == Place::Size {
            return self.behind_size(byte);
        }
        Ok(match (self.place, byte) {
            (Place::Cr, _) => return Err(LINE_END),
            (Place::Name | Place::Token | Place::AfterQuoted, b'\r') => Place::Cr,
            (_, b'\r' | b'\n') if !tolerated(Weakness::ChunkExtension) => return Err(LINE_END),
            (Place::Quoted, b'"') => Place::AfterQuoted,
            (Place::Quoted, b'\\') => Place::Escaped,
            (Place::Quoted | Place::Escaped, _) if is_text(byte) => Place::Quoted,
            (Place::BeforeName, _) if blank => Place::BeforeName,
            (place, b';') if place.ends_extension() => Place::BeforeName,
            (Place::Name | Place::AfterName, b'=') => Place::BeforeValue,
            (Place::Name | Place::AfterName, _) if blank => Place::AfterName,
            (Place::BeforeValue, _) if blank => Place::BeforeValue,
            (Place::BeforeValue, b'"') => Place::Quoted,
            (Place::BeforeValue | Place::Token, _) if is_token_byte(byte) => Place::Token,
            (Place::BeforeName | Place::Name, _) if is_token_byte(byte) => Place::Name,
            (place, _) if blank && place.ends_extension() => Place::BeforeSemicolon,
            _ if tolerated(Weakness::ChunkExtension) => Place::Name,
            _ => return Err(Fault::new(400, "a chunk extension is malformed")),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<Place, Fault> {
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        let size = self.size.checked_mul(16).map(|size| size + digit).filter(|size| *size <= MAX_SIZE);
        self.size = match size {
            Some(size) => size,
            None if tolerated(Weakness::ChunkSizeOverflow) => self.size.wrapping_mul(16).wrapping_add(digit),
            None => return Err(Fault::new(400, "a chunk's size is too large")),
        };
        self.digits += 1;
        Ok(Place::Size)
    }

    fn behind_size(&mut self, byte: u8) -> Result<Place, Fault> {
        let padding = (byte == b' ' || byte == b'\t') && tolerated(Weakness::ChunkSizePadding);
        let prefix =
            byte == b'x' && self.size == 0 && self.digits == 1 && tolerated(Weakness::ChunkSizePrefix);
        match byte {
            _ if padding || prefix => Ok(Place::Size),
            b'\r' if self.digits > 0 => Ok(Place::Cr),
            b';' if self.digits > 0 => Ok(Place::BeforeName),
            b'\n' => Err(LINE_END),
            _ => Err(Fault::new(400, "a chunk's size is not a plain hexadecimal number")),
        }
    }
}

const LINE_END: Fault = Fault::new(400, "the line that begins a chunk does not end with CRLF");

/// What a quoted string may hold (RFC 9110 §5.6.4).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
