//! Whether a request fulfils what a route asks of it beside its path.

use snapshot::{Condition, Conditions, ValueMatch};

use crate::head::Head;

/// Whether all of them hold.
///
/// The value of a field that was sent in several lines is those lines joined with `, ` (RFC 9110 §5.3), as a server
/// that knows one value for a name would see it; so a line that somebody adds never makes two routes fit. Of a query
/// parameter the first value counts, decoded. A name that the request does not have fulfils nothing, not even an empty
/// value.
pub(super) fn hold(conditions: &Conditions, head: &Head) -> bool {
    conditions.headers.iter().all(|Condition { name, value }| has(head, name, value))
        && conditions.query.iter().all(|condition| parameter_holds(condition, head))
        && subprotocols_hold(&conditions.subprotocols, head)
}

/// Whether a request has a field of this name, with such a value.
pub(super) fn has(head: &Head, name: &str, value: &ValueMatch) -> bool {
    let mut lines = head.fields.get_all(name);
    lines.next().is_some_and(|first| {
        let further = lines.flat_map(|line| [&b", "[..], line]);
        fits(value, std::iter::once(first).chain(further))
    })
}

fn parameter_holds(condition: &Condition, head: &Head) -> bool {
    let value = head.query_parameter(&condition.name);
    value.is_some_and(|value| fits(&condition.value, std::iter::once(&*value)))
}

/// One that is offered is wanted (RFC 6455 §4.1); they are compared exactly.
fn subprotocols_hold(wanted: &[String], head: &Head) -> bool {
    wanted.is_empty()
        || head
            .fields
            .tokens("sec-websocket-protocol")
            .any(|offered| wanted.iter().any(|wanted| wanted.as_bytes() == offered))
}

/// Whether a value that comes in pieces is what it must be.
fn fits<'a>(wanted: &ValueMatch, pieces: impl Iterator<Item = &'a [u8]>) -> bool {
    let (text, exact) = match wanted {
        ValueMatch::Exact(text) => (text, true),
        ValueMatch::Prefix(text) => (text, false),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::RequestParser;

    fn head(lines: &str) -> Head {
        let request = format!("GET /?v=2&w=%62lue&v=3 HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        RequestParser::default().parse(request.as_bytes()).unwrap().unwrap().0
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
        };
        let lines = ["X: 1\r\n", "Y: 2\r\n", "Sec-WebSocket-Protocol: p\r\n"];
        assert!(hold(&all, &head(&lines.concat())));
        for without in 0..lines.len() {
            let lines: String = (0..lines.len()).filter(|at| *at != without).map(|at| lines[at]).collect();
            assert!(!hold(&all, &head(&lines)), "{lines}");
        }
        let other = Conditions { query: [all.query.clone(), condition("v", exact("9"))].concat(), ..all };
        assert!(!hold(&other, &head(&lines.concat())));
    }
}
