//! The key of affinity cookies: given, or in a Secret that a controller fills.

use crds::diagnostic::ObjectRef;
use snapshot::AffinityKey;

use crate::absence::{self, Absence};
use crate::report::{Notes, remark};
use crate::settings::AffinityKeyFrom;
use crate::store::{Name, Store};

/// What of the Secret is the key.
pub const AFFINITY_KEY: &str = "affinity-key";

/// A shorter one could be guessed.
pub const SHORTEST_AFFINITY_KEY: usize = 32;

/// The key, where there is to be one, and what there is to say of the place where it should be.
pub(crate) fn read(from: &AffinityKeyFrom, store: &Store) -> (Option<AffinityKey>, Notes) {
    let mut notes = Notes::default();
    let key = match from {
        AffinityKeyFrom::Nowhere => None,
        AffinityKeyFrom::Given(key) => Some(key.clone()),
        AffinityKeyFrom::Secret { namespace, name } => {
            Some(in_secret(&Name::new(namespace, name), store, &mut notes).unwrap_or(AffinityKey::Unknown))
        }
    };
    (key, notes)
}

fn in_secret(name: &Name, store: &Store, notes: &mut Notes) -> Option<AffinityKey> {
    const EFFECT: &str =
        "a proxy without an earlier key sets no affinity cookies, and goes by the hash of addresses";
    let object = ObjectRef::new("Secret", &*name.namespace, &*name.name);
    let field = format!("data.{AFFINITY_KEY}");
    let Some(secret) = store.secret(name) else {
        let remedy = "create it without content; the controller that leads fills it";
        let Absence { reason, message, remedy } = absence::of_secret(name, store, remedy);
        notes.warn(remark(&object, field, reason, format!("{message}; {EFFECT}"), remedy));
        return None;
    };
    let bytes = secret.data.as_ref().and_then(|data| data.get(AFFINITY_KEY)).map(|bytes| &bytes.0[..]);
    match bytes.unwrap_or_default() {
        [] => {
            let message = format!("it holds no key yet; until it does, {EFFECT}");
            let remedy = "wait: the controller that leads fills it";
            notes.inform(remark(&object, field, "NoAffinityKey", message, remedy));
            None
        }
        short if short.len() < SHORTEST_AFFINITY_KEY => {
            let message = format!("its key is shorter than {SHORTEST_AFFINITY_KEY} bytes; {EFFECT}");
            let remedy = "remove it; the controller that leads puts another there";
            notes.warn(remark(&object, field, "SecretInvalid", message, remedy));
            None
        }
        key => Some(AffinityKey::new(key)),
    }
}
