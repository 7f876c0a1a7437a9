//! Passwords against their hashes, as htpasswd writes these: bcrypt, apr1, `{SHA}`.
//!
//! A bcrypt hash takes as long as it was made to, up to a second. So it is computed on threads for blocking work, on few
//! of them at once for all workers together, and who was right is remembered: a storm of reconnects costs a hash for
//! each user, not for each connection. What is remembered is a keyed hash of the password and of what it was compared
//! with, so that nothing is known of a user whose Secret has changed, and nobody who reads our memory reads passwords.

use std::collections::HashSet;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Passwords that wait to be compared, at most.
const MOST_WAITING: usize = 1024;
/// They wait so long.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// So many are remembered, twice: those of late, and those of before.
const REMEMBERED: usize = 8192;

/// The hash of a password.
#[derive(PartialEq, Eq)]
pub(super) enum Hash {
    Bcrypt(Box<str>),
    Apr1 { salt: Box<[u8]>, digest: [u8; 16] },
    Sha1([u8; 20]),
}

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// There was no time to find out.
    Busy,
}

/// Compares passwords, for all workers.
pub struct Passwords {
    threads: Arc<Semaphore>,
    /// Places in the queue.
    waiting: Semaphore,
    key: hmac::Key,
    right: Mutex<Remembered>,
}

type Tag = [u8; 32];

/// The tags of late; when they are many they become those of before, which are forgotten.
#[derive(Default)]
struct Remembered {
    late: HashSet<Tag>,
    before: HashSet<Tag>,
}

impl Passwords {
    /// Half of the cores compare, at least one.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("the system gives random bytes");
        Self {
            threads: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Semaphore::new(MOST_WAITING),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            right: Mutex::default(),
        }
    }

    /// Whether the password is that of the hash.
    pub(super) async fn verify(&self, hash: &Arc<Hash>, password: Vec<u8>) -> Verdict {
        let tag = self.tag(hash, &password);
        if self.remembered().knows(&tag) {
            return Verdict::Right;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Verdict::Busy };
        let Ok(Ok(thread)) = timeout(LONGEST_WAIT, self.threads.clone().acquire_owned()).await else {
            return Verdict::Busy;
        };
        // Somebody else of the same storm may have been right meanwhile.
        if self.remembered().knows(&tag) {
            return Verdict::Right;
        }
        let hash = hash.clone();
        let compared = tokio::task::spawn_blocking(move || {
            let right = hash.fits(&password);
            // Only now: who is not waited for any longer still occupies a thread.
            drop(thread);
            right
        });
        match compared.await {
            Ok(true) => {
                self.remembered().learn(tag);
                Verdict::Right
            }
            Ok(false) => Verdict::Wrong,
            Err(_) => Verdict::Busy,
        }
    }

    fn tag(&self, hash: &Hash, password: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        let parts: [&[u8]; 3] = match hash {
            Hash::Bcrypt(text) => [b"b", text.as_bytes(), b""],
            Hash::Apr1 { salt, digest } => [b"a", digest, salt],
            Hash::Sha1(digest) => [b"s", digest, b""],
        };
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.update(password);
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        // Two sets, each whole after any panic.
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

impl Remembered {
    fn knows(&mut self, tag: &Tag) -> bool {
        if self.late.contains(tag) {
            return true;
        }
        let known = self.before.remove(tag);
        if known {
            self.learn(*tag);
        }
        known
    }

    fn learn(&mut self, tag: Tag) {
        if self.late.len() >= REMEMBERED {
            self.before = mem::take(&mut self.late);
        }
        self.late.insert(tag);
    }
}

impl Hash {
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(digest) = text.strip_prefix("{SHA}") {
            return Some(Self::Sha1(STANDARD.decode(digest).ok()?.try_into().ok()?));
        }
        if let Some(rest) = text.strip_prefix("$apr1$") {
            let (salt, digest) = rest.split_once('$')?;
            return Some(Self::Apr1 { salt: salt.as_bytes().into(), digest: apr1_digest(digest)? });
        }
        let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
        bcrypt.then(|| Self::Bcrypt(text.into()))
    }

    fn fits(&self, password: &[u8]) -> bool {
        match self {
            // Compares in constant time itself.
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Apr1 { salt, digest } => apr1(password, salt).ct_eq(digest).into(),
            Self::Sha1(digest) => Sha1::digest(password).as_slice().ct_eq(digest).into(),
        }
    }
}

/// Where the 16 bytes stand in the 22 digits of apr1.
const APR1_ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// The digest that these digits mean, each of six bits, the lowest first.
fn apr1_digest(digits: &str) -> Option<[u8; 16]> {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let values: Option<Vec<u32>> =
        digits.bytes().map(|digit| Some(DIGITS.iter().position(|known| *known == digit)? as u32)).collect();
    let values = values.filter(|values| values.len() == 22)?;
    let number = |digits: &[u32]| digits.iter().rev().fold(0, |number, digit| number << 6 | digit);
    let mut digest = [0; 16];
    for (order, digits) in APR1_ORDER.iter().zip(values.chunks(4)) {
        let [_, high, middle, low] = number(digits).to_be_bytes();
        for (place, byte) in order.iter().zip([high, middle, low]) {
            digest[*place] = byte;
        }
    }
    digest[11] = u8::try_from(number(&values[20..])).ok()?;
    Some(digest)
}

/// Apache's variant of the MD5 crypt of `FreeBSD`: `apr_md5_encode` in
/// [apr_md5.c](https://github.com/apache/apr/blob/trunk/crypto/apr_md5.c).
fn apr1(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut outer = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for begin in (0..password.len()).step_by(16) {
        outer.update(&inner[..(password.len() - begin).min(16)]);
    }
    let mut length = password.len();
    while length > 0 {
        outer.update(if length & 1 == 1 { &[0] } else { &password[..1] });
        length >>= 1;
    }
    let mut digest: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round & 1 == 1 { password } else { &digest });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round & 1 == 1 { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `openssl passwd -apr1`, `htpasswd -s`, and `crypt(3)` of a system that knows bcrypt.
    const KNOWN: [(&str, &str); 6] = [
        ("secret", "$apr1$JMQ2ARmB$VXFpWpuhd4d0aXhFFkqQ9."),
        ("x", "$apr1$ab$eIePjsejfBGR8ITtu2z0U1"),
        ("a password that is longer than thirty-two bytes", "$apr1$12345678$IFU4nqJ5cIye89q7GNFdS0"),
        SHA,
        BCRYPT,
        ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
    ];
    const SHA: (&str, &str) = ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=");
    const BCRYPT: (&str, &str) = ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW");

    fn hash(text: &str) -> Arc<Hash> {
        Arc::new(Hash::read(text).unwrap())
    }

    #[test]
    fn hashes_of_other_programs_are_read() {
        for (password, text) in KNOWN {
            assert!(hash(text).fits(password.as_bytes()), "{text}");
            assert!(!hash(text).fits(format!("{password} ").as_bytes()), "{text}");
            assert!(!hash(text).fits(b""), "{text}");
        }
        for text in ["", "secret", "$1$a$b", "{SHA}x", "$apr1$a", "$apr1$a$zz", "{SHA}"] {
            assert!(Hash::read(text).is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn who_was_right_is_remembered_and_who_was_wrong_is_not() {
        let passwords = Passwords::new();
        let hash = hash(SHA.1);
        assert_eq!(passwords.verify(&hash, b"wrong".to_vec()).await, Verdict::Wrong);
        assert_eq!(passwords.remembered().late.len(), 0);
        assert_eq!(passwords.verify(&hash, SHA.0.into()).await, Verdict::Right);
        // Nobody compares any more: what is known is known, the rest is not found out.
        passwords.waiting.close();
        assert_eq!(passwords.verify(&hash, SHA.0.into()).await, Verdict::Right);
        assert_eq!(passwords.verify(&hash, b"wrong".to_vec()).await, Verdict::Busy);
        let changed = Arc::new(Hash::read(BCRYPT.1).unwrap());
        assert_eq!(passwords.verify(&changed, SHA.0.into()).await, Verdict::Busy, "another Secret");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut remembered = Remembered::default();
        let tag = |number: u32| {
            let mut tag = Tag::default();
            tag[..4].copy_from_slice(&number.to_be_bytes());
            tag
        };
        for number in 0..100_000 {
            remembered.learn(tag(number));
            assert!(remembered.knows(&tag(0)) || number > 0);
        }
        assert!(remembered.late.len() + remembered.before.len() <= 2 * REMEMBERED);
        assert!(remembered.knows(&tag(99_999)) && !remembered.knows(&tag(5)));
    }
}
