//! Who is let in by a route.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// How a client proves that it may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// By a user name and a password (RFC 7617).
    Basic(BasicAuth),
}

/// User names and passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    /// What a browser shows when it asks: one line without control characters.
    pub realm: String,
    /// Sorted by name, each once.
    pub users: Vec<User>,
}

/// Somebody who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Without a colon.
    pub name: String,
    /// What the password is compared with.
    pub hash: PasswordHash,
}

/// The hash of a password as htpasswd writes it: bcrypt (`$2y$`, `$2a$`, `$2b$`), apr1 or `{SHA}`. It never shows: not
/// in `Debug`, not in a human-readable encoding.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Takes the hash as htpasswd writes it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The hash, to compare a password with.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str("redacted")
        } else {
            self.0.serialize(serializer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_does_not_show_and_travels_whole() {
        let user = User { name: "ann".into(), hash: PasswordHash::new("$2y$05$secret") };
        assert!(!format!("{user:?}").contains("secret"));
        assert!(!serde_json::to_string(&user).unwrap().contains("secret"));
        let bytes = postcard::to_allocvec(&user).unwrap();
        assert_eq!(postcard::from_bytes::<User>(&bytes).unwrap(), user);
    }
}
