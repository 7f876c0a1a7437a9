//! The one policy model that Ingress annotations and WsRoutes share. Everything in it is optional: a layer says
//! only what it wants different, and layers are laid over one another field by field.

use crate::duration::Duration;

/// What one layer says about a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyPatch {
    /// How long things may take.
    pub timeouts: TimeoutsPatch,
    /// Answer plain requests with 308 to https where the host has a certificate.
    pub redirect_to_tls: Option<bool>,
}

/// What one layer says about timeouts. A zero duration means "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeoutsPatch {
    /// One attempt to reach an endpoint.
    pub connect: Option<Duration>,
    /// From the handshake sent to the upstream's response head.
    pub handshake: Option<Duration>,
    /// No bytes either way in an open tunnel.
    pub idle: Option<Duration>,
    /// A write towards either side that makes no progress.
    pub send: Option<Duration>,
    /// Plain HTTP: between two reads of the upstream's response.
    pub request: Option<Duration>,
}

impl PolicyPatch {
    // Lists and maps will be moved out of the upper layer; today's fields happen to be copied.
    #[allow(clippy::needless_pass_by_value)]
    /// Lays `over` on top of this layer: each field that it sets wins.
    pub fn merge(self, over: Self) -> Self {
        Self {
            timeouts: self.timeouts.merge(over.timeouts),
            redirect_to_tls: over.redirect_to_tls.or(self.redirect_to_tls),
        }
    }
}

impl TimeoutsPatch {
    #[allow(clippy::needless_pass_by_value)] // As above.
    /// As [`PolicyPatch::merge`].
    pub fn merge(self, over: Self) -> Self {
        Self {
            connect: over.connect.or(self.connect),
            handshake: over.handshake.or(self.handshake),
            idle: over.idle.or(self.idle),
            send: over.send.or(self.send),
            request: over.request.or(self.request),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch() -> impl Strategy<Value = PolicyPatch> {
        let duration = || proptest::option::of((0u64..1_000).prop_map(|s| Duration::from_secs(s).unwrap()));
        let times = (duration(), duration(), duration(), duration(), duration());
        (times, any::<Option<bool>>()).prop_map(
            |((connect, handshake, idle, send, request), redirect_to_tls)| {
                let timeouts = TimeoutsPatch { connect, handshake, idle, send, request };
                PolicyPatch { timeouts, redirect_to_tls }
            },
        )
    }

    proptest! {
        #[test]
        fn an_empty_layer_changes_nothing(a in patch()) {
            prop_assert_eq!(a.clone().merge(PolicyPatch::default()), a.clone());
            prop_assert_eq!(PolicyPatch::default().merge(a.clone()), a);
        }

        #[test]
        fn layers_may_be_merged_in_any_grouping(a in patch(), b in patch(), c in patch()) {
            let left = a.clone().merge(b.clone()).merge(c.clone());
            prop_assert_eq!(left, a.merge(b.merge(c)));
        }

        #[test]
        fn the_upper_layer_wins_field_by_field(a in patch(), b in patch()) {
            let merged = a.clone().merge(b.clone());
            prop_assert_eq!(merged.redirect_to_tls, b.redirect_to_tls.or(a.redirect_to_tls));
            prop_assert_eq!(merged.timeouts.idle, b.timeouts.idle.or(a.timeouts.idle));
        }
    }
}
