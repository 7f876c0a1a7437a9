//! The key that a request is hashed by, equal on every proxy and every architecture.

use std::net::{IpAddr, Ipv6Addr};

use snapshot::HashPart;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::head::Head;

/// The hash of these parts of a request, or nothing where it has none of them. An empty value counts as none: all who
/// send it would meet at one endpoint. A part that is missing beside others still has its place.
pub(crate) fn of(parts: &[HashPart], head: &Head, client: IpAddr) -> Option<u64> {
    let (mut key, mut found) = (0, false);
    for part in parts {
        // The seed says what came before, so that `ab` and `c` are not `a` and `bc`.
        let hash = hash(part, head, client, key);
        found |= hash.is_some();
        key = hash.unwrap_or_else(|| xxh3_64_with_seed(&[], key));
    }
    found.then_some(key)
}

fn hash(part: &HashPart, head: &Head, client: IpAddr, seed: u64) -> Option<u64> {
    let (address, decoded);
    let value: &[u8] = match part {
        HashPart::ClientAddress => {
            address = mapped(client).octets();
            &address
        }
        HashPart::QueryParameter(name) => {
            decoded = head.query_parameter(name)?;
            &decoded
        }
        HashPart::Header(name) => head.fields.get(name)?,
        HashPart::Cookie(name) => head.cookie(name)?,
        HashPart::Path => head.path.as_bytes(),
        HashPart::Target => head.target.as_bytes(),
        HashPart::Host => head.host.as_bytes(),
    };
    (!value.is_empty()).then(|| xxh3_64_with_seed(value, seed))
}

/// A client is the same through a socket of either family.
fn mapped(client: IpAddr) -> Ipv6Addr {
    match client {
        IpAddr::V4(client) => client.to_ipv6_mapped(),
        IpAddr::V6(client) => client,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::head::RequestParser;

    const CLIENT: &str = "192.0.2.1";

    fn key_of(parts: &[HashPart], target: &str, lines: &str, client: &str) -> Option<u64> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: A.test:80\r\n{lines}\r\n");
        let (head, _) = RequestParser::default().parse(request.as_bytes()).unwrap().unwrap();
        of(parts, &head, client.parse().unwrap())
    }

    fn header(name: &str) -> HashPart {
        HashPart::Header(name.to_owned())
    }

    #[test]
    fn a_key_is_the_same_wherever_it_is_computed() {
        let parts = |part: HashPart| vec![part];
        // Fixed for all time: proxies of two versions serve side by side during an upgrade.
        for (parts, key) in [
            (parts(HashPart::ClientAddress), CLIENT_KEY),
            (parts(header("x-room")), ROOM_KEY),
            (parts(HashPart::Cookie("room".into())), ROOM_KEY),
            (parts(HashPart::QueryParameter("room".into())), ROOM_KEY),
        ] {
            let lines = "X-Room: lobby\r\nX-Room: other\r\nCookie: a=b; room=lobby\r\n";
            let found = key_of(&parts, "/ws?room=%6Cobby&room=other", lines, CLIENT);
            assert_eq!(found, Some(key), "{parts:?}");
        }
        let mapped = key_of(&[HashPart::ClientAddress], "/", "", "::ffff:192.0.2.1");
        assert_eq!(mapped, Some(CLIENT_KEY));
    }

    /// XXH3 of the mapped address, and of `lobby`, as another implementation computes them.
    const CLIENT_KEY: u64 = 11_520_911_977_985_869_338;
    const ROOM_KEY: u64 = 7_066_235_857_658_653_090;

    #[test]
    fn each_part_is_its_own() {
        let key = |part, target| key_of(&[part], target, "", CLIENT);
        assert_eq!(key(HashPart::Path, "/a/../%7Eb?x"), key(HashPart::Path, "/~b"));
        assert_ne!(key(HashPart::Target, "/a/../%7Eb?x"), key(HashPart::Target, "/~b"));
        assert_ne!(key(HashPart::Target, "/~b?x"), key(HashPart::Target, "/~b?y"));
        let host = key(HashPart::Host, "/");
        assert_eq!(host, Some(xxh3_64_with_seed(b"a.test", 0)));
    }

    #[test]
    fn of_several_parts_the_key_is_all_of_them() {
        let parts = [header("a"), header("b")];
        let key = |lines: &str| key_of(&parts, "/", lines, CLIENT);
        let keys: BTreeSet<_> =
            ["A: ab\r\nB: c\r\n", "A: a\r\nB: bc\r\n", "A: abc\r\n", "B: abc\r\n", "A: c\r\nB: ab\r\n"]
                .into_iter()
                .map(|lines| key(lines).unwrap())
                .collect();
        assert_eq!(keys.len(), 5);
        assert_eq!((key("A:\r\nB: \r\nC: d\r\n"), key("")), (None, None));
        assert_eq!(key("A:\r\nB: b\r\n"), key("B: b\r\n"));
    }
}
