//! Backends of a route to upstreams: does the Service exist, and does it have the port?

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crds::annotations::NGINX;
use crds::diagnostic::{ObjectRef, quoted};
use crds::policy::headers::Field;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use snapshot::{Action, Auth, AuthTarget, Forward, Reach, UpstreamId, UpstreamTls, WeightedUpstream};

use crate::draft::{DraftBackend, DraftRoute, Owner, PortRef};
use crate::policy;
use crate::policy::auth::Surroundings;
use crate::report::{Notes, remark};
use crate::store::{Name, Store};

/// What a route does, and the upstreams of it that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) action: Action,
    pub(crate) upstreams: BTreeSet<UpstreamId>,
    pub(crate) auth: Option<Auth>,
    pub(crate) upstream_tls: Option<Box<UpstreamTls>>,
    /// Fields of responses that are set in place of those of the policy.
    pub(crate) set_on_responses: Option<Vec<Field>>,
}

impl Target {
    /// Nobody is forwarded to.
    fn of(action: Action) -> Self {
        Self { action, upstreams: BTreeSet::new(), auth: None, upstream_tls: None, set_on_responses: None }
    }
}

/// What the route does. Backends that lead nowhere keep their share, which is answered with 503; a route of
/// which none leads anywhere is broken.
pub(crate) fn target(
    route: &DraftRoute,
    owner: &Owner,
    (store, around): (&Store, Surroundings<'_>),
    notes: &mut Notes,
) -> Target {
    let object = owner.reference();
    if let (None, Some(to)) = (&route.broken, policy::redirects::to(&route.patch.ingress.redirects)) {
        // The backend, which the API asks for, is never asked.
        return Target::of(Action::Redirect(to));
    }
    let (mut forward, mut problems, mut upstreams) = (Vec::new(), Vec::new(), BTreeSet::new());
    for backend in &route.backends {
        let upstream = match resolve(backend, owner.namespace(), store) {
            Ok(upstream) => {
                upstreams.insert(upstream.clone());
                upstream
            }
            Err(problem) => {
                problems.push(problem.message.clone());
                notes.unresolved("BackendNotFound", problem.diagnostic(&object));
                as_written(backend, owner.namespace())
            }
        };
        forward.push(WeightedUpstream { upstream, weight: backend.weight });
    }
    let set_on_responses = policy::config_maps::of_responses(&route.patch, owner, store, notes);
    let auth = policy::auth::resolve(route.patch.auth.as_ref(), owner, (store, around), notes);
    let broken = |why: String| Target::of(Action::Broken(why));
    if let Some(why) = &route.broken {
        return broken(why.clone());
    }
    let standby =
        route.standby.as_ref().and_then(|standby| match resolve(standby, owner.namespace(), store) {
            Ok(upstream) => {
                upstreams.insert(upstream.clone());
                Some(upstream)
            }
            Err(problem) => {
                notes.unresolved("BackendNotFound", problem.diagnostic(&object));
                None
            }
        });
    if problems.len() == forward.len() && standby.is_none() {
        return broken(problems.into_iter().next().unwrap_or_else(|| "there are no backends".into()));
    }
    let upstream_tls =
        policy::upstream_tls::resolve(&route.patch.upstream_tls, owner, (&upstreams, store), notes);
    match auth.and_then(|auth| Ok((auth, upstream_tls?))) {
        Ok((auth, upstream_tls)) => {
            if let Some(Auth::External(external)) = &auth
                && let AuthTarget::Service { upstream, .. } = &external.target
            {
                upstreams.insert(upstream.clone());
            }
            let action = Action::Forward(Forward { standby, ..forward.into() });
            Target { action, upstreams, auth, upstream_tls, set_on_responses }
        }
        Err(why) => broken(why),
    }
}

/// Where a Service itself is connected to, at the port of an upstream.
pub(crate) fn own_address(upstream: &UpstreamId, service: &Service) -> Option<SocketAddr> {
    let port = port_of(upstream, service)?;
    Some(SocketAddr::new(address(service)?, u16::try_from(port.port).ok()?))
}

/// Whether the Service says of an upstream's port that it is TLS.
pub(crate) fn says_tls(upstream: &UpstreamId, store: &Store) -> bool {
    let service = store.service(&Name::new(&upstream.namespace, &upstream.service));
    let port = service.and_then(|service| port_of(upstream, service));
    let protocol = port.and_then(|port| port.app_protocol.as_deref());
    // The first is of IANA, whose names have no case; the second of Kubernetes.
    protocol.is_some_and(|name| name.eq_ignore_ascii_case("https") || name == "kubernetes.io/wss")
}

fn port_of<'a>(upstream: &UpstreamId, service: &'a Service) -> Option<&'a ServicePort> {
    let named = |port: &&ServicePort| port.name.as_ref() == Some(&upstream.port);
    let numbered = |port: &&ServicePort| port.port.to_string() == upstream.port;
    tcp_ports(service).find(named).or_else(|| tcp_ports(service).find(numbered))
}

fn address(service: &Service) -> Option<IpAddr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

/// The name that EndpointSlices know an upstream's port by; unnamed ports have an empty one.
pub(crate) fn port_name(upstream: &UpstreamId, service: Option<&Service>) -> String {
    let named = service
        .is_some_and(|service| tcp_ports(service).any(|port| port.name.as_ref() == Some(&upstream.port)));
    if named { upstream.port.clone() } else { String::new() }
}

/// A backend that leads nowhere.
pub(crate) struct Problem {
    field: String,
    pub(crate) message: String,
    remedy: String,
}

impl Problem {
    pub(crate) fn diagnostic(self, object: &ObjectRef) -> crds::diagnostic::Diagnostic {
        remark(object, self.field, "BackendNotFound", self.message, self.remedy)
    }
}

/// The upstream of a backend.
pub(crate) fn resolve(backend: &DraftBackend, namespace: &str, store: &Store) -> Result<UpstreamId, Problem> {
    let name = Name::new(namespace, &backend.service);
    let problem = |message: String, remedy: String| Problem { field: backend.field.clone(), message, remedy };
    let Some(service) = store.service(&name) else {
        let message = format!("there is no Service {namespace}/{}", backend.service);
        return Err(problem(message, format!("create it, or name a Service of namespace {namespace}")));
    };
    let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    if type_ == Some("ExternalName") {
        let message =
            format!("Service {namespace}/{} is an ExternalName, which has no endpoints", backend.service);
        return Err(problem(message, "name a Service with endpoints".into()));
    }
    let Some(port) = tcp_ports(service).find(|port| fits(port, &backend.port)) else {
        let message = match &backend.port {
            PortRef::Name(name) => {
                format!("Service {namespace}/{} has no TCP port named {}", backend.service, quoted(name))
            }
            PortRef::Number(number) => {
                format!("Service {namespace}/{} has no TCP port {number}", backend.service)
            }
            PortRef::First => format!("Service {namespace}/{} has no TCP port", backend.service),
        };
        return Err(problem(message, format!("name one of its ports: {}", names_of_ports(service))));
    };
    if backend.reach == Reach::Address && address(service).is_none() {
        let message = format!("Service {namespace}/{} has no address of its own", backend.service);
        let remedy =
            format!("remove the annotation {NGINX}service-upstream: a headless Service has endpoints only");
        return Err(problem(message, remedy));
    }
    let named = port.name.clone().filter(|name| !name.is_empty());
    let shown = named.unwrap_or_else(|| port.port.to_string());
    let upstream = UpstreamId::endpoints(namespace, &*backend.service, shown);
    Ok(UpstreamId { reach: backend.reach, ..upstream })
}

fn tcp_ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref());
    ports
        .unwrap_or_default()
        .iter()
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
}

fn fits(port: &ServicePort, wanted: &PortRef) -> bool {
    match wanted {
        PortRef::Name(name) => !name.is_empty() && port.name.as_ref() == Some(name),
        PortRef::Number(number) => port.port == *number,
        PortRef::First => true,
    }
}

fn names_of_ports(service: &Service) -> String {
    let names = tcp_ports(service).map(|port| match port.name.as_deref() {
        Some(name) if !name.is_empty() => format!("{name} ({})", port.port),
        _ => port.port.to_string(),
    });
    let names: Vec<_> = names.collect();
    if names.is_empty() { "it has none".into() } else { names.join(", ") }
}

/// What an upstream would be called that is not there.
fn as_written(backend: &DraftBackend, namespace: &str) -> UpstreamId {
    let port = match &backend.port {
        PortRef::Name(name) => name.clone(),
        PortRef::Number(number) => number.to_string(),
        PortRef::First => String::new(),
    };
    UpstreamId { reach: backend.reach, ..UpstreamId::endpoints(namespace, &*backend.service, port) }
}
