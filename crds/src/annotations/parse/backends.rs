//! Hosts and backends beside those of the rules.

use super::{Malformed, Note, Parsed, Value, list, nginx_bool, of_ingress};
use crate::grammar;
use crate::policy::IngressPatch;

/// Names with or without a wildcard. Regular expressions are refused: a host must be found without trying them all.
pub(in crate::annotations) fn aliases(text: &str) -> Parsed {
    let aliases: Vec<String> = list(text).map(str::to_ascii_lowercase).collect();
    if aliases.iter().any(|alias| alias.starts_with('~')) {
        return Err(Malformed {
            message: "has a regular expression, which is no host",
            remedy: "name each host, or a wildcard such as *.example.com",
        });
    }
    if !aliases.iter().all(|alias| grammar::HOST.holds(alias)) {
        return Err(Malformed {
            message: "is no list of hosts",
            remedy: "write a comma list of names, such as www.example.com, *.example.org",
        });
    }
    Ok(of_ingress(IngressPatch { aliases: Some(aliases), ..IngressPatch::default() }))
}

pub(in crate::annotations) fn service_address(text: &str) -> Parsed {
    let on = nginx_bool(text)?;
    let value = of_ingress(IngressPatch { service_address: Some(on), ..IngressPatch::default() });
    let note = Note {
        message: "is served: the Service's own address takes every tunnel, so that neither affinity nor limits of \
                  endpoints mean anything",
        remedy: "remove it: Longhaul follows endpoints without a reload",
    };
    Ok(Value { note: on.then_some(note), ..value })
}

pub(in crate::annotations) fn standby(text: &str) -> Parsed {
    if !grammar::SERVICE.holds(text) || text.len() > 63 {
        return Err(Malformed {
            message: "is no name of a Service",
            remedy: "name a Service of this namespace, such as maintenance",
        });
    }
    Ok(of_ingress(IngressPatch { standby: Some(text.to_owned()), ..IngressPatch::default() }))
}
