//! Client certificates. Each key is read by itself, and they are put together once all are known: a Secret that does
//! not read, or words about certificates that nobody asks for, would leave open what was meant to be closed.

use std::collections::BTreeMap;

use super::super::{NGINX, OWN, Reader};
use super::{Malformed, Parsed, go_bool, nginx_bool};
use crate::diagnostic::{Severity, quoted};
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::clients::{ClientCertificates, ClientMode, ClientsPatch, Passed};

type Read = fn(&str) -> Parsed;
type Annotations = BTreeMap<String, String>;

pub(in super::super) fn own_secret(text: &str) -> Parsed {
    if !is_name(text) {
        return Err(Malformed {
            message: "is no name of a Secret",
            remedy: "write the name of a Secret in this namespace",
        });
    }
    Ok(PolicyPatch::default().into())
}

pub(in super::super) fn own_mode(text: &str) -> Parsed {
    mode(text).map(|_| PolicyPatch::default().into()).ok_or(Malformed {
        message: "does not say who must have a certificate",
        remedy: "write required or optional",
    })
}

pub(in super::super) fn nginx_secret(text: &str) -> Parsed {
    let sound = text.split_once('/').is_some_and(|(namespace, name)| {
        grammar::LABEL.holds(namespace) && namespace.len() <= 63 && is_name(name)
    });
    if !sound {
        return Err(Malformed {
            message: "is no Secret with its namespace",
            remedy: "write NAMESPACE/NAME, with exactly one slash",
        });
    }
    Ok(PolicyPatch::default().into())
}

pub(in super::super) fn nginx_verify(text: &str) -> Parsed {
    match text {
        "off" | "on" | "optional" | "optional_no_ca" => Ok(PolicyPatch::default().into()),
        _ => Err(Malformed {
            message: "does not say who must have a certificate",
            remedy: "write on, off, optional or optional_no_ca",
        }),
    }
}

pub(in super::super) fn nginx_depth(text: &str) -> Parsed {
    depth(text).map(|_| PolicyPatch::default().into()).ok_or(Malformed {
        message: "is no number of certificates",
        remedy: "write digits, such as 1; as in ingress-nginx 0 means 1",
    })
}

/// Whether it is a regular expression that can be served, translation finds out.
pub(in super::super) fn nginx_common_name(text: &str) -> Parsed {
    // What follows a comma may be a number of times, but no other part of a subject.
    let another =
        |part: &str| part.trim_start().trim_start_matches(|c: char| c.is_ascii_alphabetic()).starts_with('=');
    let sound = text.starts_with("CN=") && text.len() > 3 && !text.split(',').skip(1).any(another);
    if !sound || text.len() > 512 || text.chars().any(char::is_control) {
        return Err(Malformed {
            message: "is no common name",
            remedy: "write CN= and a regular expression for the name alone, such as CN=device-[0-9]+$",
        });
    }
    Ok(PolicyPatch::default().into())
}

pub(in super::super) fn nginx_pass(text: &str) -> Parsed {
    nginx_bool(text).map(|_| PolicyPatch::default().into())
}

/// Puts the keys of each family together. Ours replace ingress-nginx's whole.
pub(in super::super) fn put_together(
    reader: &mut Reader<'_>,
    annotations: &Annotations,
    nginx: bool,
    (own, theirs): (&mut PolicyPatch, &mut PolicyPatch),
) {
    own.ingress.client_certificates = finish(reader, OWN, ours(annotations));
    if nginx && own.ingress.client_certificates.is_none() {
        theirs.ingress.client_certificates = finish(reader, NGINX, theirs_of(annotations, reader));
    }
}

/// What is wrong with keys together: the key, and a remark unless its own reading has made one.
struct Wrong {
    name: &'static str,
    remark: Option<(String, &'static str, String)>,
}

type Together = Result<Option<ClientCertificates>, Wrong>;

fn finish(reader: &mut Reader<'_>, prefix: &str, together: Together) -> Option<ClientsPatch> {
    match together {
        Ok(asked) => asked.map(ClientsPatch::Asked),
        Err(Wrong { name, remark }) => {
            let key = format!("{prefix}{name}");
            if let Some((message, reason, remedy)) = remark {
                let message = format!("{message}; the routes answer 503");
                reader.report(&key, Severity::Error, reason, message, &remedy);
                reader.close(&key);
            }
            Some(ClientsPatch::Unreadable(format!("security annotation {key} cannot be kept")))
        }
    }
}

fn ours(annotations: &Annotations) -> Together {
    const SECRET: &str = "client-ca-secret";
    const MODE: &str = "client-certificate";
    let value = |name: &str| annotations.get(&format!("{OWN}{name}")).map(String::as_str);
    let unread = |name| Wrong { name, remark: None };
    let mode = match value(MODE) {
        None => ClientMode::Required,
        Some(text) => mode(text).ok_or_else(|| unread(MODE))?,
    };
    let Some(secret) = value(SECRET) else {
        return match value(MODE) {
            None => Ok(None),
            Some(_) => Err(alone(MODE, OWN, SECRET)),
        };
    };
    if own_secret(secret).is_err() {
        return Err(unread(SECRET));
    }
    let field = format!("metadata.annotations[{OWN}{SECRET}]");
    let (depth, common_name, passed) = (None, None, Passed::Own);
    Ok(Some(ClientCertificates { secret: secret.into(), mode, depth, common_name, passed, field }))
}

fn theirs_of(annotations: &Annotations, reader: &Reader<'_>) -> Together {
    const SECRET: &str = "auth-tls-secret";
    const VERIFY: &str = "auth-tls-verify-client";
    const DEPTH: &str = "auth-tls-verify-depth";
    const NAME: &str = "auth-tls-match-cn";
    const PASS: &str = "auth-tls-pass-certificate-to-upstream";
    let value = |name: &str| annotations.get(&format!("{NGINX}{name}")).map(String::as_str);
    let reads: [(_, Read); 5] = [
        (SECRET, nginx_secret),
        (VERIFY, nginx_verify),
        (DEPTH, nginx_depth),
        (NAME, nginx_common_name),
        (PASS, nginx_pass),
    ];
    if let Some((name, _)) =
        reads.iter().find(|(name, read)| value(name).is_some_and(|text| read(text).is_err()))
    {
        return Err(Wrong { name, remark: None });
    }
    let mode = match value(VERIFY) {
        Some("off") => None,
        Some("optional") => Some(ClientMode::Optional),
        Some("optional_no_ca") => Some(ClientMode::Unverified),
        _ => Some(ClientMode::Required),
    };
    let (Some(mode), Some(secret)) = (mode, value(SECRET)) else {
        let verified = value(VERIFY).is_some_and(|mode| mode != "off");
        return match [NAME, VERIFY]
            .into_iter()
            .find(|name| value(name).is_some() && (*name == NAME || verified))
        {
            Some(name) if mode.is_some() => Err(alone(name, NGINX, SECRET)),
            Some(name) => Err(Wrong {
                name,
                remark: Some((
                    format!(
                        "names clients, and {NGINX}{VERIFY} is off, so that none is asked for a certificate"
                    ),
                    "UnsupportedValue",
                    format!("set {NGINX}{VERIFY}: \"on\", or remove this"),
                )),
            }),
            None => Ok(None),
        };
    };
    let (namespace, name) = secret.split_once('/').unwrap_or_default();
    if namespace != reader.object.namespace {
        return Err(Wrong {
            name: SECRET,
            remark: Some((
                format!("{} is in another namespace", quoted(secret)),
                "RefNotPermitted",
                format!("name a Secret of namespace {}", reader.object.namespace),
            )),
        });
    }
    let pass = value(PASS).and_then(go_bool) == Some(true);
    Ok(Some(ClientCertificates {
        secret: name.into(),
        mode,
        depth: value(DEPTH).map_or(Some(1), depth),
        common_name: value(NAME).map(str::to_owned),
        passed: if pass { Passed::NginxWithCertificate } else { Passed::Nginx },
        field: format!("metadata.annotations[{NGINX}{SECRET}]"),
    }))
}

fn alone(name: &'static str, prefix: &str, needed: &str) -> Wrong {
    let message = format!("says nothing without {prefix}{needed}");
    Wrong { name, remark: Some((message, "UnsupportedValue", "set that too, or remove it".into())) }
}

fn mode(text: &str) -> Option<ClientMode> {
    match text {
        "required" => Some(ClientMode::Required),
        "optional" => Some(ClientMode::Optional),
        _ => None,
    }
}

/// As ingress-nginx: 0 means its default.
fn depth(text: &str) -> Option<u8> {
    let digits = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let depth: u8 = text.parse().ok().filter(|_| digits)?;
    Some(if depth == 0 { 1 } else { depth })
}

fn is_name(text: &str) -> bool {
    grammar::OBJECT_NAME.holds(text) && text.len() <= 253
}
