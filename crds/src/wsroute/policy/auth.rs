//! Who is let in, as a `WsRoute` writes it. Whatever does not read closes its routes.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reader, Whole};
use crate::diagnostic::{Severity, quoted};
use crate::duration::Duration;
use crate::grammar::{self, Grammar};
use crate::policy::auth::{self, REALM, ServicePort, Target, Url, UsersForm};
use crate::wsroute::schema;

/// How a client proves that it may come in; exactly one of these. A policy of a rule replaces it whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::auth::of_auth)]
pub struct Auth {
    /// By what an authentication service says of its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalAuth>,
    /// User names and passwords (RFC 7617) of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// Nobody has to prove anything, whatever `spec.policy` asks for: write `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Whole>,
}

/// An authentication service: a `service` in this namespace with its `port`, or a `url`. It is asked about each handshake
/// and request, with its header fields and without its body. Who gets 2xx of it comes in, 401 and 403 go to the client;
/// anything else, and no answer in time, is answered with 503.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::auth::of_external)]
pub struct ExternalAuth {
    /// A Service in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label")]
    pub service: Option<String>,
    /// The Service's port, by its number or by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::port")]
    pub port: Option<IntOrString>,
    /// The path that the Service is asked for. Absent: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sent_path")]
    pub path: Option<String>,
    /// In place of a Service: the address of a service elsewhere. With `https://` its certificate must be signed by an
    /// authority that browsers trust, or that the proxy's --auth-ca-file holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::auth::url")]
    pub url: Option<String>,
    /// Fields of its answer that the backend gets. The client's own of these names never pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::auth::fields")]
    pub response_headers: Vec<String>,
    /// How long it may take, above 0. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Option<String>,
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
            Auth { external: Some(external), basic: None, none: None } => {
                self.external(external).unwrap_or_else(auth::Auth::Unusable)
            }
            Auth { external: None, basic: Some(basic), none: None } => {
                self.basic(basic).unwrap_or_else(auth::Auth::Unusable)
            }
            Auth { external: None, basic: None, none: Some(Whole {}) } => auth::Auth::None,
            _ => {
                let why = "there is not exactly one way to come in".to_owned();
                auth::Auth::Unusable(self.closes("auth", &why, "exactly one of the fields of auth"))
            }
        }
    }

    fn basic(&mut self, basic: &BasicAuth) -> Result<auth::Auth, String> {
        let realm = basic.realm.as_deref().unwrap_or(REALM);
        Ok(auth::Auth::Basic(auth::Basic {
            namespace: None,
            secret: self.sound("auth.basic.secretName", &basic.secret_name, &grammar::OBJECT_NAME)?,
            form: UsersForm::File,
            realm: self.sound("auth.basic.realm", realm, &grammar::FIELD_VALUE)?,
            field: format!("{}.auth.basic.secretName", self.field),
        }))
    }

    fn external(&mut self, external: &ExternalAuth) -> Result<auth::Auth, String> {
        let (target, field) = match external {
            ExternalAuth { service: Some(name), port: Some(port), path, url: None, .. } => {
                let path = path.as_deref().unwrap_or("/");
                let target = Target::Service {
                    name: self.sound("auth.external.service", name, &grammar::LABEL)?,
                    port: match port {
                        IntOrString::Int(number) => ServicePort::Number(*number),
                        IntOrString::String(name) => ServicePort::Name(name.clone()),
                    },
                    path: self.sound("auth.external.path", path, &grammar::SENT_PATH)?,
                };
                (target, "service")
            }
            ExternalAuth { service: None, port: None, path: None, url: Some(url), .. } => {
                let url = self.sound("auth.external.url", url, &grammar::URL)?;
                let read = Url::read(&url).map_err(|why| {
                    let why = format!("{} {why}", quoted(&url));
                    self.closes("auth.external.url", &why, grammar::URL.words)
                });
                (Target::Url(read?), "url")
            }
            _ => {
                let why = "there is neither a service with its port nor a url, or there are both".to_owned();
                return Err(self.closes("auth.external", &why, "a service with its port, or a url"));
            }
        };
        Ok(auth::Auth::External(auth::External {
            namespace: None,
            target,
            method: None,
            response_headers: self.passed(&external.response_headers)?,
            timeout: external.timeout.as_deref().map(|text| self.time(text)).transpose()?,
            sign_in: None,
            request_redirect: None,
            set_cookie: auth::SetCookie::default(),
            request_headers: None,
            field: format!("{}.auth.external.{field}", self.field),
        }))
    }

    fn passed(&mut self, names: &[String]) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        for name in names.iter().map(|name| name.to_ascii_lowercase()) {
            if !auth::may_pass(&name) {
                let why = format!(
                    "{} is nothing that a backend can get of an authentication service",
                    quoted(&name)
                );
                let fields = "names of fields, not those of connections and bodies, nor X-Forwarded-*";
                return Err(self.closes("auth.external.responseHeaders", &why, fields));
            }
            if !found.contains(&name) {
                found.push(name);
            }
        }
        Ok(found)
    }

    fn time(&mut self, text: &str) -> Result<Duration, String> {
        let read = text.parse().ok().filter(|duration: &Duration| !duration.is_zero());
        read.ok_or_else(|| {
            let why = format!("{} is no time that a service may take", quoted(text));
            self.closes("auth.external.timeout", &why, "a duration with unit (h, m, s, ms) above 0")
        })
    }

    /// A text of this form, or why the routes close.
    pub(super) fn sound(&mut self, field: &str, text: &str, grammar: &Grammar) -> Result<String, String> {
        if grammar.holds(text) {
            return Ok(text.to_owned());
        }
        let why = format!("{} does not have the form that is asked for", quoted(text));
        Err(self.closes(field, &why, grammar.words))
    }

    fn closes(&mut self, field: &str, why: &str, grammar: &str) -> String {
        self.malformed(field, format!("{why}; the routes answer 503"), grammar);
        if let Some(said) = self.diagnostics.last_mut() {
            said.severity = Severity::Error;
        }
        format!("{}.{field}: {why}", self.field)
    }
}
