//! Lines of a head, found as they arrive. A line ends with CRLF and holds no control character but the tab; what
//! RFC 9112 §2.2 lets a recipient forgive (a bare LF) is what two parsers disagree about, so it is refused, and
//! at once: a byte that is wrong is seen when it comes, not when the head ends.

use std::ops::Range;

use super::Refusal;
use super::weakness::{Weakness, tolerated};

/// What is wrong with a message, in the words for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status for it, when the message is a request.
    pub(crate) status: u16,
    /// One line.
    pub(crate) message: &'static str,
}

impl Fault {
    pub(crate) const fn new(status: u16, message: &'static str) -> Fault {
        Fault { status, message }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::request(fault.status, fault.message)
    }
}

/// Walks the lines of a buffer that grows. Each byte is looked at once, however it arrives.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Where the line begins that is not complete yet.
    start: usize,
    /// Up to where there is nothing of interest.
    scanned: usize,
}

impl Lines {
    /// The next complete line, without its CRLF; `limit` is how long all lines together may be.
    pub(crate) fn next(&mut self, buffer: &[u8], limit: usize) -> Result<Option<Range<usize>>, Fault> {
        let window = &buffer[..buffer.len().min(limit)];
        while let Some(found) = window[self.scanned..].iter().position(|b| is_control(*b)) {
            self.scanned += found;
            match (window[self.scanned], window.get(self.scanned + 1)) {
                (b'\r', None) => return incomplete(buffer, limit),
                (b'\r', Some(b'\n')) => return Ok(Some(self.complete(2))),
                (b'\n', _) if tolerated(Weakness::BareLf) => return Ok(Some(self.complete(1))),
                (byte, _) if overlooked(byte) => self.scanned += 1,
                (byte, _) => return Err(refused(byte)),
            }
        }
        self.scanned = window.len();
        incomplete(buffer, limit)
    }

    /// Where the next line begins: behind everything that was taken.
    pub(crate) fn consumed(&self) -> usize {
        self.start
    }

    #[cfg(test)]
    pub(super) fn seen(&self) -> usize {
        self.scanned
    }

    fn complete(&mut self, ending: usize) -> Range<usize> {
        let line = self.start..self.scanned;
        self.scanned += ending;
        self.start = self.scanned;
        line
    }
}

/// The line's end has not been seen, and perhaps never will within the limit.
fn incomplete(buffer: &[u8], limit: usize) -> Result<Option<Range<usize>>, Fault> {
    if buffer.len() < limit { Ok(None) } else { Err(Fault::new(431, "the header section is too long")) }
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

fn overlooked(byte: u8) -> bool {
    match byte {
        b'\n' => false,
        b'\r' => tolerated(Weakness::BareCr),
        _ => tolerated(Weakness::ControlInValue),
    }
}

fn refused(byte: u8) -> Fault {
    Fault::new(
        400,
        match byte {
            b'\n' => "a line ends with LF alone, without CR",
            b'\r' => "a CR stands alone, without LF",
            _ => "the header section has a control character",
        },
    )
}
