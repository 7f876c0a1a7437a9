//! What is in the way of a watch, in words that say what to do about it.

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use kube::Error;
use kube::core::Status;

use super::Position;

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The place in the history of changes is no longer known: list anew. HTTP 410.
    Expired,
    /// This way of asking is not known to the server. HTTP 400, 422.
    NotUnderstood,
    /// HTTP 401, 403.
    NotPermitted,
    /// There is no such kind. HTTP 404.
    NoSuchKind,
    /// Anything that may pass by itself.
    Passing,
}

/// What a failure asks for.
pub(super) fn cause(error: &Error) -> Cause {
    match error {
        Error::Api(status) => cause_of(status),
        _ => Cause::Passing,
    }
}

fn cause_of(status: &Status) -> Cause {
    match status.code {
        400 | 422 => Cause::NotUnderstood,
        401 | 403 => Cause::NotPermitted,
        404 => Cause::NoSuchKind,
        410 => Cause::Expired,
        _ => Cause::Passing,
    }
}

/// The remark about a failure. What does not depend on the watch reads the same for all of them.
pub(super) fn remark(error: &Error, watch: &Position) -> Diagnostic {
    let resource = resource(watch.kind);
    let place = match &watch.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    let (reason, message, remedy) = match (cause(error), error) {
        (Cause::NotPermitted, Error::Api(status)) => (
            "Forbidden",
            format!(
                "{resource}{place} cannot be watched: {}; what was seen of them before stays",
                status.message
            ),
            format!("grant list and watch on {resource} to the controller's service account"),
        ),
        (Cause::NoSuchKind, _) => (
            "NoSuchKind",
            format!("the API server does not know {resource}; what was seen of them before stays"),
            "install the CustomResourceDefinition (the chart does, unless crds.enabled is false)".into(),
        ),
        (_, Error::Api(status)) => (
            "ApiServerError",
            format!("the API server answers {}: {}; what was seen before stays", status.code, status.message),
            "look into the API server; the controller goes on trying".into(),
        ),
        _ => (
            "ApiServerUnreachable",
            format!("the API server cannot be reached: {}; what was seen before stays", root(error)),
            "look into the API server and the way to it; the controller goes on trying".into(),
        ),
    };
    diagnostic(reason, message, remedy)
}

/// The remark about an object that could not be read by its name. `error`: none where there was no answer.
pub(super) fn unread(error: Option<&Error>, object: &ObjectRef) -> Diagnostic {
    let kind = format!("{}s", object.kind.to_lowercase());
    match error {
        Some(error @ Error::Api(status)) if cause(error) == Cause::NotPermitted => diagnostic(
            "Forbidden",
            format!(
                "{kind} in namespace {} cannot be read: {}; what was read of them before stays",
                object.namespace, status.message
            ),
            format!("grant get on {kind} to the controller's service account"),
        ),
        Some(Error::Api(status)) => diagnostic(
            "ApiServerError",
            format!(
                "{kind} in namespace {} cannot be read: the API server answers {}: {}; what was read of them before \
                stays",
                object.namespace, status.code, status.message
            ),
            "look into the API server; the controller goes on trying".into(),
        ),
        Some(error) => diagnostic(
            "ApiServerUnreachable",
            format!("the API server cannot be reached: {}; what was seen before stays", root(error)),
            "look into the API server and the way to it; the controller goes on trying".into(),
        ),
        None => silent("does not answer"),
    }
}

/// The remark about a watch that ends again and again, or of which nothing is heard.
pub(super) fn silent(message: &str) -> Diagnostic {
    let remedy = "look into the API server and the way to it; the controller goes on trying".into();
    diagnostic(
        "ApiServerUnreachable",
        format!("the API server {message}; what was seen before stays"),
        remedy,
    )
}

fn diagnostic(reason: &str, message: String, remedy: String) -> Diagnostic {
    Diagnostic {
        object: ObjectRef::new("Controller", "", "longhaul"),
        field: "--source cluster".into(),
        severity: Severity::Error,
        reason: reason.into(),
        message,
        remedy,
    }
}

/// As RBAC names it.
pub(super) fn resource(kind: translate::Kind) -> &'static str {
    match kind {
        translate::Kind::Ingress => "ingresses.networking.k8s.io",
        translate::Kind::IngressClass => "ingressclasses.networking.k8s.io",
        translate::Kind::WsRoute => "wsroutes.longhaul.dev",
        translate::Kind::WsPolicy => "wspolicies.longhaul.dev",
        translate::Kind::Service => "services",
        translate::Kind::EndpointSlice => "endpointslices.discovery.k8s.io",
        translate::Kind::Secret => "secrets",
        translate::Kind::ConfigMap => "configmaps",
    }
}

/// The innermost cause: what the system says. It is the same for every watch.
fn root(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
