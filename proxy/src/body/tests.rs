//! What the table of requests cannot show: places and amounts, and what the delimiter leaves in the input.

use super::*;

/// What the delimiter makes of input in pieces: the data, the trailers' names, how much it took.
fn follow(
    framing: Framing,
    input: &[u8],
    piece: usize,
) -> Result<(Vec<u8>, Vec<String>, usize, bool), Refusal> {
    let mut delimiter = Delimiter::new(framing);
    let (mut data, mut trailers, mut taken) = (Vec::new(), Vec::new(), 0);
    for end in (0..input.len()).step_by(piece).skip(1).chain([input.len()]) {
        loop {
            let rest = &input[taken..end];
            let step = delimiter.next(rest)?;
            taken += step.consumed;
            match step.output {
                Output::Data(range) => data.extend_from_slice(&rest[range]),
                Output::Trailers(fields) => trailers.extend(fields.iter().map(|(name, _)| name.to_owned())),
                Output::End => return Ok((data, trailers, taken, true)),
                Output::NeedMore => break,
            }
        }
    }
    Ok((data, trailers, taken, false))
}

fn chunked(input: &[u8]) -> Result<(Vec<u8>, Vec<String>, usize, bool), Refusal> {
    let whole = follow(Framing::Chunked, input, input.len().max(1));
    for piece in [1, 2, 5] {
        assert_eq!(follow(Framing::Chunked, input, piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn a_body_ends_where_its_framing_says() {
    assert_eq!(follow(Framing::None, b"next", 4).unwrap(), (vec![], vec![], 0, true));
    assert_eq!(follow(Framing::Length(0), b"next", 4).unwrap(), (vec![], vec![], 0, true));
    assert_eq!(follow(Framing::Length(3), b"abcnext", 7).unwrap(), (b"abc".to_vec(), vec![], 3, true));
    assert_eq!(follow(Framing::Length(3), b"ab", 1).unwrap(), (b"ab".to_vec(), vec![], 2, false));
    let (data, trailers, taken, complete) =
        chunked(b"3;x\r\nabc\r\n0\r\nSum: 1\r\nHost: x\r\n\r\nnext").unwrap();
    assert_eq!((data.as_slice(), complete), (&b"abc"[..], true));
    assert_eq!(trailers, ["Sum"]);
    assert_eq!(taken, 33 - 1);
}

#[test]
fn an_incomplete_body_takes_all_input() {
    for input in
        [&b"3"[..], b"3\r", b"3\r\nab", b"3\r\nabc", b"3\r\nabc\r", b"0\r\n", b"0\r\nA: b\r\n", b"0\r\n\r"]
    {
        let (.., taken, complete) = chunked(input).unwrap();
        assert_eq!((taken, complete), (input.len(), false));
    }
}

#[test]
fn chunk_lines_and_trailers_have_limits() {
    let line = |length: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(length - 4));
    assert!(chunked(line(256).as_bytes()).unwrap().3);
    assert_eq!(chunked(line(257).as_bytes()).unwrap_err().status, 400);
    let trailers = |length: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(length - 7));
    assert!(chunked(trailers(MAX_TRAILERS).as_bytes()).unwrap().3);
    assert_eq!(chunked(trailers(MAX_TRAILERS + 1).as_bytes()).unwrap_err().status, 431);
    let many = format!("0\r\n{}\r\n", "A:b\r\n".repeat(101));
    assert_eq!(chunked(many.as_bytes()).unwrap_err().status, 431);
}

#[test]
fn the_largest_size_is_the_largest_signed_number() {
    assert!(!chunked(b"7fffffffffffffff\r\na").unwrap().3);
    assert!(chunked(b"8000000000000000\r\na").is_err());
}

#[test]
fn what_is_written_is_read_again() {
    let mut out = Vec::new();
    write_chunk(b"hello", &mut out);
    write_chunk(b"", &mut out);
    write_chunk(&[b'x'; 300], &mut out);
    write_last_chunk(b"Sum: 1\r\n", &mut out);
    assert!(out.starts_with(b"5\r\nhello\r\n12c\r\nxxx"));
    let (data, trailers, taken, complete) = chunked(&out).unwrap();
    assert_eq!((data.len(), taken, complete), (305, out.len(), true));
    assert_eq!(trailers, ["Sum"]);
}
