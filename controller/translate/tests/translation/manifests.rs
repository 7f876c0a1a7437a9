//! Reads the manifests of test cases into objects, and holds a few objects to build others of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snapshot::CertificateKey;
use translate::{AffinityKeyFrom, Change, Kind, Object, Settings, StatusOf, Store};

/// A case: settings, and objects in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Case {
    /// From the document of kind `Settings`, if there is one.
    pub(crate) settings: Settings,
    /// All other documents.
    pub(crate) objects: Vec<Object>,
}

/// What a case may set.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsDocument {
    #[serde(rename = "kind")]
    _kind: String,
    ingress_class: Option<String>,
    default_tls_secret: Option<String>,
    #[serde(default)]
    trusted_proxies: Vec<ipnet::IpNet>,
    #[serde(default)]
    proxy_protocol_from: Vec<ipnet::IpNet>,
    #[serde(default)]
    loopback_endpoints: bool,
    built_in_class: Option<String>,
    class_by_name: Option<String>,
    #[serde(default)]
    watch_without_class: bool,
    #[serde(default)]
    also_classes: BTreeSet<String>,
    also_class_status: Option<bool>,
    nginx_annotations: Option<bool>,
    #[serde(default)]
    addresses: Vec<crds::wsroute::Address>,
    affinity_key_secret: Option<String>,
}

impl Case {
    /// Reads a file of several documents.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut case = Self::default();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value =
                Value::deserialize(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if value["kind"] == "Settings" {
                case.settings = settings(serde_json::from_value(value).unwrap());
            } else {
                case.objects.push(object(value));
            }
        }
        case
    }

    /// A store that holds the objects.
    pub(crate) fn store(&self) -> Store {
        let mut store = Store::default();
        for object in &self.objects {
            store.apply(Change::Upsert(object.clone()));
        }
        store
    }
}

fn settings(document: SettingsDocument) -> Settings {
    let default = Settings::default();
    Settings {
        ingress_class: document.ingress_class,
        default_tls_secret: document.default_tls_secret.map(|name| {
            let (namespace, secret) = name.split_once('/').unwrap();
            CertificateKey { namespace: namespace.into(), secret: secret.into() }
        }),
        trusted_proxies: document.trusted_proxies,
        proxy_protocol_from: document.proxy_protocol_from,
        loopback_endpoints: document.loopback_endpoints,
        built_in_class: document.built_in_class,
        class_by_name: document.class_by_name,
        watch_without_class: document.watch_without_class,
        also_classes: document.also_classes,
        also_class_status: if document.also_class_status == Some(false) {
            StatusOf::Withheld
        } else {
            StatusOf::Written
        },
        addresses: document.addresses,
        affinity_key: document.affinity_key_secret.map_or(AffinityKeyFrom::Nowhere, |name| {
            let (namespace, name) = name.split_once('/').unwrap();
            AffinityKeyFrom::Secret { namespace: namespace.into(), name: name.into() }
        }),
        nginx_annotations: document.nginx_annotations.unwrap_or(default.nginx_annotations),
        ..default
    }
}

/// One object of a watched kind; `stringData` becomes `data` and an absent namespace `default`, as the API server
/// and the directory source do.
pub(crate) fn object(mut value: Value) -> Object {
    fn read<T: DeserializeOwned>(value: Value) -> Arc<T> {
        let shown = value.to_string();
        Arc::new(serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}: {shown}")))
    }
    let kind = Kind::ALL.into_iter().find(|kind| value["kind"] == kind.as_str());
    let kind = kind.unwrap_or_else(|| panic!("no kind that is watched: {value}"));
    if kind != Kind::IngressClass && value["metadata"]["namespace"].is_null() {
        value["metadata"]["namespace"] = "default".into();
    }
    match kind {
        Kind::Ingress => Object::Ingress(read(value)),
        Kind::IngressClass => Object::IngressClass(read(value)),
        Kind::WsRoute => Object::WsRoute(read(value)),
        Kind::WsPolicy => Object::WsPolicy(read(value)),
        Kind::Service => Object::Service(read(value)),
        Kind::EndpointSlice => Object::EndpointSlice(read(value)),
        Kind::ConfigMap => Object::ConfigMap(read(value)),
        Kind::Secret => {
            let mut secret = Arc::unwrap_or_clone(read::<Secret>(value));
            for (name, text) in secret.string_data.take().into_iter().flatten() {
                secret.data.get_or_insert_default().insert(name, ByteString(text.into_bytes()));
            }
            Object::Secret(Arc::new(secret))
        }
    }
}

/// A Secret with a certificate, or with something else in its place.
pub(crate) fn secret(name: &str, good: bool) -> Object {
    static PAIR: LazyLock<(String, String)> = LazyLock::new(|| {
        let pair = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    });
    let (chain, key) = &*PAIR;
    object(json!({
        "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": if good { chain } else { "none" }, "tls.key": key, "ca.crt": if good { chain } else { "none" },
        },
    }))
}
