//! A real node becomes ready, and a pod on it serves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use e2e::client::Target;
use e2e::cluster::{Node, eventually, run};
use e2e::objects::{DEMO_IMAGE, backend_in_a_pod};
use e2e::process::binary;

#[test]
fn a_pod_runs_is_reached_by_its_service_and_all_goes_without_a_trace() {
    if !Node::can_run("a pod on a real node") {
        return;
    }
    let settings = kernel_settings();
    let node = Node::start().unwrap();

    node.load_program(DEMO_IMAGE, &binary("demo-backend").unwrap()).unwrap();
    node.inside(async || {
        let namespace = node.namespace("pods").await.unwrap();
        let on_the_node = backend_in_a_pod("chat", "chat") + "  type: NodePort\n";
        node.apply(&namespace, &on_the_node).await.unwrap();
        let ready = ["-n", &namespace, "wait", "--for=condition=Ready", "--timeout=50s", "pod/chat"];
        node.kubectl(&ready).await.unwrap();
        let logs = node.kubectl(&["-n", &namespace, "logs", "chat"]).await.unwrap();
        assert!(logs.contains("listens on"), "{logs}");

        let columns = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port} {.spec.ports[0].nodePort}";
        let service =
            node.kubectl(&["-n", &namespace, "get", "service", "chat", "-o", columns]).await.unwrap();
        let (address, port) = service.split_once(' ').unwrap();
        let by_node = format!("{}:{port}", e2e::cluster::NODE_ADDRESS);
        let mut sockets = Vec::new();
        for address in [address, &by_node] {
            let address: SocketAddr = address.parse().unwrap();
            // Ready is what the pod is; kube-proxy and its rules follow.
            let connect = async || Target::plain(address, "chat").websocket("/").await;
            let socket = eventually("a way to the pod", connect).await.unwrap();
            assert_eq!(socket.backend(), "chat");
            sockets.push(socket);
        }
        node.restart_kubelet().unwrap();
        for mut socket in sockets {
            socket.echo("whatever the kubelet does").await.unwrap();
        }
        node.kubectl(&ready).await.unwrap();
    });
    let name = node.name().to_owned();
    assert!(run::traces(&name).unwrap().iter().any(|trace| trace.contains("/sys/fs/cgroup")));
    drop(node);
    assert_eq!(run::traces(&name).unwrap(), Vec::<String>::new());
    assert_eq!(kernel_settings(), settings, "the machine is as it was");
}

/// What a kubelet would set.
fn kernel_settings() -> Vec<String> {
    ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"]
        .map(|name| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap())
        .to_vec()
}
