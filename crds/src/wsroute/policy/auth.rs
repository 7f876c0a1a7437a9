//! Who is let in, as a `WsRoute` writes it. Whatever does not read closes its routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reader, Whole};
use crate::diagnostic::{Severity, quoted};
use crate::grammar::{self, Grammar};
use crate::policy::auth::{self, REALM, UsersForm};
use crate::wsroute::schema;

/// How a client proves that it may come in; exactly one of these. A policy of a rule replaces it whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::auth::of_auth)]
pub struct Auth {
    /// User names and passwords (RFC 7617) of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// Nobody has to prove anything, whatever `spec.policy` asks for: write `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Whole>,
}

/// User names and passwords.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct BasicAuth {
    /// A Secret in this namespace whose key `auth` is a file of htpasswd, with bcrypt, apr1 or SHA hashes.
    #[schemars(schema_with = "schema::object_name")]
    pub secret_name: String,
    /// What a browser shows when it asks for them. Absent: Restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::auth::realm")]
    pub realm: Option<String>,
}

impl Reader<'_> {
    pub(super) fn auth(&mut self, auth: &Auth) -> auth::Auth {
        match auth {
            Auth { basic: Some(basic), none: None } => self.basic(basic).unwrap_or_else(auth::Auth::Unusable),
            Auth { basic: None, none: Some(Whole {}) } => auth::Auth::None,
            _ => {
                let why = "there is not exactly one way to come in".to_owned();
                auth::Auth::Unusable(self.closes("auth", why, "exactly one of the fields of auth"))
            }
        }
    }

    fn basic(&mut self, basic: &BasicAuth) -> Result<auth::Auth, String> {
        let realm = basic.realm.as_deref().unwrap_or(REALM);
        Ok(auth::Auth::Basic(auth::Basic {
            secret: self.sound("auth.basic.secretName", &basic.secret_name, &grammar::OBJECT_NAME)?,
            form: UsersForm::File,
            realm: self.sound("auth.basic.realm", realm, &grammar::FIELD_VALUE)?,
            field: format!("{}.auth.basic.secretName", self.field),
        }))
    }

    /// A text of this form, or why the routes close.
    fn sound(&mut self, field: &str, text: &str, grammar: &Grammar) -> Result<String, String> {
        if grammar.holds(text) {
            return Ok(text.to_owned());
        }
        let why = format!("{} does not have the form that is asked for", quoted(text));
        Err(self.closes(field, why, grammar.words))
    }

    fn closes(&mut self, field: &str, why: String, grammar: &str) -> String {
        self.malformed(field, format!("{why}; the routes answer 503"), grammar);
        if let Some(said) = self.diagnostics.last_mut() {
            said.severity = Severity::Error;
        }
        format!("{}.{field}: {why}", self.field)
    }
}
