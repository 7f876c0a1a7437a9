//! What the operator decides about translation, apart from the objects.

use std::collections::BTreeSet;

use crds::wsroute::Address;
use ipnet::IpNet;
use snapshot::{AffinityKey, CertificateKey};

use crate::endpoints::Local;
use crate::store::Name;

/// Whether status and Events of an object are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusOf {
    /// As for every object.
    #[default]
    Written,
    /// Not at all.
    Withheld,
}

/// Settings of one controller. They are equal on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An IngressClass with this `spec.controller` is ours.
    pub controller_name: String,
    /// Of our classes, only the one of this name.
    pub ingress_class: Option<String>,
    /// The certificate for server names that no host's certificate fits.
    pub default_tls_secret: Option<CertificateKey>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that say by the PROXY protocol whose their connections are.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Standalone mode: endpoints may be loopback and link-local addresses, and a Service without EndpointSlices
    /// may list addresses in its annotation.
    pub loopback_endpoints: bool,
    /// Standalone mode: without any IngressClass in the store, a class of this name exists and is the default.
    pub built_in_class: Option<String>,
    /// Where IngressClasses may not be readable: without one of this name in the store, the class of this name is ours
    /// by its name.
    pub class_by_name: Option<String>,
    /// Ingresses that name no class are ours, too.
    pub watch_without_class: bool,
    /// Ingresses of these classes are served too, although they are another controller's.
    pub also_classes: BTreeSet<String>,
    /// Whether those are told about themselves, as ours are.
    pub also_class_status: StatusOf,
    /// Read the annotations of the retired ingress-nginx too.
    pub nginx_annotations: bool,
    /// Authentication services may be named by an address; else by a Service only.
    pub auth_urls: AuthUrls,
    /// Where clients reach the proxies, for the status of objects.
    pub addresses: Vec<Address>,
    /// Where the key of affinity cookies is.
    pub affinity_key: AffinityKeyFrom,
}

/// Where the key of affinity cookies is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AffinityKeyFrom {
    /// There is none: no cookies are set.
    #[default]
    Nowhere,
    /// Here.
    Given(AffinityKey),
    /// In the Secret of this name, under [`AFFINITY_KEY`](crate::AFFINITY_KEY).
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Whether authentication services may be named by an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthUrls {
    /// They may.
    Allowed,
    /// By a Service of the object's namespace only.
    Refused,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller_name: "longhaul.dev/ingress-controller".into(),
            ingress_class: None,
            default_tls_secret: None,
            trusted_proxies: Vec::new(),
            proxy_protocol_from: Vec::new(),
            loopback_endpoints: false,
            built_in_class: None,
            class_by_name: None,
            watch_without_class: false,
            also_classes: BTreeSet::new(),
            also_class_status: StatusOf::Written,
            nginx_annotations: true,
            auth_urls: AuthUrls::Allowed,
            addresses: Vec::new(),
            affinity_key: AffinityKeyFrom::Nowhere,
        }
    }
}

impl Settings {
    /// The Secret with the key of affinity cookies.
    pub(crate) fn affinity_key_secret(&self) -> Option<Name> {
        match &self.affinity_key {
            AffinityKeyFrom::Secret { namespace, name } => Some(Name::new(namespace, name)),
            AffinityKeyFrom::Nowhere | AffinityKeyFrom::Given(_) => None,
        }
    }

    pub(crate) fn local_endpoints(&self) -> Local {
        if self.loopback_endpoints { Local::Served } else { Local::Refused }
    }

    pub(crate) fn serves_class(&self, name: &str) -> bool {
        self.ingress_class.as_ref().is_none_or(|only| only == name)
    }
}
