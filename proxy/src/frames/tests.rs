//! Streams of frames, whole and cut: boundaries, counts, close codes, and what breaks the rules.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    masked: bool,
    long_form: u8,
    payload: Vec<u8>,
}

impl Frame {
    fn new(first: u8, payload: &[u8]) -> Self {
        Self { first, masked: false, long_form: 0, payload: payload.to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.payload.len();
        let form = match length {
            _ if self.long_form == 2 => 127,
            126..=0xFFFF => 126,
            _ if length > 0xFFFF => 127,
            _ if self.long_form == 1 => 126,
            _ => length as u8,
        };
        let mut out = vec![self.first, form | if self.masked { 0x80 } else { 0 }];
        match form {
            126 => out.extend((length as u16).to_be_bytes()),
            127 => out.extend((length as u64).to_be_bytes()),
            _ => {}
        }
        let key = if self.masked { [7, 77, 177, 201] } else { [0; 4] };
        if self.masked {
            out.extend(key);
        }
        out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }
}

/// A valid stream: messages, some in fragments with control frames between, each with the end of each message.
fn stream() -> impl Strategy<Value = (Vec<u8>, Vec<usize>, Vec<usize>)> {
    let message = (
        proptest::collection::vec((0usize..300, 0u8..3, any::<bool>()), 1..4),
        prop_oneof![Just(1u8), Just(0x42)],
        any::<bool>(),
    );
    proptest::collection::vec(message, 0..6).prop_map(|messages| {
        let (mut bytes, mut message_ends, mut frame_ends) = (Vec::new(), vec![0], vec![0]);
        for (fragments, opcode, masked) in messages {
            let last = fragments.len() - 1;
            for (index, (length, long_form, ping)) in fragments.into_iter().enumerate() {
                let fin = if index == last { 0x80 } else { 0 };
                let first = fin | if index == 0 { opcode } else { 0 };
                bytes.extend(Frame { first, masked, long_form, payload: vec![0x5A; length] }.bytes());
                frame_ends.push(bytes.len());
                if ping && index != last {
                    bytes.extend(Frame { masked, ..Frame::new(0x89, b"beat") }.bytes());
                    frame_ends.push(bytes.len());
                }
            }
            message_ends.push(bytes.len());
        }
        (bytes, message_ends, frame_ends)
    })
}

proptest! {
    #[test]
    fn boundaries_and_counts_are_the_same_however_the_bytes_are_cut(
        (bytes, message_ends, frame_ends) in stream(),
        cuts in proptest::collection::vec(1usize..64, 1..8),
    ) {
        let (mut walker, mut walked, mut at) = (Walker::default(), Walked::default(), 0);
        for cut in cuts.iter().cycle() {
            prop_assert_eq!(walker.at(Boundary::Message), message_ends.contains(&at));
            prop_assert_eq!(walker.at(Boundary::Frame), frame_ends.contains(&at));
            if at == bytes.len() {
                break;
            }
            let next_message = message_ends.iter().find(|end| **end >= at).map(|end| end - at);
            prop_assert_eq!(walker.bytes_to(Boundary::Message, &bytes[at..]), next_message);
            let next_frame = frame_ends.iter().find(|end| **end >= at).map(|end| end - at);
            prop_assert_eq!(walker.bytes_to(Boundary::Frame, &bytes[at..]), next_frame);
            let end = (at + cut).min(bytes.len());
            walked += walker.walk(&bytes[at..end]);
            at = end;
        }
        prop_assert_eq!(walked.messages as usize, message_ends.len() - 1);
        prop_assert_eq!(walked.close, None);
        prop_assert!(!walker.broken());
    }

    #[test]
    fn arbitrary_bytes_give_one_result_however_they_are_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cut in 1usize..20,
    ) {
        let (mut whole, mut pieces) = (Walker::default(), Walker::default());
        let at_once = whole.walk(&bytes);
        let mut piecewise = Walked::default();
        for piece in bytes.chunks(cut) {
            piecewise += pieces.walk(piece);
        }
        prop_assert_eq!(at_once, piecewise);
        prop_assert_eq!(whole.broken(), pieces.broken());
    }

    #[test]
    fn a_close_code_is_read_masked_or_not(code in any::<u16>(), reason in ".{0,200}", mask in any::<Option<[u8; 4]>>()) {
        let frame = close_frame(code, &reason, mask);
        prop_assert!(frame.len() <= MAX_CLOSE_FRAME);
        for cut in [1, 3, frame.len()] {
            let mut walker = Walker::default();
            let mut walked = Walked::default();
            for piece in frame.chunks(cut) {
                walked += walker.walk(piece);
            }
            prop_assert_eq!(walked.close, Some(code));
            prop_assert!(walker.close_seen() && walker.at(Boundary::Message));
        }
    }
}

#[test]
fn state_is_small() {
    assert_eq!(size_of::<Walker>(), 24);
}

#[test]
fn a_close_without_a_code_is_1005() {
    assert_eq!(Walker::default().walk(&[0x88, 0]).close, Some(1005));
    assert_eq!(Walker::default().walk(&[0x88, 0x80, 1, 2, 3, 4]).close, Some(1005));
}

#[test]
fn broken_framing_is_marked_and_has_no_boundary() {
    let cases: [(&str, Vec<u8>); 7] = [
        ("continuation of nothing", Frame::new(0x80, b"x").bytes()),
        (
            "a message within a message",
            [Frame::new(0x01, b"x").bytes(), Frame::new(0x81, b"y").bytes()].concat(),
        ),
        ("reserved data opcode", Frame::new(0x83, b"").bytes()),
        ("reserved control opcode", Frame::new(0x8B, b"").bytes()),
        ("fragmented control frame", Frame::new(0x09, b"").bytes()),
        ("long control frame", Frame::new(0x89, &[0; 126]).bytes()),
        ("length above 2^63", [&[0x82, 127][..], &u64::MAX.to_be_bytes()].concat()),
    ];
    for (name, bytes) in cases {
        let mut walker = Walker::default();
        walker.walk(&bytes);
        assert!(walker.broken(), "{name}");
        assert!(!walker.at(Boundary::Frame) && walker.bytes_to(Boundary::Frame, b"xyz").is_none(), "{name}");
    }
}
