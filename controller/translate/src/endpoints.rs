//! Endpoints of an upstream: the EndpointSlices of its Service, read as [the API reference][page] says, or in
//! standalone mode the addresses that the Service lists itself.
//!
//! [page]: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crds::annotations;
use crds::diagnostic::{Diagnostic, ObjectRef, quoted};
use k8s_openapi::api::discovery::v1::{self as api, EndpointSlice};
use snapshot::{Endpoint, Endpoints, PodHash, UpstreamId};

use crate::report::{Notes, remark};
use crate::store::Name;

/// The label by which a slice belongs to a Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An upstream, and the name that slices know its port by.
pub(crate) type Port = (UpstreamId, String);

/// What one source has for the upstreams of its Service.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Never empty ones.
    pub(crate) endpoints: Vec<(UpstreamId, Endpoints)>,
    /// The upstreams whose port it has, with or without endpoints.
    pub(crate) with_port: BTreeSet<UpstreamId>,
    pub(crate) notes: Notes,
}

/// Whether endpoints may be on this machine or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Refused,
    Served,
}

/// The Service that a slice belongs to.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Name::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service))
}

/// What a slice has for these upstreams of its Service.
pub(crate) fn slice(name: &Name, slice: &EndpointSlice, ports: &[Port], local: Local) -> Read {
    let mut reader = Reader { local, read: Read::default() };
    for (upstream, port_name) in ports {
        if let Some(found) = reader.slice(name, slice, port_name) {
            reader.read.with_port.insert(upstream.clone());
            reader.add(upstream, found);
        }
    }
    reader.read
}

/// What a Service says itself of these upstreams: annotations of ours, and its addresses where it has no slices.
/// `slices` is what the slices came to.
pub(crate) fn service(
    name: &Name,
    annotations: Option<&BTreeMap<String, String>>,
    slices: &[&Read],
    ports: &[Port],
    local: Local,
) -> Read {
    let mut reader = Reader { local, read: Read::default() };
    for (upstream, port_name) in ports {
        if !slices.is_empty() && !slices.iter().any(|slice| slice.with_port.contains(upstream)) {
            reader.read.notes.warn(remark(
                &ObjectRef::new("Service", &*name.namespace, &*name.name),
                "spec.ports",
                "NoEndpoints",
                format!("none of the Service's EndpointSlices has a usable TCP port {}", quoted(port_name)),
                "give the slices a port of that name, as the Service has it",
            ));
        }
    }
    if let Some(annotations) = annotations {
        reader.service(name, annotations, slices.is_empty(), ports);
    }
    reader.read
}

impl Read {
    /// The Service's own address serves an upstream.
    pub(crate) fn add_address(
        &mut self,
        name: &Name,
        upstream: &UpstreamId,
        address: Option<SocketAddr>,
        local: Local,
    ) {
        let Some(address) = address else { return };
        if let Some(why) = refusal(address.ip(), local) {
            let object = ObjectRef::new("Service", &*name.namespace, &*name.name);
            let message = format!("{} {why}; it is left out", address.ip());
            let remedy = "give the Service an address of the cluster";
            self.notes.note(remark(&object, "spec.clusterIP", "InvalidAddress", message, remedy));
            return;
        }
        let endpoints = vec![Endpoint { address, ready: true, terminating: false, pod: None }];
        self.endpoints.push((upstream.clone(), Endpoints { endpoints }));
    }
}

struct Reader {
    local: Local,
    read: Read,
}

impl Reader {
    fn add(&mut self, upstream: &UpstreamId, found: BTreeMap<SocketAddr, Endpoint>) {
        if !found.is_empty() {
            let endpoints = Endpoints { endpoints: found.into_values().collect() };
            self.read.endpoints.push((upstream.clone(), endpoints));
        }
    }

    /// The endpoints of one slice by address, or nothing where it does not have the port.
    fn slice(
        &mut self,
        name: &Name,
        slice: &EndpointSlice,
        port_name: &str,
    ) -> Option<BTreeMap<SocketAddr, Endpoint>> {
        let object = ObjectRef::new("EndpointSlice", &*name.namespace, &*name.name);
        if slice.address_type == "FQDN" {
            self.read.notes.note(remark(
                &object,
                "addressType",
                "UnsupportedAddressType",
                "addresses of type \"FQDN\" are not served",
                "list IPv4 or IPv6 addresses",
            ));
            return None;
        }
        let mut ports = Vec::new();
        for (index, port) in slice.ports.iter().flatten().enumerate() {
            let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
            if !tcp || port.name.as_deref().unwrap_or_default() != port_name {
                continue;
            }
            match port.port.map(|number| (number, u16::try_from(number))) {
                Some((_, Ok(number @ 1..))) => ports.push(number),
                number => self.read.notes.note(bad_port(&object, index, number.map(|(number, _)| number))),
            }
        }
        if ports.is_empty() { None } else { Some(self.endpoints(&object, slice, &ports)) }
    }

    fn endpoints(
        &mut self,
        object: &ObjectRef,
        slice: &EndpointSlice,
        ports: &[u16],
    ) -> BTreeMap<SocketAddr, Endpoint> {
        let mut found = BTreeMap::new();
        for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
            let Some((ready, terminating)) = usable(endpoint) else { continue };
            let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let pod = pod.and_then(|pod| pod.name.as_deref()).map(PodHash::of);
            for (nth, text) in endpoint.addresses.iter().enumerate() {
                let field = || format!("endpoints[{index}].addresses[{nth}]");
                let Some(ip) = self.address(object, field, text) else { continue };
                for port in ports {
                    let address = SocketAddr::new(ip, *port);
                    add(&mut found, Endpoint { address, ready, terminating, pod });
                }
            }
        }
        found
    }

    fn address(&mut self, object: &ObjectRef, field: impl Fn() -> String, text: &str) -> Option<IpAddr> {
        let problem = match text.parse::<IpAddr>() {
            Ok(ip) => match refusal(ip, self.local) {
                None => return Some(ip),
                Some(why) => {
                    (format!("{text} {why}; it is left out"), "list the address that the pod is reached at")
                }
            },
            Err(_) => (
                format!("{} is not an IP address; it is left out", quoted(text)),
                "write an IPv4 or IPv6 address",
            ),
        };
        self.read.notes.note(remark(object, field(), "InvalidAddress", problem.0, problem.1));
        None
    }

    fn service(
        &mut self,
        name: &Name,
        annotations: &BTreeMap<String, String>,
        without_slices: bool,
        ports: &[Port],
    ) {
        let object = ObjectRef::new("Service", &*name.namespace, &*name.name);
        let remedy = "set it on the Ingress, or in the WsRoute's policy";
        for diagnostic in annotations::read_misplaced(annotations, &object, remedy).diagnostics {
            self.read.notes.note(diagnostic);
        }
        let Some(text) = annotations.get(annotations::ADDRESSES) else { return };
        if self.local == Local::Refused {
            let message = "addresses in an annotation are served in standalone mode only";
            let remedy = "create an EndpointSlice";
            self.read.notes.warn(addresses_remark(&object, "NotServed", message.into(), remedy));
        } else if !without_slices {
            let message = "the Service has EndpointSlices, which count instead";
            self.read.notes.inform(addresses_remark(&object, "NotApplicable", message.into(), "remove it"));
        } else {
            let listed = self.listed(&object, text);
            for (upstream, _) in ports {
                self.add(upstream, listed.clone());
            }
        }
    }

    fn listed(&mut self, object: &ObjectRef, text: &str) -> BTreeMap<SocketAddr, Endpoint> {
        let mut found = BTreeMap::new();
        for item in text.split(',').map(str::trim) {
            let address = item.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
            let refusal = address.and_then(|address| refusal(address.ip(), self.local));
            match (address, refusal) {
                (Some(address), None) => {
                    add(&mut found, Endpoint { address, ready: true, terminating: false, pod: None });
                }
                (_, why) => {
                    let why = why.unwrap_or("is not an IP address with port");
                    let message = format!("{} {why}; it is left out", quoted(item));
                    let remedy = "write IP:PORT, separated by commas; IPv6 in brackets";
                    self.read.notes.note(addresses_remark(object, "InvalidAddress", message, remedy));
                }
            }
        }
        found
    }
}

/// A cluster's endpoints are never this machine or link: that would reach what only Longhaul itself may.
fn refusal(ip: IpAddr, served: Local) -> Option<&'static str> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Some("is no address that one could connect to");
    }
    let local = match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    (local && served == Local::Refused).then_some("is a loopback or link-local address")
}

fn addresses_remark(object: &ObjectRef, reason: &str, message: String, remedy: &str) -> Diagnostic {
    remark(object, format!("metadata.annotations[{}]", annotations::ADDRESSES), reason, message, remedy)
}

fn bad_port(object: &ObjectRef, index: usize, number: Option<i32>) -> Diagnostic {
    let message = match number {
        Some(number) => format!("{number} is no port"),
        None => "a port without number stands for every port, which is not served".into(),
    };
    remark(object, format!("ports[{index}].port"), "InvalidPort", message, "write a port from 1 to 65535")
}

/// `(ready, terminating)`, or nothing where the endpoint takes no tunnels. Absent `ready` is true, absent `serving`
/// is `ready`, absent `terminating` is false. What is on its way out is not ready, whatever it says.
fn usable(endpoint: &api::Endpoint) -> Option<(bool, bool)> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    match (ready, serving, terminating) {
        (_, true, true) => Some((false, true)),
        (true, _, false) => Some((true, false)),
        _ => None,
    }
}

/// The same address twice is one endpoint, with the better of both states.
fn add(found: &mut BTreeMap<SocketAddr, Endpoint>, endpoint: Endpoint) {
    let known = found.entry(endpoint.address).or_insert(endpoint);
    if endpoint.ready {
        *known = endpoint;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::EndpointConditions;

    use super::*;

    #[test]
    fn readiness_is_read_as_the_api_says() {
        let usable = |ready, serving, terminating| {
            let conditions = Some(EndpointConditions { ready, serving, terminating });
            super::usable(&api::Endpoint { conditions, ..api::Endpoint::default() })
        };
        assert_eq!(super::usable(&api::Endpoint::default()), Some((true, false)));
        assert_eq!(usable(None, None, None), Some((true, false)));
        assert_eq!(usable(Some(true), None, None), Some((true, false)));
        assert_eq!(usable(Some(false), None, None), None);
        assert_eq!(usable(Some(false), Some(true), None), None);
        assert_eq!(usable(Some(false), Some(true), Some(true)), Some((false, true)));
        assert_eq!(usable(Some(false), Some(false), Some(true)), None);
        // With publishNotReadyAddresses a terminating endpoint stays ready.
        assert_eq!(usable(Some(true), Some(true), Some(true)), Some((false, true)));
        assert_eq!(usable(Some(true), Some(false), Some(false)), Some((true, false)));
    }
}
