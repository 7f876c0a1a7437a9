//! Who is let in: a union, which an upper layer replaces whole.

mod url;

use serde::Serialize;

pub use url::{Piece, Template, Url, Variable};

use super::config_maps::ConfigMapName;
use super::headers::FRAMING;
use crate::duration::Duration;

/// How a client proves that it may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Auth {
    /// It need not, whatever a lower layer says.
    None,
    /// By a user name and a password (RFC 7617).
    Basic(Basic),
    /// By what an authentication service says of its request.
    External(External),
    /// What is written cannot be kept: why its routes must answer 503.
    Unusable(String),
}

/// User names and passwords of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Basic {
    /// A Secret.
    pub secret: String,
    /// The Secret's namespace. Absent: the object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// How it holds them.
    pub form: UsersForm,
    /// What a browser shows when it asks.
    pub realm: String,
    /// The field that names the Secret.
    pub field: String,
}

/// How a Secret holds users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum UsersForm {
    /// Its key `auth` is a file of htpasswd.
    #[default]
    File,
    /// Each key is a user name, its value the hash.
    Map,
}

/// An authentication service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Where it is.
    pub target: Target,
    /// The namespace of a Service. Absent: the object's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The method that it is asked with. Absent: GET. Said by annotations only.
    pub method: Option<String>,
    /// Fields of its answer that the backend gets, in lower case. Of the client's own none of these passes.
    pub response_headers: Vec<String>,
    /// How long it may take, above zero. Absent: 5s.
    pub timeout: Option<Duration>,
    /// Where browsers are sent that it does not let in. Said by annotations only.
    pub sign_in: Option<SignIn>,
    /// What it is told of where the client wants to be sent back to. Absent: the target of the request. Said by
    /// annotations only.
    pub request_redirect: Option<Template>,
    /// When the client gets the cookies that it sets. Said by annotations only.
    pub set_cookie: SetCookie,
    /// A ConfigMap with further fields of the request that it gets. Said by annotations only.
    pub request_headers: Option<Box<ConfigMapName>>,
    /// The field that names the service.
    pub field: String,
}

/// When the cookies of an authentication service go with the answer to the request that it was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum SetCookie {
    /// Where the answer is no error.
    #[default]
    WithSuccess,
    /// With every answer.
    Always,
}

impl Auth {
    /// Says where what it names is at home, and whose field it is that names it.
    pub(super) fn at_home_in(&mut self, namespace: &str, object: &str) {
        let (home, field) = match self {
            Self::Basic(basic) => (&mut basic.namespace, &mut basic.field),
            Self::External(external) => (&mut external.namespace, &mut external.field),
            Self::None | Self::Unusable(_) => return,
        };
        *home = Some(namespace.to_owned());
        *field = format!("{object}: {field}");
    }
}

/// Where an authentication service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Target {
    /// A Service.
    Service {
        /// Its name.
        name: String,
        /// Its port.
        port: ServicePort,
        /// The path that is asked for.
        path: String,
    },
    /// An address.
    Url(Url),
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ServicePort {
    /// By its number.
    Number(i32),
    /// By its name.
    Name(String),
}

/// Where browsers log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// The page.
    pub url: Template,
    /// The parameter that tells it where to send them back to. Absent: the address has one already.
    pub parameter: Option<String>,
}

/// Whether a backend can get a field of this name, in lower case, from an authentication service: not what is of one
/// connection or of the body, nor what the proxy itself says of the client. Servers after the manner of CGI cannot tell
/// an underscore from a hyphen.
pub fn may_pass(name: &str) -> bool {
    const NEVER: [&str; 5] = ["content-encoding", "content-type", "forwarded", "host", "x-real-ip"];
    let plain = name.replace('_', "-");
    let ours =
        ["sec-websocket-", "x-forwarded-", "x-request-id"].iter().any(|prefix| plain.starts_with(prefix));
    let never = FRAMING.contains(&&*plain) || NEVER.contains(&&*plain) || ours;
    crate::grammar::TOKEN.holds(name) && name.len() <= 256 && !never
}

/// The realm where none is said.
pub const REALM: &str = "Restricted";
