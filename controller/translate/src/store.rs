//! The objects that a source brought, by kind and identity, and the changes that lead from one state to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use crds::wsroute::WsRoute;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `networking.k8s.io/v1`.
    Ingress,
    /// `networking.k8s.io/v1`.
    IngressClass,
    /// `longhaul.dev/v1alpha1`.
    WsRoute,
    /// `v1`.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `v1`.
    Secret,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Ingress, Self::IngressClass, Self::WsRoute, Self::Service, Self::EndpointSlice, Self::Secret];

    /// As in `kind:` of a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::WsRoute => "WsRoute",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One object of a watched kind. It shows as its identity only: a Secret's content is nobody's to read in a log.
#[derive(Clone, PartialEq)]
pub enum Object {
    /// See [`Kind::Ingress`].
    Ingress(Arc<Ingress>),
    /// See [`Kind::IngressClass`].
    IngressClass(Arc<IngressClass>),
    /// See [`Kind::WsRoute`].
    WsRoute(Arc<WsRoute>),
    /// See [`Kind::Service`].
    Service(Arc<Service>),
    /// See [`Kind::EndpointSlice`].
    EndpointSlice(Arc<EndpointSlice>),
    /// See [`Kind::Secret`].
    Secret(Arc<Secret>),
}

impl Object {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::WsRoute(_) => Kind::WsRoute,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
        }
    }

    /// Its identity.
    pub fn reference(&self) -> ObjectRef {
        let name = Name::of(self.metadata());
        ObjectRef::new(self.kind().as_str(), name.namespace, name.name)
    }

    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Ingress(object) => &object.metadata,
            Self::IngressClass(object) => &object.metadata,
            Self::WsRoute(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reference())
    }
}

/// A step from one state of the watched world to the next.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is new or differs.
    Upsert(Object),
    /// An object went.
    Delete(ObjectRef),
    /// These are all objects of the kind; any other one went. Objects of another kind in the list are passed over.
    Replace(Kind, Vec<Object>),
    /// The kind is complete for the first time (or again).
    Synced(Kind),
}

/// An object's name within its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

/// Every watched object, the newest version of each.
#[derive(Clone, Debug, Default)]
pub struct Store {
    objects: BTreeMap<Kind, BTreeMap<Name, Object>>,
    synced: BTreeSet<Kind>,
}

/// Goes through all objects of one kind, in the order of namespace and name.
macro_rules! each_of {
    ($(#[$doc:meta] $name:ident: $kind:ident;)*) => {$(
        #[$doc]
        pub(crate) fn $name(&self) -> impl Iterator<Item = (&Name, &$kind)> {
            self.objects.get(&Kind::$kind).into_iter().flatten().filter_map(|(name, object)| match object {
                Object::$kind(object) => Some((name, object.as_ref())),
                _ => None,
            })
        }
    )*};
}

impl Store {
    /// Takes a change over. Says whether anything differs from before.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Upsert(object) => {
                let of_kind = self.objects.entry(object.kind()).or_default();
                let name = Name::of(object.metadata());
                let differs = of_kind.get(&name) != Some(&object);
                of_kind.insert(name, object);
                differs
            }
            Change::Delete(reference) => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == reference.kind);
                let of_kind = kind.and_then(|kind| self.objects.get_mut(&kind));
                let name = Name { namespace: reference.namespace, name: reference.name };
                of_kind.is_some_and(|objects| objects.remove(&name).is_some())
            }
            Change::Replace(kind, objects) => {
                let ours = objects.into_iter().filter(|object| object.kind() == kind);
                let next = ours.map(|object| (Name::of(object.metadata()), object)).collect();
                let of_kind = self.objects.entry(kind).or_default();
                let differs = *of_kind != next;
                *of_kind = next;
                differs
            }
            Change::Synced(kind) => self.synced.insert(kind),
        }
    }

    /// Every kind was complete once: what the store holds may be published.
    pub fn synced(&self) -> bool {
        self.synced.len() == Kind::ALL.len()
    }

    /// Every object's identity.
    pub fn objects(&self) -> impl Iterator<Item = ObjectRef> {
        self.objects.iter().flat_map(|(kind, objects)| {
            objects.keys().map(|name| ObjectRef::new(kind.as_str(), &*name.namespace, &*name.name))
        })
    }

    each_of! {
        /// Every Ingress.
        ingresses: Ingress;
        /// Every IngressClass.
        ingress_classes: IngressClass;
        /// Every WsRoute.
        ws_routes: WsRoute;
        /// Every EndpointSlice.
        endpoint_slices: EndpointSlice;
    }

    pub(crate) fn service(&self, name: &Name) -> Option<&Service> {
        match self.objects.get(&Kind::Service)?.get(name)? {
            Object::Service(service) => Some(service),
            _ => None,
        }
    }

    pub(crate) fn secret(&self, name: &Name) -> Option<&Secret> {
        match self.objects.get(&Kind::Secret)?.get(name)? {
            Object::Secret(secret) => Some(secret),
            _ => None,
        }
    }
}
