//! The objects that routes are made of, as a cluster changes them: Secrets that rotate or come late, endpoints that the
//! real controller makes of pods, Services that change their ports, objects that come in any order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Result, ensure};
use base64::Engine as _;
use e2e::backend::demo::DemoBackend;
use e2e::certificate::Authority;
use e2e::client::{Socket, Target};
use e2e::cluster::{ControlPlane, Installation, Replica, backend_address, eventually};
use e2e::objects::{backend, service};

const HOST: &str = "app.example.com";

/// An Ingress for the host, to port `PORT` of the Service `app`.
const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site}
spec:
  ingressClassName: CLASS
  rules:
  - host: app.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {name: PORT}}}}]}
---
";

/// Below `spec` of an Ingress.
const TLS: &str = "spec:\n  tls: [{hosts: [app.example.com], secretName: app-tls}]";

/// What cert-manager makes while a certificate is wanted.
const SOLVER: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: cm-acme-http-solver-x7k2p
  labels: {acme.cert-manager.io/http01-solver: 'true'}
  annotations: {nginx.ingress.kubernetes.io/whitelist-source-range: '0.0.0.0/0,::/0'}
spec:
  ingressClassName: CLASS
  rules:
  - host: app.example.com
    http:
      paths:
      - path: /.well-known/acme-challenge/whoami
        pathType: ImplementationSpecific
        backend: {service: {name: cm-acme-http-solver-b2c4d, port: {number: 80}}}
---
";

const CHALLENGE: &str = "/.well-known/acme-challenge/whoami";

/// An installation with one replica, in a namespace of its own.
struct Site<'a> {
    cluster: &'a ControlPlane,
    installation: Installation<'a>,
    replica: Replica,
    authority: Authority,
}

fn on_a_site(test: &str, work: impl AsyncFnOnce(&Site<'_>) + Send) {
    let Some(cluster) = ControlPlane::wanted_by(test) else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "objects", &[]).await.unwrap();
        let replica = installation.replica("lh-0").await.unwrap();
        work(&Site { cluster, installation, replica, authority: Authority::new().unwrap() }).await;
    });
}

impl Site<'_> {
    fn namespace(&self) -> &str {
        self.installation.name()
    }

    async fn apply(&self, yaml: &str) {
        self.installation.apply(yaml).await.unwrap();
    }

    fn plain(&self) -> Target {
        Target::plain(self.replica.proxy.as_ref().unwrap().http(), HOST)
    }

    fn tls(&self) -> Target {
        let address = self.replica.proxy.as_ref().unwrap().https();
        Target::tls(address, HOST, self.authority.trusting_client().unwrap())
    }

    /// A new certificate for the host in the Secret that the Ingress names.
    async fn issue(&self) -> e2e::certificate::Pair {
        let pair = self.authority.issue(&[HOST]).unwrap();
        self.apply(&pair.secret(self.namespace(), "app-tls")).await;
        pair
    }

    async fn open(&self) -> Socket {
        self.plain().websocket("/").await.unwrap()
    }

    /// Waits until a plain request is answered with this status.
    async fn answers(&self, path: &str, wanted: u16) {
        let as_wanted = async || {
            let found = self.plain().get(path).await?.status;
            ensure!(found == wanted, "{path} is answered with {found}");
            Ok(())
        };
        eventually(&format!("{wanted} of {path}"), as_wanted).await.unwrap();
    }

    /// Waits until new handshakes come to these backends and to no other.
    async fn turns_to(&self, wanted: &[&str]) {
        let as_wanted = async || {
            let mut found = Vec::new();
            // Those of one round are open at once: the fewest tunnels decide, so all that take any take one.
            let mut round = Vec::new();
            for _ in 0..6 {
                let socket = self.plain().websocket("/").await?;
                found.push(socket.backend().to_owned());
                round.push(socket);
            }
            for mut socket in round {
                socket.close().await?;
            }
            found.sort_unstable();
            found.dedup();
            ensure!(found == wanted, "handshakes come to {found:?}");
            Ok(())
        };
        eventually(&format!("handshakes to {wanted:?}"), as_wanted).await.unwrap();
    }

    /// What the controller says about an object for this reason.
    async fn remark(&self, name: &str, reason: &str) -> String {
        let said = async || {
            let all = self.replica.controller.as_ref().unwrap().api("/api/diagnostics").await?;
            let mut all = all.as_array().into_iter().flatten();
            let found = all.find(|one| {
                one["object"]["name"] == name
                    && one["object"]["namespace"] == self.namespace()
                    && one["reason"] == reason
            });
            found
                .map(|one| one["message"].to_string())
                .ok_or_else(|| anyhow::anyhow!("no {reason} about {name}"))
        };
        eventually(reason, said).await.unwrap()
    }
}

/// A backend, and a pod of the app `app` at its address.
async fn pod(site: &Site<'_>, number: u8) -> Result<DemoBackend> {
    let name = format!("app-{number}");
    let backend = DemoBackend::start_on(&name, backend_address(number)).await?;
    let address = backend.address();
    site.cluster.pod(site.namespace(), &name, "app", address.ip(), address.port()).await?;
    Ok(backend)
}

#[test]
fn a_rotated_secret_is_served_to_whoever_comes_next() {
    on_a_site("a rotated Secret", async |site| {
        let app = DemoBackend::start_on("app", backend_address(1)).await.unwrap();
        site.apply(&backend("app", &[app.address()])).await;
        let first = site.issue().await;
        site.apply(&INGRESS.replace("PORT", "ws").replace("spec:", TLS)).await;
        let serves = async |pair: &e2e::certificate::Pair| {
            let as_wanted = async || {
                ensure!(site.tls().certificate().await? == *pair.der(), "another certificate");
                Ok(())
            };
            eventually("the certificate of the Secret", as_wanted).await.unwrap();
        };
        serves(&first).await;
        let mut open = site.tls().websocket("/").await.unwrap();
        for _ in 0..3 {
            let next = site.issue().await;
            serves(&next).await;
            open.echo("over the first certificate").await.unwrap();
            site.tls().websocket("/").await.unwrap().echo("over the next").await.unwrap();
        }
        // One that cannot be read changes nothing.
        let last = site.issue().await;
        serves(&last).await;
        let broken = e2e::certificate::secret(site.namespace(), "app-tls", "no certificate", "no key");
        site.apply(&broken).await;
        let said = site.remark("site", "SecretInvalid").await;
        assert!(said.contains("tls.crt"), "{said}");
        serves(&last).await;
        open.echo("still").await.unwrap();
    });
}

#[test]
fn a_certificate_is_had_by_the_challenge_that_its_absence_lets_through() {
    on_a_site("a certificate from an ACME solver", async |site| {
        let app = DemoBackend::start_on("app", backend_address(1)).await.unwrap();
        let solver = DemoBackend::start_on("solver", backend_address(2)).await.unwrap();
        site.apply(&backend("app", &[app.address()])).await;
        site.apply(&INGRESS.replace("PORT", "ws").replace("spec:", TLS)).await;
        site.remark("site", "SecretNotFound").await;
        assert!(site.tls().wire().await.is_err(), "there is no certificate");
        site.answers("/whoami", 200).await;

        site.apply(&backend("cm-acme-http-solver-b2c4d", &[solver.address()])).await;
        site.apply(SOLVER).await;
        let answered_by = async |name: &str| {
            let as_wanted = async || {
                let answer = site.plain().get(CHALLENGE).await?;
                ensure!(answer.status == 200, "the challenge is answered with {}", answer.status);
                let by = answer.json()?["backend"].to_string();
                ensure!(by.contains(name), "the challenge is answered by {by}");
                Ok(())
            };
            eventually("an answer to the challenge", as_wanted).await.unwrap();
        };
        answered_by("solver").await;
        // The authority is content, and the certificate is stored. The solver goes a while later.
        let pair = site.issue().await;
        site.answers("/whoami", 308).await;
        assert_eq!(site.tls().certificate().await.unwrap(), *pair.der());
        site.tls().websocket("/").await.unwrap().echo("over TLS").await.unwrap();
        answered_by("solver").await;
        site.installation.remove("ingress", "cm-acme-http-solver-x7k2p").await.unwrap();
        answered_by("app").await;
    });
}

#[test]
fn endpoints_follow_pods_and_tunnels_stay_until_their_pod_ends_them() {
    on_a_site("endpoints of real pods", async |site| {
        let (cluster, namespace) = (site.cluster, site.namespace());
        cluster.service(namespace, "app").await.unwrap();
        site.apply(&INGRESS.replace("PORT", "ws")).await;
        site.answers("/whoami", 503).await;
        let _first = pod(site, 1).await.unwrap();
        site.turns_to(&["app-1"]).await;
        let _second = pod(site, 2).await.unwrap();
        site.turns_to(&["app-1", "app-2"]).await;
        let mut open = Vec::new();
        while open.len() < 6 {
            open.push(site.open().await);
        }
        let mut stay = async |when: &str| {
            for socket in &mut open {
                socket.echo(when).await.unwrap();
            }
        };

        cluster.set_pod_ready(namespace, "app-1", false).await.unwrap();
        site.turns_to(&["app-2"]).await;
        stay("one is unready").await;
        cluster.set_pod_ready(namespace, "app-1", true).await.unwrap();
        site.turns_to(&["app-1", "app-2"]).await;

        cluster.terminate_pod(namespace, "app-2").await.unwrap();
        site.turns_to(&["app-1"]).await;
        stay("one is terminating").await;
        // With nothing else left, one that goes is better than none.
        cluster.set_pod_ready(namespace, "app-1", false).await.unwrap();
        site.turns_to(&["app-2"]).await;
        cluster.set_pod_ready(namespace, "app-2", false).await.unwrap();
        site.answers("/whoami", 503).await;
        stay("no endpoint is left").await;

        cluster.remove_pod(namespace, "app-2").await.unwrap();
        cluster.set_pod_ready(namespace, "app-1", true).await.unwrap();
        site.turns_to(&["app-1"]).await;
        cluster.remove_pod(namespace, "app-1").await.unwrap();
        site.answers("/whoami", 503).await;
        stay("the pods are gone, their programs not yet").await;
    });
}

#[test]
fn a_port_changes_its_name_and_tunnels_stay() {
    on_a_site("a Service that renames its port", async |site| {
        let (cluster, namespace) = (site.cluster, site.namespace());
        cluster.service(namespace, "app").await.unwrap();
        let _app = pod(site, 1).await.unwrap();
        site.apply(&INGRESS.replace("PORT", "ws")).await;
        site.turns_to(&["app-1"]).await;
        let mut open = site.open().await;
        let rename = async |name: &str| {
            let patch = format!(r#"[{{"op": "replace", "path": "/spec/ports/0/name", "value": "{name}"}}]"#);
            let patch = ["-n", namespace, "patch", "service", "app", "--type=json", "--patch", &patch];
            cluster.kubectl(&patch).await.unwrap();
        };
        rename("live").await;
        let said = site.remark("site", "BackendNotFound").await;
        assert!(said.contains("has no TCP port named"), "{said}");
        site.answers("/whoami", 503).await;
        open.echo("the Ingress names a port that is gone").await.unwrap();
        site.apply(&INGRESS.replace("PORT", "live")).await;
        site.turns_to(&["app-1"]).await;
        // The other way round: first the Ingress, then the Service.
        site.apply(&INGRESS.replace("PORT", "ws")).await;
        site.answers("/whoami", 503).await;
        rename("ws").await;
        site.turns_to(&["app-1"]).await;
        open.echo("by whichever name").await.unwrap();
    });
}

#[test]
fn a_name_elsewhere_is_no_backend() {
    on_a_site("an ExternalName", async |site| {
        let (cluster, namespace) = (site.cluster, site.namespace());
        cluster.service(namespace, "app").await.unwrap();
        let _app = pod(site, 1).await.unwrap();
        site.apply(&INGRESS.replace("PORT", "ws")).await;
        site.turns_to(&["app-1"]).await;
        let mut open = site.open().await;
        let turn_into = async |spec: &str| {
            let patch = format!(r#"{{"spec": {spec}}}"#);
            let patch = ["-n", namespace, "patch", "service", "app", "--type=merge", "--patch", &patch];
            cluster.kubectl(&patch).await.unwrap();
        };
        turn_into(r#"{"type": "ExternalName", "externalName": "metadata.internal", "clusterIP": null, "clusterIPs": null}"#)
            .await;
        let said = site.remark("site", "BackendNotFound").await;
        assert!(said.contains("is an ExternalName, which has no endpoints"), "{said}");
        site.answers("/whoami", 503).await;
        open.echo("what is open stays").await.unwrap();
        turn_into(r#"{"type": "ClusterIP", "externalName": null}"#).await;
        site.turns_to(&["app-1"]).await;
    });
}

#[test]
fn objects_may_come_in_any_order() {
    on_a_site("objects in another order", async |site| {
        let (cluster, namespace) = (site.cluster, site.namespace());
        site.apply(&INGRESS.replace("PORT", "ws").replace("spec:", TLS)).await;
        site.answers("/whoami", 503).await;
        site.remark("site", "SecretNotFound").await;
        // Pods before their Service.
        let app = pod(site, 1).await.unwrap();
        site.apply(&service("app").replace("spec:", "spec:\n  selector: {app: app}")).await;
        site.turns_to(&["app-1"]).await;
        site.issue().await;
        site.answers("/whoami", 308).await;
        site.tls().websocket("/").await.unwrap().echo("complete").await.unwrap();

        // And away, the other way round.
        let mut open = site.tls().websocket("/").await.unwrap();
        site.installation.remove("service", "app").await.unwrap();
        let gone = async || {
            let status = site.tls().get("/whoami").await?.status;
            ensure!(status == 503, "answered with {status}");
            Ok(())
        };
        eventually("nothing behind the Service", gone).await.unwrap();
        cluster.remove_pod(namespace, "app-1").await.unwrap();
        site.installation.remove("ingress", "site").await.unwrap();
        site.answers("/whoami", 404).await;
        open.echo("to the end").await.unwrap();
        drop(app);
    });
}

#[test]
fn a_config_map_is_read_when_it_is_named_and_followed_while_it_is() {
    on_a_site("a ConfigMap that is named and changes", async |site| {
        let app = DemoBackend::start_on("app", backend_address(1)).await.unwrap();
        site.apply(&backend("app", &[app.address()])).await;
        // Not applied: `kubectl apply` has the API server repeat all of it in an annotation.
        let write = async |verb: &str, value: &str| {
            let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shown}\ndata: {X-Shown: VALUE}\n";
            let arguments = ["-n", site.namespace(), verb, "-f", "-"];
            let written = site.cluster.kubectl_with(&arguments, &map.replace("VALUE", value)).await.unwrap();
            assert!(written.success, "{}", written.err);
        };
        let shows = async |wanted: Option<&str>| {
            let as_wanted = async || {
                let answer = site.plain().get("/whoami").await?;
                let found = e2e::wire::field(&answer.head, "x-shown");
                ensure!(answer.status == 200 && found == wanted, "{}", answer.head);
                Ok(())
            };
            eventually(&format!("{wanted:?} is shown"), as_wanted).await.unwrap();
        };
        // It is there before anybody names it, and is not in memory.
        write("create", "text-of-a-config-map").await;
        site.apply(&INGRESS.replace("PORT", "ws")).await;
        shows(None).await;
        let holds = || {
            let controller = site.replica.controller.as_ref().unwrap();
            controller.process.holds(&[&b"text-of-a-config-map"[..]]).unwrap().contains(&true)
        };
        assert!(!holds());
        let key = "nginx.ingress.kubernetes.io/custom-headers";
        let named = format!("metadata: {{name: site, annotations: {{{key}: {}/shown}}}}", site.namespace());
        site.apply(&INGRESS.replace("PORT", "ws").replace("metadata: {name: site}", &named)).await;
        shows(Some("text-of-a-config-map")).await;
        assert!(holds(), "what is read is found, so the search works");
        write("replace", "changed").await;
        shows(Some("changed")).await;
        site.cluster.kubectl(&["-n", site.namespace(), "delete", "configmap", "shown"]).await.unwrap();
        shows(None).await;
        let said = site.remark("site", "ConfigMapNotFound").await;
        assert!(said.contains("/shown"), "{said}");
        write("create", "back").await;
        shows(Some("back")).await;
    });
}

/// A Secret with users of which one has this name, and with something else. Created and not applied: `kubectl apply`
/// has the API server repeat all of it in an annotation.
async fn create_users(site: &Site<'_>, name: &str, user: &str) {
    let data = format!("{{auth: \"{user}:{SHA}\", password: {user}-password, tls.key: {user}-key}}");
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {data}\n");
    let created =
        site.cluster.kubectl_with(&["-n", site.namespace(), "create", "-f", "-"], &secret).await.unwrap();
    assert!(created.success, "{}", created.err);
}

/// Of `secret`.
const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

#[test]
fn of_secrets_that_no_route_names_nothing_is_in_memory() {
    on_a_site("Secrets in the controller's memory", async |site| {
        let app = DemoBackend::start_on("app", backend_address(1)).await.unwrap();
        site.apply(&backend("app", &[app.address()])).await;
        // One that is listed at the start, and one that is seen to come.
        create_users(site, "listed", "user-of-a-listed-secret").await;
        let replica = site.installation.replica("lh-1").await.unwrap();
        create_users(site, "followed", "user-of-a-followed-secret").await;
        create_users(site, "named", "user-of-a-named-secret").await;
        let naming = async |name: &str| {
            let metadata =
                format!("metadata: {{name: site, annotations: {{longhaul.dev/auth-basic-secret: {name}}}}}");
            site.apply(&INGRESS.replace("PORT", "ws").replace("metadata: {name: site}", &metadata)).await;
        };
        let target = Target::plain(replica.proxy.as_ref().unwrap().http(), HOST);
        let lets_in = async |user: &str| {
            let proof = base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"));
            let head = format!("Authorization: Basic {proof}\r\n");
            let as_wanted = async || {
                let found = target.request("GET", "/whoami", &head, b"").await?.status;
                ensure!(found == 200, "{user} gets {found}");
                Ok(())
            };
            eventually(&format!("{user} is let in"), as_wanted).await.unwrap();
        };
        naming("named").await;
        lets_in("user-of-a-named-secret").await;
        // As it is, and as it comes over the wire.
        let holds = |user: &str| {
            let texts = [format!("{user}:{SHA}"), format!("{user}-password"), format!("{user}-key")];
            let encoded = texts.each_ref().map(|text| base64::engine::general_purpose::STANDARD.encode(text));
            let texts: Vec<_> = texts.iter().chain(&encoded).map(String::as_bytes).collect();
            let found = replica.controller.as_ref().unwrap().process.holds(&texts).unwrap();
            found.contains(&true)
        };
        assert!(holds("user-of-a-named-secret"), "what is read is found, so the search works");
        assert!(!holds("user-of-a-listed-secret"));
        assert!(!holds("user-of-a-followed-secret"));
        // Once it is named it is read, whenever it came.
        for name in ["listed", "followed"] {
            naming(name).await;
            let user = format!("user-of-a-{name}-secret");
            lets_in(&user).await;
            assert!(holds(&user), "{name}");
        }
    });
}
