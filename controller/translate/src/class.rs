//! Which objects are ours: by IngressClass, by the annotation that came before it, or by the default class.

use std::collections::BTreeSet;

use crds::diagnostic::ObjectRef;
use k8s_openapi::api::networking::v1::Ingress;

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
pub(crate) enum Taken {
    /// It is of our class.
    Ours,
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
                classes.default = if default { DefaultClass::Ours } else { classes.default };
                classes.ours.insert(name.name.clone());
                if spec.is_some_and(|spec| spec.parameters.is_some()) {
                    notes.warn(remark(
                        &ObjectRef::new("IngressClass", "", &*name.name),
                        "spec.parameters",
                        "NotServed",
                        "parameters of a class are not served; its routes are served without them",
                        "set them on each Ingress and WsRoute",
                    ));
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
    pub(crate) fn takes_ingress(
        &self,
        object: &ObjectRef,
        ingress: &Ingress,
        notes: &mut Notes,
    ) -> Option<Taken> {
        let annotations = ingress.metadata.annotations.as_ref();
        let old = annotations.and_then(|annotations| annotations.get(OLD_ANNOTATION));
        let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        let taken = match (old, field) {
            (Some(name), _) | (None, Some(name)) if self.ours.contains(name) => Some(Taken::Ours),
            (Some(name), _) | (None, Some(name)) => self.also.contains(name).then_some(Taken::AsGuest),
            (None, None) => self.classless.then_some(Taken::Ours),
        };
        match (old, field) {
            (Some(old), Some(field)) if taken == Some(Taken::Ours) && old != field => notes.warn(remark(
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
    pub(crate) fn takes_ws_route(
        &self,
        object: &ObjectRef,
        class: Option<&String>,
        notes: &mut Notes,
    ) -> bool {
        match class {
            Some(name) if self.ours.contains(name) => true,
            Some(name) => {
                if !self.knows(name) && !self.blind {
                    notes.warn(self.unknown(object, name));
                }
                false
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
                self.default == DefaultClass::Ours
            }
        }
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
