//! Whether a request fulfils what a route asks of it beside its path.

use std::net::IpAddr;

use regex::bytes::Regex;
use snapshot::{ValueMatch, pattern};

use crate::Request;
use crate::networks::Networks;
use crate::text::{is_token, tokens};

/// A value that is longer fits no regular expression: what one costs follows the length.
const LONGEST_FOR_REGEX: usize = 4096;

/// Conditions beside the path; all of them must hold.
#[derive(Debug, Default)]
pub struct Conditions {
    headers: Vec<Condition>,
    query: Vec<Condition>,
    subprotocols: Vec<String>,
    /// Absent: every client.
    clients: Option<Networks>,
    count: usize,
}

#[derive(Debug)]
struct Condition {
    name: String,
    value: Value,
}

/// What a value must be.
#[derive(Clone, Debug)]
pub enum Value {
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// It fits this.
    Regex(Regex),
}

impl Conditions {
    /// Those of a section, or what is wrong with them, for people.
    pub fn new(written: snapshot::Conditions) -> Result<Self, String> {
        let count = written.count();
        let snapshot::Conditions { headers, query, subprotocols, clients } = written;
        headers.iter().try_for_each(|condition| field_name(&condition.name))?;
        if query.iter().any(|condition| condition.name.is_empty()) {
            return Err("a query parameter has no name".to_owned());
        }
        if let Some(name) = subprotocols.iter().find(|name| !is_token(name.as_bytes())) {
            return Err(format!("{name:?} is no subprotocol"));
        }
        let all = |conditions: Vec<snapshot::Condition>| -> Result<Vec<_>, String> {
            conditions.into_iter().map(Condition::new).collect()
        };
        let clients = (!clients.is_empty()).then(|| Networks::new(&clients));
        Ok(Self { headers: all(headers)?, query: all(query)?, subprotocols, clients, count })
    }

    /// Whether every request fulfils them.
    pub fn ask_for_nothing(&self) -> bool {
        self.count == 0
    }

    /// Whether all of them hold for a request of this client.
    ///
    /// The value of a field that was sent in several lines is those lines joined with `, ` (RFC 9110 §5.3), as a
    /// server that knows one value for a name would see it; so a line that somebody adds never makes two routes fit.
    /// Of a query parameter the first value counts, decoded. A name that the request does not have fulfils nothing,
    /// not even an empty value.
    pub fn hold(&self, request: &impl Request, client: IpAddr) -> bool {
        self.unmet(request, client).is_none()
    }

    /// The first of them that does not hold.
    pub fn unmet(&self, request: &impl Request, client: IpAddr) -> Option<Unmet<'_>> {
        if self.clients.as_ref().is_some_and(|clients| !clients.contains(client)) {
            return Some(Unmet::Client);
        }
        if !subprotocols_hold(&self.subprotocols, request) {
            return Some(Unmet::Subprotocol);
        }
        let header = self.headers.iter().find(|condition| !has(request, &condition.name, &condition.value));
        if let Some(condition) = header {
            return Some(Unmet::Header(&condition.name));
        }
        let parameter = self.query.iter().find(|condition| !condition.parameter_holds(request));
        parameter.map(|condition| Unmet::QueryParameter(&condition.name))
    }
}

/// What a request lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet<'a> {
    /// Its client is of none of the networks.
    Client,
    /// It offers none of the subprotocols.
    Subprotocol,
    /// The field of this name is absent, or has another value.
    Header(&'a str),
    /// The query parameter of this name is absent, or has another value.
    QueryParameter(&'a str),
}

/// Whether this is a field's name as a section has it; else what is wrong with it, for people.
pub fn field_name(name: &str) -> Result<(), String> {
    if is_token(name.as_bytes()) && !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(format!("{name:?} is no field name in lower case"))
}

impl Condition {
    fn new(written: snapshot::Condition) -> Result<Self, String> {
        Ok(Self { name: written.name, value: Value::new(written.value)? })
    }

    fn parameter_holds(&self, request: &impl Request) -> bool {
        let value = request.query_parameter(&self.name);
        value.is_some_and(|value| self.value.fits(std::iter::once(&*value)))
    }
}

/// Whether a request has a field of this name, with such a value.
pub fn has(request: &impl Request, name: &str, value: &Value) -> bool {
    let mut lines = request.lines(name);
    lines.next().is_some_and(|first| {
        let further = lines.flat_map(|line| [&b", "[..], line]);
        value.fits(std::iter::once(first).chain(further))
    })
}

impl Value {
    /// What a section says, or what is wrong with it, for people.
    pub fn new(written: ValueMatch) -> Result<Self, String> {
        Ok(match written {
            ValueMatch::Exact(text) => Self::Exact(text),
            ValueMatch::Prefix(text) => Self::Prefix(text),
            ValueMatch::Regex(text) => {
                Self::Regex(pattern(&text).map_err(|why| format!("regular expression {text:?}: {why}"))?)
            }
        })
    }

    /// Whether a value that comes in pieces is what it must be.
    fn fits<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
        let (text, exact) = match self {
            Self::Exact(text) => (text, true),
            Self::Prefix(text) => (text, false),
            Self::Regex(regex) => {
                let value = pieces.collect::<Vec<_>>().concat();
                return value.len() <= LONGEST_FOR_REGEX && regex.is_match(&value);
            }
        };
        let mut rest = text.as_bytes();
        for piece in pieces {
            match rest.strip_prefix(piece) {
                Some(behind) => rest = behind,
                None => return !exact && piece.starts_with(rest),
            }
        }
        rest.is_empty()
    }
}

/// One that is offered is wanted (RFC 6455 §4.1); they are compared exactly.
fn subprotocols_hold(wanted: &[String], request: &impl Request) -> bool {
    wanted.is_empty()
        || tokens(request.lines("sec-websocket-protocol"))
            .any(|offered| wanted.iter().any(|wanted| wanted.as_bytes() == offered))
}

#[cfg(test)]
mod tests {
    use snapshot::{Condition, Conditions};

    use super::*;
    use crate::Sketch;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn hold(conditions: &Conditions, head: &Sketch) -> bool {
        super::Conditions::new(conditions.clone()).unwrap().hold(head, CLIENT)
    }

    fn regex(text: &str) -> ValueMatch {
        ValueMatch::Regex(text.to_owned())
    }

    fn head(lines: &str) -> Sketch {
        Sketch::of("a", "/?v=2&w=%62lue&v=3", lines)
    }

    fn condition(name: &str, value: ValueMatch) -> Vec<Condition> {
        vec![Condition { name: name.to_owned(), value }]
    }

    fn exact(text: &str) -> ValueMatch {
        ValueMatch::Exact(text.to_owned())
    }

    fn prefix(text: &str) -> ValueMatch {
        ValueMatch::Prefix(text.to_owned())
    }

    #[test]
    fn a_fields_value_is_its_lines_joined() {
        for (lines, value, holds) in [
            ("X-Tenant: blue\r\n", exact("blue"), true),
            ("x-tenant:  blue \r\n", exact("blue"), true),
            ("X-Tenant: Blue\r\n", exact("blue"), false),
            ("X-Tenant: blue1\r\n", exact("blue"), false),
            ("X-Tenant: blu\r\n", exact("blue"), false),
            ("X-Tenant: blue, red\r\n", exact("blue, red"), true),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", exact("blue, red"), true),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", exact("blue"), false),
            ("X-Tenant: red\r\nX-Tenant: blue\r\n", exact("blue"), false),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", prefix("blue, r"), true),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", prefix("blue,"), true),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", prefix("blue, red, "), false),
            ("X-Tenant: blue-1\r\n", prefix("blue"), true),
            ("X-Tenant: blu\r\n", prefix("blue"), false),
            ("X-Tenant:\r\n", exact(""), true),
            ("X-Tenant:\r\n", prefix(""), true),
            ("X-Tenant: a\r\n", prefix(""), true),
            ("X-Tenant: a\r\n", exact(""), false),
            ("", exact(""), false),
            ("", prefix(""), false),
            ("X-Tenants: blue\r\n", exact("blue"), false),
            ("X-Tenant: blue\r\n", regex("blue|red"), true),
            ("X-Tenant: blue7\r\n", regex("blue"), false),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", regex("blue, r.d"), true),
            ("X-Tenant: blue\r\nX-Tenant: red\r\n", regex("blue|red"), false),
            ("X-Tenant:\r\n", regex(".*"), true),
            ("", regex(".*"), false),
        ] {
            let conditions = Conditions { headers: condition("x-tenant", value), ..Conditions::default() };
            assert_eq!(hold(&conditions, &head(lines)), holds, "{lines} {conditions:?}");
        }
    }

    #[test]
    fn of_a_parameter_the_first_counts() {
        for (name, value, holds) in [
            ("v", exact("2"), true),
            ("v", exact("3"), false),
            ("w", exact("blue"), true),
            ("w", prefix("bl"), true),
            ("w", regex("b.*e"), true),
            ("v", regex("[3-9]"), false),
            ("V", prefix(""), false),
        ] {
            let conditions = Conditions { query: condition(name, value), ..Conditions::default() };
            assert_eq!(hold(&conditions, &head("")), holds, "{conditions:?}");
        }
    }

    #[test]
    fn one_of_the_subprotocols_is_offered() {
        let subprotocols = vec!["graphql-ws".to_owned(), "v2".to_owned()];
        let conditions = Conditions { subprotocols, ..Conditions::default() };
        for (lines, holds) in [
            ("Sec-WebSocket-Protocol: v2\r\n", true),
            ("Sec-WebSocket-Protocol: a,\tv2 ,b\r\n", true),
            ("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: graphql-ws\r\n", true),
            ("Sec-WebSocket-Protocol: V2\r\n", false),
            ("Sec-WebSocket-Protocol: v2.1\r\n", false),
            ("", false),
        ] {
            assert_eq!(hold(&conditions, &head(lines)), holds, "{lines}");
        }
        assert!(hold(&Conditions::default(), &head("")));
    }

    #[test]
    fn all_must_hold() {
        let one = condition("x", exact("1"));
        let all = Conditions {
            headers: [one.clone(), condition("y", exact("2"))].concat(),
            query: [condition("v", exact("2")), condition("w", exact("blue"))].concat(),
            subprotocols: vec!["p".into()],
            clients: vec!["192.0.2.0/24".parse().unwrap()],
        };
        let lines = ["X: 1\r\n", "Y: 2\r\n", "Sec-WebSocket-Protocol: p\r\n"];
        assert!(hold(&all, &head(&lines.concat())));
        for without in 0..lines.len() {
            let lines: String = (0..lines.len()).filter(|at| *at != without).map(|at| lines[at]).collect();
            assert!(!hold(&all, &head(&lines)), "{lines}");
        }
        let other =
            Conditions { query: [all.query.clone(), condition("v", exact("9"))].concat(), ..all.clone() };
        assert!(!hold(&other, &head(&lines.concat())));
        let other = Conditions { clients: vec!["192.0.2.0/30".parse().unwrap()], ..all };
        assert!(!hold(&other, &head(&lines.concat())));
    }

    #[test]
    fn a_client_is_of_one_of_the_networks() {
        let clients = vec!["192.0.2.0/29".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let conditions = super::Conditions::new(Conditions { clients, ..Conditions::default() }).unwrap();
        for (client, holds) in [
            ("192.0.2.7", true),
            ("::ffff:192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::1", true),
            ("::1", false),
        ] {
            assert_eq!(conditions.hold(&head(""), client.parse().unwrap()), holds, "{client}");
        }
    }

    #[test]
    fn a_very_long_value_fits_no_regular_expression() {
        let conditions = Conditions { headers: condition("x", regex("a*")), ..Conditions::default() };
        for (length, holds) in [(LONGEST_FOR_REGEX, true), (LONGEST_FOR_REGEX + 1, false)] {
            assert_eq!(hold(&conditions, &head(&format!("X: {}\r\n", "a".repeat(length)))), holds);
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        for conditions in [
            Conditions { headers: condition("X", exact("")), ..Conditions::default() },
            Conditions { query: condition("", exact("")), ..Conditions::default() },
            Conditions { headers: condition("x", regex("(")), ..Conditions::default() },
            Conditions { subprotocols: vec!["a b".into()], ..Conditions::default() },
        ] {
            assert!(super::Conditions::new(conditions).is_err());
        }
    }
}
