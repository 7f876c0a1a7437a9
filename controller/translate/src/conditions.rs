//! Conditions of a match beside its path: read into one form, and written out as one name.

use std::fmt::Write;

use crds::diagnostic::quoted;
use crds::grammar::TOKEN;
use crds::network::network;
use crds::wsroute::{Match, ValueCondition, ValueKind};
use ipnet::IpNet;
use snapshot::{Condition, Conditions, PathMatch, ValueMatch};

/// A field within the match, what is wrong with it, and what to do.
pub(crate) type Problem = (String, String, &'static str);

/// The conditions of a match: names of fields in lower case, everything sorted and once, so that the same conditions
/// are equal in whatever order they are written. A name that nothing can have is a problem: a match is never
/// widened by leaving a condition out.
pub(crate) fn read(matched: &Match) -> Result<Conditions, Problem> {
    let named = |each: &[ValueCondition], field: &str, fits: fn(&str) -> bool| {
        let odd = each.iter().position(|condition| !fits(&condition.name));
        odd.map(|index| {
            let message = format!("nothing has the name {}", quoted(&each[index].name));
            (format!("{field}[{index}].name"), message, "write the name as a request has it")
        })
    };
    let odd = named(&matched.headers, "headers", |name| TOKEN.holds(name))
        .or_else(|| named(&matched.query_params, "queryParams", |name| !name.is_empty()));
    if let Some(problem) = odd {
        return Err(problem);
    }
    regular(&matched.headers, "headers")?;
    regular(&matched.query_params, "queryParams")?;
    let mut headers: Vec<_> =
        matched.headers.iter().map(|one| condition(one, one.name.to_ascii_lowercase())).collect();
    let mut query: Vec<_> = matched.query_params.iter().map(|one| condition(one, one.name.clone())).collect();
    headers.sort();
    headers.dedup();
    query.sort();
    query.dedup();
    let subprotocols = subprotocols(&matched.subprotocols)?;
    Ok(Conditions { headers, query, subprotocols, clients: clients(&matched.client_cidrs)? })
}

/// Finds a regular expression that no proxy could ask.
fn regular(conditions: &[ValueCondition], field: &str) -> Result<(), Problem> {
    for (index, condition) in conditions.iter().enumerate() {
        if condition.kind == ValueKind::Regex
            && let Err(why) = snapshot::pattern(&condition.value)
        {
            let message =
                format!("{} is no regular expression that is served: {why}", quoted(&condition.value));
            return Err((
                format!("{field}[{index}].value"),
                message,
                "write one as RE2 has it, or use Exact or Prefix",
            ));
        }
    }
    Ok(())
}

/// Networks of one of which a client must be: the fewest that cover the same addresses.
fn clients(texts: &[String]) -> Result<Vec<IpNet>, Problem> {
    let mut networks = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let Some(network) = network(text) else {
            let message = format!("{} is not a network", quoted(text));
            return Err((
                format!("clientCIDRs[{index}]"),
                message,
                "write a CIDR or an address, such as 10.0.0.0/8",
            ));
        };
        networks.push(network);
    }
    Ok(IpNet::aggregate(&networks))
}

/// Subprotocols one of which a client must offer: sorted, each once.
pub(crate) fn subprotocols(names: &[String]) -> Result<Vec<String>, Problem> {
    if let Some(index) = names.iter().position(|name| !TOKEN.holds(name)) {
        let message = format!("{} is not the name of a subprotocol", quoted(&names[index]));
        return Err((format!("subprotocols[{index}]"), message, "write it as clients offer it"));
    }
    let mut names = names.to_vec();
    names.sort();
    names.dedup();
    Ok(names)
}

fn condition(written: &ValueCondition, name: String) -> Condition {
    let value = match written.kind {
        ValueKind::Exact => ValueMatch::Exact(written.value.clone()),
        ValueKind::Prefix => ValueMatch::Prefix(written.value.clone()),
        ValueKind::Regex => ValueMatch::Regex(written.value.clone()),
    };
    Condition { name, value }
}

/// A match in one line: `/ws`, `=/ws (header x-tenant="blue", query v^="2", subprotocol a or b, client 10.0.0.0/8)`. Two matches have the
/// same name only if they are the same.
pub(crate) fn name(path: &PathMatch, conditions: &Conditions) -> String {
    format!("{path}{}", suffix(conditions))
}

/// What [`name`] has behind the path.
pub(crate) fn suffix(conditions: &Conditions) -> String {
    let headers = conditions.headers.iter().map(|condition| written("header", condition));
    let query = conditions.query.iter().map(|condition| written("query", condition));
    let offered = match &conditions.subprotocols[..] {
        [] => None,
        names => Some(format!("subprotocol {}", names.join(" or "))),
    };
    let from = match &conditions.clients[..] {
        [] => None,
        networks => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            Some(format!("client {}", networks.join(" or ")))
        }
    };
    let all: Vec<_> = headers.chain(query).chain(offered).chain(from).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

fn written(kind: &str, Condition { name, value }: &Condition) -> String {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let mut text = if plain { format!("{kind} {name}") } else { format!("{kind} {name:?}") };
    let written = match value {
        ValueMatch::Exact(value) => write!(text, "={value:?}"),
        ValueMatch::Prefix(value) => write!(text, "^={value:?}"),
        ValueMatch::Regex(value) => write!(text, "~={value:?}"),
    };
    written.expect("writing into a String never fails");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, kind: ValueKind, value: &str) -> ValueCondition {
        ValueCondition { name: name.into(), kind, value: value.into() }
    }

    #[test]
    fn the_same_conditions_are_equal_however_they_are_written() {
        let (a, b) = (value("X-A", ValueKind::Exact, "1"), value("x-b", ValueKind::Prefix, "\"2"));
        let one = Match { headers: vec![a.clone(), b.clone()], ..Match::default() };
        let a = ValueCondition { name: "x-a".into(), ..a };
        let two = Match { headers: vec![b.clone(), a, b], ..Match::default() };
        let read_one = read(&one).unwrap();
        assert_eq!(read_one, read(&two).unwrap());
        assert_eq!(read_one.count(), 2);
        assert_eq!(suffix(&read_one), r#" (header x-a="1", header x-b^="\"2")"#);
    }

    #[test]
    fn a_name_is_of_one_match_only() {
        let query = |name: &str, text: &str| {
            let query_params = vec![value(name, ValueKind::Exact, text)];
            suffix(&read(&Match { query_params, ..Match::default() }).unwrap())
        };
        assert_eq!(query("v", "2"), r#" (query v="2")"#);
        assert_ne!(query("v", r#"1", query w="2"#), query(r#"v="1", query w"#, "2"));
        let subprotocols = vec!["b".into(), "a|c".into(), "b".into()];
        let offered = Match { subprotocols, ..Match::default() };
        let conditions = read(&offered).unwrap();
        assert_eq!(conditions.count(), 1);
        let path = PathMatch::Exact("/ws".into());
        assert_eq!(name(&path, &conditions), "=/ws (subprotocol a|c or b)");
    }

    #[test]
    fn names_that_nothing_can_have_are_problems() {
        let headers = vec![value("x-a", ValueKind::Exact, ""), value("x a", ValueKind::Exact, "")];
        let problem = read(&Match { headers, ..Match::default() }).unwrap_err();
        assert_eq!(problem.0, "headers[1].name");
        let query_params = vec![value("", ValueKind::Exact, "")];
        assert_eq!(read(&Match { query_params, ..Match::default() }).unwrap_err().0, "queryParams[0].name");
        assert_eq!(subprotocols(&["a".into(), "a b".into()]).unwrap_err().0, "subprotocols[1]");
    }
}
