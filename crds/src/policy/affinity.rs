//! How clients come back to the endpoint that they were at.

use serde::Serialize;

/// What one layer says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AffinityPatch {
    /// A cookie names the endpoint. Without it nothing else that is said of a cookie counts.
    pub cookie: Option<bool>,
    /// Its name.
    pub name: Option<String>,
    /// In seconds; 0: until the browser ends.
    pub max_age: Option<u64>,
    /// Absent: what the route matches.
    pub path: Option<String>,
    /// Absent: the host that is asked for.
    pub domain: Option<String>,
    /// From which sites' pages it is sent.
    pub same_site: Option<SameSite>,
    /// Absent: where the client comes by https.
    pub secure: Option<bool>,
    /// A client whose endpoint cannot be reached gets the cookie of the one that serves it. Absent: true.
    pub change_on_failure: Option<bool>,
    /// Some clients are moved to endpoints that come, each to the same everywhere. Absent: false.
    pub rebalance: Option<bool>,
    /// Said of a canary: who has the cookie of an endpoint stays there, in it or out of it. Absent: true.
    pub canary_sticky: Option<bool>,
    /// The sid of Engine.IO is learned.
    pub engine_io: Option<bool>,
}

/// From which sites' pages a cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SameSite {
    /// Its own.
    Strict,
    /// Its own, and when a link is followed.
    Lax,
    /// All. Browsers want it to be `Secure` then.
    None,
}

/// What of an endpoint keys and cookies are tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Ring {
    /// Its address and port.
    Address,
    /// The name of its pod.
    PodName,
}

impl AffinityPatch {
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            cookie: over.cookie.or(self.cookie),
            name: over.name.or(self.name),
            max_age: over.max_age.or(self.max_age),
            path: over.path.or(self.path),
            domain: over.domain.or(self.domain),
            same_site: over.same_site.or(self.same_site),
            secure: over.secure.or(self.secure),
            change_on_failure: over.change_on_failure.or(self.change_on_failure),
            rebalance: over.rebalance.or(self.rebalance),
            canary_sticky: over.canary_sticky.or(self.canary_sticky),
            engine_io: over.engine_io.or(self.engine_io),
        }
    }

    /// Browsers drop it.
    pub fn is_dropped(&self) -> bool {
        self.same_site == Some(SameSite::None) && self.secure == Some(false)
    }
}
