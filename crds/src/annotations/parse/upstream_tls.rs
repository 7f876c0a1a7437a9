//! TLS to backends. Each key is read by itself; what ingress-nginx does without one of its keys is put in once all are
//! known.

use super::super::{NGINX, OWN, Reader};
use super::{Malformed, Note, Parsed, Value};
use crate::diagnostic::{Severity, quoted};
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::upstream_tls::{Protocol, SecretName, UpstreamTlsPatch, Verify};
use crate::tls::TlsVersion;

const CA: &str = "upstream-ca-secret";
const CLIENT: &str = "upstream-client-secret";
const BOTH: &str = "proxy-ssl-secret";

pub(in super::super) fn own_protocol(text: &str) -> Parsed {
    let protocol = match text {
        "http" => Protocol::Http,
        "https" => Protocol::Https,
        _ => {
            return Err(Malformed {
                message: "is no protocol that is spoken to backends",
                remedy: "write http or https",
            });
        }
    };
    Ok(of(UpstreamTlsPatch { protocol: Some(protocol), ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn own_ca(text: &str) -> Parsed {
    let ca = Some(secret(text, OWN, CA)?);
    Ok(of(UpstreamTlsPatch { ca, meant: true, ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn own_client(text: &str) -> Parsed {
    let client = Some(secret(text, OWN, CLIENT)?);
    Ok(of(UpstreamTlsPatch { client, meant: true, ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn own_server_name(text: &str) -> Parsed {
    let server_name = Some(server_name(text)?);
    Ok(of(UpstreamTlsPatch { server_name, meant: true, ..UpstreamTlsPatch::default() }))
}

/// In any case, as in ingress-nginx.
pub(in super::super) fn nginx_protocol(text: &str) -> Parsed {
    let protocol = match &*text.to_ascii_uppercase() {
        "HTTP" => Protocol::Http,
        "HTTPS" => Protocol::Https,
        "AUTO_HTTP" => Protocol::AsClient,
        "GRPC" | "GRPCS" | "FCGI" => {
            return Err(Malformed {
                message: "is not spoken: Longhaul carries WebSockets and HTTP/1.1",
                remedy: "leave this Ingress to a controller that speaks it, or write HTTP or HTTPS",
            });
        }
        _ => {
            return Err(Malformed {
                message: "is no protocol that is spoken to backends",
                remedy: "write HTTP, HTTPS or AUTO_HTTP",
            });
        }
    };
    Ok(of(UpstreamTlsPatch { protocol: Some(protocol), ..UpstreamTlsPatch::default() }))
}

/// `NAMESPACE/NAME`. That the namespace is the object's own is looked at where the keys are put together.
pub(in super::super) fn nginx_secret(text: &str) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is no name of a Secret with its namespace",
        remedy: "write NAMESPACE/NAME, of a Secret in the namespace of the Ingress",
    };
    let (namespace, name) = text.split_once('/').ok_or(GRAMMAR)?;
    if !grammar::LABEL.holds(namespace) || !sound(name) {
        return Err(GRAMMAR);
    }
    let both = Some(SecretName { namespace: None, name: text.to_owned(), field: field(NGINX, BOTH) });
    Ok(of(UpstreamTlsPatch { both, ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn nginx_verify(text: &str) -> Parsed {
    let verify = Some(if on(text)? { Verify::Certificates } else { Verify::Nothing });
    Ok(of(UpstreamTlsPatch { verify, ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn nginx_name(text: &str) -> Parsed {
    let server_name = Some(server_name(text)?);
    Ok(of(UpstreamTlsPatch { server_name, ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn nginx_sni(text: &str) -> Parsed {
    let sni = Some(on(text)?);
    Ok(of(UpstreamTlsPatch { sni, ..UpstreamTlsPatch::default() }))
}

pub(in super::super) fn nginx_versions(text: &str) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "names no TLS version that is spoken",
        remedy: "write TLSv1.2, TLSv1.3, or both with a blank between them",
    };
    let (mut versions, mut old) = (Vec::new(), false);
    for word in text.split_ascii_whitespace() {
        match word {
            "TLSv1.2" => versions.push(TlsVersion::V1_2),
            "TLSv1.3" => versions.push(TlsVersion::V1_3),
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => old = true,
            _ => return Err(GRAMMAR),
        }
    }
    if versions.is_empty() {
        return Err(GRAMMAR);
    }
    let value = of(UpstreamTlsPatch { versions: Some(versions), ..UpstreamTlsPatch::default() });
    let note = Note {
        message: "is served without the versions before TLS 1.2, which nobody should speak any more",
        remedy: "remove them",
    };
    Ok(Value { note: old.then_some(note), ..value })
}

/// What the keys of each family mean together. Ours ask for verification and send the name; ingress-nginx's do neither
/// unless they say so.
pub(in super::super) fn put_together(
    reader: &mut Reader<'_>,
    (own, theirs): (&mut UpstreamTlsPatch, &mut UpstreamTlsPatch),
) {
    match own.spoken() {
        Some(Protocol::Https) => {
            own.verify = Some(Verify::Certificates);
            own.sni = Some(true);
        }
        _ if own.meant => {
            let message = "other upstream-* annotations are there, which have no effect with this".into();
            let key = format!("{OWN}upstream-protocol");
            reader.report(
                &key,
                Severity::Warning,
                "UnsupportedValue",
                message,
                "write https, or remove them",
            );
        }
        _ => {}
    }
    if let Some(both) = &mut theirs.both {
        let (namespace, name) = both.name.split_once('/').unwrap_or((&reader.object.namespace, &both.name));
        if namespace != reader.object.namespace {
            let key = format!("{NGINX}{BOTH}");
            let message = format!("{} is in another namespace; the routes answer 503", quoted(&both.name));
            let remedy = format!("name a Secret of namespace {}", reader.object.namespace);
            reader.report(&key, Severity::Error, "RefNotPermitted", message, &remedy);
            reader.close(&key);
        }
        both.name = name.to_owned();
    }
    if matches!(theirs.protocol, Some(Protocol::Https | Protocol::AsClient)) {
        theirs.verify.get_or_insert(Verify::Nothing);
        theirs.sni.get_or_insert(false);
    }
}

fn of(upstream_tls: UpstreamTlsPatch) -> Value {
    PolicyPatch { upstream_tls, ..PolicyPatch::default() }.into()
}

fn secret(text: &str, prefix: &str, name: &str) -> Result<SecretName, Malformed> {
    if !sound(text) {
        return Err(Malformed {
            message: "is no name of a Secret",
            remedy: "write the name of a Secret in this namespace",
        });
    }
    Ok(SecretName { namespace: None, name: text.to_owned(), field: field(prefix, name) })
}

fn sound(name: &str) -> bool {
    grammar::OBJECT_NAME.holds(name) && name.len() <= 253
}

fn server_name(text: &str) -> Result<String, Malformed> {
    if !grammar::SERVER_NAME.holds(text) || text.len() > 253 {
        return Err(Malformed {
            message: "is no name of a server",
            remedy: "write the name in the backend's certificate, such as chat.internal",
        });
    }
    Ok(text.to_owned())
}

/// In lower case, as in ingress-nginx.
fn on(text: &str) -> Result<bool, Malformed> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Malformed { message: "is neither on nor off", remedy: "write on or off" }),
    }
}

fn field(prefix: &str, name: &str) -> String {
    format!("metadata.annotations[{prefix}{name}]")
}
