//! `make cluster` does what it prints: image, chart and the demo's objects on a real node, reached from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::cluster::Node;
use e2e::demo::OnCluster;

#[test]
fn the_demo_runs_on_a_cluster() {
    if !Node::can_run("the demo on a cluster") {
        return;
    }
    let cluster = OnCluster::start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(cluster.tour()).unwrap();
}
