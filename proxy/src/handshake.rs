//! The WebSocket handshake (RFC 6455 §4), sans-io: what a client asks for, what is sent upstream for it, whether
//! the answer is right, and what the client gets.

#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::fields::Additions;
use crate::forward::{Outgoing, Peer, request_fields, response_fields};
use crate::head::weakness::{Weakness, tolerated};
use crate::head::{Fields, Framing, Head, Method, Refusal, ResponseHead, Version, trim};

/// What a request asks for.
#[derive(Debug)]
pub enum Asked {
    /// A WebSocket.
    WebSocket(Offer),
    /// An ordinary answer: no upgrade, or one that is not ours to make and is dropped.
    Plain,
    /// A WebSocket, but not in a way that can be granted.
    Refuse(Refusal),
}

/// What the client offers, for the answer to be held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Sec-WebSocket-Key.
    pub key: String,
    /// The subprotocols, in the client's order.
    pub protocols: Vec<String>,
    /// The names of the extensions.
    pub extensions: Vec<String>,
}

/// In what way an upstream's answer breaks the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The answer is not HTTP/1.1 101.
    Status,
    /// Upgrade is not exactly websocket.
    Upgrade,
    /// Connection does not say upgrade.
    Connection,
    /// Sec-WebSocket-Accept is missing, repeated or does not belong to the key.
    Accept,
    /// A subprotocol that was not offered, or more than one.
    Protocol,
    /// An extension that was not offered.
    Extension,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Violation::Status => "the upstream did not answer with HTTP/1.1 101",
            Violation::Upgrade => "the upstream's 101 does not upgrade to websocket",
            Violation::Connection => "the upstream's 101 has no Connection: upgrade",
            Violation::Accept => "the upstream's Sec-WebSocket-Accept does not belong to the key",
            Violation::Protocol => "the upstream chose a subprotocol that was not offered",
            Violation::Extension => "the upstream chose an extension that was not offered",
        })
    }
}

impl std::error::Error for Violation {}

/// What the request asks for. Upgrade counts only where Connection names it (RFC 9110 §7.8) and not in HTTP/1.0;
/// tokens other than `websocket` are passed over.
pub fn examine(head: &Head) -> Asked {
    let upgrade = head.fields.has_token("connection", "upgrade")
        && (head.version == Version::Http11 || tolerated(Weakness::HandshakeInHttp10));
    let websocket = head.fields.has_token("upgrade", "websocket")
        || (tolerated(Weakness::OtherUpgrade) && head.fields.get("upgrade").is_some());
    if !(upgrade && websocket) {
        return Asked::Plain;
    }
    match offer(head) {
        Ok(offer) => Asked::WebSocket(offer),
        Err(refusal) => Asked::Refuse(refusal),
    }
}

/// RFC 6455 §4.2.1. The version is looked at before the key, since another version may have no key. A refusal
/// ends the connection: a client that did not wait has sent frames already, and they must not be read as requests.
fn offer(head: &Head) -> Result<Offer, Refusal> {
    if head.method != Method::Get && !tolerated(Weakness::HandshakeMethod) {
        return Err(Refusal::request(400, "a WebSocket is opened with GET"));
    }
    if !matches!(head.framing, Framing::None | Framing::Length(0)) && !tolerated(Weakness::HandshakeBody) {
        return Err(Refusal::request(400, "a WebSocket handshake has no body"));
    }
    match head.fields.only("sec-websocket-version") {
        Ok(Some(b"13")) => {}
        _ if tolerated(Weakness::HandshakeVersion) => {}
        Ok(Some(_)) => return Err(OTHER_VERSION),
        _ => return Err(Refusal::request(400, "there is not exactly one Sec-WebSocket-Version")),
    }
    let key = head.fields.only("sec-websocket-key").ok().flatten().unwrap_or_default();
    if !is_key(key) && !tolerated(Weakness::HandshakeKey) {
        return Err(Refusal::request(400, "Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    Ok(Offer {
        key: String::from_utf8_lossy(key).into_owned(),
        protocols: texts(head.fields.tokens("sec-websocket-protocol")),
        extensions: extension_names(&head.fields),
    })
}

const OTHER_VERSION: Refusal = Refusal {
    header: Some(("Sec-WebSocket-Version", "13")),
    ..Refusal::request(426, "only version 13 of the WebSocket protocol is served")
};

/// 16 bytes in base64. The unused bits of the last digit are not looked at, as nobody does.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/';
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

/// The names in Sec-WebSocket-Extensions, without their parameters (RFC 6455 §9.1).
fn extension_names(fields: &Fields) -> Vec<String> {
    let values = fields.get_all("sec-websocket-extensions");
    let names = values.flat_map(members).filter_map(|member| member.split(|b| *b == b';').next());
    texts(names.map(trim).filter(|name| !name.is_empty()))
}

/// The members of a list that may have quoted strings.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
}

fn texts<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// Writes the whole head of the upgrade for the upstream.
pub fn request(outgoing: &Outgoing<'_>, peer: &Peer<'_>, out: &mut Vec<u8>) {
    for part in ["GET ", &outgoing.target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    request_fields(outgoing, peer, out);
    out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

/// Whether a 101 is the answer to this offer (RFC 6455 §4.1, what a client must check).
pub fn check(offer: &Offer, response: &ResponseHead) -> Result<(), Violation> {
    let fields = &response.fields;
    let held = |holds: bool, violation| if holds { Ok(()) } else { Err(violation) };
    let upgrade = fields.only("upgrade").ok().flatten().unwrap_or_default();
    held(response.status == 101 && response.version == Version::Http11, Violation::Status)?;
    held(upgrade.eq_ignore_ascii_case(b"websocket"), Violation::Upgrade)?;
    held(fields.has_token("connection", "upgrade"), Violation::Connection)?;
    let accept = accept(&offer.key);
    held(
        matches!(fields.only("sec-websocket-accept"), Ok(Some(value)) if value == accept.as_bytes()),
        Violation::Accept,
    )?;
    let protocol = match fields.only("sec-websocket-protocol") {
        Ok(None) => true,
        Ok(Some(chosen)) => offer.protocols.iter().any(|offered| offered.as_bytes() == chosen),
        Err(()) => false,
    };
    held(protocol, Violation::Protocol)?;
    held(extension_names(fields).iter().all(|name| offer.extensions.contains(name)), Violation::Extension)
}

/// Sec-WebSocket-Accept for a key.
fn accept(key: &str) -> String {
    let hash = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(hash)
}

/// Writes the whole head of the 101 for the client.
pub fn response(head: &ResponseHead, additions: &Additions<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    );
    response_fields(head, additions, out);
    out.extend_from_slice(b"\r\n");
}
