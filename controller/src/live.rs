//! What the API server holds of our objects besides what they ask for: their status as it is, for who writes it.

use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use crds::wsroute::{Address, AddressKind, WsRoute, WsRouteStatus};
use imbl::OrdMap;
use k8s_openapi::api::networking::v1::Ingress;

/// What the API server holds of an Ingress or WsRoute besides what it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// As the object's `status` says now.
    pub status: LiveStatus,
    /// A part of its status is ours: our field manager stands in `managedFields` for the subresource `status`.
    pub claimed: bool,
}

/// What a status says, as far as we would say it.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveStatus {
    /// `status.loadBalancer.ingress` of an Ingress.
    Ingress(Vec<Address>),
    /// All of a WsRoute's.
    WsRoute(WsRouteStatus),
}

/// Every Ingress and WsRoute that is watched.
pub type Lives = OrdMap<ObjectRef, Arc<Live>>;

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
