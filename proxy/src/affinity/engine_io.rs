//! Reads the sid out of the answer that begins a session of Engine.IO: the packet `0{"sid":"…"}` of protocol 4, and the
//! same behind its length as protocol 3 writes it, as text (`96:0{…}`) or as bytes (`00 09 06 ff 0{…}`).
//! <https://github.com/socketio/engine.io-protocol>
//!
//! Sees a copy of the beginning of the body, as it passes. What does not begin so teaches nothing.

use serde::Deserialize;

use crate::upstream::LONGEST_SID;

/// Bytes that are looked at.
const MOST: usize = 2048;

/// Pieces of a body that are looked at: an upstream that sends it byte by byte costs no more.
const MOST_LOOKS: u8 = 16;

/// Looks at the beginning of one body.
#[derive(Debug, Default)]
pub(crate) struct Learner {
    begun: Vec<u8>,
    looks: u8,
    done: bool,
}

#[derive(Deserialize)]
struct Open {
    sid: String,
}

impl Learner {
    /// The next piece of the body. Returns the sid once, when it is there.
    pub(crate) fn see(&mut self, piece: &[u8]) -> Option<String> {
        if self.done {
            return None;
        }
        let room = MOST - self.begun.len();
        self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
        // Nothing is whole before a brace closes.
        let ended = memchr::memchr(b'}', piece).is_some();
        self.looks += u8::from(ended);
        let sid = if ended { read(&self.begun) } else { Ok(None) };
        self.done = !matches!(sid, Ok(None)) || self.begun.len() == MOST || self.looks == MOST_LOOKS;
        if self.done {
            self.begun = Vec::new();
        }
        sid.ok().flatten()
    }
}

/// This is no beginning of a session.
struct Otherwise;

/// `None`: there is not enough yet.
fn read(begun: &[u8]) -> Result<Option<String>, Otherwise> {
    let Some(packet) = behind_length(begun)? else { return Ok(None) };
    let Some(json) = packet.strip_prefix(b"0") else {
        return if packet.is_empty() { Ok(None) } else { Err(Otherwise) };
    };
    match serde_json::Deserializer::from_slice(json).into_iter::<Open>().next() {
        Some(Ok(Open { sid })) if (1..=LONGEST_SID).contains(&sid.len()) => Ok(Some(sid)),
        Some(Err(error)) if error.is_eof() => Ok(None),
        None => Ok(None),
        _ => Err(Otherwise),
    }
}

fn behind_length(begun: &[u8]) -> Result<Option<&[u8]>, Otherwise> {
    let (digits, end): (fn(&u8) -> bool, u8) = match begun.first() {
        None => return Ok(None),
        Some(0) => (|byte| *byte <= 9, 0xff),
        Some(b'0') => return Ok(Some(begun)),
        Some(_) => (u8::is_ascii_digit, b':'),
    };
    let length = begun.iter().take(16).take_while(|byte| digits(byte)).count();
    match begun.get(length) {
        _ if length == 0 => Err(Otherwise),
        Some(byte) if *byte == end => Ok(Some(&begun[length + 1..])),
        Some(_) => Err(Otherwise),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: &[u8] = br#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000}"#;

    fn learned(body: &[u8], pieces: usize) -> Option<String> {
        let mut learner = Learner::default();
        body.chunks(pieces).find_map(|piece| learner.see(piece))
    }

    #[test]
    fn every_form_of_the_first_packet_is_understood() {
        let bytes = [&[0, 7, 7, 0xff], OPEN, &[0, 2, 0xff], b"40"].concat();
        let other_order =
            br#"0{"upgrades":[],"maxPayload":1e6,"more":{"deep":{}},"sid":"lv_VI97HAXpY6yYWAAAC"}"#;
        for body in
            [OPEN, &[b"77:", OPEN, b"2:40"].concat(), &[OPEN, b"\x1e40"].concat(), &bytes, other_order]
        {
            for pieces in [7, 20, body.len()] {
                assert_eq!(learned(body, pieces).as_deref(), Some("lv_VI97HAXpY6yYWAAAC"), "{body:?}");
            }
        }
    }

    #[test]
    fn nothing_else_teaches_anything() {
        let empty: &[u8] = br#"0{"sid":""}"#;
        let long = format!(r#"0{{"sid":"{}"}}"#, "a".repeat(LONGEST_SID + 1));
        let late = format!(r#"0{{"other":"{}","sid":"a"}}"#, "a".repeat(MOST));
        let others: [&[u8]; 9] = [
            br#"{"code":0,"message":"Transport unknown"}"#,
            br#"4{"sid":"a"}"#,
            br#"x:0{"sid":"a"}"#,
            br#"12345678901234567:0{"sid":"a"}"#,
            br#"0["sid","a"]}"#,
            br#"0{"sid":7}"#,
            empty,
            long.as_bytes(),
            late.as_bytes(),
        ];
        for body in others {
            assert_eq!(learned(body, 64), None, "{}", String::from_utf8_lossy(body));
        }
        let mut learner = Learner::default();
        assert_eq!(learner.see(br#"{"code":0}"#), None);
        assert_eq!(learner.see(OPEN), None, "only the beginning counts");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(body in proptest::collection::vec(any::<u8>(), 0..4096), pieces in 1_usize..64) {
            let mut learner = Learner::default();
            for piece in body.chunks(pieces) {
                learner.see(piece);
                prop_assert!(learner.begun.len() <= MOST);
            }
        }
    }
}
