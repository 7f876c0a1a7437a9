//! What people in the cluster see of an object after Longhaul looked at it: its status, and the Events about it.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Installation, RELEASE, Replica, backend_address, eventually};

/// Where a controller answers the others, in every pod.
const OBSERVE: u16 = 9082;

/// An object as the API server holds it.
#[derive(Clone, Debug)]
pub struct Stored(pub Value);

impl Stored {
    /// A condition as `True Accepted 1: MESSAGE`, with the generation that it speaks of; empty while there is none.
    pub fn condition(&self, type_: &str) -> String {
        let conditions = self.0["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.find(|condition| condition["type"] == type_).map_or_else(String::new, |condition| {
            let text = |name: &str| condition[name].as_str().unwrap_or_default();
            let generation = &condition["observedGeneration"];
            format!("{} {} {generation}: {}", text("status"), text("reason"), text("message"))
        })
    }

    /// Whether a condition begins like that.
    pub fn is(&self, type_: &str, begins: &str) -> bool {
        self.condition(type_).starts_with(begins)
    }

    /// The addresses in its status, those of an Ingress and those of a WsRoute alike.
    pub fn addresses(&self) -> Vec<String> {
        let status = &self.0["status"];
        let shown = status["addresses"].as_array().or(status["loadBalancer"]["ingress"].as_array());
        let one = |address: &Value| {
            let names = ["value", "ip", "hostname"];
            names.iter().find_map(|name| address[*name].as_str()).unwrap_or_default().to_owned()
        };
        shown.into_iter().flatten().map(one).collect()
    }

    /// Who wrote the parts of its status, each once.
    pub fn status_managers(&self) -> Vec<String> {
        let entries = self.0["metadata"]["managedFields"].as_array();
        let of_status = entries.into_iter().flatten().filter(|entry| entry["subresource"] == "status");
        of_status.map(|entry| entry["manager"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Installation<'_> {
    /// An object of its namespace: an `ingress`, a `wsroute`, a `lease` or a `service`.
    pub async fn stored(&self, kind: &str, name: &str) -> Result<Stored> {
        Ok(Stored(self.get(&self.path(kind, name)).await?))
    }

    /// Says something in the status of an object, as an administrator.
    pub async fn patch_status(&self, kind: &str, name: &str, status: &Value) -> Result<()> {
        let patch = serde_json::to_vec(&json!({"status": status}))?;
        let place = format!("{}/status?fieldManager=somebody-else", self.path(kind, name));
        let request = http::Request::patch(place).header("content-type", "application/merge-patch+json");
        self.cluster.client().await?.request::<Value>(request.body(patch)?).await?;
        Ok(())
    }

    /// Waits until an object is as it is wanted.
    pub async fn becomes(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&Stored) -> bool,
    ) -> Result<Stored> {
        eventually(&format!("{kind} {name} {what}"), async || {
            let stored = self.stored(kind, name).await?;
            ensure!(wanted(&stored), "{:#}", stored.0["status"]);
            Ok(stored)
        })
        .await
    }

    /// The Events about an object, each as `Warning BackendNotFound: NOTE`.
    pub async fn events(&self, kind: &str, name: &str) -> Result<Vec<String>> {
        let events = self.get(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.name())).await?;
        let events = events["items"].as_array().context("Events are a list")?;
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let about = events.iter().filter(|event| {
            let regarding = &event["regarding"];
            text(regarding, "kind").eq_ignore_ascii_case(kind) && regarding["name"] == name
        });
        Ok(about
            .map(|event| {
                format!("{} {}: {}", text(event, "type"), text(event, "reason"), text(event, "note"))
            })
            .collect())
    }

    /// Waits for an Event about an object that begins like that, and returns it.
    pub async fn event(&self, kind: &str, name: &str, begins: &str) -> Result<String> {
        eventually(&format!("an Event {begins:?} about {kind} {name}"), async || {
            let events = self.events(kind, name).await?;
            let found = events.iter().find(|event| event.starts_with(begins)).cloned();
            found.with_context(|| format!("there are {events:#?}"))
        })
        .await
    }

    /// A replica that the others find: a pod that the chart's Services select stands for it at an address of its own
    /// (see [`backend_address`]), where its controller answers. The pod is Ready when the proxy is.
    pub async fn pod(&self, number: u8) -> Result<Replica> {
        self.pod_as(number, &self.kubeconfig(), &[]).await
    }

    /// The same, as who is in another kubeconfig, and with these flags besides.
    pub async fn pod_as(&self, number: u8, kubeconfig: &Path, flags: &[&str]) -> Result<Replica> {
        let name = format!("lh-{number}");
        let own = self.pod_flags(number);
        let flags: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let replica = self.replica_with(&name, kubeconfig, &flags).await?;
        let labels = json!({
            "app.kubernetes.io/name": "longhaul",
            "app.kubernetes.io/instance": RELEASE,
            "app.kubernetes.io/component": "controller",
        });
        let ports = json!([{"name": "observe", "containerPort": OBSERVE}]);
        self.cluster.pod_with(self.name(), &name, labels, ports, backend_address(number)).await?;
        Ok(replica)
    }

    /// The flags by which a controller is one of several.
    pub fn pod_flags(&self, number: u8) -> [String; 2] {
        let address: IpAddr = backend_address(number);
        [format!("--observe={address}:{OBSERVE}"), format!("--peers-service={RELEASE}-peers")]
    }

    fn path(&self, kind: &str, name: &str) -> String {
        let resource = match kind {
            "ingress" => ["apis/networking.k8s.io/v1", "ingresses"],
            "wsroute" => ["apis/longhaul.dev/v1alpha1", "wsroutes"],
            "lease" => ["apis/coordination.k8s.io/v1", "leases"],
            _ => ["api/v1", "services"],
        };
        let [group, plural] = resource;
        format!("/{group}/namespaces/{}/{plural}/{name}", self.name())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        Ok(self.cluster.client().await?.request(request).await?)
    }
}
