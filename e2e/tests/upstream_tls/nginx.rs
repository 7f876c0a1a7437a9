//! What ingress-nginx's annotations and a Service's port ask for.

use e2e::objects::{Ingress, slice};

use super::*;

fn key(name: &str) -> String {
    format!("nginx.ingress.kubernetes.io/{name}")
}

#[tokio::test]
async fn annotations_of_ingress_nginx() {
    let (authority, clients) = (Authority::new().unwrap(), Authority::new().unwrap());
    let demo = DemoBackend::start("blue").await.unwrap();
    let pair = authority.issue(&["chat.internal"]).unwrap();
    let front = Secured::start(pair.server().unwrap(), demo.address()).await.unwrap();
    let client = clients.issue(&["longhaul"]).unwrap();
    let both = [("ca.crt", &*authority.pem()), ("tls.crt", &client.certificate), ("tls.key", &client.key)];
    let mut world = plan(front.address(), &authority)
        .annotation("nginx.ingress.kubernetes.io/backend-protocol", "https")
        .file("both.yaml", opaque("both", &both))
        .start()
        .await
        .unwrap();
    let target = world.plain(HOST).unwrap();
    // Not verified, and without a name.
    served(&target).await;
    assert_eq!(front.began()[0], tls(None, false));
    let said = world.controller().unwrap().api("/api/diagnostics").await.unwrap().to_string();
    assert!(said.contains("are not verified, as in ingress-nginx"), "{said}");
    let add = async |world: &mut World, name: &str, value: &str| {
        let line = format!("  annotations:\n    {}: {value:?}\n", key(name));
        world.edit("site.yaml", "  annotations:\n", &line).await.unwrap();
    };
    add(&mut world, "proxy-ssl-verify", "on").await;
    refused(&target, HOST, "tls_certificate_error").await;
    add(&mut world, "proxy-ssl-secret", "default/both").await;
    refused(&target, HOST, "tls_certificate_error").await;
    add(&mut world, "proxy-ssl-name", "chat.internal").await;
    served(&target).await;
    assert_eq!(front.began().last(), Some(&tls(None, true)));
    add(&mut world, "proxy-ssl-server-name", "on").await;
    served(&target).await;
    assert_eq!(front.began().last(), Some(&tls(Some("chat.internal"), true)));
    // It asks for a certificate now, and no longer speaks TLS 1.3.
    front.change(pair.server_for(&clients).unwrap());
    add(&mut world, "proxy-ssl-protocols", "TLSv1.2").await;
    served(&target).await;
    let last = front.began().pop();
    assert!(matches!(&last, Some(Began::Tls { client: Some(der), .. }) if der == client.der()), "{last:?}");
}

#[tokio::test]
async fn tls_for_clients_that_came_over_tls() {
    let authority = Authority::new().unwrap();
    let (_demo, front) = backend(&authority, "whoever.test").await;
    let world = plan(front.address(), &authority)
        .annotation("nginx.ingress.kubernetes.io/backend-protocol", "AUTO_HTTP")
        .start()
        .await
        .unwrap();
    served(&world.plain(HOST).unwrap()).await;
    assert_eq!(front.began(), [Began::InTheClear, Began::InTheClear]);
    served(&world.tls(HOST).unwrap()).await;
    assert_eq!(front.began()[2..], [tls(None, false), tls(None, true)]);
}

#[tokio::test]
async fn what_the_port_of_a_service_says() {
    let authority = Authority::new().unwrap();
    let (_demo, front) = backend(&authority, "secure.default.svc").await;
    for protocol in ["https", "kubernetes.io/wss", "kubernetes.io/ws", "http"] {
        let secure = protocol == "https" || protocol.ends_with("wss");
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: secure}}\n\
             spec: {{ports: [{{name: ws, port: 80, targetPort: ws, appProtocol: {protocol}}}]}}\n"
        );
        let route = "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {name: secure}\nspec:\n  \
                     ingressClassName: longhaul\n  hosts: [secure.test]\n  \
                     rules: [{name: all, http: true, backends: [{service: secure, port: ws}]}]\n";
        let ingress = Ingress::new("ingress", "ingress.test").path("/", "secure");
        let mut world = plan(front.address(), &authority)
            .file("secure.yaml", [service, slice("secure", 0, front.address())].join("---\n"))
            .file("route.yaml", route)
            .file("ingress.yaml", ingress.yaml())
            .start()
            .await
            .unwrap();
        for host in ["secure.test", "ingress.test"] {
            let target = world.plain(host).unwrap();
            if secure {
                // Nobody has said yet who signs for it.
                refused(&target, host, "tls_certificate_error").await;
            } else {
                served(&target).await;
                assert_eq!(front.began().last(), Some(&Began::InTheClear), "{protocol}");
            }
        }
        if !secure {
            continue;
        }
        let with = "policy: {upstreamTLS: {caSecretName: authority}}\n  rules";
        world.edit("route.yaml", "rules", with).await.unwrap();
        served(&world.plain("secure.test").unwrap()).await;
        let before = front.began().len();
        let clear = ingress.annotation("longhaul.dev/upstream-protocol", "http");
        world.write("ingress.yaml", &clear.yaml()).await.unwrap();
        served(&world.plain("ingress.test").unwrap()).await;
        assert_eq!(front.began()[before..], [Began::InTheClear, Began::InTheClear], "the route comes first");
    }
}
