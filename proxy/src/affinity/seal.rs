//! What a cookie says, so that only who holds the key can read or write it: a synthetic initialisation vector in the
//! manner of SIV (Rogaway and Shrimpton, 2006), of two HMAC-SHA256.
//!
//! A value is a tag of upstream, ring and endpoint, and behind it the endpoint's seed under a mask that follows from
//! the tag. The same endpoint always has the same value, which tells nobody else anything about its address; and one
//! is opened at the same cost however many endpoints there are.

use std::fmt;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use snapshot::{PrivateKey, Reach, Ring, UpstreamId};
use subtle::ConstantTimeEq as _;

/// Bytes of the tag, and of the seed.
const HALF: usize = 8;

/// Opens and closes values with one key.
pub(crate) struct Seal {
    tags: hmac::Key,
    masks: hmac::Key,
}

/// A value that has the form of one. Whether it is of an upstream, [`Seal::is_of`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    tag: [u8; HALF],
    pub(crate) seed: u64,
}

impl Seal {
    pub(crate) fn new(key: &PrivateKey) -> Self {
        let root = hmac::Key::new(HMAC_SHA256, key.der());
        let derived = |purpose: &[u8]| hmac::Key::new(HMAC_SHA256, hmac::sign(&root, purpose).as_ref());
        Self { tags: derived(b"longhaul affinity tag"), masks: derived(b"longhaul affinity mask") }
    }

    /// The value that names an endpoint.
    pub(crate) fn close(&self, upstream: &UpstreamId, ring: Ring, seed: u64) -> String {
        let tag = self.tag(upstream, ring, seed);
        let mut value = [0; 2 * HALF];
        value[..HALF].copy_from_slice(&tag);
        value[HALF..].copy_from_slice(&(seed ^ self.mask(tag)).to_be_bytes());
        URL_SAFE_NO_PAD.encode(value)
    }

    /// What a value says, if it is one.
    pub(crate) fn open(&self, value: &[u8]) -> Option<Sealed> {
        let mut bytes = [0; 2 * HALF];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        let (tag, masked) = bytes[..length].split_first_chunk::<HALF>()?;
        let masked = u64::from_be_bytes(masked.try_into().ok()?);
        Some(Sealed { tag: *tag, seed: masked ^ self.mask(*tag) })
    }

    /// Whether it names an endpoint of this upstream, by this ring, and was closed with this key.
    pub(crate) fn is_of(&self, sealed: &Sealed, upstream: &UpstreamId, ring: Ring) -> bool {
        self.tag(upstream, ring, sealed.seed).ct_eq(&sealed.tag).into()
    }

    fn tag(&self, upstream: &UpstreamId, ring: Ring, seed: u64) -> [u8; HALF] {
        let UpstreamId { namespace, service, port, reach } = upstream;
        let mut tag = hmac::Context::with_key(&self.tags);
        for part in [namespace, service, port] {
            tag.update(part.as_bytes());
            // No name has this byte.
            tag.update(&[0]);
        }
        let reach = match reach {
            Reach::Endpoints => 0,
            Reach::Address => 1,
        };
        let ring = match ring {
            Ring::Address => 0,
            Ring::PodName => 1,
        };
        tag.update(&[reach, ring]);
        tag.update(&seed.to_be_bytes());
        half(&tag.sign())
    }

    fn mask(&self, tag: [u8; HALF]) -> u64 {
        u64::from_be_bytes(half(&hmac::sign(&self.masks, &tag)))
    }
}

fn half(tag: &hmac::Tag) -> [u8; HALF] {
    *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: &str) -> Seal {
        Seal::new(&PrivateKey::new(key.as_bytes()))
    }

    #[test]
    fn a_value_opens_with_its_key_for_its_upstream_and_ring() {
        let (ours, theirs) = (seal("ours"), seal("theirs"));
        let (chat, other) =
            (UpstreamId::endpoints("n", "chat", "80"), UpstreamId::endpoints("n", "cha", "t80"));
        let value = ours.close(&chat, Ring::Address, 7);
        assert_eq!(value, ours.close(&chat, Ring::Address, 7), "the same on every replica");
        assert_eq!(value.len(), 22);
        let opened = ours.open(value.as_bytes()).unwrap();
        assert_eq!(opened.seed, 7);
        assert!(ours.is_of(&opened, &chat, Ring::Address));
        assert!(!ours.is_of(&opened, &other, Ring::Address));
        assert!(!ours.is_of(&opened, &chat, Ring::PodName));
        let misread = theirs.open(value.as_bytes()).unwrap();
        assert!(misread.seed != 7 && !theirs.is_of(&misread, &chat, Ring::Address));
    }

    #[test]
    fn what_is_no_value_of_ours_says_nothing() {
        let (seal, chat) = (seal("ours"), UpstreamId::endpoints("n", "chat", "80"));
        let long = "A".repeat(4096);
        for foreign in
            ["", "10.0.0.1:80", "1700.4.5.6|0123456789abcdef", "AAAA", &long, "AAAAAAAAAAAAAAAAAAAAA=="]
        {
            assert_eq!(seal.open(foreign.as_bytes()), None, "{foreign}");
        }
        let value = seal.close(&chat, Ring::Address, 7);
        for at in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
            let opened = seal.open(&changed);
            assert!(opened.is_none_or(|opened| !seal.is_of(&opened, &chat, Ring::Address)), "{at}");
        }
    }
}
