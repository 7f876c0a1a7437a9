//! How clients come back to their endpoint, as a WsRoute writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;
use super::Reader;
use crate::grammar::{self, Grammar};
use crate::policy;
use crate::policy::AffinityPatch;

/// How clients come back to the endpoint that they were at, as long as it is ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct Affinity {
    /// A cookie that Longhaul sets, on the answer to a handshake or request that was balanced: `{}` for one with every
    /// default. It names the endpoint without telling its address; all replicas understand it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<AffinityCookie>,
    /// Learn the session id (`sid`) of Engine.IO, which Socket.IO speaks, so that every request of a session comes to
    /// its endpoint without a cookie. A request without one that this proxy knows goes by the hash of the client's
    /// address. Absent: false.
    #[serde(rename = "engineIO", default, skip_serializing_if = "Option::is_none")]
    pub engine_io: Option<bool>,
}

/// The cookie. It is always `HttpOnly`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::affinity::of_cookie)]
pub struct AffinityCookie {
    /// Whether it is set at all. Write `false` to do without it where `spec.policy` asks for it. Absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Its name. Absent: longhaul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::token")]
    pub name: Option<String>,
    /// How long browsers keep it. 0s: until they end. Absent: until they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub max_age: Option<String>,
    /// Below which path browsers send it. Absent: the path that the rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity::path")]
    pub path: Option<String>,
    /// The domain to whose hosts browsers send it. Absent: to the host that is asked for alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity::domain")]
    pub domain: Option<String>,
    /// From which sites' pages browsers send it. Absent: as browsers have it, which is Lax for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// Browsers send it over https only. Absent: where the client comes by https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
}

/// From which sites' pages a cookie is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// What of an endpoint keys and cookies are tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Ring {
    Address,
    PodName,
}

impl From<Ring> for policy::Ring {
    fn from(ring: Ring) -> Self {
        match ring {
            Ring::Address => Self::Address,
            Ring::PodName => Self::PodName,
        }
    }
}

impl Reader<'_> {
    pub(super) fn affinity(&mut self, affinity: &Affinity) -> AffinityPatch {
        let engine_io = affinity.engine_io;
        let Some(cookie) = &affinity.cookie else { return AffinityPatch { engine_io, ..Default::default() } };
        let mut fitting = |name: &str, text: &Option<String>, grammar: &Grammar| {
            self.fitting(
                &format!("affinity.cookie.{name}"),
                text.as_deref()?,
                grammar,
                "the default is served",
            )
        };
        let patch = AffinityPatch {
            cookie: Some(cookie.enabled.unwrap_or(true)),
            name: fitting("name", &cookie.name, &grammar::TOKEN),
            path: fitting("path", &cookie.path, &grammar::COOKIE_PATH),
            domain: fitting("domain", &cookie.domain, &grammar::COOKIE_DOMAIN),
            max_age: self
                .duration("affinity.cookie.maxAge", cookie.max_age.as_deref())
                .map(|age| age.as_millis().div_ceil(1000)),
            same_site: cookie.same_site.map(|same_site| match same_site {
                SameSite::Strict => policy::SameSite::Strict,
                SameSite::Lax => policy::SameSite::Lax,
                SameSite::None => policy::SameSite::None,
            }),
            secure: cookie.secure,
            engine_io,
            ..AffinityPatch::default()
        };
        if patch.is_dropped() {
            let message = "browsers drop a cookie that is for every site's pages and not secure".into();
            self.malformed("affinity.cookie.secure", message, "true, or another sameSite");
        }
        patch
    }
}
