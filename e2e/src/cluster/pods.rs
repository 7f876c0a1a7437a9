//! Pods that exist only in the API: no kubelet runs them, and the test says what their status is. Everything that
//! follows from it, EndpointSlices above all, is done by the real controllers.

use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::ControlPlane;

/// The node that they are on. It does not exist on this machine.
const ABSENT_NODE: &str = "absent-node";

impl ControlPlane {
    /// Makes a running, ready pod with the label `app` at an address (see [`super::backend_address`]). It has one port,
    /// named `ws`.
    pub async fn pod(
        &self,
        namespace: &str,
        name: &str,
        app: &str,
        address: IpAddr,
        port: u16,
    ) -> Result<()> {
        let (labels, ports) = (json!({"app": app}), json!([{"name": "ws", "containerPort": port}]));
        self.pod_with(namespace, name, labels, ports, address).await
    }

    /// The same with other labels, and with the ports of its one container.
    pub async fn pod_with(
        &self,
        namespace: &str,
        name: &str,
        labels: Value,
        ports: Value,
        address: IpAddr,
    ) -> Result<()> {
        self.make_absent_node().await?;
        let pod: Pod = from(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "nodeName": ABSENT_NODE,
                "containers": [{"name": "app", "image": "none", "ports": ports}],
            },
        }))?;
        self.pods(namespace).await?.create(&PostParams::default(), &pod).await?;
        let addresses = json!({"podIP": address, "podIPs": [{"ip": address}]});
        self.patch_pod_status(namespace, name, addresses).await?;
        self.set_pod_ready(namespace, name, true).await
    }

    /// Says whether a pod is ready.
    pub async fn set_pod_ready(&self, namespace: &str, name: &str, ready: bool) -> Result<()> {
        let value = if ready { "True" } else { "False" };
        let conditions = json!([{"type": "Ready", "status": value}]);
        self.patch_pod_status(namespace, name, json!({"phase": "Running", "conditions": conditions})).await
    }

    /// Asks for a pod's end. With nobody to end it, it goes on terminating until [`ControlPlane::remove_pod`].
    pub async fn terminate_pod(&self, namespace: &str, name: &str) -> Result<()> {
        self.pods(namespace).await?.delete(name, &DeleteParams::default().grace_period(30)).await?;
        Ok(())
    }

    /// Removes a pod, as a kubelet does when it has ended.
    pub async fn remove_pod(&self, namespace: &str, name: &str) -> Result<()> {
        self.pods(namespace).await?.delete(name, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// Makes a Service for the pods with a label `app`, of the same name, with port 80 named `ws`.
    pub async fn service(&self, namespace: &str, app: &str) -> Result<()> {
        let service = from(json!({
            "metadata": {"name": app},
            "spec": {"selector": {"app": app}, "ports": [{"name": "ws", "port": 80, "targetPort": "ws"}]},
        }))?;
        let services: Api<k8s_openapi::api::core::v1::Service> =
            Api::namespaced(self.client().await?, namespace);
        services.create(&PostParams::default(), &service).await?;
        Ok(())
    }

    async fn pods(&self, namespace: &str) -> Result<Api<Pod>> {
        Ok(Api::namespaced(self.client().await?, namespace))
    }

    async fn patch_pod_status(&self, namespace: &str, name: &str, status: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"status": status}));
        self.pods(namespace).await?.patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn make_absent_node(&self) -> Result<()> {
        let node: Node = from(json!({"metadata": {"name": ABSENT_NODE}}))?;
        match Api::all(self.client().await?).create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(refused)) if refused.code == 409 => Ok(()),
            made => Ok(made.map(|_| ())?),
        }
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("an object reads as what it is")
}
