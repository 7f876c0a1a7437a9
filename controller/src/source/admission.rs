//! What an API server does with an object whose types are right: it refuses what it cannot mean, and fills in
//! defaults. Only what translation would trip over is here; the rest of an object passes as it is.
//!
//! The rules are those of Kubernetes' own validation (`pkg/apis/{networking,core,discovery}/validation`, 1.36), but
//! for loopback endpoints, which standalone mode serves.

mod ingress;
mod schema;
mod service;

use crds::grammar::{self, Grammar};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::sync::Arc;
use translate::Object;

use super::decode::Mistake;

pub(super) use schema::{check_wspolicy, check_wsroute};

/// What is wrong with an object of a built-in kind. The lines are not known here.
pub(super) fn check(object: &Object) -> Vec<Mistake> {
    let mut checker = Checker::default();
    match object {
        Object::Ingress(ingress) => ingress::check(ingress, &mut checker),
        Object::IngressClass(class) => ingress::check_class(class, &mut checker),
        Object::Service(service) => service::check(service, &mut checker),
        Object::EndpointSlice(slice) => service::check_slice(slice, &mut checker),
        Object::Secret(secret) => check_secret(secret, &mut checker),
        Object::ConfigMap(map) => check_config_map(map, &mut checker),
        Object::WsRoute(_) | Object::WsPolicy(_) => {}
    }
    // Of a Secret only keys are looked at.
    let about_key = matches!(object, Object::Secret(_));
    checker.mistakes.iter_mut().for_each(|mistake| mistake.about_key = about_key);
    checker.mistakes
}

/// Sets what the API server would, where translation reads it.
pub(super) fn fill_in(object: &mut Object) {
    match object {
        Object::Service(service) => service::fill_in(Arc::make_mut(service)),
        Object::EndpointSlice(slice) => service::fill_in_slice(Arc::make_mut(slice)),
        Object::Secret(secret) => {
            Arc::make_mut(secret).type_.get_or_insert_with(|| "Opaque".into());
        }
        // Status is not what whoever applies an object says of it.
        Object::WsRoute(route) if route.status.is_some() => Arc::make_mut(route).status = None,
        Object::Ingress(_)
        | Object::IngressClass(_)
        | Object::WsRoute(_)
        | Object::WsPolicy(_)
        | Object::ConfigMap(_) => {}
    }
}

/// Collects mistakes.
#[derive(Default)]
struct Checker {
    mistakes: Vec<Mistake>,
}

impl Checker {
    fn say(&mut self, field: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) {
        let (field, message, remedy) = (field.into(), message.into(), remedy.into());
        self.mistakes.push(Mistake { field, message, remedy, ..Mistake::default() });
    }

    /// A text that must have a form.
    fn form(&mut self, field: impl Into<String>, text: &str, grammar: &Grammar, most: usize) {
        if !grammar.holds(text) || text.len() > most {
            self.say(
                field,
                format!("`{text}` does not have the form that is asked for"),
                format!("write at most {most} characters: {}", grammar.words),
            );
        }
    }

    fn port_number(&mut self, field: impl Into<String>, number: i32) {
        if !(1..=65535).contains(&number) {
            self.say(field, format!("{number} is no port"), "write a port from 1 to 65535");
        }
    }

    fn port_name(&mut self, field: impl Into<String>, name: &str) {
        self.form(field, name, &grammar::PORT_NAME, 15);
    }

    fn protocol(&mut self, field: impl Into<String>, protocol: Option<&str>) {
        if let Some(protocol) = protocol.filter(|name| !matches!(*name, "TCP" | "UDP" | "SCTP")) {
            self.say(field, format!("`{protocol}` is no protocol of a port"), "write TCP, UDP or SCTP");
        }
    }
}

fn check_secret(secret: &Secret, checker: &mut Checker) {
    for key in secret.data.iter().flatten().map(|(key, _)| key) {
        check_key(("Secret", "data"), key, checker);
    }
    if secret.type_.as_deref() == Some("kubernetes.io/tls") {
        for key in ["tls.crt", "tls.key"] {
            if !secret.data.as_ref().is_some_and(|data| data.contains_key(key)) {
                checker.say(
                    format!("data[{key}]"),
                    format!("a Secret of type kubernetes.io/tls needs `{key}`"),
                    "add it, in base64 under data or as text under stringData",
                );
            }
        }
    }
}

fn check_config_map(map: &ConfigMap, checker: &mut Checker) {
    for key in map.data.iter().flatten().map(|(key, _)| key) {
        check_key(("ConfigMap", "data"), key, checker);
    }
    for key in map.binary_data.iter().flatten().map(|(key, _)| key) {
        check_key(("ConfigMap", "binaryData"), key, checker);
    }
}

fn check_key((kind, field): (&str, &str), key: &str, checker: &mut Checker) {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || key.len() > 253 || !key.bytes().all(sound) || key == "." || key.starts_with("..") {
        checker.say(
            super::decode::below(field, key),
            format!("`{key}` cannot be a key of a {kind}"),
            "use letters, digits, `-`, `_` and `.`",
        );
    }
}

/// The namespace that an object names.
pub(super) fn check_namespace(namespace: Option<&str>) -> Option<Mistake> {
    let mut checker = Checker::default();
    if let Some(namespace) = namespace {
        checker.form("metadata.namespace", namespace, &grammar::LABEL, 63);
    }
    checker.mistakes.pop()
}

#[cfg(test)]
mod tests;
