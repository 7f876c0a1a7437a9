//! Who is let in: what the Secret or Service leads to that a layer names. Where it leads nowhere, the route closes.

mod htpasswd;

use crds::diagnostic::ObjectRef;
use crds::policy::auth::{Auth, Basic, UsersForm};
use k8s_openapi::api::core::v1::Secret;
use snapshot::{BasicAuth, User};

pub use htpasswd::is_password_hash;
pub(crate) use htpasswd::{MOST_USERS, Trouble};

use crate::draft::Owner;
use crate::object::Reference;
use crate::report::{Notes, remark};
use crate::store::{Kind, Name, Store};

/// What it names.
pub(crate) fn references(auth: &Auth, owner: &Owner) -> Option<Reference> {
    match auth {
        Auth::Basic(basic) => Some((Kind::Secret, Name::new(owner.namespace(), &basic.secret))),
        Auth::None | Auth::Unusable(_) => None,
    }
}

/// Who is let in, or why nobody is.
pub(crate) fn resolve(
    auth: Option<&Auth>,
    owner: &Owner,
    store: &Store,
    notes: &mut Notes,
) -> Result<Option<snapshot::Auth>, String> {
    match auth {
        None | Some(Auth::None) => Ok(None),
        Some(Auth::Unusable(why)) => Err(why.clone()),
        Some(Auth::Basic(basic)) => self::basic(basic, owner, store, notes).map(Some),
    }
}

fn basic(basic: &Basic, owner: &Owner, store: &Store, notes: &mut Notes) -> Result<snapshot::Auth, String> {
    let (object, key) = (owner.reference(), format!("{}/{}", owner.namespace(), basic.secret));
    let mut closed = |reason, message: String, remedy: &str| {
        let said = format!("{message}; the routes answer 503");
        notes.unresolved(reason, remark(&object, &*basic.field, reason, said, remedy));
        Err(message)
    };
    let Some(secret) = store.secret(&Name::new(owner.namespace(), &basic.secret)) else {
        let remedy = match basic.form {
            UsersForm::File => "create it, with a file of htpasswd under its key auth",
            UsersForm::Map => "create it, with each user's hash under a key of the user's name",
        };
        return closed("SecretNotFound", format!("there is no Secret {key}"), remedy);
    };
    let (users, troubles) = match read(secret, basic.form) {
        Ok(read) => read,
        Err((why, remedy)) => return closed("SecretInvalid", format!("Secret {key}: {why}"), remedy),
    };
    if users.is_empty() {
        let message = format!("Secret {key} has nobody in it who could log in");
        return closed("SecretInvalid", message, "add users with htpasswd -B");
    }
    for trouble in troubles {
        warn(&object, basic, &key, &trouble, notes);
    }
    Ok(snapshot::Auth::Basic(BasicAuth { realm: basic.realm.clone(), users }))
}

fn warn(object: &ObjectRef, basic: &Basic, key: &str, Trouble { whose, why }: &Trouble, notes: &mut Notes) {
    let message = format!("Secret {key}: {whose} {why}");
    let remedy = "hash the password with bcrypt, as htpasswd -B does";
    notes.warn(remark(object, &*basic.field, "SecretInvalid", message, remedy));
}

type Users = (Vec<User>, Vec<Trouble>);

/// The users of a Secret, by name, or why it has none that can be read.
fn read(secret: &Secret, form: UsersForm) -> Result<Users, (String, &'static str)> {
    let empty = std::collections::BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&empty);
    let users = match form {
        UsersForm::Map => htpasswd::of_map(data.iter().map(|(name, hash)| (&**name, &hash.0[..]))),
        UsersForm::File => {
            let file = data.get("auth").ok_or_else(|| {
                let remedy = "put a file of htpasswd there: kubectl create secret generic --from-file=auth";
                ("it has no key auth".to_owned(), remedy)
            })?;
            htpasswd::of_file(&file.0)
        }
    };
    if users.0.len() > MOST_USERS {
        let why = format!("it has more than {MOST_USERS} users");
        return Err((why, "ask an authentication service instead"));
    }
    Ok(users)
}
