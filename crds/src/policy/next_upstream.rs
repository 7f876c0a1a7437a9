//! Whether another endpoint is tried where one cannot be reached.

use serde::Serialize;

use crate::duration::Duration;

/// What one layer says of further attempts to reach an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NextUpstreamPatch {
    /// Whether there are any.
    pub tried: Option<bool>,
    /// How many endpoints are tried; 0: every one.
    pub tries: Option<u32>,
    /// How long after the first attempt another may begin; zero: however long.
    pub within: Option<Duration>,
}

impl NextUpstreamPatch {
    /// Lays `over` on top of this layer.
    pub(super) fn merge(self, over: &Self) -> Self {
        Self {
            tried: over.tried.or(self.tried),
            tries: over.tries.or(self.tries),
            within: over.within.or(self.within),
        }
    }
}
