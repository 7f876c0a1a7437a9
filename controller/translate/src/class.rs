//! Which objects are ours: by IngressClass, by the annotation that came before it, or by the default class.

pub(crate) mod parameters;

use std::collections::{BTreeMap, BTreeSet};

use crds::diagnostic::ObjectRef;
use crds::wspolicy::HostOwnership;
use k8s_openapi::api::networking::v1::Ingress;

pub(crate) use parameters::{ClassPolicy, Parameters};

use crate::report::{Notes, remark};
use crate::settings::Settings;
use crate::store::Store;

/// From before IngressClass existed. It still counts, and before `ingressClassName`, as that field's own
/// documentation says.
pub(crate) const OLD_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(crate) const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// The classes of the store.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    ours: BTreeSet<String>,
    /// What those of ours say of their routes, that name something.
    parameters: BTreeMap<String, Parameters>,
    /// The first of ours that is marked as the default.
    default_name: Option<String>,
    others: BTreeSet<String>,
    /// Of these Ingresses are served, too.
    also: BTreeSet<String>,
    default: DefaultClass,
    /// Ingresses of no class are taken.
    classless: bool,
    standalone: bool,
    /// Nothing is known of classes but one name.
    blind: bool,
}

/// How an object is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<'a> {
    /// It is of our class, of this name if there is one.
    Ours(Option<&'a String>),
    /// It is another controller's, which serves it too.
    AsGuest,
}

/// Whose class is marked as the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum DefaultClass {
    #[default]
    Absent,
    Ours,
    AnothersOnly,
}

impl Classes {
    pub(crate) fn read(store: &Store, settings: &Settings, notes: &mut Notes) -> Self {
        let mut classes = Self {
            ours: BTreeSet::new(),
            parameters: BTreeMap::new(),
            default_name: None,
            others: BTreeSet::new(),
            also: settings.also_classes.clone(),
            default: DefaultClass::Absent,
            classless: settings.watch_without_class,
            standalone: settings.built_in_class.is_some(),
            blind: settings.class_by_name.is_some() && store.ingress_classes().next().is_none(),
        };
        for (name, class) in store.ingress_classes() {
            let spec = class.spec.as_ref();
            let controller = spec.and_then(|spec| spec.controller.as_deref());
            let annotations = class.metadata.annotations.as_ref();
            let default = annotations.and_then(|annotations| annotations.get(DEFAULT_ANNOTATION));
            let default = default.is_some_and(|value| value == "true");
            if controller == Some(&settings.controller_name) && settings.serves_class(&name.name) {
                if default {
                    classes.default = DefaultClass::Ours;
                    classes.default_name.get_or_insert_with(|| name.name.clone());
                }
                classes.ours.insert(name.name.clone());
                if let Some(named) = spec.and_then(|spec| spec.parameters.as_ref()) {
                    let read = parameters::read(&name.name, named, store, notes);
                    classes.parameters.insert(name.name.clone(), read);
                }
            } else {
                if default && classes.default == DefaultClass::Absent {
                    classes.default = DefaultClass::AnothersOnly;
                }
                classes.others.insert(name.name.clone());
            }
        }
        let built_in = settings.built_in_class.as_ref().filter(|name| settings.serves_class(name));
        if let Some(name) = built_in
            && classes.ours.is_empty()
            && classes.others.is_empty()
        {
            classes.ours.insert(name.clone());
            classes.default = DefaultClass::Ours;
            classes.classless = true;
        }
        if let Some(name) = settings.class_by_name.as_ref().filter(|name| !classes.knows(name)) {
            classes.ours.insert(name.clone());
        }
        classes
    }

    /// Whether an Ingress is ours. Those of no class are not: what came before the class existed must not be
    /// captured. Only the built-in class of standalone mode takes them, and who asks for it.
    pub(crate) fn takes_ingress<'a>(
        &'a self,
        object: &ObjectRef,
        ingress: &Ingress,
        notes: &mut Notes,
    ) -> Option<Taken<'a>> {
        let annotations = ingress.metadata.annotations.as_ref();
        let old = annotations.and_then(|annotations| annotations.get(OLD_ANNOTATION));
        let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        let taken = match (old, field) {
            (Some(name), _) | (None, Some(name)) => match self.ours.get(name) {
                Some(ours) => Some(Taken::Ours(Some(ours))),
                None => self.also.contains(name).then_some(Taken::AsGuest),
            },
            (None, None) => self.classless.then_some(Taken::Ours(self.default_name.as_ref())),
        };
        let is_ours = matches!(taken, Some(Taken::Ours(_)));
        match (old, field) {
            (Some(old), Some(field)) if is_ours && old != field => notes.warn(remark(
                object,
                format!("metadata.annotations[{OLD_ANNOTATION}]"),
                "ClassMismatch",
                format!("class {old:?} is taken, although spec.ingressClassName is {field:?}"),
                "remove the annotation",
            )),
            (None, Some(name)) if taken.is_none() && self.standalone && !self.knows(name) => {
                notes.warn(self.unknown(object, name));
            }
            (None, None) if self.standalone && taken.is_none() => notes.warn(remark(
                object,
                "spec.ingressClassName",
                "NoClass",
                "no class is named, so the Ingress is not served",
                format!("name a class: {}", self.names()),
            )),
            _ => {}
        }
        taken
    }

    /// Whether a WsRoute of this class is ours.
    pub(crate) fn takes_ws_route<'a>(
        &'a self,
        object: &ObjectRef,
        class: Option<&String>,
        notes: &mut Notes,
    ) -> Option<Taken<'a>> {
        match class {
            Some(name) => {
                let ours = self.ours.get(name);
                if ours.is_none() && !self.knows(name) && !self.blind {
                    notes.warn(self.unknown(object, name));
                }
                ours.map(|name| Taken::Ours(Some(name)))
            }
            None => {
                if self.default == DefaultClass::Absent && !self.blind {
                    notes.warn(remark(
                        object,
                        "spec.ingressClassName",
                        "NoClass",
                        "no class is named and none is the default, so the WsRoute is not served",
                        format!("name a class: {}", self.names()),
                    ));
                }
                (self.default == DefaultClass::Ours).then_some(Taken::Ours(self.default_name.as_ref()))
            }
        }
    }

    /// What the class of an object says of its routes. Of another controller's class nothing is known.
    pub(crate) fn parameters(&self, class: Option<&String>) -> Parameters {
        class.and_then(|name| self.parameters.get(name)).cloned().unwrap_or_default()
    }

    /// Whether hosts belong to namespaces by any class.
    pub(crate) fn own_hosts(&self) -> bool {
        self.parameters.values().any(|parameters| parameters.ownership() == HostOwnership::Namespace)
    }

    /// The classes of which something else is said here than there.
    pub(crate) fn with_other_parameters(&self, other: &Self) -> BTreeSet<String> {
        let all = self.parameters.keys().chain(other.parameters.keys());
        all.filter(|name| self.parameters.get(*name) != other.parameters.get(*name)).cloned().collect()
    }

    fn knows(&self, name: &str) -> bool {
        self.ours.contains(name) || self.others.contains(name)
    }

    fn unknown(&self, object: &ObjectRef, name: &str) -> crds::diagnostic::Diagnostic {
        remark(
            object,
            "spec.ingressClassName",
            "ClassNotFound",
            format!("there is no IngressClass {name:?}, so the object is not served"),
            format!("name a class that exists: {}", self.names()),
        )
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.ours.iter().map(String::as_str).collect();
        if names.is_empty() { "none is Longhaul's yet".into() } else { names.join(", ") }
    }
}
