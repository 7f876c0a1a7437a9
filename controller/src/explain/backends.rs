//! Among whom an endpoint is picked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use routing::canary::Decider;
use serde::{Deserialize, Serialize};
use snapshot::{Action, Canary, Key, Route, Section, UpstreamId, WeightedUpstream};
use translate::{Object, SERVICE_NAME};

use super::{Asked, World};

/// A backend of the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// `NAMESPACE/SERVICE:PORT`.
    pub service: String,
    /// Which of the route's it is.
    pub role: Role,
    /// Its share of what goes to those of its role, in percent.
    pub share: f64,
    /// Which requests it gets, where that is not plain.
    pub gets: Option<String>,
    /// Whom it consists of.
    pub endpoints: Vec<Endpoint>,
    /// Addresses that its EndpointSlices list and that are not ready: they take nothing new.
    pub waiting: Vec<String>,
}

/// Which of a route's backends it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Of those that the route names.
    Backend,
    /// Of a canary's.
    Canary,
    /// For what nobody else has an endpoint for.
    Standby,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it takes new tunnels.
    pub state: State,
}

/// Whether an endpoint takes new tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// It does.
    Ready,
    /// Only where nobody is ready: it is on its way out.
    Terminating,
    /// It keeps those that it has.
    NotReady,
}

impl Backend {
    /// Whether it has somebody who takes a new tunnel.
    pub fn is_served(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.state != State::NotReady)
    }
}

pub(super) fn of(world: &World, route: &Route, asked: &Asked<'_>) -> Vec<Backend> {
    let Action::Forward(forward) = &route.action else { return Vec::new() };
    let own = weighted(world, &forward.backends, Role::Backend, None);
    let canary = forward.canary.iter().flat_map(|canary| {
        weighted(world, &canary.backends, Role::Canary, Some(&canary_gets(canary, asked)))
    });
    let standby = forward.standby.iter().map(|id| Backend {
        gets: Some("what none of the above has an endpoint for".into()),
        ..backend(world, id, Role::Standby, 100.0)
    });
    own.into_iter().chain(canary).chain(standby).collect()
}

fn weighted(world: &World, all: &[WeightedUpstream], role: Role, gets: Option<&str>) -> Vec<Backend> {
    let total: u64 = all.iter().map(|one| u64::from(one.weight)).sum();
    let share = |weight: u32| if total == 0 { 0.0 } else { f64::from(weight) * 100.0 / total as f64 };
    let each = all.iter().map(|one| backend(world, &one.upstream, role, share(one.weight)));
    each.map(|backend| Backend { gets: gets.map(str::to_owned), ..backend }).collect()
}

fn canary_gets(canary: &Canary, asked: &Asked<'_>) -> String {
    match Decider::new(canary.header.clone(), canary.cookie.clone()).decide(&asked.request) {
        Some(true) => "this request, which says so itself".into(),
        Some(false) => "other requests: this one says that it is none of them".into(),
        None => format!("{} of {} requests, by chance", canary.weight.min(canary.total), canary.total),
    }
}

fn backend(world: &World, id: &UpstreamId, role: Role, share: f64) -> Backend {
    let mut endpoints = BTreeMap::new();
    for (key, _) in world.snapshot.iter().filter(|(key, _)| matches!(key, Key::Endpoints(of, _) if of == id))
    {
        let Some(Section::Endpoints(slice)) = world.section(key) else { continue };
        for endpoint in slice.endpoints {
            let state = match (endpoint.ready, endpoint.terminating) {
                (true, _) => State::Ready,
                (false, true) => State::Terminating,
                (false, false) => State::NotReady,
            };
            // Of one that two slices list, the better word counts.
            endpoints
                .entry(endpoint.address)
                .and_modify(|known: &mut State| *known = state.min(*known))
                .or_insert(state);
        }
    }
    let endpoints: Vec<_> =
        endpoints.into_iter().map(|(address, state)| Endpoint { address, state }).collect();
    let waiting = waiting(world, id, &endpoints);
    Backend { service: id.to_string(), role, share, gets: None, endpoints, waiting }
}

/// What its slices list and no proxy is told of.
fn waiting(world: &World, id: &UpstreamId, known: &[Endpoint]) -> Vec<String> {
    let slices = world
        .store
        .objects()
        .filter(|object| object.kind == "EndpointSlice" && object.namespace == id.namespace);
    let slices = slices.filter_map(|object| match world.store.object(&object) {
        Some(Object::EndpointSlice(slice)) => Some(slice.clone()),
        _ => None,
    });
    let of_service = slices.filter(|slice| {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|name| *name == id.service)
    });
    let listed = of_service.flat_map(|slice| slice.endpoints.clone().unwrap_or_default());
    let listed: BTreeSet<_> = listed.flat_map(|endpoint| endpoint.addresses).collect();
    let is_known = |address: &String| known.iter().any(|one| one.address.ip().to_string() == *address);
    listed.into_iter().filter(|address| !is_known(address)).collect()
}
