//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says in front of them whose they are
//! ([specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt)).
//!
//! Sans-io: [`parse`] is given what has come so far. Only a peer from whom a header is required may be believed, which
//! is for the caller to see to; a header is never looked for where it is not required.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A version 1 header with its line end is never longer.
const LONGEST_LINE: usize = 107;

/// The longest header of version 2. Beside the addresses it has what balancers tell about TLS, a client's certificate
/// at most; HAProxy takes no longer one either.
const LONGEST: usize = 16 * 1024;

/// What a version 2 header begins with: no request and no line of text does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

const LINE: &[u8; 6] = b"PROXY ";

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client.
    Client(SocketAddr),
    /// Who connected: the balancer looks after us, or does not know more.
    Peer,
}

/// What came is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins otherwise.
    #[error("no PROXY protocol header")]
    Absent,
    /// A line that is too long or does not read.
    #[error("malformed PROXY protocol header of version 1")]
    Line,
    /// A version, command or family that is none, or too few bytes for the addresses.
    #[error("malformed PROXY protocol header of version 2")]
    Binary,
    /// A length beyond all measure.
    #[error("PROXY protocol header is too long")]
    TooLong,
}

/// Reads a header at the beginning of `bytes`: who the client is, and how long the header is. `None`: more bytes are
/// needed, and never more than some 16 KiB in all.
pub fn parse(bytes: &[u8]) -> Result<Option<(Source, usize)>, Malformed> {
    let begins = |with: &[u8]| {
        let known = bytes.len().min(with.len());
        bytes[..known] == with[..known]
    };
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(LINE) {
        line(bytes)
    } else {
        Err(Malformed::Absent)
    }
}

fn line(bytes: &[u8]) -> Result<Option<(Source, usize)>, Malformed> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(Malformed::Line) };
    };
    let text = std::str::from_utf8(&within[..end]).map_err(|_| Malformed::Line)?;
    let words: Vec<_> = text.split(' ').collect();
    let source = match words[..] {
        // Whatever stands behind it is not looked at.
        [_, "UNKNOWN", ..] => Some(Source::Peer),
        [_, "TCP4", from, to, port, to_port] => {
            of_line::<Ipv4Addr>(from, to, port, to_port).map(Source::Client)
        }
        [_, "TCP6", from, to, port, to_port] => {
            of_line::<Ipv6Addr>(from, to, port, to_port).map(Source::Client)
        }
        _ => None,
    };
    source.map(|source| Some((source, end + 2))).ok_or(Malformed::Line)
}

/// The sender's address, if all four words are what they must be.
fn of_line<A>(from: &str, to: &str, port: &str, to_port: &str) -> Option<SocketAddr>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let address = |text: &str| text.parse::<A>().ok().map(Into::into);
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (from, _, port, _) = (address(from)?, address(to)?, number(port)?, number(to_port)?);
    Some(SocketAddr::new(from, port))
}

fn binary(bytes: &[u8]) -> Result<Option<(Source, usize)>, Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || family >> 4 > 3 || family & 0xf > 2 {
        return Err(Malformed::Binary);
    }
    if length > LONGEST {
        return Err(Malformed::TooLong);
    }
    let Some(content) = rest.get(..length) else { return Ok(None) };
    let source = match (command, family) {
        (0x21, 0x11) => {
            let (address, rest) = content.split_first_chunk::<4>().ok_or(Malformed::Binary)?;
            of_binary(Ipv4Addr::from(*address).into(), rest.get(4..8))?
        }
        (0x21, 0x21) => {
            let (address, rest) = content.split_first_chunk::<16>().ok_or(Malformed::Binary)?;
            of_binary(Ipv6Addr::from(*address).into(), rest.get(16..20))?
        }
        // LOCAL; or a family that says nothing about a client of ours: unspecified, datagrams, Unix sockets.
        _ => Source::Peer,
    };
    Ok(Some((source, 16 + length)))
}

/// `ports` are the sender's and the receiver's.
fn of_binary(address: IpAddr, ports: Option<&[u8]>) -> Result<Source, Malformed> {
    let Some([high, low, _, _]) = ports else { return Err(Malformed::Binary) };
    Ok(Source::Client(SocketAddr::new(address, u16::from_be_bytes([*high, *low]))))
}

#[cfg(test)]
mod tests;
