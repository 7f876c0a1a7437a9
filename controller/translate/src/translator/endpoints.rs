//! The stage that is about one Service: what its slices have for the upstreams that routes use.

use std::collections::BTreeMap;

use snapshot::{Key, Reach, Section, Slice, UpstreamId};

use super::{Due, Translator, as_slice};
use crate::backends;
use crate::endpoints::{self, Port, Read};
use crate::store::{Name, Object};

/// A Service, whether it exists or not.
#[derive(Debug, Default)]
pub(super) struct ServiceMemo {
    /// Its upstreams, with how many hosts use each.
    pub(super) used: BTreeMap<UpstreamId, usize>,
    /// The upstreams that were read last.
    ports: Vec<Port>,
    /// Its slices; read only while an upstream is used.
    slices: BTreeMap<Name, Read>,
    own: Read,
}

impl Translator {
    /// A slice is new, differs or went: it may have belonged to another Service.
    pub(super) fn take_slice(
        &mut self,
        name: &Name,
        before: Option<&Object>,
        after: Option<&Object>,
        due: &mut Due,
    ) {
        let service = |object| as_slice(object).and_then(endpoints::service_of);
        let (before, after) = (service(before), service(after));
        if let Some(service) = before.filter(|before| after.as_ref() != Some(before)) {
            if let Some(memo) = self.services.get_mut(&service)
                && let Some(read) = memo.slices.remove(name)
            {
                self.take_out(name, &read, &Read::default());
                self.remarks.swap(Some(&read.notes), None);
            }
            due.services.insert(service);
        }
        if let Some(service) = after {
            let memo = self.services.entry(service.clone()).or_default();
            memo.slices.entry(name.clone()).or_default();
            due.services.insert(service.clone());
            due.slices.insert((service, name.clone()));
        }
    }

    pub(super) fn read_services(&mut self, due: &mut Due) {
        for name in std::mem::take(&mut due.services) {
            let Some(mut memo) = self.services.remove(&name) else { continue };
            self.read_service(&name, &mut memo, due);
            if !memo.used.is_empty() || !memo.slices.is_empty() {
                self.services.insert(name, memo);
            }
        }
    }

    fn read_service(&mut self, name: &Name, memo: &mut ServiceMemo, due: &Due) {
        let service = self.store.service(name);
        let (direct, upstreams): (Vec<_>, Vec<_>) =
            memo.used.keys().partition(|upstream| upstream.reach == Reach::Address);
        let each = upstreams.into_iter();
        let ports: Vec<Port> =
            each.map(|upstream| (upstream.clone(), backends::port_name(upstream, service))).collect();
        let local = self.settings().local_endpoints();
        let mut changed = Vec::new();
        for (slice, read) in &mut memo.slices {
            if memo.ports == ports && !due.slices.contains(&(name.clone(), slice.clone())) {
                continue;
            }
            let object = self.store.endpoint_slice(slice).filter(|_| !ports.is_empty());
            let after = object.map(|object| endpoints::slice(slice, object, &ports, local));
            changed.push((slice.clone(), std::mem::replace(read, after.unwrap_or_default())));
        }
        let annotations = service.and_then(|service| service.metadata.annotations.as_ref());
        let slices: Vec<_> = memo.slices.values().collect();
        let mut own = match ports[..] {
            [] => Read::default(),
            _ => endpoints::service(name, annotations, &slices, &ports, local),
        };
        for upstream in direct {
            let address = service.and_then(|service| backends::own_address(upstream, service));
            own.add_address(name, upstream, address, local);
        }
        // The Service may have a slice of its own name: what goes is taken out before anything is put in.
        let own_before = std::mem::replace(&mut memo.own, own);
        memo.ports = ports;
        let own = [(name, &own_before, &memo.own)];
        let swaps = changed.iter().map(|(slice, before)| (slice, before, &memo.slices[slice]));
        let swaps: Vec<_> = swaps.chain(own).collect();
        for (source, before, after) in &swaps {
            self.take_out(source, before, after);
        }
        for (source, before, after) in swaps {
            self.put_in(source, before, after);
        }
    }

    /// What a source had under its name, and has no more.
    fn take_out(&mut self, source: &Name, before: &Read, after: &Read) {
        for (upstream, _) in &before.endpoints {
            if !after.endpoints.iter().any(|(kept, _)| kept == upstream) {
                self.outcome.snapshot.remove(&key(upstream, source));
            }
        }
    }

    /// What a source has now, under its name.
    fn put_in(&mut self, source: &Name, before: &Read, after: &Read) {
        for (upstream, endpoints) in &after.endpoints {
            self.put(key(upstream, source), &Section::Endpoints(endpoints.clone()));
        }
        self.remarks.swap(Some(&before.notes), Some(&after.notes));
    }
}

fn key(upstream: &UpstreamId, source: &Name) -> Key {
    Key::Endpoints(upstream.clone(), Slice(source.name.clone()))
}
