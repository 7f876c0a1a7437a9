//! Fields of requests and responses that a route sets, adds or removes, and which fields are nobody's to change.

use serde::Serialize;

use super::clients::tells_of_certificate;
use super::config_maps::ConfigMapName;

/// What one layer says about fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadersPatch {
    /// Of requests, as the backend gets them.
    pub request: ChangesPatch,
    /// Of responses, as the client gets them.
    pub response: ChangesPatch,
    /// Cookies that backends set. Said by annotations only.
    pub cookies: CookiesPatch,
}

/// What one layer says about cookies that backends set: what is replaced, and what by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CookiesPatch {
    /// The domain as a whole, in lower case, without a dot in front.
    pub domain: Option<(String, String)>,
    /// What a path begins with.
    pub path: Option<(String, String)>,
}

/// What one layer says about the fields of one direction. Each list is taken whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangesPatch {
    /// In place of every field of these names.
    pub set: Option<Vec<Field>>,
    /// A ConfigMap whose fields are set in place of `set`, where it can be read. Said by annotations only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_from: Option<ConfigMapName>,
    /// Beside the fields of these names.
    pub add: Option<Vec<Field>>,
    /// Names of fields that are taken out.
    pub remove: Option<Vec<String>>,
}

/// A name, in the case in which it is sent, and a value.
pub type Field = (String, String);

/// What one layer says about Strict-Transport-Security.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HstsPatch {
    /// In seconds. Without it nothing is sent.
    pub max_age: Option<u64>,
    /// Subdomains too.
    pub include_subdomains: Option<bool>,
    /// The owner agrees to browsers' own lists.
    pub preload: Option<bool>,
}

impl HeadersPatch {
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            request: self.request.merge(over.request),
            response: self.response.merge(over.response),
            cookies: CookiesPatch {
                domain: over.cookies.domain.or(self.cookies.domain),
                path: over.cookies.path.or(self.cookies.path),
            },
        }
    }
}

impl ChangesPatch {
    fn merge(self, over: Self) -> Self {
        // What is set above a ConfigMap is set in place of what that holds.
        let below = self.set_from.filter(|_| over.set.is_none());
        Self {
            set_from: over.set_from.or(below),
            set: over.set.or(self.set),
            add: over.add.or(self.add),
            remove: over.remove.or(self.remove),
        }
    }
}

impl HstsPatch {
    pub(super) fn merge(self, over: &Self) -> Self {
        Self {
            max_age: over.max_age.or(self.max_age),
            include_subdomains: over.include_subdomains.or(self.include_subdomains),
            preload: over.preload.or(self.preload),
        }
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    Request,
    /// From the backend to the client.
    Response,
}

/// The most bytes that the fields of one direction may have together: they must fit into heads beside the client's
/// own.
pub const MOST_BYTES: usize = 16 * 1024;

/// Fields that are one connection's or one message's, and nobody's to pass on, in lower case with hyphens.
pub(super) const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that say what a proxy did, which is ours alone to write.
const TRACES: [&str; 3] = ["date", "via", "proxy-status"];

/// Why no route may change a field of this name, as what to do instead. Servers after the manner of CGI cannot tell
/// an underscore from a hyphen, so neither is told apart here.
pub fn reserved(name: &str, direction: Direction) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    if name == "host" {
        return Some(match direction {
            Direction::Request => "replace the Host by rewrite.upstreamHost or longhaul.dev/upstream-host",
            Direction::Response => "remove it: no response has a Host",
        });
    }
    if FRAMING.contains(&name.as_str()) || TRACES.contains(&name.as_str()) {
        return Some("remove it: Longhaul writes it itself, for each connection and message");
    }
    if name.starts_with("sec-websocket-") {
        return Some("remove it: it belongs to the handshake; to route by subprotocol match on subprotocols");
    }
    if tells_of_certificate(&name) && direction == Direction::Request {
        return Some("remove it: Longhaul tells backends in it which certificate a client has");
    }
    let forwarding = name == "forwarded"
        || name == "x-real-ip"
        || name == "x-request-id"
        || (name.starts_with("x-forwarded-") && name != "x-forwarded-prefix");
    if forwarding && direction == Direction::Request {
        return Some(
            "remove it: Longhaul tells backends the truth in it; whose fields are believed is said by the \
             controller's --trusted-proxies",
        );
    }
    None
}

/// The first of these fields by name: one name is another in whatever case it is written.
pub fn repeated(fields: &[Field]) -> Option<&str> {
    let same = |a: &Field, b: &Field| a.0.eq_ignore_ascii_case(&b.0);
    let again = |at: &usize| fields[..*at].iter().any(|before| same(before, &fields[*at]));
    (0..fields.len()).find(again).map(|at| fields[at].0.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_nobodys_to_change() {
        for name in
            ["Host", "Content-Length", "transfer_encoding", "CONNECTION", "Upgrade", "Sec-WebSocket-Key"]
        {
            for direction in [Direction::Request, Direction::Response] {
                assert!(reserved(name, direction).is_some(), "{name}");
            }
        }
        let certificates = ["Client-Cert", "client_cert_subject", "ssl-client-verify"];
        for name in ["X-Forwarded-For", "X_Forwarded_Proto", "x-real-ip", "X-Request-Id", "Forwarded"]
            .into_iter()
            .chain(certificates)
        {
            assert!(reserved(name, Direction::Request).is_some(), "{name}");
            assert_eq!(reserved(name, Direction::Response), None, "{name}");
        }
        for name in ["X-Tenant", "X-Forwarded-Prefix", "Authorization", "Cookie"] {
            assert_eq!(reserved(name, Direction::Request), None, "{name}");
        }
        let host = reserved("host", Direction::Request);
        assert!(host.is_some_and(|remedy| remedy.contains("rewrite.upstreamHost")));
    }

    #[test]
    fn a_name_is_the_same_in_any_case() {
        let fields = |names: &[&str]| -> Vec<Field> {
            names.iter().map(|name| ((*name).into(), "1".into())).collect()
        };
        assert_eq!(repeated(&fields(&["a", "b", "A"])), Some("A"));
        assert_eq!(repeated(&fields(&["a", "b"])), None);
    }
}
