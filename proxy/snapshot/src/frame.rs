//! What passes over the socket: length-prefixed frames, encoded and decoded without IO.
//!
//! A connection begins with the proxy's [`ToController::Hello`], which says what it holds. The controller sends
//! generations: [`ToProxy::Begin`], the sections that changed in parts of at most [`MAX_PART`] bytes, the keys that
//! went, [`ToProxy::Commit`]. The proxy answers each with [`ToController::Applied`] or [`ToController::Refused`];
//! until then no other is sent. A snapshot file holds the same frames as a full generation.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::map::{Delta, Digest, Snapshot};
use crate::section::Key;

/// The version of this protocol and of every section's encoding. Each end refuses another one.
pub const PROTOCOL: u32 = 1;

/// The most bytes of a section that one frame carries; longer sections travel in parts.
pub const MAX_PART: usize = 64 * 1024;

/// The longest frame that is accepted, its length prefix not counted. Names of objects are at most a few KiB.
pub const MAX_FRAME: usize = MAX_PART + 16 * 1024;

/// The longest section that is accepted.
pub const MAX_SECTION: usize = 64 * 1024 * 1024;

/// What a generation starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// Nothing: every section follows.
    Empty,
    /// What the proxy holds, which has this digest.
    Held(Digest),
}

/// A generation's number within an epoch, and the epoch: a random number of one controller start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Compared for equality only.
    pub epoch: u64,
    /// Never goes backwards within an epoch. Starts at 1; 0 stands for none.
    pub number: u64,
}

/// From controller to proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToProxy {
    /// The first frame of a connection, in answer to the proxy's.
    Welcome {
        /// [`PROTOCOL`] of the controller.
        protocol: u32,
        /// The controller's version, for logs.
        version: String,
    },
    /// A generation begins.
    Begin {
        /// Which.
        generation: Generation,
        /// What it changes.
        base: Base,
    },
    /// One part of one section. Parts of a section follow one another.
    Section {
        /// The section's name.
        key: Key,
        /// The next bytes of its encoding.
        part: Part,
        /// Nothing of it follows.
        last: bool,
    },
    /// A section that went.
    Gone {
        /// The section's name.
        key: Key,
    },
    /// The generation is complete.
    Commit {
        /// What the whole snapshot must have now.
        digest: Digest,
    },
}

/// Some bytes of a section. Since a section may hold a private key, `Debug` shows their number only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Part(pub Bytes);

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// From proxy to controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToController {
    /// The first frame of a connection: what the proxy holds.
    Hello {
        /// [`PROTOCOL`] of the proxy.
        protocol: u32,
        /// The proxy's version, for logs.
        version: String,
        /// The generation it serves; number 0 where it has none.
        generation: Generation,
        /// The digest of what it holds.
        digest: Digest,
    },
    /// A generation is served.
    Applied {
        /// Which.
        generation: Generation,
        /// Every section, changed by this generation or not, that could not be built as received.
        quarantined: Vec<Quarantined>,
    },
    /// A generation was refused for protocol, gap or digest; a full one is wanted.
    Refused {
        /// Which.
        generation: Generation,
        /// Why, for people.
        reason: String,
    },
}

/// A section that the proxy could not build. It serves the last good form, or 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The section's name.
    pub key: Key,
    /// Why, for people.
    pub reason: String,
}

/// Bytes that are no frame, or frames that are no generation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is above [`MAX_FRAME`].
    #[error("frame of {0} bytes is longer than the {MAX_FRAME} allowed")]
    TooLong(usize),
    /// The frame does not decode.
    #[error("frame does not decode: {0}")]
    Malformed(#[from] postcard::Error),
    /// A frame that may not come here.
    #[error("{0} does not belong here")]
    Unexpected(&'static str),
    /// A section above [`MAX_SECTION`].
    #[error("section {0} is longer than the {MAX_SECTION} bytes allowed")]
    SectionTooLong(Box<Key>),
    /// The generation changes something other than what is held.
    #[error("generation {number} starts from {wanted}, held is {held}")]
    Gap {
        /// The generation refused.
        number: u64,
        /// What it starts from.
        wanted: Digest,
        /// What is held.
        held: Digest,
    },
    /// The sections do not add up to the digest that the generation names.
    #[error("generation {number} says digest {wanted}, its sections have {found}")]
    Digest {
        /// The generation refused.
        number: u64,
        /// What it names.
        wanted: Digest,
        /// What its sections add up to.
        found: Digest,
    },
    /// The number goes backwards within its epoch.
    #[error("generation {number} comes after {held} of the same epoch")]
    Backwards {
        /// The generation refused.
        number: u64,
        /// The one held.
        held: u64,
    },
}

/// Appends one message as a frame.
pub fn encode<M: Serialize>(message: &M, out: &mut BytesMut) {
    let body = postcard::to_stdvec(message).expect("messages are plain data, which postcard always encodes");
    out.reserve(4 + body.len());
    out.put_u32(body.len() as u32);
    out.put_slice(&body);
}

/// Takes one message off the front of `buffer`, or nothing where it is not there whole yet.
pub fn decode<M: DeserializeOwned>(buffer: &mut BytesMut) -> Result<Option<M>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(postcard::from_bytes(&buffer.split_to(length))?))
}

/// The frames of one generation that leads from `held` (`None`: from nothing) to `next`, in order.
pub fn generation(
    generation: Generation,
    held: Option<&Snapshot>,
    next: &Snapshot,
) -> impl Iterator<Item = ToProxy> + use<> {
    let (base, delta) = match held {
        Some(held) => (Base::Held(held.digest()), held.diff(next)),
        None => (Base::Empty, Snapshot::default().diff(next)),
    };
    let digest = next.digest();
    let gone = delta.gone.into_iter().map(|key| ToProxy::Gone { key });
    let changed = delta.changed.into_iter().flat_map(|(key, bytes)| parts(key, bytes));
    std::iter::once(ToProxy::Begin { generation, base })
        .chain(gone)
        .chain(changed)
        .chain(std::iter::once(ToProxy::Commit { digest }))
}

fn parts(key: Key, mut bytes: Bytes) -> impl Iterator<Item = ToProxy> {
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let part = bytes.split_to(bytes.len().min(MAX_PART));
        done = bytes.is_empty();
        Some(ToProxy::Section { key: key.clone(), part: Part(part), last: done })
    })
}

/// Puts a generation together from its frames, on top of what is held.
#[derive(Default)]
pub struct Assembler {
    under_way: Option<UnderWay>,
}

struct UnderWay {
    generation: Generation,
    base: Base,
    delta: Delta,
    partial: Option<(Key, BytesMut)>,
}

impl Assembler {
    /// The generation that is being received.
    pub fn generation(&self) -> Option<Generation> {
        self.under_way.as_ref().map(|under_way| under_way.generation)
    }

    /// Takes the next frame. Returns the next snapshot when the frame completes one; `held` is untouched.
    /// After an error a new generation may begin.
    pub fn push(
        &mut self,
        frame: ToProxy,
        held: (Generation, &Snapshot),
    ) -> Result<Option<(Generation, Snapshot)>, FrameError> {
        match frame {
            ToProxy::Welcome { .. } => Err(FrameError::Unexpected("a second Welcome")),
            ToProxy::Begin { generation, base } => {
                self.under_way = Some(UnderWay { generation, base, delta: Delta::default(), partial: None });
                Ok(None)
            }
            ToProxy::Commit { digest } => {
                let under_way =
                    self.under_way.take().ok_or(FrameError::Unexpected("Commit without Begin"))?;
                under_way.finish(digest, held).map(Some)
            }
            ToProxy::Section { key, part: Part(part), last } => {
                let under_way =
                    self.under_way.as_mut().ok_or(FrameError::Unexpected("Section without Begin"))?;
                under_way.part(key, part, last).map(|()| None)
            }
            ToProxy::Gone { key } => {
                let under_way =
                    self.under_way.as_mut().ok_or(FrameError::Unexpected("Gone without Begin"))?;
                under_way.delta.gone.push(key);
                Ok(None)
            }
        }
    }
}

impl UnderWay {
    fn part(&mut self, key: Key, part: Bytes, last: bool) -> Result<(), FrameError> {
        let bytes = match self.partial.take() {
            None if last => part,
            None => {
                self.partial = Some((key, BytesMut::from(part)));
                return Ok(());
            }
            Some((begun, mut bytes)) => {
                if begun != key {
                    return Err(FrameError::Unexpected("another section before the last part of one"));
                }
                if bytes.len() + part.len() > MAX_SECTION {
                    return Err(FrameError::SectionTooLong(key.into()));
                }
                bytes.extend_from_slice(&part);
                if !last {
                    self.partial = Some((key, bytes));
                    return Ok(());
                }
                bytes.freeze()
            }
        };
        self.delta.changed.push((key, bytes));
        Ok(())
    }

    fn finish(
        self,
        digest: Digest,
        (held_generation, held): (Generation, &Snapshot),
    ) -> Result<(Generation, Snapshot), FrameError> {
        let number = self.generation.number;
        if self.partial.is_some() {
            return Err(FrameError::Unexpected("Commit before the last part of a section"));
        }
        if held_generation.epoch == self.generation.epoch && number < held_generation.number {
            return Err(FrameError::Backwards { number, held: held_generation.number });
        }
        let mut next = match self.base {
            Base::Empty => Snapshot::default(),
            Base::Held(wanted) if wanted == held.digest() => held.clone(),
            Base::Held(wanted) => return Err(FrameError::Gap { number, wanted, held: held.digest() }),
        };
        next.apply(self.delta);
        if next.digest() != digest {
            return Err(FrameError::Digest { number, wanted: digest, found: next.digest() });
        }
        Ok((self.generation, next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::section::HostPattern;

    fn host(name: &str) -> Key {
        Key::Host(HostPattern::Exact(name.into()))
    }

    fn snapshot(sections: &[(&str, usize)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, length) in sections {
            snapshot.insert_encoded(host(name), vec![7; *length].into());
        }
        snapshot
    }

    fn number(number: u64) -> Generation {
        Generation { epoch: 9, number }
    }

    /// Carries a generation over an encoded stream that arrives in pieces of `cut` bytes.
    fn carry(
        held: (Generation, &Snapshot),
        frames: impl Iterator<Item = ToProxy>,
        cut: usize,
    ) -> (Generation, Snapshot) {
        let mut wire = BytesMut::new();
        for frame in frames {
            let before = wire.len();
            encode(&frame, &mut wire);
            assert!(wire.len() - before <= MAX_FRAME + 4);
        }
        let (mut assembler, mut received, mut result) = (Assembler::default(), BytesMut::new(), None);
        for piece in wire.chunks(cut) {
            received.extend_from_slice(piece);
            while let Some(frame) = decode::<ToProxy>(&mut received).unwrap() {
                result = assembler.push(frame, held).unwrap().or(result);
            }
        }
        result.expect("the generation ends with Commit")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_generation_arrives_however_the_stream_is_cut(
            a in proptest::collection::btree_map("[a-d]", 0usize..200_000, 0..4),
            b in proptest::collection::btree_map("[a-d]", 0usize..200_000, 0..4),
            cut in 1usize..100_000,
        ) {
            let refs = |map: &std::collections::BTreeMap<String, usize>| {
                let list: Vec<_> = map.iter().map(|(name, length)| (name.as_str(), *length)).collect();
                snapshot(&list)
            };
            let (a, b) = (refs(&a), refs(&b));
            // A cut of one byte over 200 KB frames is quadratic nowhere, but slow in a debug build.
            let cut = cut.max(97);
            let held = (number(1), &a);
            prop_assert_eq!(carry(held, generation(number(2), Some(&a), &b), cut), (number(2), b.clone()));
            prop_assert_eq!(carry(held, generation(number(2), None, &b), cut), (number(2), b));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let (held, mut assembler) = (Snapshot::default(), Assembler::default());
            while let Ok(Some(frame)) = decode::<ToProxy>(&mut buffer) {
                let _ = assembler.push(frame, (Generation::default(), &held));
            }
        }
    }

    #[test]
    fn what_does_not_follow_from_what_is_held_is_refused() {
        let (one, two, other) =
            (snapshot(&[("a", 1)]), snapshot(&[("a", 1), ("b", 2)]), snapshot(&[("c", 3)]));
        let push = |frames: Vec<ToProxy>, held: (Generation, &Snapshot)| {
            let mut assembler = Assembler::default();
            frames
                .into_iter()
                .map(|frame| assembler.push(frame, held))
                .find(|result| !matches!(result, Ok(None)))
        };
        let delta: Vec<_> = generation(number(2), Some(&one), &two).collect();
        assert!(matches!(push(delta.clone(), (number(1), &other)), Some(Err(FrameError::Gap { .. }))));
        assert!(matches!(push(delta.clone(), (number(3), &one)), Some(Err(FrameError::Backwards { .. }))));
        let foreign = Generation { epoch: 1, number: 300 };
        assert_eq!(push(delta.clone(), (foreign, &one)), Some(Ok(Some((number(2), two.clone())))));
        let without_a_section: Vec<_> =
            delta.iter().filter(|frame| !matches!(frame, ToProxy::Section { .. })).cloned().collect();
        assert!(matches!(push(without_a_section, (number(1), &one)), Some(Err(FrameError::Digest { .. }))));
        assert!(matches!(
            push(vec![delta[1].clone()], (number(1), &one)),
            Some(Err(FrameError::Unexpected(_)))
        ));
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert_eq!(decode::<ToProxy>(&mut buffer), Err(FrameError::TooLong(u32::MAX as usize)));
    }
}
