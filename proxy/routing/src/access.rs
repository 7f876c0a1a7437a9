//! Who may come in: by the client's address, and of pages by the Origin that their browser names (RFC 6454, RFC 6455
//! §10.2).
//!
//! An Origin protects people whose browser is made to open a WebSocket by somebody else's page. Whoever is no browser
//! can write what it likes there, or nothing: a handshake without an Origin is let in. Plain requests are not looked at:
//! browsers guard those by CORS.

mod origin;

use std::net::IpAddr;

use snapshot::Satisfy;

use crate::Request;
use crate::networks::Networks;

use self::origin::Origins;

/// Who may come in by a route.
#[derive(Debug, Default)]
pub struct Access {
    /// Absent: everybody.
    allow: Option<Networks>,
    deny: Networks,
    /// Absent: every origin.
    origins: Option<Origins>,
    satisfy: Satisfy,
}

/// Whether a route asks clients who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofAsked {
    /// It does.
    Yes,
    /// Anybody may come.
    No,
}

/// What lets a client in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Refused,
    /// The proof that the route asks for, if it does.
    WithProof,
    /// Its network.
    Free,
}

impl Access {
    /// What a route's lists say.
    pub fn new(access: snapshot::Access) -> Self {
        let snapshot::Access { allow, deny, origins, satisfy } = access;
        Self {
            allow: (!allow.is_empty()).then(|| Networks::new(&allow)),
            deny: Networks::new(&deny),
            origins: (!origins.is_empty()).then(|| Origins::new(origins)),
            satisfy,
        }
    }

    /// Whether the lists of networks let this client in.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        !self.deny.contains(client) && self.allow.as_ref().is_none_or(|allow| allow.contains(client))
    }

    /// What lets this client in. Where one of network and proof is enough, a network counts that is allowed by name, as
    /// with nginx: that nobody denies it says nothing.
    pub fn entry(&self, client: IpAddr, proof: ProofAsked) -> Entry {
        match (self.satisfy, proof, self.lets_in(client)) {
            (Satisfy::Any, ProofAsked::Yes, true) if self.allow.is_some() => Entry::Free,
            (Satisfy::Any, ProofAsked::Yes, _) | (_, _, true) => Entry::WithProof,
            (_, _, false) => Entry::Refused,
        }
    }

    /// Whether the page that this handshake comes from, if any, may open a WebSocket.
    pub fn lets_open(&self, handshake: &impl Request) -> bool {
        self.origins.as_ref().is_none_or(|origins| origins.fit(handshake))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_denied_is_out_even_if_allowed() {
        let access = |allow: &[&str], deny: &[&str]| {
            let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            Access::new(snapshot::Access {
                allow: list(allow),
                deny: list(deny),
                ..snapshot::Access::default()
            })
        };
        for (allow, deny, client, within) in [
            (&[][..], &[][..], "192.0.2.1", true),
            (&["10.0.0.0/8"], &[], "10.1.2.3", true),
            (&["10.0.0.0/8"], &[], "::ffff:10.1.2.3", true),
            (&["10.0.0.0/8"], &[], "192.0.2.1", false),
            (&["10.0.0.0/8"], &[], "::1", false),
            (&[], &["10.1.0.0/16"], "10.1.2.3", false),
            (&[], &["10.1.0.0/16"], "::ffff:10.1.2.3", false),
            (&[], &["10.1.0.0/16"], "10.2.2.3", true),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3", false),
            (&["10.0.0.0/8"], &["10.1.0.0/16"], "10.2.2.3", true),
            (&["0.0.0.0/0", "::/0"], &[], "2001:db8::1", true),
            (&["2001:db8::/32"], &["2001:db8::1/128"], "2001:db8::1", false),
        ] {
            let client = client.parse().unwrap();
            assert_eq!(access(allow, deny).lets_in(client), within, "{allow:?} {deny:?} {client}");
        }
    }

    #[test]
    fn a_network_or_a_proof_may_be_enough() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        for (satisfy, proof, allow, deny, entry) in [
            (Satisfy::All, ProofAsked::Yes, &["10.0.0.0/8"][..], &[][..], Entry::WithProof),
            (Satisfy::All, ProofAsked::Yes, &["192.0.2.0/24"], &[], Entry::Refused),
            (Satisfy::Any, ProofAsked::Yes, &["10.0.0.0/8"], &[], Entry::Free),
            (Satisfy::Any, ProofAsked::Yes, &["10.0.0.0/8"], &["10.0.0.1/32"], Entry::WithProof),
            (Satisfy::Any, ProofAsked::Yes, &["192.0.2.0/24"], &[], Entry::WithProof),
            (Satisfy::Any, ProofAsked::Yes, &[], &["192.0.2.0/24"], Entry::WithProof),
            (Satisfy::Any, ProofAsked::Yes, &[], &[], Entry::WithProof),
            (Satisfy::Any, ProofAsked::No, &["192.0.2.0/24"], &[], Entry::Refused),
            (Satisfy::Any, ProofAsked::No, &[], &["10.0.0.1/32"], Entry::Refused),
        ] {
            let access = Access::new(snapshot::Access {
                allow: list(allow),
                deny: list(deny),
                satisfy,
                ..snapshot::Access::default()
            });
            let found = access.entry("10.0.0.1".parse().unwrap(), proof);
            assert_eq!(found, entry, "{satisfy:?} {proof:?} {allow:?} {deny:?}");
        }
    }
}
