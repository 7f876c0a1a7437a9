//! One Ingress or WsRoute: what it asks for, and what its references lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::annotations;
use crds::diagnostic::ObjectRef;
use crds::wspolicy::HostOwnership;
use snapshot::{CertificateKey, HostPattern};

use crate::backends::{self, Target};
use crate::class::{Classes, DEFAULT_ANNOTATION, OLD_ANNOTATION, Parameters, Taken};
use crate::draft::{Claim, Draft, DraftRoute, Owner, Position};
use crate::policy::auth::Surroundings;
use crate::policy::clients::Clients;
use crate::report::{Notes, remark};
use crate::settings::{Settings, StatusOf};
use crate::store::{self, Kind, Name, Store};
use crate::tls::Problem;
use crate::{ingress, policy, wsroute};

/// Whether translation reads an annotation of this name, on whichever object. A source need not keep others.
pub fn reads_annotation(key: &str) -> bool {
    [annotations::OWN, annotations::NGINX].iter().any(|family| key.starts_with(family))
        || [OLD_ANNOTATION, DEFAULT_ANNOTATION].contains(&key)
}

/// An object that is ours, as it is written.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) owner: Arc<Owner>,
    pub(crate) reference: ObjectRef,
    /// `metadata.generation`: the report names it.
    pub(crate) generation: Option<i64>,
    /// It is another controller's, and is told nothing.
    pub(crate) silent: bool,
    /// The class of ours that it is of.
    pub(crate) class: Option<String>,
    pub(crate) ownership: HostOwnership,
    pub(crate) draft: Draft,
    /// What it asks of each host that it names.
    pub(crate) claims: BTreeMap<HostPattern, Claim>,
    pub(crate) notes: Notes,
}

/// Another object that it names.
pub(crate) type Reference = (Kind, Name);

/// What its references lead to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) targets: BTreeMap<Position, Target>,
    pub(crate) notes: Notes,
}

/// Reads an object: what it asks for where it is ours, else what is to be said of it.
pub(crate) fn read(
    object: &store::Object,
    classes: &Classes,
    settings: &Settings,
) -> Option<Result<Asked, Notes>> {
    let owner = Owner::new(object.kind().as_str(), object.metadata());
    let (reference, mut notes) = (owner.reference(), Notes::default());
    let taken = match object {
        store::Object::Ingress(ingress) => classes.takes_ingress(&reference, ingress, &mut notes),
        store::Object::WsRoute(route) => {
            classes.takes_ws_route(&reference, route.spec.ingress_class_name.as_ref(), &mut notes)
        }
        _ => return None,
    };
    let (class, silent) = match taken {
        None => return Some(Err(notes)),
        Some(Taken::Ours(class)) => (class, false),
        Some(Taken::AsGuest) => (None, settings.also_class_status == StatusOf::Withheld),
    };
    let parameters = classes.parameters(class);
    let around = (settings, &parameters);
    let draft = match object {
        store::Object::Ingress(ingress) => ingress::draft(&owner, ingress, around, &mut notes),
        store::Object::WsRoute(route) => wsroute::draft(&owner, route, around, &mut notes),
        _ => return None,
    };
    let (claims, generation) = (draft.claims(), object.metadata().generation);
    let (owner, class, ownership) = (Arc::new(owner), class.cloned(), parameters.ownership());
    Some(Ok(Asked { owner, reference, generation, silent, class, ownership, draft, claims, notes }))
}

/// Why all routes of an object close, where nobody can tell what its class says of them.
pub(crate) fn closed_by_class(
    parameters: &Parameters,
    object: &ObjectRef,
    notes: &mut Notes,
) -> Option<String> {
    let Parameters::Unknown(why) = parameters else { return None };
    let message = format!("{why}; the routes answer 503");
    let remedy = "the administrator of the class must create or correct what it names";
    notes.note(remark(object, "spec.ingressClassName", "ParametersNotFound", message, remedy));
    Some(why.to_string())
}

/// Follows the references. `problem` is what is wrong with a certificate.
pub(crate) fn resolve<'a>(
    asked: &Asked,
    (store, settings): (&Store, &Settings),
    problem: impl Fn(&CertificateKey) -> Option<&'a Problem>,
) -> Resolved {
    let mut notes = Notes::default();
    let routes = asked.draft.all_routes();
    let targets = routes
        .map(|(position, route)| {
            let exact = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
            let everywhere = position == Position::Fallback && asked.everywhere();
            let around =
                Surroundings { settings, hosts_are_exact: !everywhere && route.hosts.iter().all(exact) };
            (position, backends::target(route, &asked.owner, (store, around), &mut notes))
        })
        .collect();
    for tls in asked.draft.tls.iter().filter(|tls| !tls.by_default) {
        if let Some(Problem { reason, message, remedy }) = problem(&tls.certificate) {
            let field = format!("{}.secretName", tls.field);
            notes.unresolved(reason, remark(&asked.reference, field, reason, message, *remedy));
        }
    }
    for clients in asked.clients() {
        // What does not read was said where it was read.
        if let (Some(_), Err(Problem { reason, message, remedy })) =
            (clients.secret(), clients.resolve(store))
        {
            let said = format!("{message}; the hosts that ask for client certificates answer 503");
            notes.unresolved(reason, remark(&asked.reference, &*clients.field, reason, said, remedy));
        }
    }
    Resolved { targets, notes }
}

impl Asked {
    pub(crate) fn route(&self, position: Position) -> &DraftRoute {
        match position {
            Position::Rule(index) => &self.draft.routes[index],
            Position::Fallback => {
                let fallback = self.draft.fallback.as_ref();
                &fallback.expect("a fallback's position is made from the draft that has it").route
            }
        }
    }

    /// Its fallback stands for every host.
    pub(crate) fn everywhere(&self) -> bool {
        self.draft.fallback.as_ref().is_some_and(|fallback| fallback.everywhere)
    }

    /// The hosts that it names for its routes, as people read them.
    pub(crate) fn hosts(&self) -> BTreeSet<String> {
        let named = self.claims.iter().filter(|(_, claim)| claim.has_routes() || claim.everywhere);
        named.map(|(host, _)| host.to_string()).collect()
    }

    /// What its routes name: when one of these changes, they are resolved again.
    pub(crate) fn references(&self) -> BTreeSet<Reference> {
        let services = self.draft.all_routes().flat_map(|(_, route)| route.services());
        let services = services.map(|name| (Kind::Service, Name::new(self.owner.namespace(), name)));
        let auths = self.draft.all_routes().filter_map(|(_, route)| route.patch.auth.as_ref());
        let auths = auths.flat_map(|auth| policy::auth::references(auth, &self.owner));
        let tls = self.draft.all_routes().map(|(_, route)| &route.patch.upstream_tls);
        let tls = tls.flat_map(|patch| policy::upstream_tls::references(patch, &self.owner));
        let patches = self.draft.all_routes().map(|(_, route)| &route.patch);
        let fields = patches.filter_map(|patch| policy::config_maps::reference(patch, &self.owner));
        let authorities = self.clients().filter_map(Clients::secret).map(|name| (Kind::Secret, name.clone()));
        services.chain(auths).chain(tls).chain(fields).chain(authorities).collect()
    }

    /// The client certificates that it asks for.
    fn clients(&self) -> impl Iterator<Item = &Clients> {
        self.draft.clients.iter().filter_map(|draft| draft.asked.as_ref())
    }

    /// The hosts whose TLS settings depend on this Secret, as far as this object has a say in them.
    pub(crate) fn hosts_with_authorities_of(&self, secret: &Name) -> impl Iterator<Item = &HostPattern> {
        let names = move |index: &usize| {
            let clients = self.draft.tls[*index].clients.as_ref();
            clients.is_some_and(|clients| clients.secret() == Some(secret))
        };
        let claims = self.claims.iter().filter(move |(_, claim)| claim.tls.iter().any(names));
        claims.map(|(host, _)| host)
    }

    /// The certificates that its hosts are to have.
    pub(crate) fn certificates(&self) -> BTreeSet<CertificateKey> {
        self.draft.tls.iter().map(|tls| tls.certificate.clone()).collect()
    }
}
