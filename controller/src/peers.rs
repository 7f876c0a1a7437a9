//! The other Longhaul pods: which of them are Ready, and what their proxies hold.
//!
//! The pods are the ready endpoints of a headless Service: [`follow`] watches its EndpointSlices. The leader asks
//! each ([`ask`]) with `POST /peers/held` at the port named `observe`; the others answer from what their own proxies
//! acknowledged ([`held`]). Nothing secret is told, and nothing that is heard changes what is served: a liar can make
//! a condition say what is not so, no more.

pub mod ask;
pub mod held;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;
use translate::SERVICE_NAME;

use crate::complaint::Complaint;

/// The name of the port at which a pod answers.
const PORT: &str = "observe";

/// A Longhaul pod that is Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where its controller answers.
    pub address: SocketAddr,
    /// The node that it runs on.
    pub node: Option<String>,
}

/// The Ready Longhaul pods by name, this one among them. `None`: nobody knows yet.
pub type Peers = Option<Arc<BTreeMap<String, Peer>>>;

/// Follows the EndpointSlices of a Service, for ever. What was known stays while they cannot be watched.
pub async fn follow(client: Client, namespace: String, service: String, peers: watch::Sender<Peers>) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &namespace);
    let slices = watcher::Config::default().labels(&format!("{SERVICE_NAME}={service}"));
    let mut events = crate::follow::follow(api, slices).boxed();
    let mut known = BTreeMap::new();
    let mut next = BTreeMap::new();
    let mut complaint =
        Complaint::new(format!("the EndpointSlices of Service {namespace}/{service} cannot be watched"));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                next.clear();
                continue;
            }
            Ok(Event::InitApply(slice)) => {
                insert(&mut next, slice);
                continue;
            }
            Ok(Event::InitDone) => {
                complaint.over();
                known = std::mem::take(&mut next);
            }
            Ok(Event::Apply(slice)) => insert(&mut known, slice),
            Ok(Event::Delete(slice)) => drop(known.remove(&slice.metadata.name.unwrap_or_default())),
            Err(error) => {
                complaint.about_watch(&error, "the other pods are those that were known");
                continue;
            }
        }
        let pods = Some(Arc::new(pods(known.values())));
        peers.send_if_modified(|peers| {
            let differs = *peers != pods;
            *peers = pods;
            differs
        });
    }
}

fn insert(slices: &mut BTreeMap<String, EndpointSlice>, slice: EndpointSlice) {
    slices.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
}

/// The pods that slices name. One with several addresses is asked at the first of them.
fn pods<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> BTreeMap<String, Peer> {
    let mut pods = BTreeMap::new();
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|port| port.name.as_deref() == Some(PORT));
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
            let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let name = pod.and_then(|pod| pod.name.clone());
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            if let (Some(name), Some(address)) = (name, address) {
                let peer = Peer { address: SocketAddr::new(address, port), node: endpoint.node_name.clone() };
                pods.entry(name).or_insert(peer);
            }
        }
    }
    pods
}

/// An absent condition means ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoint(pod: &str, address: &str, conditions: &Value) -> Value {
        json!({
            "addresses": [address],
            "conditions": conditions,
            "nodeName": "node-1",
            "targetRef": {"kind": "Pod", "name": pod},
        })
    }

    fn slice(name: &str, port: &Value, endpoints: &[Value]) -> EndpointSlice {
        let ports = [json!({"name": "metrics", "port": 1}), port.clone()];
        serde_json::from_value(json!({
            "metadata": {"name": name}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        }))
        .unwrap()
    }

    #[test]
    fn ready_pods_are_peers() {
        let observe = json!({"name": "observe", "port": 9082});
        let slices = [
            slice(
                "a",
                &observe,
                &[
                    endpoint("ready", "10.0.0.1", &json!({"ready": true})),
                    endpoint("silent", "10.0.0.2", &json!({})),
                    endpoint("unready", "10.0.0.3", &json!({"ready": false})),
                    json!({"addresses": ["10.0.0.4"], "targetRef": {"kind": "Node", "name": "no-pod"}}),
                    json!({"addresses": ["10.0.0.5"]}),
                ],
            ),
            slice("b", &observe, &[endpoint("ready", "fd00::1", &json!({"ready": true}))]),
            slice("c", &json!({"name": "other", "port": 9}), &[endpoint("else", "10.0.0.6", &json!({}))]),
        ];
        let pods = pods(slices.iter());
        let found: Vec<_> = pods.iter().map(|(name, peer)| (&**name, peer.address.to_string())).collect();
        assert_eq!(found, [("ready", "10.0.0.1:9082".into()), ("silent", "10.0.0.2:9082".into())]);
        assert_eq!(pods["ready"].node.as_deref(), Some("node-1"));
    }
}
