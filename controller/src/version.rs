//! What tells one version of an object from another, equally on every replica: whatever translation reads of it, and
//! nothing that a write of its status changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use translate::{Kind, Object, reads_annotation};
use xxhash_rust::xxh3::Xxh3;

/// One version of an Ingress or WsRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// `metadata.uid`: one that was made anew under the same name is another object.
    pub uid: String,
    /// `metadata.generation`: the API server raises it with every change of the spec.
    pub generation: i64,
    /// A hash of the annotations that are read: an Ingress changes by them without its generation.
    pub annotations: u64,
}

impl Version {
    /// Of an Ingress or WsRoute that came from an API server; files have no versions.
    pub fn of(object: &Object) -> Option<Self> {
        let metadata = object.metadata();
        let annotations = match object.kind() {
            Kind::Ingress => annotations(metadata),
            // Everything that it says stands in its spec.
            Kind::WsRoute => 0,
            _ => return None,
        };
        Some(Self { uid: metadata.uid.clone()?, generation: metadata.generation?, annotations })
    }
}

fn annotations(metadata: &ObjectMeta) -> u64 {
    let mut hash = Xxh3::new();
    for (key, value) in metadata.annotations.iter().flatten().filter(|(key, _)| reads_annotation(key)) {
        for text in [key, value] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crds::wsroute::WsRoute;
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::networking::v1::Ingress;
    use serde_json::json;

    use super::*;

    fn version(metadata: &serde_json::Value) -> Option<Version> {
        let ingress: Ingress = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        Version::of(&Object::Ingress(Arc::new(ingress)))
    }

    #[test]
    fn only_what_is_read_makes_a_version() {
        let base = version(&json!({"uid": "u", "generation": 1})).unwrap();
        let same = [
            json!({"uid": "u", "generation": 1, "resourceVersion": "9", "labels": {"a": "b"}}),
            json!({"uid": "u", "generation": 1, "annotations": {"kubectl.kubernetes.io/restartedAt": "x"}}),
        ];
        for metadata in same {
            assert_eq!(version(&metadata).as_ref(), Some(&base), "{metadata}");
        }
        let others = [
            json!({"uid": "v", "generation": 1}),
            json!({"uid": "u", "generation": 2}),
            json!({"uid": "u", "generation": 1, "annotations": {"longhaul.dev/idle-timeout": "1h"}}),
            json!({"uid": "u", "generation": 1, "annotations": {"longhaul.dev/idle-timeout": "2h"}}),
            json!({"uid": "u", "generation": 1, "annotations": {"nginx.ingress.kubernetes.io/x": "1h"}}),
            json!({"uid": "u", "generation": 1, "annotations": {"kubernetes.io/ingress.class": "x"}}),
        ];
        let mut seen = std::collections::BTreeSet::from([base]);
        for metadata in others {
            assert!(seen.insert(version(&metadata).unwrap()), "{metadata}");
        }
    }

    #[test]
    fn files_and_other_kinds_have_none_and_wsroutes_no_annotations() {
        assert_eq!(version(&json!({"name": "a"})), None);
        assert_eq!(version(&json!({"uid": "u"})), None);
        let service: Service =
            serde_json::from_value(json!({"metadata": {"uid": "u", "generation": 1}})).unwrap();
        assert_eq!(Version::of(&Object::Service(Arc::new(service))), None);
        let annotations = [("longhaul.dev/idle-timeout".to_owned(), "1h".to_owned())];
        let mut route = WsRoute::default();
        route.metadata.uid = Some("u".into());
        route.metadata.generation = Some(1);
        let plain = Version::of(&Object::WsRoute(Arc::new(route.clone())));
        route.metadata.annotations = Some(annotations.into());
        assert_eq!(Version::of(&Object::WsRoute(Arc::new(route))), plain);
        assert!(plain.is_some());
    }
}
