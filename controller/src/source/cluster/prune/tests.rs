//! What is left of objects. Each input is as an API server gives it.

use crds::wsroute::AddressKind;
use serde_json::json;
use translate::Change;

use super::*;

fn kept<K: Watched>(object: Value) -> Kept {
    serde_json::from_value::<K>(object).unwrap().keep(Kind::WsRoute, "longhaul.dev/default.longhaul")
}

fn shown(kept: &Kept) -> Value {
    let Sight::Whole(object) = kept.sight.as_ref().unwrap() else { panic!("{kept:?}") };
    show(object)
}

fn show(object: &Object) -> Value {
    match object {
        Object::Ingress(object) => serde_json::to_value(object),
        Object::IngressClass(object) => serde_json::to_value(object),
        Object::WsRoute(object) => serde_json::to_value(object),
        Object::WsPolicy(object) => serde_json::to_value(object),
        Object::Service(object) => serde_json::to_value(object),
        Object::EndpointSlice(object) => serde_json::to_value(object),
        Object::Secret(object) => serde_json::to_value(object),
        Object::ConfigMap(object) => serde_json::to_value(object),
    }
    .unwrap()
}

fn metadata() -> Value {
    json!({
        "name": "x", "namespace": "d", "uid": "7", "generation": 3, "resourceVersion": "99",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": {"app": "x", "kubernetes.io/service-name": "app"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "longhaul.dev/idle-timeout": "2h",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "5", "kubernetes.io/ingress.class": "longhaul",
        },
        "managedFields": [
            {"manager": "longhaul.dev/default.longhaul", "subresource": "status", "operation": "Apply"},
        ],
    })
}

#[test]
fn an_ingress_keeps_what_it_asks_for_and_its_status_goes_its_own_way() {
    let spec = json!({"ingressClassName": "longhaul"});
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]}});
    let kept = kept::<Ingress>(json!({"metadata": metadata(), "spec": spec, "status": status}));
    assert_eq!(
        shown(&kept),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": spec,
            "metadata": {
                "name": "x", "namespace": "d", "uid": "7", "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "annotations": {
                    "longhaul.dev/idle-timeout": "2h", "kubernetes.io/ingress.class": "longhaul",
                    "nginx.ingress.kubernetes.io/proxy-read-timeout": "5",
                },
            },
        })
    );
    let live = kept.live.unwrap();
    assert!(live.claimed);
    let LiveStatus::Ingress(addresses) = live.status else { panic!("{live:?}") };
    let values: Vec<_> = addresses.iter().map(|address| (address.kind, &*address.value)).collect();
    assert_eq!(values, [(AddressKind::IPAddress, "192.0.2.1"), (AddressKind::Hostname, "lb.example.com")]);
}

#[test]
fn only_our_own_mark_on_the_status_is_a_claim() {
    for (field, other) in [("manager", json!("kubectl")), ("subresource", json!(""))] {
        let mut metadata = metadata();
        metadata["managedFields"][0][field] = other;
        let kept = kept::<Ingress>(json!({"metadata": metadata}));
        assert!(!kept.live.unwrap().claimed, "{field}");
    }
}

#[test]
fn one_route_that_cannot_be_read_is_said_with_its_name() {
    let object = |kind: &str| {
        let path = json!({"type": kind, "value": "/"});
        let rule =
            json!({"name": "r", "matches": [{"path": path}], "backends": [{"service": "a", "port": 1}]});
        let status = json!({"conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }]});
        json!({
            "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsRoute",
            "metadata": metadata(), "spec": {"rules": [rule]}, "status": status,
        })
    };
    let good = kept::<DynamicObject>(object("Exact"));
    assert_eq!(shown(&good)["spec"]["rules"][0]["name"], "r");
    assert_eq!(shown(&good)["status"], Value::Null);
    let LiveStatus::WsRoute(status) = good.live.unwrap().status else { panic!("another kind") };
    assert_eq!(status.conditions[0].reason, "Accepted");
    let diagnostic = kept::<DynamicObject>(object("Glob")).sight.unwrap_err();
    assert_eq!(diagnostic.object, ObjectRef::new("WsRoute", "d", "x"));
    assert!(diagnostic.message.contains("unknown variant `Glob`"), "{diagnostic}");
}

#[test]
fn services_and_slices_keep_ports_addresses_and_conditions() {
    let spec =
        json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "selector": {"a": "b"}, "type": "NodePort"});
    let service =
        kept::<Service>(json!({"metadata": metadata(), "spec": spec, "status": {"loadBalancer": {}}}));
    let service = shown(&service);
    assert_eq!(
        service["spec"],
        json!({"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "type": "NodePort"})
    );
    assert_eq!(service["status"], Value::Null);
    let endpoint = json!({
        "addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true},
        "targetRef": {"kind": "Pod", "name": "p"},
    });
    let mut given = endpoint.clone();
    given["nodeName"] = json!("n");
    given["zone"] = json!("z");
    given["targetRef"]["uid"] = json!("u");
    given["hints"] = json!({"forZones": [{"name": "z"}]});
    let slice = json!({
        "metadata": metadata(), "addressType": "IPv4", "ports": [{"port": 8000}], "endpoints": [given],
    });
    let slice = shown(&kept::<EndpointSlice>(slice));
    assert_eq!(slice["endpoints"], json!([endpoint]));
    assert_eq!(slice["metadata"]["labels"], json!({"kubernetes.io/service-name": "app"}));
}

#[test]
fn a_secret_keeps_a_certificate_and_users_and_nothing_else() {
    // {SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=
    let hash = "e1NIQX1xVXFQNWN5eG02WWNUQWh6MDVIcGg1Z3Z1OU09";
    let data = json!({
        "tls.crt": "YQ==", "tls.key": "Yg==", "ca.crt": "Yw==", "password": "ZA==", "auth": "YW5uOg==", "ann": hash,
    });
    let object = json!({"metadata": metadata(), "type": "Opaque", "data": data});
    let secret = show(&super::secret(serde_json::from_value(object).unwrap()));
    assert_eq!(
        secret["data"],
        json!({
            "tls.crt": "YQ==", "tls.key": "Yg==", "ca.crt": "Yw==", "password": "", "auth": "YW5uOg==", "ann": hash,
        })
    );
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["metadata"], json!({"name": "x", "namespace": "d"}));
}

#[test]
fn a_written_status_is_no_change_of_the_object() {
    let mut store = translate::Store::default();
    let object = |status: Value, version: &str| {
        let mut metadata = metadata();
        metadata["resourceVersion"] = json!(version);
        metadata["managedFields"] = json!([]);
        let object = json!({"metadata": metadata, "spec": {}, "status": status});
        let Sight::Whole(object) = kept::<Ingress>(object).sight.unwrap() else { panic!("it is whole") };
        Change::Upsert(object)
    };
    assert!(!store.apply(object(json!({}), "1")).is_empty());
    let written = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    assert!(store.apply(object(written, "2")).is_empty());
}

#[test]
fn a_policy_of_classes_keeps_its_spec() {
    let given = |overrides: Value| {
        let spec = json!({"overrides": overrides, "hostOwnership": "Namespace"});
        let object = json!({
            "apiVersion": "longhaul.dev/v1alpha1", "kind": "WsPolicy", "metadata": metadata(), "spec": spec,
        });
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        object.keep(Kind::WsPolicy, "longhaul.dev/default.longhaul")
    };
    let kept = given(json!({"accessLog": false}));
    assert!(kept.live.is_none());
    let shown = shown(&kept);
    assert_eq!(shown["spec"], json!({"overrides": {"accessLog": false}, "hostOwnership": "Namespace"}));
    assert_eq!(shown["metadata"], json!({"name": "x", "namespace": "d"}));
    let diagnostic = given(json!({"accessLog": "no"})).sight.unwrap_err();
    assert_eq!(diagnostic.object, ObjectRef::new("WsPolicy", "d", "x"));
}

#[test]
fn a_config_map_keeps_its_texts_as_far_as_they_could_be_fields() {
    let map = |data: Value| {
        let object =
            json!({"metadata": metadata(), "data": data, "binaryData": {"b": "AAAA"}, "immutable": true});
        show(&config_map(serde_json::from_value(object).unwrap()))
    };
    assert_eq!(
        map(json!({"X-A": "1"})),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "d"},
            "data": {"X-A": "1"},
        })
    );
    // Of what is too much, so much that it still is.
    let long = map(json!({"a": "ä".repeat(MOST_BYTES), "b": "x"}));
    let kept = long["data"]["a"].as_str().unwrap().len();
    assert!((MOST_BYTES + 1..=MOST_BYTES + 4).contains(&kept), "{kept}");
    assert_eq!(long["data"].get("b"), None);
}
