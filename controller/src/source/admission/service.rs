//! Service and EndpointSlice as the API server accepts and completes them.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/apis/core/validation/validation.go>,
//! <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/apis/discovery/validation/validation.go>

use std::collections::BTreeSet;
use std::net::IpAddr;

use crds::grammar;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Checker;

pub(super) fn check(service: &Service, checker: &mut Checker) {
    let spec = service.spec.as_ref();
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let headless = spec.and_then(|spec| spec.cluster_ip.as_deref()) == Some("None");
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    match kind {
        "ClusterIP" | "NodePort" | "LoadBalancer" => {
            if ports.is_empty() && !headless {
                checker.say(
                    "spec.ports",
                    "a Service needs at least one port",
                    "add one, or set `clusterIP: None`",
                );
            }
        }
        "ExternalName" => {
            let name = spec.and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
            checker.form("spec.externalName", name.trim_end_matches('.'), &grammar::OBJECT_NAME, 253);
        }
        other => checker.say(
            "spec.type",
            format!("`{other}` is no type of a Service"),
            "write ClusterIP, NodePort, LoadBalancer or ExternalName",
        ),
    }
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (n, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{n}]");
        check_port(&field, port, ports.len() > 1, checker);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty())
            && !names.insert(name)
        {
            checker.say(
                format!("{field}.name"),
                format!("two ports are named `{name}`"),
                "rename one of them",
            );
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !numbers.insert((protocol, port.port)) {
            let message = format!("two ports are {protocol} {}", port.port);
            checker.say(format!("{field}.port"), message, "remove or change one of them");
        }
    }
}

fn check_port(field: &str, port: &ServicePort, named: bool, checker: &mut Checker) {
    match port.name.as_deref().unwrap_or_default() {
        "" if named => checker.say(
            format!("{field}.name"),
            "a port needs a name where there are several",
            "add one, such as `ws`",
        ),
        "" => {}
        name => checker.form(format!("{field}.name"), name, &grammar::LABEL, 63),
    }
    checker.port_number(format!("{field}.port"), port.port);
    checker.protocol(format!("{field}.protocol"), port.protocol.as_deref());
    match &port.target_port {
        // Unset it is the port itself, which is said already.
        Some(IntOrString::Int(number)) if *number == port.port => {}
        Some(IntOrString::Int(number)) => checker.port_number(format!("{field}.targetPort"), *number),
        Some(IntOrString::String(name)) => checker.port_name(format!("{field}.targetPort"), name),
        None => {}
    }
}

pub(super) fn fill_in(service: &mut Service) {
    let Some(spec) = &mut service.spec else { return };
    spec.type_.get_or_insert_with(|| "ClusterIP".into());
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
        let unset = match &port.target_port {
            Some(IntOrString::Int(number)) => *number == 0,
            Some(IntOrString::String(name)) => name.is_empty(),
            None => true,
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
}

pub(super) fn check_slice(slice: &EndpointSlice, checker: &mut Checker) {
    let fits: fn(&str) -> bool = match &*slice.address_type {
        "IPv4" => |text| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() && endpoint(ip)),
        "IPv6" => |text| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() && endpoint(ip)),
        "FQDN" => |text| grammar::OBJECT_NAME.holds(text) && text.contains('.'),
        other => {
            let message = match other {
                "" => "an EndpointSlice needs `addressType`".to_owned(),
                other => format!("`{other}` is no type of addresses"),
            };
            checker.say("addressType", message, "write IPv4 or IPv6");
            return;
        }
    };
    for (n, one) in slice.endpoints.iter().flatten().enumerate() {
        let field = format!("endpoints[{n}].addresses");
        if one.addresses.is_empty() {
            checker.say(&*field, "an endpoint needs an address", "add one, or remove the endpoint");
        }
        for (m, address) in one.addresses.iter().enumerate().filter(|(_, address)| !fits(address)) {
            let kind = &slice.address_type;
            let message = format!("`{address}` is no {kind} address of an endpoint");
            checker.say(
                format!("{field}[{m}]"),
                message,
                format!("write an {kind} address, or change addressType"),
            );
        }
    }
    let mut names = BTreeSet::new();
    for (n, port) in slice.ports.iter().flatten().enumerate() {
        let field = format!("ports[{n}]");
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            checker.form(format!("{field}.name"), name, &grammar::LABEL, 63);
        }
        if !names.insert(name) {
            checker.say(
                format!("{field}.name"),
                format!("two ports are named `{name}`"),
                "rename one of them",
            );
        }
        checker.protocol(format!("{field}.protocol"), port.protocol.as_deref());
        if let Some(number) = port.port {
            checker.port_number(format!("{field}.port"), number);
        }
    }
}

/// Loopback addresses are endpoints in standalone mode; nowhere and everybody are none.
fn endpoint(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

pub(super) fn fill_in_slice(slice: &mut EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_with(String::new);
        port.protocol.get_or_insert_with(|| "TCP".into());
    }
}
