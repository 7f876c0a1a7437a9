//! What is said of a Secret or ConfigMap that is named and of which there is nothing.

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
    of((Kind::Secret, name), store, ("SecretUnread", "SecretNotFound"), remedy)
}

/// Of a ConfigMap that the store does not have.
pub(crate) fn of_config_map(name: &Name, store: &Store) -> Absence {
    let remedy = "create it, with a key and a text for each field; if it is there, see what the controller says about \
                  reading it";
    of((Kind::ConfigMap, name), store, ("ConfigMapUnread", "ConfigMapNotFound"), remedy)
}

fn of(
    (kind, name): (Kind, &Name),
    store: &Store,
    (unread, not_found): (&'static str, &'static str),
    remedy: &'static str,
) -> Absence {
    let shown = format!("{kind} {}/{}", name.namespace, name.name);
    if store.is_unread(kind, name) {
        return Absence {
            reason: unread,
            message: format!("{shown} has not been read yet"),
            remedy: "wait for the API server; if it lasts, see what the controller says about reading it",
        };
    }
    Absence { reason: not_found, message: format!("there is no {shown}"), remedy }
}
