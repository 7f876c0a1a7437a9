//! What pages of other origins may do, as a WsRoute writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema;
use super::Reader;
use crate::grammar;
use crate::policy::cors::{CorsOrigin, CorsPatch};

/// What browsers let pages of other origins do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::of_cors)]
pub struct Cors {
    /// Whose pages: an origin as browsers send it, such as `https://app.example.com`; `https://*.example.com` for one
    /// label; `*` for anybody's; `null` for sandboxed ones. A response to another origin has no CORS fields, not even
    /// the backend's own. An empty list: nothing is said to browsers, and what the backend says is passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cors_origins")]
    pub allow_origins: Option<Vec<String>>,
    /// The methods that they may use. Absent: GET, PUT, POST, DELETE, PATCH, OPTIONS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tokens")]
    pub allow_methods: Option<Vec<String>>,
    /// The request fields that they may send. Absent: DNT, Keep-Alive, User-Agent, X-Requested-With, If-Modified-Since,
    /// Cache-Control, Content-Type, Range, Authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tokens")]
    pub allow_headers: Option<Vec<String>>,
    /// The response fields that they may see beside those that they always see. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tokens")]
    pub expose_headers: Option<Vec<String>>,
    /// Cookies and other credentials may be sent. Needs origins that are named: browsers refuse it together with `*`.
    /// Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// How long browsers may keep the answer to a preflight; they have limits of their own. Absent: 480h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub max_age: Option<String>,
}

impl Reader<'_> {
    pub(super) fn cors(&mut self, cors: &Cors) -> CorsPatch {
        let allow_origins = cors.allow_origins.as_ref().map(|origins| {
            let each = origins.iter().enumerate();
            let read = each.filter_map(|(at, text)| {
                let field = format!("cors.allowOrigins[{at}]");
                let text = self.fitting(&field, text, &grammar::CORS_ORIGIN, "it is left out")?;
                CorsOrigin::read(&text)
            });
            read.collect()
        });
        let mut tokens = |name: &str, tokens: &Option<Vec<String>>| {
            let tokens = tokens.as_ref()?.iter().enumerate();
            let read = tokens.filter_map(|(at, text)| {
                self.fitting(&format!("cors.{name}[{at}]"), text, &grammar::TOKEN, "it is left out")
            });
            Some(read.collect())
        };
        let patch = CorsPatch {
            allow_origins,
            allow_methods: tokens("allowMethods", &cors.allow_methods),
            allow_headers: tokens("allowHeaders", &cors.allow_headers),
            expose_headers: tokens("exposeHeaders", &cors.expose_headers),
            allow_credentials: cors.allow_credentials,
            max_age: self.duration("cors.maxAge", cors.max_age.as_deref()).map(|age| age.as_millis() / 1000),
        };
        if patch.is_invalid_pair() {
            let message =
                "browsers refuse credentials where every origin is allowed; they are not allowed".into();
            self.malformed("cors.allowCredentials", message, "the origins by name, or allow no credentials");
        }
        patch
    }
}
