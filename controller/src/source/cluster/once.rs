//! What is in a cluster now, read once: for checking and explaining it, not for serving it.
//!
//! Whoever asks may have few permissions. A kind that may not be listed is said, and the rest is read.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anyhow::Context;
use crds::diagnostic::{Diagnostic, ObjectRef, Severity};
use crds::wspolicy::WsPolicy;
use crds::wsroute::WsRoute;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;
use translate::{Change, Kind, Object};

use super::prune::{self, Watched};
use super::trouble::{self, Cause};
use super::{SECRETS, Sight};
use crate::source::once::Manifests;
use crate::source::{Batch, Finding};

/// Objects of one page.
const PAGE: u32 = 500;

/// The kind of object that remarks are about which concern what may be read.
pub const CLUSTER: &str = "Cluster";

/// Reads every object that translation looks at; of these namespaces, or of all.
pub async fn read(client: &Client, namespaces: &BTreeSet<String>) -> anyhow::Result<Manifests> {
    let mut reading = Reading { client, namespaces, read: Manifests::default() };
    for kind in Kind::ALL {
        match kind {
            Kind::Ingress => reading.namespaced::<Ingress>(kind, None, whole(kind)).await?,
            Kind::Service => reading.namespaced::<Service>(kind, None, whole(kind)).await?,
            Kind::EndpointSlice => reading.namespaced::<EndpointSlice>(kind, None, whole(kind)).await?,
            // Whoever asks may look into them, and is gone in a moment.
            Kind::Secret => {
                let keep = |secret: Secret| Ok(Some(prune::secret(secret)));
                reading.namespaced::<Secret>(kind, Some(SECRETS), keep).await?;
            }
            Kind::WsRoute => reading.ours(kind, &ApiResource::erase::<WsRoute>(&())).await?,
            Kind::WsPolicy => reading.ours(kind, &ApiResource::erase::<WsPolicy>(&())).await?,
            Kind::IngressClass => {
                reading.list(kind, None, Api::<IngressClass>::all(client.clone()), None, whole(kind)).await?;
            }
        }
    }
    Ok(reading.read)
}

struct Reading<'a> {
    client: &'a Client,
    namespaces: &'a BTreeSet<String>,
    read: Manifests,
}

impl Reading<'_> {
    async fn namespaced<K>(
        &mut self,
        kind: Kind,
        fields: Option<&str>,
        keep: impl Fn(K) -> Taken,
    ) -> anyhow::Result<()>
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if self.namespaces.is_empty() {
            return self.list(kind, None, Api::<K>::all(self.client.clone()), fields, keep).await;
        }
        for namespace in self.namespaces {
            let api = Api::<K>::namespaced(self.client.clone(), namespace);
            self.list(kind, Some(namespace), api, fields, &keep).await?;
        }
        Ok(())
    }

    /// One that is stored in another form must not hide the others.
    async fn ours(&mut self, kind: Kind, resource: &ApiResource) -> anyhow::Result<()> {
        if self.namespaces.is_empty() {
            let api = Api::<DynamicObject>::all_with(self.client.clone(), resource);
            return self.list(kind, None, api, None, whole(kind)).await;
        }
        for namespace in self.namespaces {
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, resource);
            self.list(kind, Some(namespace), api, None, whole(kind)).await?;
        }
        Ok(())
    }

    async fn list<K>(
        &mut self,
        kind: Kind,
        namespace: Option<&String>,
        api: Api<K>,
        fields: Option<&str>,
        keep: impl Fn(K) -> Taken,
    ) -> anyhow::Result<()>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        match pages(&api, fields).await {
            Ok(objects) => {
                let (objects, unreadable) = sorted_out(objects.into_iter().map(keep));
                self.read.objects.extend(objects);
                self.read.said.findings.extend(unreadable.into_iter().map(without_place));
                Ok(())
            }
            Err(error) => {
                let remark = missing(&error, kind, namespace.map(String::as_str));
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
async fn pages<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    fields: Option<&str>,
) -> Result<Vec<K>, Error> {
    let mut objects = Vec::new();
    let mut ask = ListParams { limit: Some(PAGE), ..ListParams::default() };
    ask.field_selector = fields.map(Into::into);
    loop {
        let page = api.list(&ask).await?;
        objects.extend(page.items);
        ask.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if ask.continue_token.is_none() {
            return Ok(objects);
        }
    }
}

/// What is left of an object, if that is anything.
type Taken = Result<Option<Object>, Diagnostic>;

/// A kind that is watched whole.
fn whole<K: Watched>(kind: Kind) -> impl Fn(K) -> Taken {
    move |object| match object.keep(kind, "").sight? {
        Sight::Whole(object) => Ok(Some(object)),
        Sight::Version(_) | Sight::Gone => Ok(None),
    }
}

fn sorted_out(kept: impl Iterator<Item = Taken>) -> (Batch, Vec<Diagnostic>) {
    let (mut objects, mut unreadable) = (Batch::new(), Vec::new());
    for object in kept {
        match object {
            Ok(object) => objects.extend(object.map(Change::Upsert)),
            Err(diagnostic) => unreadable.push(diagnostic),
        }
    }
    (objects, unreadable)
}

fn without_place(diagnostic: Diagnostic) -> Finding {
    Finding { diagnostic, file: None, line: None }
}

/// What is to be said of a kind that cannot be listed for a reason that is no failure. `None`: it is one.
fn missing(error: &Error, kind: Kind, namespace: Option<&str>) -> Option<Diagnostic> {
    let resource = trouble::resource(kind);
    let place = namespace.map(|name| format!(" in namespace {name}")).unwrap_or_default();
    let (severity, reason, message, remedy) = match trouble::cause(error) {
        Cause::NotPermitted => (
            Severity::Warning,
            "Forbidden",
            format!("you may not list {resource}{place}; the rest is read without them"),
            match namespace {
                None => format!(
                    "name what you may read with --namespaces, or ask for permission to list {resource}"
                ),
                Some(_) => format!("ask for permission to list {resource} there"),
            },
        ),
        Cause::NoSuchKind => (
            Severity::Info,
            "NoSuchKind",
            format!("the API server does not know {resource}, so there are none"),
            "install Longhaul's CustomResourceDefinition to have WsRoutes and WsPolicies".to_owned(),
        ),
        _ => return None,
    };
    let (object, field) = (ObjectRef::new(CLUSTER, "", resource), String::new());
    Some(Diagnostic { object, field, severity, reason: reason.into(), message, remedy })
}
