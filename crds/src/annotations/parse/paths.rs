//! Paths as ingress-nginx takes and rewrites them.

use super::{Malformed, Parsed, nginx_bool, of_ingress};
use crate::grammar;
use crate::policy::{IngressPatch, PathRewrite, PolicyPatch, RewritePatch};

pub(in super::super) fn nginx_use_regex(text: &str) -> Parsed {
    let use_regex = Some(nginx_bool(text)?);
    Ok(of_ingress(IngressPatch { use_regex, ..IngressPatch::default() }))
}

pub(in super::super) fn nginx_rewrite_target(text: &str) -> Parsed {
    if !is_template(text) {
        return Err(Malformed {
            message: "is no path",
            remedy: "write a path that begins with /, with $1 to $9 for groups of the path, such as /$2; to send \
                     clients elsewhere is what permanent-redirect is for",
        });
    }
    let rewrite = RewritePatch { path: Some(PathRewrite::Template(text.to_owned())), host: None };
    Ok(PolicyPatch { rewrite, ..PolicyPatch::default() }.into())
}

pub(in super::super) fn nginx_forwarded_prefix(text: &str) -> Parsed {
    if !is_template(text) {
        return Err(Malformed {
            message: "is no path",
            remedy: "write the prefix itself, such as /app, with $1 to $9 for groups of the path",
        });
    }
    let forwarded_prefix = Some(text.to_owned());
    Ok(of_ingress(IngressPatch { forwarded_prefix, ..IngressPatch::default() }))
}

pub(in super::super) fn nginx_upstream_vhost(text: &str) -> Parsed {
    super::own_upstream_host(text)
}

/// A path, of which each `$` has a digit behind it that names a group.
fn is_template(text: &str) -> bool {
    let mut parts = text.split('$');
    let first = parts.next().unwrap_or_default();
    let groups = parts.all(|part| part.starts_with(|digit: char| matches!(digit, '1'..='9')));
    groups && first.starts_with('/') && text.len() <= 1024 && grammar::SENT_PATH.holds(text)
}
