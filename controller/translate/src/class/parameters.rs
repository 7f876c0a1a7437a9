//! The settings of a class: the `WsPolicy` that its IngressClass names.
//!
//! Where it is missing, or says something that was to keep somebody out and does not read, its last sound version is
//! served, which the store keeps; without one the routes of the class answer 503.

use std::collections::BTreeSet;
use std::sync::Arc;

use crds::diagnostic::{ObjectRef, Severity};
use crds::policy::PolicyPatch;
use crds::wspolicy::{HostOwnership, WsPolicy};
use k8s_openapi::api::networking::v1::IngressClassParametersReference;

use crate::policy;
use crate::report::{Notes, remark};
use crate::store::{Name, Store};

/// What a class says of its routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Parameters {
    /// Nothing.
    #[default]
    Absent,
    Policy(Arc<ClassPolicy>),
    /// Something that nobody can tell: why its routes must answer 503.
    Unknown(Arc<str>),
}

/// The settings of a class.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ClassPolicy {
    /// What it is read of.
    pub(crate) written: WsPolicy,
    pub(crate) defaults: PolicyPatch,
    pub(crate) overrides: PolicyPatch,
    pub(crate) ownership: HostOwnership,
}

impl Parameters {
    pub(crate) fn policy(&self) -> Option<&ClassPolicy> {
        match self {
            Self::Policy(policy) => Some(policy),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    pub(crate) fn ownership(&self) -> HostOwnership {
        self.policy().map(|policy| policy.ownership).unwrap_or_default()
    }
}

/// The `WsPolicy` that a class names.
fn named(parameters: &IngressClassParametersReference) -> Result<Name, String> {
    let IngressClassParametersReference { api_group, kind, name, namespace, scope } = parameters;
    let group = api_group.as_deref().unwrap_or_default();
    if (group, &**kind) != ("longhaul.dev", "WsPolicy") {
        return Err(format!("{kind} of group {group:?} is no kind of parameters that is known here"));
    }
    match (scope.as_deref(), namespace.as_deref()) {
        (Some("Namespace"), Some(namespace)) => Ok(Name::new(namespace, name)),
        _ => Err(format!("WsPolicy {name} is not named with scope: Namespace and its namespace")),
    }
}

/// Every `WsPolicy` that a class names.
pub(crate) fn all_named(store: &Store) -> BTreeSet<Name> {
    let specs = store.ingress_classes().filter_map(|(_, class)| class.spec.as_ref());
    specs.filter_map(|spec| named(spec.parameters.as_ref()?).ok()).collect()
}

/// What a class says of its routes. What is wrong with that is said of the class, or of the `WsPolicy`.
pub(crate) fn read(
    class: &str,
    parameters: &IngressClassParametersReference,
    store: &Store,
    notes: &mut Notes,
) -> Parameters {
    let of_class = ObjectRef::new("IngressClass", "", class);
    let name = match named(parameters) {
        Ok(name) => name,
        Err(why) => {
            let remedy = "name a WsPolicy of longhaul.dev with scope: Namespace, or nothing";
            return unknown(&of_class, &why, remedy, notes);
        }
    };
    let shown = format!("WsPolicy {}/{}", name.namespace, name.name);
    let current = store.ws_policy(&name);
    let why = match current {
        None => format!("there is no {shown}"),
        Some(written) => {
            let reading = written.read();
            let sound = reading.diagnostics.iter().all(|said| said.severity != Severity::Error);
            let mut patches = [reading.defaults, reading.overrides];
            for diagnostic in reading.diagnostics {
                notes.note(diagnostic);
            }
            for (patch, field) in patches.iter_mut().zip(["spec.defaults", "spec.overrides"]) {
                take_unusable(patch, &name, field, notes);
            }
            if sound {
                return policy_of(patches, written);
            }
            format!("{shown} has settings that do not read")
        }
    };
    let Some(last) = store.last_sound_policy(&name) else {
        return unknown(&of_class, &why, "create or correct it, or name no parameters", notes);
    };
    let message = format!("{why}; what it said before is served until the controller starts again");
    notes.note(remark(&of_class, "spec.parameters", "ParametersNotFound", message, "create or correct it"));
    let (reading, mut silent) = (last.read(), Notes::default());
    let mut patches = [reading.defaults, reading.overrides];
    for patch in &mut patches {
        take_unusable(patch, &name, "", &mut silent);
    }
    policy_of(patches, last)
}

fn policy_of([defaults, overrides]: [PolicyPatch; 2], written: &WsPolicy) -> Parameters {
    let (written, ownership) = (written.clone(), written.spec.host_ownership);
    Parameters::Policy(Arc::new(ClassPolicy { written, defaults, overrides, ownership }))
}

fn take_unusable(patch: &mut PolicyPatch, name: &Name, field: &str, notes: &mut Notes) {
    if let Some(unusable) = policy::take_unusable(patch) {
        let object = ObjectRef::new("WsPolicy", &*name.namespace, &*name.name);
        let field = format!("{field}.{}", unusable.field);
        notes.warn(remark(&object, field, "UnsupportedValue", unusable.message, unusable.remedy));
    }
}

fn unknown(class: &ObjectRef, why: &str, remedy: &str, notes: &mut Notes) -> Parameters {
    let message = format!("{why}; the routes of the class answer 503, since it may be to protect them");
    notes.note(remark(class, "spec.parameters", "ParametersNotFound", message, remedy));
    Parameters::Unknown(format!("the parameters of {class} cannot be kept: {why}").into())
}
