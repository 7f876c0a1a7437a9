//! The map of sections, its digest, and the generic difference between two maps.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::section::{Key, Section};

/// Keyed sections, each in its encoded form. Cloning is cheap, and two snapshots that share a past share memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    sections: OrdMap<Key, Bytes>,
    digest: Digest,
}

/// The wrapping sum of the 128-bit hashes of every (key, bytes): equal for equal snapshots in whatever order they
/// were put together, and kept up to date at the cost of each change. It finds mistakes, not attackers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(u128);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What leads from one snapshot to another.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Sections that are new or differ, in the order of their keys.
    pub changed: Vec<(Key, Bytes)>,
    /// Keys that went, in order.
    pub gone: Vec<Key>,
}

/// Keys and lengths: a section's bytes may hold a private key.
impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = self.changed.iter().map(|(key, bytes)| (key, bytes.len()));
        let changed: Vec<_> = changed.collect();
        f.debug_struct("Delta").field("changed", &changed).field("gone", &self.gone).finish()
    }
}

/// Keys and lengths: a section's bytes may hold a private key.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, bytes)| (key, bytes.len()))).finish()
    }
}

impl Delta {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

impl Snapshot {
    /// Puts a section in, in place of the one under that key.
    pub fn insert(&mut self, key: Key, section: &Section) {
        let bytes =
            postcard::to_stdvec(section).expect("sections are plain data, which postcard always encodes");
        self.insert_encoded(key, bytes.into());
    }

    /// Puts an encoded section in as it is, whether or not it can be read. One that is there already is left alone, so
    /// that two snapshots go on sharing what they share.
    pub fn insert_encoded(&mut self, key: Key, bytes: Bytes) {
        let old = self.sections.get(&key);
        if old == Some(&bytes) {
            return;
        }
        let added = hash(&key, &bytes);
        let removed = old.map_or(0, |old| hash(&key, old));
        self.digest = Digest(self.digest.0.wrapping_sub(removed).wrapping_add(added));
        self.sections.insert(key, bytes);
    }

    /// Takes a section out.
    pub fn remove(&mut self, key: &Key) {
        if let Some(old) = self.sections.remove(key) {
            self.digest = Digest(self.digest.0.wrapping_sub(hash(key, &old)));
        }
    }

    /// One section, decoded. `None` where there is none; an error where its bytes cannot be read.
    pub fn section(&self, key: &Key) -> Option<Result<Section, SectionError>> {
        self.sections.get(key).map(|bytes| decode(bytes))
    }

    /// One section in its encoded form.
    pub fn encoded(&self, key: &Key) -> Option<&Bytes> {
        self.sections.get(key)
    }

    /// Every section in the order of keys, decoded.
    pub fn sections(&self) -> impl Iterator<Item = (&Key, Result<Section, SectionError>)> {
        self.sections.iter().map(|(key, bytes)| (key, decode(bytes)))
    }

    /// Every section in the order of keys, encoded.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Bytes)> {
        self.sections.iter()
    }

    /// How many sections there are.
    pub fn len(&self) -> usize {
        self.sections.len()
    }

    /// Without any section.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// See [`Digest`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What leads from `self` to `next`. The cost follows what differs where the two share a past.
    pub fn diff(&self, next: &Self) -> Delta {
        let mut delta = Delta::default();
        for item in self.sections.diff(&next.sections) {
            match item {
                DiffItem::Add(key, bytes) | DiffItem::Update { new: (key, bytes), .. } => {
                    delta.changed.push((key.clone(), bytes.clone()));
                }
                DiffItem::Remove(key, _) => delta.gone.push(key.clone()),
            }
        }
        delta
    }

    /// Carries a [`Delta`] out.
    pub fn apply(&mut self, delta: Delta) {
        for key in &delta.gone {
            self.remove(key);
        }
        for (key, bytes) in delta.changed {
            self.insert_encoded(key, bytes);
        }
    }

    /// The snapshot as JSON for people: decoded, private keys redacted, keys as text.
    pub fn view(&self) -> serde_json::Value {
        let sections: BTreeMap<String, serde_json::Value> = self
            .sections()
            .map(|(key, section)| {
                let value = match section {
                    Ok(section) => serde_json::to_value(&section)
                        .unwrap_or_else(|error| serde_json::json!({"unreadable": error.to_string()})),
                    Err(error) => serde_json::json!({"unreadable": error.to_string()}),
                };
                (key.to_string(), value)
            })
            .collect();
        serde_json::json!({"digest": self.digest.to_string(), "sections": sections})
    }
}

/// A section whose bytes do not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("section does not decode: {0}")]
pub struct SectionError(#[from] postcard::Error);

fn decode(bytes: &[u8]) -> Result<Section, SectionError> {
    Ok(postcard::from_bytes(bytes)?)
}

fn hash(key: &Key, bytes: &[u8]) -> u128 {
    let key = postcard::to_stdvec(key).expect("keys are plain data, which postcard always encodes");
    let mut hasher = Xxh3::new();
    // The length first: (ab, c) and (a, bc) must differ.
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(&key);
    hasher.update(bytes);
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::section::{HostPattern, PrivateKey, Slice, UpstreamId};

    fn key() -> impl Strategy<Value = Key> {
        prop_oneof![
            "[a-c]".prop_map(|name| Key::Host(HostPattern::Exact(name))),
            "[a-c]".prop_map(|name| Key::Host(HostPattern::Wildcard(name))),
            "[a-c]{1,2}".prop_map(|service| {
                let upstream = UpstreamId::endpoints("d", service, "80");
                Key::Endpoints(upstream, Slice("one".into()))
            }),
        ]
    }

    fn snapshot() -> impl Strategy<Value = Snapshot> {
        proptest::collection::vec((key(), proptest::collection::vec(any::<u8>(), 0..3)), 0..12).prop_map(
            |sections| {
                let mut snapshot = Snapshot::default();
                for (key, bytes) in sections {
                    snapshot.insert_encoded(key, bytes.into());
                }
                snapshot
            },
        )
    }

    proptest! {
        #[test]
        fn applying_a_difference_leads_to_the_other(a in snapshot(), b in snapshot()) {
            let mut moved = a.clone();
            moved.apply(a.diff(&b));
            prop_assert_eq!(&moved, &b);
            prop_assert_eq!(moved.digest(), b.digest());
        }

        #[test]
        fn a_difference_names_only_what_differs(a in snapshot(), b in snapshot()) {
            let delta = a.diff(&b);
            for (key, bytes) in &delta.changed {
                prop_assert_ne!(a.encoded(key), Some(bytes));
            }
            for key in &delta.gone {
                prop_assert!(a.encoded(key).is_some() && b.encoded(key).is_none());
            }
            prop_assert_eq!(delta.is_empty(), a == b);
        }

        #[test]
        fn the_digest_does_not_depend_on_the_way(a in snapshot(), b in snapshot()) {
            let mut fresh = Snapshot::default();
            for (key, bytes) in b.iter() {
                fresh.insert_encoded(key.clone(), bytes.clone());
            }
            let mut walked = a.clone();
            walked.apply(a.diff(&b));
            prop_assert_eq!(fresh.digest(), walked.digest());
            prop_assert_eq!(a.digest() == b.digest(), a == b);
        }
    }

    #[test]
    fn a_private_key_shows_in_no_form_for_people() {
        let mut snapshot = Snapshot::default();
        let key = crate::CertificateKey { namespace: "d".into(), secret: "s".into() };
        let pair = crate::Certificate::Pair {
            chain: vec![Bytes::from_static(b"chain")],
            key: PrivateKey::new(&[0xC0, 0xFF, 0xEE, 0x42]),
            not_after: 0,
        };
        let section = Section::Certificate(pair);
        let shows = |text: String| text.contains("192, 255") || text.contains("\\xc0\\xff");
        assert!(!shows(format!("{section:?}")), "{section:?}");
        snapshot.insert(Key::Certificate(key.clone()), &section);
        let view = snapshot.view().to_string();
        assert!(view.contains("redacted") && !view.contains("192,255"), "{view}");
        let delta = Snapshot::default().diff(&snapshot);
        let frames: Vec<_> =
            crate::frame::generation(crate::frame::Generation::default(), None, &snapshot).collect();
        for shown in [format!("{snapshot:?}"), format!("{delta:?}"), format!("{frames:?}")] {
            assert!(!shows(shown.clone()), "{shown}");
        }
        // The compact encoding does carry it.
        assert_eq!(snapshot.section(&Key::Certificate(key)).unwrap().unwrap(), section);
    }
}
