//! What is passed on of a message, and what the upstream is told about the client (RFC 9110 §7.6).
//!
//! Heads are written anew in one canonical form: one Host, one framing field, no hop-by-hop field, none that
//! Connection nominates, and the forwarding fields that only we may set.

mod rewrite;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::fields::{Additions, Changes};
use crate::head::weakness::{Weakness, tolerated};
use crate::head::{Fields, Framing, Head, ResponseHead, Version, alike, authority, canonical};

use crate::tls::clients::FIELDS;

pub use self::rewrite::{Outgoing, Replaced, Rewrite};
pub use crate::tls::clients::Shown;

/// Who sent a request, and how.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The client, as [`client_address`] found it.
    pub client: IpAddr,
    /// The other end of the socket.
    pub socket_peer: IpAddr,
    /// Whether the forwarding fields of that other end are believed.
    pub trusted: bool,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The port that clients use.
    pub port: u16,
    /// The request's id.
    pub request_id: &'a str,
    /// Its certificate, where the host asks for one.
    pub certificate: Option<Shown<'a>>,
}

/// Fields that belong to one connection. Trailer is not among them: it describes the message.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What was cut off a path before it went upstream.
const PREFIX: &str = "X-Forwarded-Prefix";

/// Fields of a request that we write ourselves, whatever the client sent.
const OURS: [&str; 9] = [
    "content-length",
    "expect",
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Who the client is: the socket's peer or, as long as those are trusted, the addresses of X-Forwarded-For from
/// right to left. What is no address ends the walk: the one who wrote it is the last we know.
pub fn client_address(peer: IpAddr, fields: &Fields, trusted: &[IpNet]) -> IpAddr {
    let believed = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    let hops = fields.get_all("x-forwarded-for").rev().flat_map(|value| value.rsplit(|b| *b == b','));
    for hop in hops {
        if !believed(client) {
            break;
        }
        match parse_address(hop) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, which some proxies write with a port or in brackets.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// The request id that a trusted peer sent, when it is a sane one: at most 128 visible characters.
pub fn request_id(fields: &Fields, trusted: bool) -> Option<String> {
    let value = fields.only("x-request-id").ok().flatten().filter(|_| trusted)?;
    let sane = (1..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    sane.then(|| String::from_utf8_lossy(value).into_owned())
}

/// Writes the fields for the upstream: Host, then what is end-to-end, then the forwarding fields. Connection,
/// Upgrade, Expect and the framing fields are for the caller to add.
pub fn request_fields(outgoing: &Outgoing<'_>, peer: &Peer<'_>, out: &mut Vec<u8>) {
    each_request_field(outgoing, peer, &mut |name, value| field(name, value, out));
}

/// The same, each by itself.
pub(crate) fn each_request_field(outgoing: &Outgoing<'_>, peer: &Peer<'_>, put: &mut dyn FnMut(&str, &[u8])) {
    let head = outgoing.head;
    let nominated = nominated(&head.fields);
    if !(tolerated(Weakness::NominatedHost) && is_nominated("host", &nominated)) {
        put("Host", outgoing.host.as_bytes());
    }
    for (name, value) in head.fields.iter() {
        let changed = outgoing.changes.is_some_and(|changes| changes.drops(name))
            || (outgoing.prefix.is_some() && alike(name, PREFIX))
            || outgoing.replaced.names(name);
        if !changed && !is_nominated(name, &nominated) && passes_upstream(name, peer.trusted) {
            put(name, value);
        }
    }
    if let Some(prefix) = &outgoing.prefix {
        put(PREFIX, prefix.as_bytes());
    }
    for (name, value) in outgoing.changes.into_iter().flat_map(Changes::lines) {
        put(name, value.as_bytes());
    }
    forwarding_fields(head, peer, put);
    for (name, value) in outgoing.replaced.with {
        put(name, value);
    }
}

/// Whether a request's field goes upstream as it came. Servers after the manner of CGI cannot tell an underscore
/// from a hyphen, so `X_Forwarded_For` is as good as the real one, and `Transfer_Encoding` too.
fn passes_upstream(name: &str, trusted: bool) -> bool {
    let canonical = canonical(name);
    let known = |name: &str| {
        OURS.contains(&name)
            || FIELDS.contains(&name)
            || (HOP_BY_HOP.contains(&name) && !tolerated(Weakness::HopByHop))
            || (name == "forwarded" && !trusted)
    };
    let alias = name.contains('_');
    !known(&canonical) || (alias && tolerated(Weakness::UnderscoreAlias))
}

/// The scheme by which the client came: that of the socket, unless a trusted peer knows of another. Some write `ws`
/// and `wss` for handshakes (Traefik does).
pub fn client_scheme(head: &Head, peer: &Peer<'_>) -> &'static str {
    forwarded_scheme(head, peer).unwrap_or(peer.scheme)
}

fn forwarded_scheme(head: &Head, peer: &Peer<'_>) -> Option<&'static str> {
    let said = believed("x-forwarded-proto", head, peer)?;
    let is = |name: &str| said.eq_ignore_ascii_case(name.as_bytes());
    if is("https") || is("wss") {
        Some("https")
    } else if is("http") || is("ws") {
        Some("http")
    } else {
        None
    }
}

/// The one value of a field that only a trusted peer may set.
fn believed<'a>(name: &str, head: &'a Head, peer: &Peer<'_>) -> Option<&'a [u8]> {
    head.fields.only(name).ok().flatten().filter(|_| peer.trusted)
}

/// What the upstream is told about the client. A trusted peer knows better than we how the client reached it.
fn forwarding_fields(head: &Head, peer: &Peer<'_>, put: &mut dyn FnMut(&str, &[u8])) {
    let believed = |name| believed(name, head, peer);
    let scheme = forwarded_scheme(head, peer);
    let port = believed("x-forwarded-port").and_then(parse_port).or(match scheme {
        Some("https") if peer.scheme == "http" => Some(443),
        Some("http") if peer.scheme == "https" => Some(80),
        _ => None,
    });
    let host = believed("x-forwarded-host").filter(|value| authority(value).is_some());

    put("X-Forwarded-For", forwarded_for(head, peer).as_bytes());
    put("X-Forwarded-Proto", scheme.unwrap_or(peer.scheme).as_bytes());
    put("X-Forwarded-Host", host.unwrap_or(head.authority.as_bytes()));
    put("X-Forwarded-Port", port.unwrap_or(peer.port).to_string().as_bytes());
    put("X-Real-IP", peer.client.to_canonical().to_string().as_bytes());
    put("X-Request-Id", peer.request_id.as_bytes());
    if let Some(certificate) = &peer.certificate {
        certificate.fields(put);
    }
}

fn forwarded_for(head: &Head, peer: &Peer<'_>) -> String {
    let before = head.fields.tokens("x-forwarded-for").filter(|_| peer.trusted);
    let mut hops: Vec<String> = before.map(|hop| String::from_utf8_lossy(hop).into_owned()).collect();
    hops.push(peer.socket_peer.to_canonical().to_string());
    hops.join(", ")
}

fn parse_port(value: &[u8]) -> Option<u16> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok().filter(|port| *port > 0)
}

/// Writes the whole head of a plain request: version as sent, one Host, at most one framing field. It parses to
/// the same message again.
pub fn plain_request(outgoing: &Outgoing<'_>, peer: &Peer<'_>, out: &mut Vec<u8>) {
    let head = outgoing.head;
    for part in [head.method.as_str(), " ", &outgoing.target, " ", head.version.as_str(), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    request_fields(outgoing, peer, out);
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => field("Content-Length", length.to_string().as_bytes(), out),
        Framing::Chunked => field("Transfer-Encoding", b"chunked", out),
    }
    if head.expect_continue {
        field("Expect", b"100-continue", out);
    }
    match (head.version, head.keep_alive) {
        (_, false) => field("Connection", b"close", out),
        (Version::Http10, true) => field("Connection", b"keep-alive", out),
        (Version::Http11, true) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the trailer fields that may follow a request's body, as lines: Connection can nominate those too. What
/// trailers may never hold, the [`Delimiter`](crate::body::Delimiter) has dropped already.
pub fn trailer_fields(head: &Head, trailers: &Fields, out: &mut Vec<u8>) {
    let nominated = nominated(&head.fields);
    for (name, value) in trailers.iter().filter(|(name, _)| !is_nominated(name, &nominated)) {
        field(name, value, out);
    }
}

/// Writes the end-to-end fields of a response. Content-Length is among them, except where it means nothing (1xx,
/// 204); Transfer-Encoding and Connection are for the caller to add.
pub fn response_fields(head: &ResponseHead, additions: &Additions<'_>, out: &mut Vec<u8>) {
    let nominated = nominated(&head.fields);
    let without_length = matches!(head.status, 100..=199 | 204);
    for (name, value) in head.fields.iter() {
        let lower = name.to_ascii_lowercase();
        let dropped = HOP_BY_HOP.contains(&lower.as_str())
            || is_nominated(name, &nominated)
            || additions.drops(name)
            || (without_length && lower == "content-length");
        if !dropped {
            field(name, additions.changed(name, value).as_deref().unwrap_or(value), out);
        }
    }
    for (name, value) in additions.lines(head.status) {
        field(name, value.as_bytes(), out);
    }
}

/// The fields that Connection nominates (RFC 9110 §7.6.1), but for those without which the message would be
/// another: Content-Length, and what a WebSocket handshake consists of. (Host is written in any case.)
fn nominated(fields: &Fields) -> Vec<&[u8]> {
    let removable = |name: &&[u8]| {
        let name = name.to_ascii_lowercase();
        name != b"content-length" && !name.starts_with(b"sec-websocket-")
    };
    fields.tokens("connection").filter(removable).collect()
}

fn is_nominated(name: &str, nominated: &[&[u8]]) -> bool {
    nominated.iter().any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
}

/// Writes one field line.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    write!(out, "{name}: ").expect("writing to a Vec cannot fail");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
