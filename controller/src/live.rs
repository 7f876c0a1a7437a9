//! What the API server holds of an Ingress or a WsRoute besides what it asks for: the state that its status is
//! compared with before anything is written.
//!
//! The cluster source hands it out; nothing of it reaches a translation, so that a written status moves nothing else.

use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use crds::wsroute::{Address, AddressKind, WsRoute, WsRouteStatus};
use imbl::OrdMap;
use k8s_openapi::api::networking::v1::Ingress;

/// Every Ingress and WsRoute that is watched, of whichever class. Cloning is cheap.
pub type Lives = OrdMap<ObjectRef, Arc<Live>>;

/// The live side of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`: the API server counts it up when what is asked for changes.
    pub generation: Option<i64>,
    /// What its status says.
    pub status: LiveStatus,
    /// A part of its status is ours: our field manager stands in `metadata.managedFields` for it.
    pub claimed: bool,
}

/// What a status says.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveStatus {
    /// `status.loadBalancer` of an Ingress.
    Ingress(Vec<Address>),
    /// `status` of a WsRoute.
    WsRoute(WsRouteStatus),
}

impl LiveStatus {
    /// Of an Ingress.
    pub fn of_ingress(ingress: &Ingress) -> Self {
        let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let shown = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
        Self::Ingress(
            shown
                .filter_map(|shown| match (&shown.ip, &shown.hostname) {
                    (Some(ip), _) => Some(Address { kind: AddressKind::IPAddress, value: ip.clone() }),
                    (None, Some(name)) => Some(Address { kind: AddressKind::Hostname, value: name.clone() }),
                    (None, None) => None,
                })
                .collect(),
        )
    }

    /// Of a WsRoute.
    pub fn of_ws_route(route: &WsRoute) -> Self {
        Self::WsRoute(route.status.clone().unwrap_or_default())
    }
}
