//! What is said of a Secret that is named and of which there is nothing.

use crate::store::{Kind, Name, Store};

/// Why there is nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// Of a Secret that the store does not have. Where it truly does not exist, `remedy` is what to do.
pub(crate) fn of_secret(name: &Name, store: &Store, remedy: &'static str) -> Absence {
    let key = name.certificate();
    if store.is_unread(Kind::Secret, name) {
        return Absence {
            reason: "SecretUnread",
            message: format!("Secret {key} has not been read yet"),
            remedy: "wait for the API server; if it lasts, see what the controller says about reading it",
        };
    }
    Absence { reason: "SecretNotFound", message: format!("there is no Secret {key}"), remedy }
}
