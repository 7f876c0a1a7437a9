//! Objects cut down to what translation reads, before they are kept: what is not kept costs no memory, and a change of
//! it changes nothing.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use crds::policy::headers::MOST_BYTES;
use crds::wspolicy::WsPolicy;
use crds::wsroute::{WsRoute, WsRouteStatus};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;
use translate::{Kind, Object, SERVICE_NAME, is_password_hash, reads_annotation};

use super::Sight;
use crate::live::{Live, LiveStatus};

/// What a certificate is made of, whom it trusts and no longer trusts, the key of affinity cookies, and a file of users.
const READ_WHOLE: [&str; 6] = ["affinity-key", "auth", "ca.crl", "ca.crt", "tls.crt", "tls.key"];

/// What is left of an object.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) sight: Result<Sight, Diagnostic>,
    pub(super) live: Option<Live>,
}

/// How much of an object is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// Without what it holds.
    Metadata,
}

/// A kind that is watched.
pub(super) trait Watched: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// How much of it is watched.
    const PART: Part = Part::Whole;

    /// Cuts an object of this kind down. `manager` is who we are where status is written.
    fn keep(self, kind: Kind, manager: &str) -> Kept;
}

impl Watched for Ingress {
    fn keep(mut self, _: Kind, manager: &str) -> Kept {
        let live = live(&self.metadata, manager, LiveStatus::of_ingress(&self));
        self.status = None;
        self.metadata = owner(self.metadata);
        Kept { sight: Ok(Sight::Whole(Object::Ingress(Arc::new(self)))), live: Some(live) }
    }
}

impl Watched for IngressClass {
    fn keep(mut self, _: Kind, _: &str) -> Kept {
        self.metadata = named(self.metadata);
        Kept { sight: Ok(Sight::Whole(Object::IngressClass(Arc::new(self)))), live: None }
    }
}

/// One of our own kinds.
impl Watched for DynamicObject {
    fn keep(self, kind: Kind, manager: &str) -> Kept {
        if kind == Kind::WsPolicy { ws_policy(self) } else { ws_route(self, manager) }
    }
}

fn ws_route(mut object: DynamicObject, manager: &str) -> Kept {
    let status = object.data.as_object_mut().and_then(|object| object.remove("status"));
    // A status in a form that we do not know is one that we would write anew.
    let status = status.and_then(|status| serde_json::from_value::<WsRouteStatus>(status).ok());
    let live = live(&object.metadata, manager, LiveStatus::WsRoute(status.unwrap_or_default()));
    let metadata = owner(object.metadata);
    let sight = match serde_json::from_value(spec(&mut object.data)) {
        Ok(spec) => Ok(Sight::Whole(Object::WsRoute(Arc::new(WsRoute { metadata, spec, status: None })))),
        Err(error) => Err(unreadable(Kind::WsRoute, &metadata, &error)),
    };
    Kept { sight, live: Some(live) }
}

fn ws_policy(mut object: DynamicObject) -> Kept {
    let mut metadata = named(object.metadata);
    metadata.annotations = None;
    let sight = match serde_json::from_value(spec(&mut object.data)) {
        Ok(spec) => Ok(Sight::Whole(Object::WsPolicy(Arc::new(WsPolicy { metadata, spec })))),
        Err(error) => Err(unreadable(Kind::WsPolicy, &metadata, &error)),
    };
    Kept { sight, live: None }
}

fn spec(data: &mut Value) -> Value {
    data.get_mut("spec").map(Value::take).unwrap_or_default()
}

impl Watched for Service {
    fn keep(mut self, _: Kind, _: &str) -> Kept {
        self.metadata = named(self.metadata);
        self.status = None;
        self.spec = self.spec.map(|spec| ServiceSpec {
            ports: spec.ports,
            type_: spec.type_,
            cluster_ip: spec.cluster_ip,
            ..Default::default()
        });
        Kept { sight: Ok(Sight::Whole(Object::Service(Arc::new(self)))), live: None }
    }
}

impl Watched for EndpointSlice {
    fn keep(mut self, _: Kind, _: &str) -> Kept {
        let labels = self.metadata.labels.take().unwrap_or_default();
        self.metadata = named(self.metadata);
        self.metadata.labels = Some(labels.into_iter().filter(|(key, _)| key == SERVICE_NAME).collect());
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.deprecated_topology = None;
            endpoint.hints = None;
            endpoint.hostname = None;
            endpoint.node_name = None;
            endpoint.target_ref = endpoint.target_ref.take().map(|target| ObjectReference {
                kind: target.kind,
                name: target.name,
                ..ObjectReference::default()
            });
            endpoint.zone = None;
        }
        Kept { sight: Ok(Sight::Whole(Object::EndpointSlice(Arc::new(self)))), live: None }
    }
}

impl Watched for PartialObjectMeta<Secret> {
    const PART: Part = Part::Metadata;

    fn keep(self, _: Kind, _: &str) -> Kept {
        let version = self.metadata.resource_version.unwrap_or_default();
        Kept { sight: Ok(Sight::Version(version)), live: None }
    }
}

impl Watched for PartialObjectMeta<ConfigMap> {
    const PART: Part = Part::Metadata;

    fn keep(self, _: Kind, _: &str) -> Kept {
        let version = self.metadata.resource_version.unwrap_or_default();
        Kept { sight: Ok(Sight::Version(version)), live: None }
    }
}

/// Of a Secret that translation asks for, what it reads: certificates and users. Of everything else, only that it is
/// there and what its keys are: a key whose value is no password's hash may be a user's who cannot log in, and is told
/// so.
pub(super) fn secret(mut secret: Secret) -> Object {
    secret.metadata = named(secret.metadata);
    secret.metadata.annotations = None;
    secret.immutable = None;
    secret.string_data = None;
    for (key, value) in secret.data.iter_mut().flatten() {
        if !READ_WHOLE.contains(&&**key) && !is_password_hash(&value.0) {
            value.0 = Vec::new();
        }
    }
    Object::Secret(Arc::new(secret))
}

/// Of a ConfigMap that translation asks for, its texts: of those that are too many or too long for header fields so
/// much that this is still so.
pub(super) fn config_map(mut map: ConfigMap) -> Object {
    map.metadata = named(map.metadata);
    map.metadata.annotations = None;
    map.binary_data = None;
    map.immutable = None;
    let mut bytes = 0;
    map.data = map.data.map(|data| {
        let within = |(key, mut value): (String, String)| {
            let room = (MOST_BYTES + 1).checked_sub(bytes).filter(|room| *room > 0)?;
            value.truncate(value.ceil_char_boundary(room));
            bytes += key.len() + value.len();
            Some((key, value))
        };
        data.into_iter().map_while(within).collect()
    });
    Object::ConfigMap(Arc::new(map))
}

/// Name and annotations.
fn named(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        annotations: metadata.annotations.map(read).filter(|annotations| !annotations.is_empty()),
        ..ObjectMeta::default()
    }
}

/// Of an object that can own routes: its age decides conflicts, its identity and generation say what a status is of.
fn owner(mut metadata: ObjectMeta) -> ObjectMeta {
    let (creation_timestamp, generation) = (metadata.creation_timestamp.take(), metadata.generation);
    let uid = metadata.uid.take();
    ObjectMeta { creation_timestamp, generation, uid, ..named(metadata) }
}

fn read(annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.into_iter().filter(|(key, _)| reads_annotation(key)).collect()
}

fn live(metadata: &ObjectMeta, manager: &str, status: LiveStatus) -> Live {
    let fields = metadata.managed_fields.as_deref().unwrap_or_default();
    let claimed = fields.iter().any(|entry| {
        entry.manager.as_deref() == Some(manager) && entry.subresource.as_deref() == Some("status")
    });
    Live { uid: metadata.uid.clone().unwrap_or_default(), generation: metadata.generation, status, claimed }
}

fn unreadable(kind: Kind, metadata: &ObjectMeta, error: &serde_json::Error) -> Diagnostic {
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    Diagnostic {
        object: ObjectRef::new(
            kind.as_str(),
            namespace.unwrap_or_default(),
            name.unwrap_or_default(),
        ),
        field: "spec".into(),
        severity: Severity::Error,
        reason: "Invalid".into(),
        message: format!("it cannot be read, so nothing of it is served: {error}"),
        remedy: "bring the installed CustomResourceDefinition and the controller to one version, and apply it again".into(),
    }
}

#[cfg(test)]
mod tests;
