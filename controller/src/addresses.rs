//! Where clients reach the proxies, where that is not written on the command line: the addresses of a Service, or of
//! the nodes that run Longhaul.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crds::wsroute::{Address, AddressKind};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::complaint::Complaint;
use crate::follow::follow;
use crate::pace::{Backoff, jittered};
use crate::peers::Peers;

/// How often nodes are looked at again: their addresses hardly ever change.
const LOOK: Duration = Duration::from_mins(5);

/// How long looking at one node may take.
const REQUEST: Duration = Duration::from_secs(5);

/// The shortest and the longest pause after nodes could not be looked at.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));

/// What is said while addresses cannot be found out.
const EFFECT: &str = "objects keep the addresses that they show";

/// Where the addresses in objects' status come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// The settings of translation: those on the command line, or none.
    Settings,
    /// A Service's: its load balancer's, else its external ones, else its cluster address.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Those of the nodes that run Ready Longhaul pods: the external ones, else the internal ones.
    Nodes,
}

/// The addresses. `None`: nobody knows yet.
pub type Addresses = Option<Arc<[Address]>>;

/// Follows a Service, for ever.
pub async fn follow_service(
    client: Client,
    namespace: String,
    name: String,
    addresses: watch::Sender<Addresses>,
) {
    let api: Api<Service> = Api::namespaced(client, &namespace);
    let this = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = follow(api, this).boxed();
    let mut complaint =
        Complaint::new(format!("the Service {namespace}/{name} of --publish-service cannot be followed"));
    let mut found = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => found = None,
            Ok(Event::InitApply(service)) => found = Some(service),
            Ok(Event::InitDone) => {
                complaint.over();
                if found.is_none() {
                    complaint.say("it does not exist", "objects show no address");
                }
                tell(&addresses, found.as_ref().map(of_service).unwrap_or_default());
            }
            Ok(Event::Apply(service)) => {
                complaint.over();
                tell(&addresses, of_service(&service));
            }
            Ok(Event::Delete(_)) => {
                complaint.say("it does not exist", "objects show no address");
                tell(&addresses, Vec::new());
            }
            Err(error) => complaint.about_watch(&error, EFFECT),
        }
    }
}

/// Follows the nodes of Ready pods, for ever.
pub async fn follow_nodes(
    client: Client,
    mut peers: watch::Receiver<Peers>,
    addresses: watch::Sender<Addresses>,
) {
    let api: Api<Node> = Api::all(client);
    let mut complaint = Complaint::new("the nodes of --publish-node-addresses cannot be read");
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let names: Option<BTreeSet<_>> = peers
            .borrow_and_update()
            .as_ref()
            .map(|peers| peers.values().filter_map(|peer| peer.node.clone()).collect());
        let pause = match names {
            None => jittered(LOOK),
            Some(names) => match look(&api, &names).await {
                Ok(found) => {
                    complaint.over();
                    backoff.reset();
                    tell(&addresses, found);
                    jittered(LOOK)
                }
                Err(reason) => {
                    complaint.say(&reason, EFFECT);
                    backoff.pause()
                }
            },
        };
        let next = Instant::now() + pause;
        tokio::select! {
            () = sleep_until(next) => {}
            changed = peers.changed() => if changed.is_err() {
                sleep_until(next).await;
            },
        }
    }
}

async fn look(api: &Api<Node>, names: &BTreeSet<String>) -> Result<Vec<Address>, String> {
    let mut found = BTreeSet::new();
    for name in names {
        match timeout(REQUEST, api.get(name)).await {
            Ok(Ok(node)) => found.extend(of_node(&node).into_iter().map(|address| address.value)),
            // It went since its pod was seen there.
            Ok(Err(Error::Api(status))) if status.is_not_found() => {}
            Ok(Err(error)) => return Err(crate::complaint::reason(&error)),
            Err(_) => return Err(format!("no answer within {REQUEST:?}")),
        }
    }
    Ok(found.into_iter().map(|value| Address { kind: AddressKind::IPAddress, value }).collect())
}

fn tell(addresses: &watch::Sender<Addresses>, found: Vec<Address>) {
    addresses.send_if_modified(|addresses| {
        let differs = addresses.as_deref() != Some(&*found);
        if differs {
            let values: Vec<_> = found.iter().map(|address| &*address.value).collect();
            tracing::info!(
                addresses = values.join(", "),
                "objects show {} addresses from now on",
                values.len()
            );
            *addresses = Some(found.into());
        }
        differs
    });
}

fn of_service(service: &Service) -> Vec<Address> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let shown = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    let balanced: Vec<_> = shown
        .filter_map(|ingress| {
            let hostname = || ingress.hostname.as_ref().filter(|name| !name.is_empty()).cloned();
            ingress
                .ip
                .as_deref()
                .and_then(ip)
                .or_else(|| hostname().map(|value| Address { kind: AddressKind::Hostname, value }))
        })
        .collect();
    if !balanced.is_empty() {
        return balanced;
    }
    let Some(spec) = &service.spec else { return Vec::new() };
    let external: Vec<_> = spec.external_ips.iter().flatten().filter_map(|text| ip(text)).collect();
    if !external.is_empty() || spec.type_.as_deref().is_some_and(|kind| kind != "ClusterIP") {
        return external;
    }
    match &spec.cluster_ips {
        Some(addresses) => addresses.iter().filter_map(|text| ip(text)).collect(),
        None => spec.cluster_ip.as_deref().and_then(ip).into_iter().collect(),
    }
}

fn of_node(node: &Node) -> Vec<Address> {
    let all = || node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let of = |kind: &str| -> Vec<_> {
        all().filter(|address| address.type_ == kind).filter_map(|address| ip(&address.address)).collect()
    };
    let external = of("ExternalIP");
    if external.is_empty() { of("InternalIP") } else { external }
}

/// In the one form that the API server takes. A headless Service's `None` is no address.
fn ip(text: &str) -> Option<Address> {
    let value = text.parse::<IpAddr>().ok()?.to_string();
    Some(Address { kind: AddressKind::IPAddress, value })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use tokio::task::JoinSet;

    use super::*;
    use crate::memory_api::{MemoryApi, Mood};
    use crate::peers::Peer;

    fn values(addresses: &[Address]) -> Vec<&str> {
        addresses.iter().map(|address| &*address.value).collect()
    }

    #[test]
    fn a_service_says_where_it_is_reached() {
        let balancer =
            json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}, {"hostname": "lb.test"}, {}]}});
        let cases: [(Value, Value, &[&str]); 8] = [
            (
                json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}),
                balancer,
                &["203.0.113.7", "lb.test"],
            ),
            (json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), json!({}), &[]),
            (json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}), json!({}), &["192.0.2.1"]),
            (json!({"type": "NodePort", "clusterIP": "10.0.0.1"}), json!({}), &[]),
            (json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}), json!({}), &["10.0.0.1"]),
            (
                json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "FD00::1"]}),
                json!({}),
                &["10.0.0.1", "fd00::1"],
            ),
            (json!({"clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.1"]}), json!({}), &["192.0.2.1"]),
            (json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}), json!({}), &[]),
        ];
        for (spec, status, expected) in cases {
            let service: Service =
                serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap();
            assert_eq!(values(&of_service(&service)), expected, "{spec}");
        }
    }

    #[test]
    fn a_node_is_reached_from_outside_where_it_can_be() {
        let internal = json!({"type": "InternalIP", "address": "10.0.0.1"});
        let name = json!({"type": "Hostname", "address": "node-1"});
        let external = json!({"type": "ExternalIP", "address": "203.0.113.7"});
        for (addresses, expected) in
            [(json!([internal, name]), "10.0.0.1"), (json!([internal, name, external]), "203.0.113.7")]
        {
            let node: Node =
                serde_json::from_value(json!({"metadata": {}, "status": {"addresses": addresses}})).unwrap();
            assert_eq!(values(&of_node(&node)), [expected]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_of_ready_pods_are_followed() {
        let api = MemoryApi::default();
        for (node, address) in [("node-1", "10.0.0.1"), ("node-2", "10.0.0.2")] {
            let status = json!({"addresses": [{"type": "InternalIP", "address": address}]});
            api.put(&format!("/api/v1/nodes/{node}"), json!({"metadata": {"name": node}, "status": status}));
        }
        let pods = |nodes: &[&str]| -> Peers {
            let peer = |node: &&str| {
                let peer = Peer { address: "10.0.0.9:1".parse().unwrap(), node: Some((*node).into()) };
                (format!("pod-on-{node}"), peer)
            };
            Some(Arc::new(nodes.iter().map(peer).collect::<BTreeMap<_, _>>()))
        };
        let (peers, addresses) = (watch::Sender::new(None), watch::Sender::new(None));
        let mut told = addresses.subscribe();
        let mut task = JoinSet::new();
        task.spawn(follow_nodes(api.client(), peers.subscribe(), addresses));
        peers.send_replace(pods(&["node-1"]));
        told.wait_for(|told| told.as_deref().is_some_and(|told| values(told) == ["10.0.0.1"])).await.unwrap();
        api.mood("/api/v1/nodes", Mood::Refusing(403, "Forbidden"));
        peers.send_replace(pods(&["node-1", "node-2", "gone"]));
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(told.borrow().as_deref().map(values), Some(vec!["10.0.0.1"]), "what was known stays");
        api.mood("/api/v1/nodes", Mood::Well);
        let both = ["10.0.0.1", "10.0.0.2"];
        told.wait_for(|told| told.as_deref().is_some_and(|told| values(told) == both)).await.unwrap();
    }
}
