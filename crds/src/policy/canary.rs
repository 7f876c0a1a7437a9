//! An Ingress that takes a part of another's requests: ingress-nginx's canaries. A WsRoute has weights, and matches on
//! fields, for the same.

use serde::Serialize;

/// What the annotations of one Ingress say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryPatch {
    /// It is one. Nothing else counts where it is not.
    pub enabled: Option<bool>,
    /// The field that decides, in lower case.
    pub header: Option<String>,
    /// What the field must be; absent: `always` and `never` decide.
    pub header_value: Option<String>,
    /// A regular expression to be found in it; counts where there is no value.
    pub header_pattern: Option<String>,
    /// The cookie that decides by `always` and `never`.
    pub cookie: Option<String>,
    /// So many of `total` of the rest.
    pub weight: Option<u32>,
    /// Absent: 100.
    pub total: Option<u32>,
}

impl CanaryPatch {
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            enabled: over.enabled.or(self.enabled),
            header: over.header.or(self.header),
            header_value: over.header_value.or(self.header_value),
            header_pattern: over.header_pattern.or(self.header_pattern),
            cookie: over.cookie.or(self.cookie),
            weight: over.weight.or(self.weight),
            total: over.total.or(self.total),
        }
    }

    /// Something is said of it beside whether it is one.
    pub fn has_details(&self) -> bool {
        *self != Self { enabled: self.enabled, ..Self::default() }
    }
}
