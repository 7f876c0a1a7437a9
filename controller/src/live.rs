//! What the API server holds of an Ingress or a WsRoute besides what it asks for: the state that its status is
//! compared with before anything is written.
//!
//! The cluster source hands it out; nothing of it reaches a translation, so that a written status moves nothing else.

use std::sync::Arc;

use crds::diagnostic::ObjectRef;
use crds::wsroute::{Address, WsRouteStatus};
use imbl::OrdMap;

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
