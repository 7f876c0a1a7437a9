//! What is said of a Secret or ConfigMap that is named and of which there is nothing.

use crate::store::{Kind, Name, Store};

/// Why there is nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

/// Of an object that the store does not have. Where it truly does not exist, `remedy` is what to do.
pub(crate) fn of(kind: Kind, name: &Name, store: &Store, remedy: &'static str) -> Absence {
    let Name { namespace, name: own } = name;
    if store.is_unread(kind, name) {
        return Absence {
            reason: if kind == Kind::Secret { "SecretUnread" } else { "ReferenceUnread" },
            message: format!("{kind} {namespace}/{own} has not been read yet"),
            remedy: "wait for the API server; if it lasts, see what the controller says about reading it",
        };
    }
    let reason = if kind == Kind::Secret { "SecretNotFound" } else { "ReferenceNotFound" };
    Absence { reason, message: format!("there is no {kind} {namespace}/{own}"), remedy }
}
