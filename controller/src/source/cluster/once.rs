//! What is in a cluster now, read once: for checking and explaining it, not for serving it.
//!
//! Whoever asks may have few permissions. A kind that may not be listed is said, and the rest is read. Secrets and
//! ConfigMaps are not listed at all: those that routes name are read by name.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anyhow::Context;
use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use crds::wspolicy::WsPolicy;
use crds::wsroute::WsRoute;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Error, Resource};
use translate::{Change, Kind, Settings, Store, Translator};

use super::Sight;
use super::prune::Watched;
use super::read::fetch;
use super::trouble::{self, Cause};
use crate::source::Finding;
use crate::source::once::Manifests;

/// Objects of one page.
const PAGE: u32 = 500;

/// Objects that are read by name at once.
const AT_ONCE: usize = 16;

/// The kind of object that remarks are about which concern what may be read.
pub const CLUSTER: &str = "Cluster";

/// Reads every object that translation looks at, of these namespaces or of all; but of Secrets and ConfigMaps none: see
/// [`read_wanted`].
pub async fn read(client: &Client, namespaces: &BTreeSet<String>) -> anyhow::Result<Manifests> {
    let mut reading = Reading { client, namespaces, read: Manifests::default() };
    for kind in Kind::ALL {
        match kind {
            Kind::Ingress => reading.namespaced::<Ingress>(kind).await?,
            Kind::Service => reading.namespaced::<Service>(kind).await?,
            Kind::EndpointSlice => reading.namespaced::<EndpointSlice>(kind).await?,
            Kind::Secret | Kind::ConfigMap => reading.read.objects.push(Change::OnDemand(kind)),
            Kind::WsRoute => reading.ours(kind, &ApiResource::erase::<WsRoute>(&())).await?,
            Kind::WsPolicy => reading.ours(kind, &ApiResource::erase::<WsPolicy>(&())).await?,
            Kind::IngressClass => {
                reading.list(kind, None, Api::<IngressClass>::all(client.clone())).await?;
            }
        }
    }
    Ok(reading.read)
}

/// Reads by name what translation asks for, as long as it asks for more. What may not be read is said.
pub async fn read_wanted(client: &Client, read: &mut Manifests, settings: &Settings) -> anyhow::Result<()> {
    let (mut store, mut translator, mut refused) = (Store::default(), Translator::default(), BTreeSet::new());
    for change in &read.objects {
        store.apply(change.clone());
    }
    loop {
        let unread = translator.translate(&store, settings).unread;
        let wanted: Vec<_> = unread.into_iter().filter(|object| !refused.contains(object)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let fetched = stream::iter(wanted).map(async |object| (fetch(client.clone(), &object).await, object));
        let fetched: Vec<_> = fetched.buffer_unordered(AT_ONCE).collect().await;
        for (found, object) in fetched {
            let change = match found {
                Ok(Some((found, _))) => Change::Upsert(found),
                Ok(None) => Change::Absent(object),
                Err(error) => {
                    read.refuse(error, &object)?;
                    refused.insert(object);
                    continue;
                }
            };
            store.apply(change.clone());
            read.objects.push(change);
        }
    }
}

impl Manifests {
    /// Says, once for each namespace, that an object may not be read.
    fn refuse(&mut self, error: Error, object: &ObjectRef) -> anyhow::Result<()> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == object.kind);
        let remark = kind.and_then(|kind| missing(&error, ("read", kind), Some(&object.namespace)));
        let (Some(remark), Some(kind)) = (remark, kind) else {
            return Err(error).with_context(|| format!("{object} cannot be read"));
        };
        self.unlisted.insert(kind);
        let finding = without_place(remark);
        if !self.said.findings.contains(&finding) {
            self.said.findings.push(finding);
        }
        Ok(())
    }
}

struct Reading<'a> {
    client: &'a Client,
    namespaces: &'a BTreeSet<String>,
    read: Manifests,
}

impl Reading<'_> {
    async fn namespaced<K>(&mut self, kind: Kind) -> anyhow::Result<()>
    where
        K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if self.namespaces.is_empty() {
            return self.list(kind, None, Api::<K>::all(self.client.clone())).await;
        }
        for namespace in self.namespaces {
            let api = Api::<K>::namespaced(self.client.clone(), namespace);
            self.list(kind, Some(namespace), api).await?;
        }
        Ok(())
    }

    /// One that is stored in another form must not hide the others.
    async fn ours(&mut self, kind: Kind, resource: &ApiResource) -> anyhow::Result<()> {
        if self.namespaces.is_empty() {
            let api = Api::<DynamicObject>::all_with(self.client.clone(), resource);
            return self.list(kind, None, api).await;
        }
        for namespace in self.namespaces {
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, resource);
            self.list(kind, Some(namespace), api).await?;
        }
        Ok(())
    }

    async fn list<K>(&mut self, kind: Kind, namespace: Option<&String>, api: Api<K>) -> anyhow::Result<()>
    where
        K: Watched + Debug,
    {
        match pages(&api).await {
            Ok(objects) => {
                for object in objects {
                    match object.keep(kind, "").sight {
                        Ok(Sight::Whole(object)) => self.read.objects.push(Change::Upsert(object)),
                        Ok(Sight::Version(_) | Sight::Gone) => {}
                        Err(unreadable) => self.read.said.findings.push(without_place(unreadable)),
                    }
                }
                Ok(())
            }
            Err(error) => {
                let remark = missing(&error, ("list", kind), namespace.map(String::as_str));
                let remark = remark.ok_or(error).with_context(|| format!("{kind}s cannot be listed"))?;
                // Where there is no such kind, nothing is missing.
                if remark.severity != Severity::Info {
                    self.read.unlisted.insert(kind);
                }
                self.read.said.findings.push(without_place(remark));
                Ok(())
            }
        }
    }
}

/// A list, page by page, which is of one moment.
async fn pages<K: Watched>(api: &Api<K>) -> Result<Vec<K>, Error> {
    let mut objects = Vec::new();
    let mut ask = ListParams { limit: Some(PAGE), ..ListParams::default() };
    loop {
        let page = api.list(&ask).await?;
        objects.extend(page.items);
        ask.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if ask.continue_token.is_none() {
            return Ok(objects);
        }
    }
}

fn without_place(diagnostic: Diagnostic) -> Finding {
    Finding { diagnostic, file: None, line: None }
}

/// What is to be said of a kind that cannot be listed, or read, for a reason that is no failure. `None`: it is one.
fn missing(error: &Error, (verb, kind): (&str, Kind), namespace: Option<&str>) -> Option<Diagnostic> {
    let resource = trouble::resource(kind);
    let place = namespace.map(|name| format!(" in namespace {name}")).unwrap_or_default();
    let (severity, reason, message, remedy) = match trouble::cause(error) {
        Cause::NotPermitted => (
            Severity::Warning,
            "Forbidden",
            format!("you may not {verb} {resource}{place}; the rest is read without them"),
            match namespace {
                None => {
                    format!(
                        "name what you may read with --namespaces, or ask for permission to {verb} {resource}"
                    )
                }
                Some(_) => format!("ask for permission to {verb} {resource} there"),
            },
        ),
        Cause::NoSuchKind => (
            Severity::Info,
            "NoSuchKind",
            format!("the API server does not know {resource}, so there are none"),
            "install Longhaul's CustomResourceDefinition to have WsRoutes".to_owned(),
        ),
        _ => return None,
    };
    let (object, field) = (ObjectRef::new(CLUSTER, "", resource), String::new());
    Some(Diagnostic { object, field, severity, reason: reason.into(), message, remedy })
}
