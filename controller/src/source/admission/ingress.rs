//! Ingress and IngressClass as the API server accepts them.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/apis/networking/validation/validation.go>

use std::net::IpAddr;

use crds::grammar;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressSpec};

use super::Checker;

/// The annotation that named the class before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What no path of type Exact or Prefix may contain, and what none may end with.
const NOT_INSIDE: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const NOT_AT_END: [&str; 2] = ["/..", "/."];

pub(super) fn check(ingress: &Ingress, checker: &mut Checker) {
    let default = IngressSpec::default();
    let spec = ingress.spec.as_ref().unwrap_or(&default);
    let rules = spec.rules.as_deref().unwrap_or_default();
    match &spec.default_backend {
        Some(backend) => check_backend("spec.defaultBackend", backend, checker),
        None if rules.is_empty() => {
            checker.say("spec", "an Ingress needs `rules` or a `defaultBackend`", "add one of them");
        }
        None => {}
    }
    check_class_name(ingress, spec, checker);
    check_tls(spec, checker);
    for (n, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{n}]");
        check_host(&format!("{field}.host"), rule.host.as_deref().unwrap_or_default(), checker);
        let Some(http) = &rule.http else { continue };
        if http.paths.is_empty() {
            checker.say(
                format!("{field}.http.paths"),
                "a rule needs at least one path",
                "add one, or remove `http`",
            );
        }
        for (m, path) in http.paths.iter().enumerate() {
            check_path(&format!("{field}.http.paths[{m}]"), path, checker);
        }
    }
}

fn check_class_name(ingress: &Ingress, spec: &IngressSpec, checker: &mut Checker) {
    let Some(class) = &spec.ingress_class_name else { return };
    checker.form("spec.ingressClassName", class, &grammar::OBJECT_NAME, 253);
    let annotations = ingress.metadata.annotations.as_ref();
    if annotations.is_some_and(|annotations| annotations.contains_key(CLASS_ANNOTATION)) {
        checker.say(
            format!("metadata.annotations[{CLASS_ANNOTATION}]"),
            "it cannot be set when `spec.ingressClassName` is set too",
            "remove the annotation",
        );
    }
}

fn check_tls(spec: &IngressSpec, checker: &mut Checker) {
    for (n, tls) in spec.tls.iter().flatten().enumerate() {
        for (m, host) in tls.hosts.iter().flatten().enumerate() {
            checker.form(format!("spec.tls[{n}].hosts[{m}]"), host, &grammar::HOST, 253);
        }
        if let Some(secret) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) {
            checker.form(format!("spec.tls[{n}].secretName"), secret, &grammar::OBJECT_NAME, 253);
        }
    }
}

fn check_host(field: &str, host: &str, checker: &mut Checker) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        checker.say(
            field,
            format!("`{host}` is an address; a rule is for a DNS name"),
            "write a DNS name, or none",
        );
    } else {
        checker.form(field, host, &grammar::HOST, 253);
    }
}

fn check_path(field: &str, path: &HTTPIngressPath, checker: &mut Checker) {
    let text = path.path.as_deref().unwrap_or_default();
    let place = format!("{field}.path");
    match &*path.path_type {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                checker.say(
                    &*place,
                    format!("`{text}` is no absolute path"),
                    "write a path that begins with /",
                );
            }
            let inside = NOT_INSIDE.iter().find(|part| text.contains(**part));
            let found = inside.or_else(|| NOT_AT_END.iter().find(|part| text.ends_with(**part)));
            if let Some(part) = found {
                let message =
                    format!("`{text}` contains `{part}`, which no path of type {} may", path.path_type);
                checker.say(&*place, message, "remove that part");
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                checker.say(
                    &*place,
                    format!("`{text}` is no absolute path"),
                    "write a path that begins with /",
                );
            }
        }
        "" => checker.say(
            format!("{field}.pathType"),
            "a path needs `pathType`",
            "write Prefix, Exact or ImplementationSpecific",
        ),
        other => checker.say(
            format!("{field}.pathType"),
            format!("`{other}` is no type of a path"),
            "write Prefix, Exact or ImplementationSpecific",
        ),
    }
    check_backend(&format!("{field}.backend"), &path.backend, checker);
}

fn check_backend(field: &str, backend: &IngressBackend, checker: &mut Checker) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => {
            checker.say(field, "a backend is a `service` or a `resource`, not both", "remove one of them");
        }
        (None, None) => checker.say(field, "a backend needs a `service` or a `resource`", "add one of them"),
        (None, Some(_)) => {}
        (Some(service), None) => {
            let field = format!("{field}.service");
            checker.form(format!("{field}.name"), &service.name, &grammar::LABEL, 63);
            let (name, number) = match &service.port {
                Some(port) => {
                    (port.name.as_deref().filter(|name| !name.is_empty()), port.number.unwrap_or(0))
                }
                None => (None, 0),
            };
            let field = format!("{field}.port");
            match (name, number) {
                (Some(_), 1..) => {
                    checker.say(field, "a port has a `name` or a `number`, not both", "remove one of them");
                }
                (None, 0) => checker.say(field, "a port needs a `name` or a `number`", "add one of them"),
                (None, number) => checker.port_number(format!("{field}.number"), number),
                (Some(name), _) => checker.port_name(format!("{field}.name"), name),
            }
        }
    }
}

pub(super) fn check_class(class: &IngressClass, checker: &mut Checker) {
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref()).unwrap_or_default();
    let sound = |(domain, path): (&str, &str)| {
        let segment = |c: char| c.is_ascii_alphanumeric() || "/:@!$&'()*+,;=-._~%".contains(c);
        grammar::OBJECT_NAME.holds(domain) && !path.is_empty() && path.chars().all(segment)
    };
    if controller.len() > 250 || !controller.split_once('/').is_some_and(sound) {
        let message = match controller {
            "" => "an IngressClass needs `controller`".to_owned(),
            other => format!("`{other}` is no controller's name"),
        };
        checker.say(
            "spec.controller",
            message,
            "write longhaul.dev/ingress-controller, or the name of another one",
        );
    }
}
