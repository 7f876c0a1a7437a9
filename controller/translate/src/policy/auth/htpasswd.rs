//! Files of htpasswd, and the hashes in them.
//!
//! No message repeats a hash. What is served: bcrypt, apr1 and `{SHA}`; the `crypt(3)` of operating systems is not.

use std::collections::BTreeMap;

use snapshot::{PasswordHash, User};

/// Each route carries its users: above this an authentication service is the better place for them.
pub(crate) const MOST_USERS: usize = 1000;

/// What a bcrypt hash may cost at most: 2 to the power of this, about a second. Who may write Secrets of a namespace
/// shall not be able to occupy the proxy.
const MOST_COST: u8 = 14;

/// Somebody who cannot log in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Where it stands.
    pub(crate) whose: String,
    /// What is wrong, to follow that.
    pub(crate) why: &'static str,
}

/// Whether a text has the form of a password's hash. Of a Secret that is all that a source need keep beside
/// certificates and the key `auth`.
pub fn is_password_hash(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| check(text.trim_end()).is_ok())
}

/// The users of a file. The first of a name counts, as with Apache and nginx.
pub(super) fn of_file(file: &[u8]) -> (Vec<User>, Vec<Trouble>) {
    let (mut users, mut troubles) = (BTreeMap::new(), Vec::new());
    for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii_end();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let mut trouble = |why| troubles.push(Trouble { whose: format!("line {} of auth", index + 1), why });
        let Ok(line) = std::str::from_utf8(line) else {
            trouble("is not UTF-8, so its user cannot log in");
            continue;
        };
        let mut parts = line.split(':');
        let (Some(name), Some(hash)) = (parts.next().filter(|name| !name.is_empty()), parts.next()) else {
            trouble("is not NAME:HASH, so nobody can log in with it");
            continue;
        };
        match check(hash) {
            Ok(()) => drop(users.entry(name.to_owned()).or_insert_with(|| PasswordHash::new(hash))),
            Err(why) => trouble(why),
        }
    }
    (listed(users), troubles)
}

/// The users of a Secret of which each key is a name.
pub(super) fn of_map<'a>(data: impl Iterator<Item = (&'a str, &'a [u8])>) -> (Vec<User>, Vec<Trouble>) {
    let (mut users, mut troubles) = (BTreeMap::new(), Vec::new());
    for (name, hash) in data {
        let text = std::str::from_utf8(hash).unwrap_or_default().trim_end();
        match check(text) {
            Ok(()) => drop(users.insert(name.to_owned(), PasswordHash::new(text))),
            Err(why) => troubles.push(Trouble { whose: format!("the value of key {name}"), why }),
        }
    }
    (listed(users), troubles)
}

fn listed(users: BTreeMap<String, PasswordHash>) -> Vec<User> {
    users.into_iter().map(|(name, hash)| User { name, hash }).collect()
}

/// Whether a hash is one that is served.
fn check(hash: &str) -> Result<(), &'static str> {
    const CRYPT: &str = "has a hash of crypt(3), which is not served, so its user cannot log in";
    const NONE: &str = "has no hash that is served, so its user cannot log in";
    if let Some(digest) = hash.strip_prefix("{SHA}") {
        let sound = digest.len() == 28
            && digest.ends_with('=')
            && digest[..27].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
        return if sound { Ok(()) } else { Err(NONE) };
    }
    if let Some(rest) = hash.strip_prefix("$apr1$") {
        let sound = rest.split_once('$').is_some_and(|(salt, digest)| {
            (1..=8).contains(&salt.len()) && crypt_digits(salt) && digest.len() == 22 && crypt_digits(digest)
        });
        return if sound { Ok(()) } else { Err(NONE) };
    }
    if let Some(rest) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| hash.strip_prefix(prefix)) {
        let (cost, digest) = rest.split_once('$').ok_or(NONE)?;
        let two_digits = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse::<u8>().ok().filter(|cost| two_digits && *cost >= 4).ok_or(NONE)?;
        return match (digest.len() == 53 && crypt_digits(digest), cost <= MOST_COST) {
            (true, true) => Ok(()),
            (true, false) => Err("has a bcrypt hash that costs more than 2^14, so its user cannot log in"),
            (false, _) => Err(NONE),
        };
    }
    let crypt = ["$1$", "$5$", "$6$", "$y$"].iter().any(|prefix| hash.starts_with(prefix));
    Err(if crypt || (hash.len() == 13 && crypt_digits(hash)) { CRYPT } else { NONE })
}

fn crypt_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BCRYPT: &str = "$2y$05$ku.p1D33vbLhzE3w2nX8n.SqH9m/CAB3bTmM8IbTbbN4Hb5B0nv4m";
    const APR1: &str = "$apr1$JMQ2ARmB$HIhZtIv4pXTtsWX2g7m8u.";
    const SHA: &str = "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=";

    #[test]
    fn the_hashes_that_are_served() {
        for hash in [BCRYPT, APR1, SHA, &BCRYPT.replace("$2y$05", "$2a$14"), &BCRYPT.replace("2y", "2b")] {
            assert!(is_password_hash(hash.as_bytes()), "{hash}");
            assert!(is_password_hash(format!("{hash}\n").as_bytes()), "{hash}");
        }
        let costly = BCRYPT.replace("$05$", "$15$");
        for hash in [
            "",
            "secret",
            "rqXexS6ZhobKA",
            "$1$salt$jSYnE7vKnEpBHVJmh1tZ20",
            "$5$salt$x",
            "$6$salt$x",
            "{SSHA}abc",
            "{SHA}short",
            "$apr1$$HIhZtIv4pXTtsWX2g7m8u.",
            "$2y$99$x",
            "{PLAIN}x",
            &costly,
            &BCRYPT[..40],
        ] {
            assert!(!is_password_hash(hash.as_bytes()), "{hash}");
        }
    }

    #[test]
    fn a_bad_line_costs_its_user_only() {
        let file = format!(
            "# staff\n\nann:{BCRYPT}\r\nbob:{SHA}:a comment\nann:{APR1}\ncid:secret\n:{SHA}\ndan\neve:rqXexS6ZhobKA\n"
        );
        let (users, troubles) = of_file(file.as_bytes());
        let shown: Vec<_> = users.iter().map(|user| (&*user.name, user.hash.text())).collect();
        assert_eq!(shown, [("ann", BCRYPT), ("bob", SHA)]);
        let lines: Vec<_> = troubles.iter().map(|trouble| &*trouble.whose).collect();
        assert_eq!(lines, ["line 6 of auth", "line 7 of auth", "line 8 of auth", "line 9 of auth"]);
        assert!(troubles[3].why.contains("crypt(3)"));
        assert!(!format!("{troubles:?}").contains("secret"));
    }

    #[test]
    fn each_key_of_a_map_is_a_user() {
        let data = [("ann", BCRYPT.as_bytes()), ("bob", b"".as_slice())];
        let (users, troubles) = of_map(data.into_iter());
        assert_eq!((users.len(), &*troubles[0].whose), (1, "the value of key bob"));
    }

    proptest! {
        #[test]
        fn no_file_panics(file in proptest::collection::vec(any::<u8>(), 0..200), text in "[a-z:$0-9{}A-Z\n]{0,200}") {
            let _ = of_file(&file);
            let _ = of_file(text.as_bytes());
            let _ = is_password_hash(&file);
        }
    }
}
