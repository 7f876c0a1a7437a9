//! The objects that a source brought, by kind and identity, and the changes that lead from one state to the next.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use crds::wspolicy::WsPolicy;
use crds::wsroute::WsRoute;
use imbl::ordmap::DiffItem;
use imbl::ordset::DiffItem as SetDiff;
use imbl::{OrdMap, OrdSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use snapshot::CertificateKey;

use crate::class::parameters;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `networking.k8s.io/v1`.
    Ingress,
    /// `networking.k8s.io/v1`.
    IngressClass,
    /// `longhaul.dev/v1alpha1`.
    WsRoute,
    /// `longhaul.dev/v1alpha1`.
    WsPolicy,
    /// `v1`.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `v1`.
    Secret,
    /// `v1`.
    ConfigMap,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Ingress,
        Self::IngressClass,
        Self::WsRoute,
        Self::WsPolicy,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ConfigMap,
    ];

    /// Whether a source may bring only those objects of it that are [asked for](Change::OnDemand).
    pub fn may_be_on_demand(self) -> bool {
        matches!(self, Self::Secret | Self::ConfigMap)
    }

    /// As in `kind:` of a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::WsRoute => "WsRoute",
            Self::WsPolicy => "WsPolicy",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One object of a watched kind. It shows as its identity only: a Secret's content is nobody's to read in a log.
#[derive(Clone)]
pub enum Object {
    /// See [`Kind::Ingress`].
    Ingress(Arc<Ingress>),
    /// See [`Kind::IngressClass`].
    IngressClass(Arc<IngressClass>),
    /// See [`Kind::WsRoute`].
    WsRoute(Arc<WsRoute>),
    /// See [`Kind::WsPolicy`].
    WsPolicy(Arc<WsPolicy>),
    /// See [`Kind::Service`].
    Service(Arc<Service>),
    /// See [`Kind::EndpointSlice`].
    EndpointSlice(Arc<EndpointSlice>),
    /// See [`Kind::Secret`].
    Secret(Arc<Secret>),
    /// See [`Kind::ConfigMap`].
    ConfigMap(Arc<ConfigMap>),
}

impl Object {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::WsRoute(_) => Kind::WsRoute,
            Self::WsPolicy(_) => Kind::WsPolicy,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
        }
    }

    /// Its identity.
    pub fn reference(&self) -> ObjectRef {
        let name = Name::of(self.metadata());
        ObjectRef::new(self.kind().as_str(), name.namespace, name.name)
    }

    /// What every object says of itself.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Ingress(object) => &object.metadata,
            Self::IngressClass(object) => &object.metadata,
            Self::WsRoute(object) => &object.metadata,
            Self::WsPolicy(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::ConfigMap(object) => &object.metadata,
        }
    }
}

/// By content; the same allocation is not looked into.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
            Arc::ptr_eq(one, other) || one == other
        }
        match (self, other) {
            (Self::Ingress(one), Self::Ingress(other)) => same(one, other),
            (Self::IngressClass(one), Self::IngressClass(other)) => same(one, other),
            (Self::WsRoute(one), Self::WsRoute(other)) => same(one, other),
            (Self::WsPolicy(one), Self::WsPolicy(other)) => same(one, other),
            (Self::Service(one), Self::Service(other)) => same(one, other),
            (Self::EndpointSlice(one), Self::EndpointSlice(other)) => same(one, other),
            (Self::Secret(one), Self::Secret(other)) => same(one, other),
            (Self::ConfigMap(one), Self::ConfigMap(other)) => same(one, other),
            _ => false,
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
    /// Of this kind only those objects come that [`Outcome::wanted`](crate::Outcome) names: of one that neither came nor
    /// is [`Absent`](Self::Absent) nothing is known yet.
    OnDemand(Kind),
    /// An object that was asked for does not exist.
    Absent(ObjectRef),
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

    pub(crate) fn reference(&self, kind: Kind) -> ObjectRef {
        ObjectRef::new(kind.as_str(), &*self.namespace, &*self.name)
    }

    pub(crate) fn of_certificate(key: &CertificateKey) -> Self {
        Self::new(&key.namespace, &key.secret)
    }

    /// A Secret's name as that of a certificate.
    pub(crate) fn certificate(&self) -> CertificateKey {
        CertificateKey { namespace: self.namespace.clone(), secret: self.name.clone() }
    }

    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

/// What a change touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Objects that are new, differ, or went.
    pub objects: Vec<ObjectRef>,
    /// A kind is complete that was not before.
    pub synced: bool,
}

impl Touched {
    /// Everything is as before.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.synced
    }
}

/// Every watched object, the newest version of each. Cloning is cheap, and what differs between two stores that share
/// a past is found at the cost of the difference.
#[derive(Clone, Debug, Default)]
pub struct Store {
    ingresses: OrdMap<Name, Object>,
    ingress_classes: OrdMap<Name, Object>,
    ws_routes: OrdMap<Name, Object>,
    ws_policies: OrdMap<Name, Object>,
    /// Of those that a class names and that are missing or unsound, the last sound version: the one thing that a store
    /// remembers.
    last_sound_policies: OrdMap<Name, Object>,
    services: OrdMap<Name, Object>,
    endpoint_slices: OrdMap<Name, Object>,
    secrets: OrdMap<Name, Object>,
    config_maps: OrdMap<Name, Object>,
    /// Objects that were asked for and do not exist.
    absent: OrdSet<(Kind, Name)>,
    /// Kinds of which only those objects come that are asked for.
    on_demand: BTreeSet<Kind>,
    synced: BTreeSet<Kind>,
}

/// An object before and after. Both may be missing: then it is known now, or no longer, that it does not exist.
#[derive(Debug)]
pub(crate) struct Difference<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a Name,
    pub(crate) before: Option<&'a Object>,
    pub(crate) after: Option<&'a Object>,
}

impl Store {
    /// Takes a change over. Says what it touched.
    pub fn apply(&mut self, change: Change) -> Touched {
        let mut objects = Vec::new();
        match change {
            Change::Upsert(object) => {
                let name = Name::of(object.metadata());
                self.absent.remove(&(object.kind(), name.clone()));
                if self.of(object.kind()).get(&name) != Some(&object) {
                    objects.push(object.reference());
                    self.set(object.kind(), &name, Some(object));
                }
            }
            Change::Delete(reference) => {
                let named = identity(&reference);
                let was_there =
                    named.as_ref().is_some_and(|(kind, name)| self.set(*kind, name, None).is_some());
                let was_absent = named.is_some_and(|named| self.absent.remove(&named).is_some());
                objects.extend((was_there || was_absent).then_some(reference));
            }
            Change::Absent(reference) => {
                let Some((kind, name)) = identity(&reference) else { return Touched::default() };
                self.set(kind, &name, None);
                objects.extend(self.absent.insert((kind, name)).is_none().then_some(reference));
            }
            Change::Replace(kind, all) => {
                let ours = all.into_iter().filter(|object| object.kind() == kind);
                let next: OrdMap<_, _> = ours.map(|object| (Name::of(object.metadata()), object)).collect();
                // Changed in place instead of replaced: so that the next store shares a past with this one.
                for Difference { name, after, .. } in differences(kind, &self.of(kind).clone(), &next) {
                    objects.push(name.reference(kind));
                    self.set(kind, name, after.cloned());
                }
            }
            Change::Synced(kind) => {
                return Touched { objects, synced: self.synced.insert(kind) };
            }
            Change::OnDemand(kind) => {
                return Touched { objects, synced: self.on_demand.insert(kind) };
            }
        }
        Touched { objects, synced: false }
    }

    /// Puts an object in place of the one of its name, if any, which is returned.
    fn set(&mut self, kind: Kind, name: &Name, object: Option<Object>) -> Option<Object> {
        let before = match object {
            Some(object) => self.of_mut(kind).insert(name.clone(), object),
            None => self.of_mut(kind).remove(name),
        };
        match kind {
            Kind::WsPolicy => self.remember(name, before.clone()),
            Kind::IngressClass if !self.last_sound_policies.is_empty() => {
                let named = parameters::all_named(self);
                let released = self.last_sound_policies.keys().filter(|name| !named.contains(name)).cloned();
                for name in released.collect::<Vec<_>>() {
                    self.last_sound_policies.remove(&name);
                }
            }
            _ => {}
        }
        before
    }

    /// Keeps what a policy said before, where a class names it and what it says now cannot be kept.
    fn remember(&mut self, name: &Name, before: Option<Object>) {
        let sound = |object: &Object| as_policy(object).is_some_and(WsPolicy::is_sound);
        if self.ws_policies.get(name).is_some_and(sound) || !parameters::all_named(self).contains(name) {
            self.last_sound_policies.remove(name);
        } else if let Some(before) = before.filter(sound) {
            self.last_sound_policies.insert(name.clone(), before);
        }
    }

    /// Every kind was complete once: what the store holds may be published.
    pub fn synced(&self) -> bool {
        self.synced.len() == Kind::ALL.len()
    }

    /// Every object's identity.
    pub fn objects(&self) -> impl Iterator<Item = ObjectRef> {
        Kind::ALL.into_iter().flat_map(|kind| self.of(kind).keys().map(move |name| name.reference(kind)))
    }

    /// The object of this identity.
    pub fn object(&self, reference: &ObjectRef) -> Option<&Object> {
        let (kind, name) = identity(reference)?;
        self.of(kind).get(&name)
    }

    /// Whether nothing is known yet of an object that may exist.
    pub(crate) fn is_unread(&self, kind: Kind, name: &Name) -> bool {
        self.on_demand.contains(&kind)
            && !self.of(kind).contains_key(name)
            && !self.absent.contains(&(kind, name.clone()))
    }

    /// What leads from an earlier store to this one.
    pub(crate) fn differences<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Difference<'a>> {
        let absent = before.absent.diff(&self.absent).map(|item| {
            let (SetDiff::Add((kind, name)) | SetDiff::Remove((kind, name))) = item;
            Difference { kind: *kind, name, before: None, after: None }
        });
        Kind::ALL.into_iter().flat_map(|kind| differences(kind, before.of(kind), self.of(kind))).chain(absent)
    }

    /// The same classes with what they name, and no other objects.
    pub(crate) fn only_classes(&self) -> Self {
        Self {
            ingress_classes: self.ingress_classes.clone(),
            ws_policies: self.ws_policies.clone(),
            last_sound_policies: self.last_sound_policies.clone(),
            on_demand: self.on_demand.clone(),
            ..Self::default()
        }
    }

    /// Whether both have the same classes, and the same kinds on demand.
    pub(crate) fn same_classes(&self, other: &Self) -> bool {
        self.on_demand == other.on_demand && self.same_ingress_classes(other)
    }

    fn same_ingress_classes(&self, other: &Self) -> bool {
        self.ingress_classes.ptr_eq(&other.ingress_classes) || self.ingress_classes == other.ingress_classes
    }

    /// Every IngressClass, in the order of names.
    pub(crate) fn ingress_classes(&self) -> impl Iterator<Item = (&Name, &IngressClass)> {
        self.ingress_classes.iter().filter_map(|(name, object)| match object {
            Object::IngressClass(class) => Some((name, &**class)),
            _ => None,
        })
    }

    pub(crate) fn ws_policy(&self, name: &Name) -> Option<&WsPolicy> {
        as_policy(self.ws_policies.get(name)?)
    }

    /// What a policy said that cannot be kept any more, or is gone.
    pub(crate) fn last_sound_policy(&self, name: &Name) -> Option<&WsPolicy> {
        as_policy(self.last_sound_policies.get(name)?)
    }

    /// Whether both have the same policies of classes, and remember the same.
    pub(crate) fn same_policies(&self, other: &Self) -> bool {
        let same =
            |one: &OrdMap<Name, Object>, other: &OrdMap<Name, Object>| one.ptr_eq(other) || one == other;
        same(&self.ws_policies, &other.ws_policies)
            && same(&self.last_sound_policies, &other.last_sound_policies)
    }

    pub(crate) fn service(&self, name: &Name) -> Option<&Service> {
        match self.services.get(name)? {
            Object::Service(service) => Some(service),
            _ => None,
        }
    }

    pub(crate) fn endpoint_slice(&self, name: &Name) -> Option<&EndpointSlice> {
        match self.endpoint_slices.get(name)? {
            Object::EndpointSlice(slice) => Some(slice),
            _ => None,
        }
    }

    pub(crate) fn secret(&self, name: &Name) -> Option<&Secret> {
        match self.secrets.get(name)? {
            Object::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    pub(crate) fn config_map(&self, name: &Name) -> Option<&ConfigMap> {
        match self.config_maps.get(name)? {
            Object::ConfigMap(map) => Some(map),
            _ => None,
        }
    }

    fn of(&self, kind: Kind) -> &OrdMap<Name, Object> {
        match kind {
            Kind::Ingress => &self.ingresses,
            Kind::IngressClass => &self.ingress_classes,
            Kind::WsRoute => &self.ws_routes,
            Kind::WsPolicy => &self.ws_policies,
            Kind::Service => &self.services,
            Kind::EndpointSlice => &self.endpoint_slices,
            Kind::Secret => &self.secrets,
            Kind::ConfigMap => &self.config_maps,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut OrdMap<Name, Object> {
        match kind {
            Kind::Ingress => &mut self.ingresses,
            Kind::IngressClass => &mut self.ingress_classes,
            Kind::WsRoute => &mut self.ws_routes,
            Kind::WsPolicy => &mut self.ws_policies,
            Kind::Service => &mut self.services,
            Kind::EndpointSlice => &mut self.endpoint_slices,
            Kind::Secret => &mut self.secrets,
            Kind::ConfigMap => &mut self.config_maps,
        }
    }
}

fn as_policy(object: &Object) -> Option<&WsPolicy> {
    match object {
        Object::WsPolicy(policy) => Some(policy),
        _ => None,
    }
}

fn identity(reference: &ObjectRef) -> Option<(Kind, Name)> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == reference.kind)?;
    Some((kind, Name::new(&reference.namespace, &reference.name)))
}

fn differences<'a>(
    kind: Kind,
    before: &'a OrdMap<Name, Object>,
    after: &'a OrdMap<Name, Object>,
) -> impl Iterator<Item = Difference<'a>> {
    before.diff(after).map(move |item| match item {
        DiffItem::Add(name, object) => Difference { kind, name, before: None, after: Some(object) },
        DiffItem::Update { old, new } => {
            Difference { kind, name: new.0, before: Some(old.1), after: Some(new.1) }
        }
        DiffItem::Remove(name, object) => Difference { kind, name, before: Some(object), after: None },
    })
}
