//! ConfigMaps that annotations of ingress-nginx name. What is in them is for translation, which knows it.

use super::super::{NGINX, Reader};
use super::{Malformed, Parsed};
use crate::diagnostic::{Severity, quoted};
use crate::grammar;
use crate::policy::PolicyPatch;
use crate::policy::config_maps::ConfigMapName;
use crate::policy::headers::{ChangesPatch, HeadersPatch};

const CUSTOM: &str = "custom-headers";

/// `NAMESPACE/NAME`. That the namespace is the object's own is looked at where the keys are put together.
pub(in super::super) fn nginx_custom(text: &str) -> Parsed {
    const GRAMMAR: Malformed = Malformed {
        message: "is no name of a ConfigMap with its namespace",
        remedy: "write NAMESPACE/NAME, of a ConfigMap in the namespace of the Ingress",
    };
    let (namespace, name) = text.split_once('/').ok_or(GRAMMAR)?;
    if !grammar::LABEL.holds(namespace) || !sound(name) {
        return Err(GRAMMAR);
    }
    let set_from = Some(ConfigMapName { name: text.to_owned(), field: field(CUSTOM) });
    let response = ChangesPatch { set_from, ..ChangesPatch::default() };
    let headers = HeadersPatch { response, ..HeadersPatch::default() };
    Ok(PolicyPatch { headers, ..PolicyPatch::default() }.into())
}

/// `[NAMESPACE/]NAME`, as above.
pub(in super::super) fn nginx_asked_with(text: &str) -> Parsed {
    let name = text.split_once('/').map_or(text, |(_, name)| name);
    if !sound(name) {
        return Err(Malformed {
            message: "is no name of a ConfigMap",
            remedy: "write the name of a ConfigMap in this namespace",
        });
    }
    Ok(PolicyPatch::default().into())
}

/// A ConfigMap of another namespace is not read: what is set of it is set by nobody.
pub(in super::super) fn put_together(reader: &mut Reader<'_>, set_from: &mut Option<ConfigMapName>) {
    let Some(named) = set_from else { return };
    match own(reader, &named.name) {
        Ok(name) => named.name = name,
        Err(message) => {
            let message = format!("{message}; the routes are served without it");
            let remedy = format!("name a ConfigMap of namespace {}", reader.object.namespace);
            let key = format!("{NGINX}{CUSTOM}");
            reader.report(&key, Severity::Warning, "RefNotPermitted", message, &remedy);
            *set_from = None;
        }
    }
}

/// A ConfigMap with what an authentication service gets. One of another namespace closes the routes.
pub(super) fn asked_with(reader: &mut Reader<'_>, name: &str, text: &str) -> Option<ConfigMapName> {
    match own(reader, text) {
        Ok(config_map) => Some(ConfigMapName { name: config_map, field: field(name) }),
        Err(message) => {
            let message = format!("{message}; the routes answer 503");
            let remedy = format!("name a ConfigMap of namespace {}", reader.object.namespace);
            let key = format!("{NGINX}{name}");
            reader.report(&key, Severity::Error, "RefNotPermitted", message, &remedy);
            reader.close(&key);
            None
        }
    }
}

/// The name in the object's own namespace.
fn own(reader: &Reader<'_>, text: &str) -> Result<String, String> {
    let home = &*reader.object.namespace;
    let (namespace, name) = text.split_once('/').unwrap_or((home, text));
    if namespace == home {
        return Ok(name.to_owned());
    }
    Err(format!("{} is in another namespace", quoted(text)))
}

fn sound(name: &str) -> bool {
    grammar::OBJECT_NAME.holds(name) && name.len() <= 253
}

fn field(name: &str) -> String {
    format!("metadata.annotations[{NGINX}{name}]")
}
