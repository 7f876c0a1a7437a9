//! What clients send, and what may come of it: requests as data, each with the clause that decides it.
//!
//! The rows are run twice: against the parser, the delimiter and the handshake alone (`proxy`'s unit tests, which
//! also weaken one check after another and want a row to notice), and against the real proxy with a backend that
//! records what reaches it (`heads.rs` beside this folder).

mod bodies;
mod fields;
mod handshakes;
mod requests;

/// One request, or several behind each other, and what must come of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// What is tried.
    pub(crate) name: &'static str,
    /// The clause that decides, or the smuggling form that it stands for.
    pub(crate) clause: &'static str,
    /// What the client sends.
    pub(crate) request: &'static [u8],
    /// The final statuses (and 101) that the client sees, in order.
    pub(crate) answers: &'static [u16],
    /// What reaches the upstream.
    pub(crate) upstream: Upstream,
    /// Whether the connection stays open, for another request or as a tunnel.
    pub(crate) keeps: bool,
}

/// What may reach the upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Upstream {
    /// Not a byte.
    Nothing,
    /// These messages, whole, and nothing else.
    Exactly(&'static [Message]),
    /// A head and a part of its body perhaps, but no complete message.
    Broken,
}

/// A message at the upstream. Whatever else is asked, it has exactly one Host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    /// The method.
    pub(crate) method: &'static str,
    /// The target.
    pub(crate) target: &'static str,
    /// The body, without chunk framing.
    pub(crate) body: &'static [u8],
    /// Fields (lower case) that neither its head nor its trailers may have.
    pub(crate) without: &'static [&'static str],
    /// A trailer field (lower case) that it must have.
    pub(crate) trailer: Option<&'static str>,
}

/// Refused with 400 before anything goes upstream.
const fn refused(name: &'static str, clause: &'static str, request: &'static [u8]) -> Row {
    Row { name, clause, request, answers: &[400], upstream: Upstream::Nothing, keeps: false }
}

/// Refused with 400 in the middle of a body.
const fn broken(name: &'static str, clause: &'static str, request: &'static [u8]) -> Row {
    Row { upstream: Upstream::Broken, ..refused(name, clause, request) }
}

/// Passed on as exactly these messages, each answered with 200.
const fn passed(
    name: &'static str,
    clause: &'static str,
    request: &'static [u8],
    messages: &'static [Message],
) -> Row {
    let answers: &[u16] = match messages.len() {
        1 => &[200],
        2 => &[200, 200],
        _ => &[200, 200, 200],
    };
    Row { name, clause, request, answers, upstream: Upstream::Exactly(messages), keeps: true }
}

/// Passed on as the one message that opens a tunnel.
const fn switched(name: &'static str, clause: &'static str, request: &'static [u8]) -> Row {
    const MESSAGES: &[Message] = &[get("/chat")];
    passed(name, clause, request, MESSAGES).answers(&[101])
}

impl Row {
    /// The connection ends with the answer.
    const fn closing(self) -> Row {
        Row { keeps: false, ..self }
    }

    /// With other answers than usual.
    const fn answers(self, answers: &'static [u16]) -> Row {
        Row { answers, ..self }
    }
}

const fn get(target: &'static str) -> Message {
    message("GET", target, b"")
}

const fn post(body: &'static [u8]) -> Message {
    message("POST", "/p", body)
}

const fn message(method: &'static str, target: &'static str, body: &'static [u8]) -> Message {
    Message { method, target, body, without: &[], trailer: None }
}

impl Message {
    const fn without(self, without: &'static [&'static str]) -> Message {
        Message { without, ..self }
    }

    const fn trailer(self, name: &'static str) -> Message {
        Message { trailer: Some(name), ..self }
    }
}

/// `start`, then as much of `fill`, repeated, as there is room for, then `end`.
const fn padded<const N: usize>(start: &[u8], fill: &[u8], end: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = if at < start.len() {
            start[at]
        } else if at >= N - end.len() {
            end[at - (N - end.len())]
        } else {
            fill[(at - start.len()) % fill.len()]
        };
        at += 1;
    }
    bytes
}

/// All rows.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    [requests::ROWS, fields::ROWS, bodies::ROWS, handshakes::ROWS].into_iter().flatten()
}
