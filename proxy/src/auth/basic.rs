//! User names and passwords in Authorization (RFC 7617).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::Denied;
use super::password::{Hash, Passwords, Verdict};
use crate::head::{Fields, Head};

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The users of a route.
pub struct Basic {
    challenge: String,
    users: HashMap<Box<[u8]>, Arc<Hash>>,
    /// What the password of a name that nobody has is compared with, so that names cannot be told by the clock.
    nobody: Option<Arc<Hash>>,
}

impl Basic {
    /// Those of a section. A user whose hash cannot be read is an error: he might have been meant to be locked out.
    pub(super) fn new(basic: &snapshot::BasicAuth) -> Result<Self, String> {
        if basic.realm.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("the realm has control characters".to_owned());
        }
        let quoted = basic.realm.replace('\\', "\\\\").replace('"', "\\\"");
        let mut users = HashMap::with_capacity(basic.users.len());
        for user in &basic.users {
            let hash = Hash::read(user.hash.text()).ok_or("the hash of a password is none that is served")?;
            users.insert(user.name.as_bytes().into(), Arc::new(hash));
        }
        let nobody = basic.users.first().and_then(|user| users.get(user.name.as_bytes())).cloned();
        Ok(Self { challenge: format!("Basic realm=\"{quoted}\""), users, nobody })
    }

    pub(super) async fn check(&self, head: &Head, passwords: &Passwords) -> Result<(), Denied> {
        let challenge = || Denied::Challenge(self.challenge.clone());
        let (name, password) = credentials(&head.fields).ok_or_else(challenge)?;
        let known = self.users.get(&*name);
        let hash = known.or(self.nobody.as_ref()).ok_or_else(challenge)?;
        match (passwords.verify(hash, password).await, known) {
            (Verdict::Right, Some(_)) => Ok(()),
            (Verdict::Busy, _) => Err(Denied::Busy),
            (Verdict::Right | Verdict::Wrong, _) => Err(challenge()),
        }
    }
}

/// Never the users.
impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Basic({} users)", self.users.len())
    }
}

/// Name and password of the one Authorization, where it is of this scheme.
fn credentials(fields: &Fields) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = fields.only("authorization").ok()??;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut name = BASE64.decode(rest.trim_ascii()).ok()?;
    let colon = memchr::memchr(b':', &name)?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use snapshot::{BasicAuth, PasswordHash, User};

    use super::*;
    use crate::head::RequestParser;

    /// `secret`, `{SHA}`.
    const HASH: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn head(fields: &str) -> Head {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        RequestParser::default().parse(request.as_bytes()).unwrap().unwrap().0
    }

    fn of(credentials: &str) -> Head {
        head(&format!("Authorization: Basic {}\r\n", STANDARD.encode(credentials)))
    }

    fn basic(realm: &str, users: &[(&str, &str)]) -> Result<Basic, String> {
        let user = |(name, hash): &(&str, &str)| User { name: (*name).into(), hash: PasswordHash::new(hash) };
        Basic::new(&BasicAuth { realm: realm.into(), users: users.iter().map(user).collect() })
    }

    #[tokio::test]
    async fn who_knows_the_password_comes_in_and_nobody_else() {
        let basic = basic("Staff \"only\"", &[("ann", HASH), ("bob", HASH)]).unwrap();
        let passwords = Passwords::new();
        let challenge = Err(Denied::Challenge("Basic realm=\"Staff \\\"only\\\"\"".into()));
        for right in ["ann:secret", "bob:secret"] {
            assert_eq!(basic.check(&of(right), &passwords).await, Ok(()));
        }
        let unpadded = STANDARD.encode("ann:secret").trim_end_matches('=').to_owned();
        let unpadded = head(&format!("Authorization: basic  {unpadded}\r\n"));
        assert_eq!(basic.check(&unpadded, &passwords).await, Ok(()));
        for wrong in ["ann:", "ann:Secret", "ann:secret2", "cid:secret", ":secret", "ann", "", "ann:secret\0"]
        {
            assert_eq!(basic.check(&of(wrong), &passwords).await, challenge, "{wrong}");
        }
        let right = STANDARD.encode("ann:secret");
        for wrong in [
            String::new(),
            format!("Authorization: Bearer {right}\r\n"),
            format!("Authorization: Basic{right}\r\n"),
            "Authorization: Basic !!\r\n".to_owned(),
            format!("Authorization: Basic {right}\r\nAuthorization: Basic {right}\r\n"),
        ] {
            assert_eq!(basic.check(&head(&wrong), &passwords).await, challenge, "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_not_built() {
        assert!(basic("a\r\nb", &[]).is_err());
        assert!(basic("a", &[("ann", "secret")]).is_err());
        assert!(!format!("{:?}", basic("a", &[("ann", HASH)])).contains("5en6"));
    }
}
