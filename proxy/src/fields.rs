//! What a route changes of the fields of requests and responses: its own changes, CORS, Strict-Transport-Security.
//!
//! Everything is checked when the table is built, so that nothing here can split a message. What is read of a client
//! is its Origin, and what is sent of it is an origin that the route names.

mod cookies;

use std::borrow::Cow;

use snapshot::{CorsOrigin, FieldChanges};

use crate::auth::Granted;
use crate::head::{Head, Method, canonical, is_token};

use self::cookies::Cookies;

/// One field of a message.
pub type Line<'a> = (&'a str, Cow<'a, str>);

/// What a route changes.
#[derive(Debug, Default)]
pub struct Fields {
    /// Of requests, as the upstream gets them.
    pub request: Changes,
    response: Changes,
    cors: Option<snapshot::Cors>,
    hsts: Option<Box<str>>,
    cookies: Option<Cookies>,
}

/// Fields that are taken out, and fields that are put.
#[derive(Debug, Default)]
pub struct Changes {
    /// As [`canonical`] writes them.
    dropped: Vec<Box<str>>,
    put: Vec<(Box<str>, Box<str>)>,
}

/// What the answer to one request gets.
#[derive(Debug, Default)]
pub struct Additions<'a> {
    /// To what the upstream answers.
    changes: Option<&'a Changes>,
    /// Those that Longhaul's own answers get too.
    pub always: Vec<Line<'a>>,
    cors: bool,
    cookies: Option<&'a Cookies>,
    /// Who let the client in, and the values of Set-Cookie that it gave.
    granted: Option<&'a Granted>,
}

impl Fields {
    /// Those of a route; nothing where it changes nothing. The error is for people.
    pub fn new(headers: snapshot::Headers) -> Result<Option<Box<Self>>, String> {
        if headers == snapshot::Headers::default() {
            return Ok(None);
        }
        let snapshot::Headers { request, response, cors, hsts, cookies } = headers;
        let cookies = Cookies::new(cookies)?;
        if let Some(cors) = &cors {
            check(cors)?;
        }
        let hsts = hsts.map(|hsts| {
            let subdomains = if hsts.include_subdomains { "; includeSubDomains" } else { "" };
            let preload = if hsts.preload { "; preload" } else { "" };
            format!("max-age={}{subdomains}{preload}", hsts.max_age).into()
        });
        let (request, response) = (Changes::new(request)?, Changes::new(response)?);
        Ok(Some(Box::new(Self { request, response, cors, hsts, cookies })))
    }

    /// What the answer to this request gets. `scheme` is the one by which the client came: what is said of TLS may
    /// only be said over it (RFC 6797 §7.2).
    pub fn additions<'a>(&'a self, head: &'a Head, scheme: &str) -> Additions<'a> {
        let mut always = Vec::new();
        if let Some(cors) = &self.cors {
            cors_lines(cors, head, &mut always);
        }
        if let Some(hsts) = self.hsts.as_deref().filter(|_| scheme == "https") {
            always.push((HSTS, hsts.into()));
        }
        let (cookies, granted) = (self.cookies.as_ref(), None);
        Additions { changes: Some(&self.response), always, cors: self.cors.is_some(), cookies, granted }
    }

    /// Whether this request only asks whether another may be made, which is ours to answer.
    pub fn is_preflight(&self, head: &Head) -> bool {
        self.cors.is_some() && is_preflight(head)
    }
}

impl Changes {
    fn new(changes: FieldChanges) -> Result<Self, String> {
        let FieldChanges { remove, set, add } = changes;
        let dropped =
            remove.iter().chain(set.iter().map(|(name, _)| name)).map(|name| canonical(name).into());
        let dropped: Vec<Box<str>> = dropped.collect();
        let put: Vec<(Box<str>, Box<str>)> =
            set.into_iter().chain(add).map(|(name, value)| (name.into(), value.into())).collect();
        let names = dropped.iter().chain(put.iter().map(|(name, _)| name));
        if let Some(odd) = names.into_iter().find(|name| !is_token(name.as_bytes()) || is_framing(name)) {
            return Err(format!("{odd:?} is no field that a route may change"));
        }
        match put.iter().find(|(_, value)| !is_value(value)) {
            Some((name, _)) => Err(format!("the value of {name} is no value of a field")),
            None => Ok(Self { dropped, put }),
        }
    }

    /// Whether a field of the message goes.
    pub fn drops(&self, name: &str) -> bool {
        !self.dropped.is_empty() && self.dropped.iter().any(|dropped| **dropped == *canonical(name))
    }

    /// The fields that come.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.put.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<'a> Additions<'a> {
    /// The same for a client that was let in by this.
    pub(crate) fn granted(self, granted: &'a Granted) -> Self {
        Self { granted: Some(granted), ..self }
    }

    /// Whether a field of the upstream's answer goes.
    pub fn drops(&self, name: &str) -> bool {
        self.replaces(name) || self.changes.is_some_and(|changes| changes.drops(name))
    }

    /// The value of a field of the upstream's answer as the client gets it, where that is another.
    pub fn changed(&self, name: &str, value: &[u8]) -> Option<Vec<u8>> {
        let cookies = self.cookies.filter(|_| name.eq_ignore_ascii_case("set-cookie"))?;
        Some(cookies.replace(value))
    }

    /// The fields that come to an answer of this status.
    pub fn lines(&self, status: u16) -> impl Iterator<Item = (&str, &str)> {
        let cookies = self.granted.into_iter().flat_map(move |granted| granted.cookies(status));
        let cookies = cookies.map(|cookie| ("Set-Cookie", &**cookie));
        let changes = self.changes.into_iter().flat_map(Changes::lines);
        let changes = changes.filter(|(name, _)| !self.replaces(name));
        changes.chain(self.always.iter().map(|(name, value)| (*name, &**value))).chain(cookies)
    }

    /// Whether CORS or Strict-Transport-Security by policy stands in place of this field.
    fn replaces(&self, name: &str) -> bool {
        let of_cors = name.get(..CORS.len()).is_some_and(|start| start.eq_ignore_ascii_case(CORS));
        (self.cors && of_cors)
            || (name.eq_ignore_ascii_case(HSTS) && self.always.iter().any(|(name, _)| *name == HSTS))
    }
}

const HSTS: &str = "Strict-Transport-Security";
/// What every field of CORS begins with.
const CORS: &str = "Access-Control-";

/// Fields that decide where a message ends, and what becomes of the connection. The controller refuses more.
fn is_framing(name: &str) -> bool {
    const NAMES: [&str; 6] = ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];
    NAMES.contains(&canonical(name).as_str())
}

/// RFC 9110 §5.5, on one line.
fn is_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

fn check(cors: &snapshot::Cors) -> Result<(), String> {
    let values = [&cors.allow_methods, &cors.allow_headers, &cors.expose_headers];
    if !values.into_iter().all(|value| is_value(value)) {
        return Err("what it allows other origins is no value of a field".to_owned());
    }
    let anybody = cors.allow_origins.contains(&CorsOrigin::Any);
    if cors.allow_origins.is_empty() || (anybody && cors.allow_credentials) {
        return Err("it allows nobody's pages, or credentials to everybody's".to_owned());
    }
    Ok(())
}

fn is_preflight(head: &Head) -> bool {
    head.method == Method::Options
        && head.fields.get("origin").is_some()
        && head.fields.get("access-control-request-method").is_some()
}

/// What browsers are told. Where the answer depends on who asks, caches are told that, whoever asks.
fn cors_lines<'a>(cors: &'a snapshot::Cors, head: &'a Head, lines: &mut Vec<Line<'a>>) {
    let anybody = cors.allow_origins.contains(&CorsOrigin::Any);
    if !anybody {
        lines.push(("Vary", "Origin".into()));
    }
    let Some(origin) =
        asking(head).filter(|origin| cors.allow_origins.iter().any(|allowed| fits(allowed, origin)))
    else {
        return;
    };
    lines.push(("Access-Control-Allow-Origin", if anybody { "*".into() } else { origin.into() }));
    if cors.allow_credentials {
        lines.push(("Access-Control-Allow-Credentials", "true".into()));
    }
    if is_preflight(head) {
        lines.push(("Access-Control-Allow-Methods", Cow::Borrowed(&cors.allow_methods)));
        lines.push(("Access-Control-Allow-Headers", Cow::Borrowed(&cors.allow_headers)));
        lines.push(("Access-Control-Max-Age", cors.max_age.to_string().into()));
    } else if !cors.expose_headers.is_empty() {
        lines.push(("Access-Control-Expose-Headers", Cow::Borrowed(&cors.expose_headers)));
    }
}

/// The one origin that asks, as text.
fn asking(head: &Head) -> Option<&str> {
    std::str::from_utf8(head.fields.only("origin").ok()??).ok()
}

fn fits(allowed: &CorsOrigin, origin: &str) -> bool {
    match allowed {
        CorsOrigin::Any => true,
        CorsOrigin::Exact(exact) => exact.eq_ignore_ascii_case(origin),
        CorsOrigin::Wildcard { before, after } => {
            let origin = origin.to_ascii_lowercase();
            let label = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**after));
            label.is_some_and(|label| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
        }
    }
}

#[cfg(test)]
mod tests;
