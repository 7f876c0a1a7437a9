//! Where clients are sent instead of to a backend, as ingress-nginx says it.

use serde::Serialize;

/// What one layer says about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RedirectsPatch {
    /// For good.
    pub permanent: Option<Vec<LocationPart>>,
    /// With this status.
    pub permanent_code: Option<u16>,
    /// For now; beats what is for good.
    pub temporal: Option<Vec<LocationPart>>,
    /// With this status.
    pub temporal_code: Option<u16>,
    /// From the path `/`.
    pub app_root: Option<String>,
    /// From `www.` and each host, or the other way round.
    pub from_to_www: Option<bool>,
}

/// A piece of where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LocationPart {
    /// As it is.
    Text(String),
    /// By which the client came.
    Scheme,
    /// That it asked for.
    Host,
    /// The path and query that it asked for.
    Target,
}

impl RedirectsPatch {
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            permanent: over.permanent.or(self.permanent),
            permanent_code: over.permanent_code.or(self.permanent_code),
            temporal: over.temporal.or(self.temporal),
            temporal_code: over.temporal_code.or(self.temporal_code),
            app_root: over.app_root.or(self.app_root),
            from_to_www: over.from_to_www.or(self.from_to_www),
        }
    }
}
