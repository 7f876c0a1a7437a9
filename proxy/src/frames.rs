//! Walks WebSocket frame headers (RFC 6455 §5.2) without looking at payloads, and writes Close frames.
//!
//! A [`Walker`] follows one direction of a tunnel. It knows where frames and messages end, counts messages and
//! sees close codes; the bytes pass unchanged, compressed or not. A peer that breaks framing is passed through
//! and marked: from then on no boundary is known.
//!
//! Invariant: bytes in, facts out. No IO, no clock, no allocation; 24 bytes of state.

use std::ops::AddAssign;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;

/// Where a close frame's status code is kept while its frame is walked: behind the six bytes of a control frame's
/// header, which is never longer (RFC 6455 §5.5).
const CODE_AT: usize = 6;

/// The most bytes of a Close frame that [`close_frame`] writes: header, mask, code, reason.
pub const MAX_CLOSE_FRAME: usize = 2 + 4 + 125;

/// The state of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walker {
    /// Bytes of the current frame's payload that are still to come.
    payload_left: u64,
    /// The current frame's header as far as it came; behind it the close code.
    header: [u8; 14],
    /// Bytes of the header that came.
    have: u8,
    flags: Flags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags(u8);

impl Flags {
    const FRAGMENTED: u8 = 1;
    const BROKEN: u8 = 2;
    const CLOSE_SEEN: u8 = 4;
    const IN_PAYLOAD: u8 = 8;

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// What a run of bytes held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Data messages that ended.
    pub messages: u64,
    /// A Close frame that ended, with its status code; 1005 stands for a Close without one (RFC 6455 §7.1.5).
    pub close: Option<u16>,
}

impl AddAssign for Walked {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.close = self.close.or(other.close);
    }
}

/// Between which bytes a frame may be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Between two messages: no fragmented message is under way.
    Message,
    /// Between two frames.
    Frame,
}

impl Walker {
    /// Goes over bytes that were passed on.
    pub fn walk(&mut self, mut bytes: &[u8]) -> Walked {
        let mut walked = Walked::default();
        while !bytes.is_empty() && !self.broken() {
            let (taken, step) = self.step(bytes);
            walked += step;
            bytes = &bytes[taken..];
        }
        walked
    }

    /// The next bytes begin a frame (or a message).
    pub fn at(&self, boundary: Boundary) -> bool {
        let between_frames = self.have == 0 && !self.flags.has(Flags::IN_PAYLOAD) && !self.broken();
        match boundary {
            Boundary::Frame => between_frames,
            Boundary::Message => between_frames && !self.flags.has(Flags::FRAGMENTED),
        }
    }

    /// How many of these bytes lead to the next boundary; `None` where it is not among them.
    pub fn bytes_to(&self, boundary: Boundary, bytes: &[u8]) -> Option<usize> {
        let mut ahead = *self;
        let mut at = 0;
        loop {
            if ahead.at(boundary) {
                return Some(at);
            }
            if at == bytes.len() || ahead.broken() {
                return None;
            }
            at += ahead.step(&bytes[at..]).0;
        }
    }

    /// The peer broke the framing rules: nothing further is known of its stream.
    pub fn broken(&self) -> bool {
        self.flags.has(Flags::BROKEN)
    }

    /// A Close frame has passed whole.
    pub fn close_seen(&self) -> bool {
        self.flags.has(Flags::CLOSE_SEEN)
    }

    /// Goes on within one frame. `bytes` is not empty; at least one byte is taken.
    fn step(&mut self, bytes: &[u8]) -> (usize, Walked) {
        if self.flags.has(Flags::IN_PAYLOAD) {
            let taken = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
            if self.opcode() == CLOSE {
                self.keep_code(&bytes[..taken]);
            }
            self.payload_left -= taken as u64;
            return (taken, self.frame_end());
        }
        let mut taken = 0;
        while taken < bytes.len() {
            self.header[usize::from(self.have)] = bytes[taken];
            self.have += 1;
            taken += 1;
            if self.header_complete() {
                return (taken, self.frame_begin());
            }
        }
        (taken, Walked::default())
    }

    fn opcode(&self) -> u8 {
        self.header[0] & OPCODE
    }

    fn header_complete(&self) -> bool {
        self.have >= 2 && usize::from(self.have) == 2 + self.length_bytes() + self.mask_bytes()
    }

    fn length_bytes(&self) -> usize {
        match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn mask_bytes(&self) -> usize {
        if self.header[1] & MASKED == 0 { 0 } else { 4 }
    }

    fn frame_begin(&mut self) -> Walked {
        self.payload_left = match self.header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => u64::from_be_bytes(*self.header[2..].first_chunk().expect("a header has 14 bytes")),
            short => u64::from(short),
        };
        if self.breaks_the_rules() {
            self.flags.set(Flags::BROKEN, true);
            return Walked::default();
        }
        if self.opcode() < CLOSE {
            self.flags.set(Flags::FRAGMENTED, self.header[0] & FIN == 0);
        }
        self.flags.set(Flags::IN_PAYLOAD, true);
        self.frame_end()
    }

    /// RFC 6455 §5.2, §5.4, §5.5. Reserved bits belong to extensions, which are the peers' business.
    fn breaks_the_rules(&self) -> bool {
        let (fin, fragmented) = (self.header[0] & FIN != 0, self.flags.has(Flags::FRAGMENTED));
        let misplaced = match self.opcode() {
            CONTINUATION => !fragmented,
            1 | 2 => fragmented,
            CLOSE..=0xA => !fin || self.length_bytes() != 0,
            _ => true,
        };
        misplaced || self.payload_left > i64::MAX as u64
    }

    /// Ends the frame if nothing of it is left.
    fn frame_end(&mut self) -> Walked {
        let mut walked = Walked::default();
        if self.payload_left > 0 {
            return walked;
        }
        if self.opcode() == CLOSE {
            let code = u16::from_be_bytes([self.header[CODE_AT], self.header[CODE_AT + 1]]);
            walked.close = Some(if self.header[1] & !MASKED < 2 { 1005 } else { code });
            self.flags.set(Flags::CLOSE_SEEN, true);
        } else if self.opcode() < CLOSE && self.header[0] & FIN != 0 {
            walked.messages = 1;
        }
        self.have = 0;
        self.flags.set(Flags::IN_PAYLOAD, false);
        walked
    }

    /// Keeps the first two payload bytes of a Close frame, unmasked.
    fn keep_code(&mut self, payload: &[u8]) {
        let before = u64::from(self.header[1] & !MASKED) - self.payload_left;
        for (at, byte) in (before as usize..2).zip(payload) {
            let mask = if self.mask_bytes() == 0 { 0 } else { self.header[2 + at] };
            self.header[CODE_AT + at] = byte ^ mask;
        }
    }
}

/// Writes a Close frame (RFC 6455 §5.5.1), masked where a key is given, as frames towards a server must be. A
/// reason is cut at 123 bytes, which is all that fits.
pub fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(123)];
    let mut frame = Vec::with_capacity(MAX_CLOSE_FRAME);
    let length = (2 + reason.len()) as u8;
    frame.extend([FIN | CLOSE, if mask.is_some() { length | MASKED } else { length }]);
    frame.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes());
    frame.extend(payload.zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[cfg(test)]
mod tests;
