//! Which objects are whose: IngressClasses that come, go and change hands, the default class, objects of no class,
//! two installations side by side, and one that sees some namespaces only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use anyhow::ensure;
use e2e::backend::demo::DemoBackend;
use e2e::client::{Socket, Target};
use e2e::cluster::{ControlPlane, Installation, Replica, Stored, backend_address, eventually};
use e2e::objects::backend;
use e2e::relay::Relay;

/// Served, and of no concern to the proxy.
const SERVED: u16 = 200;
const UNKNOWN: u16 = 404;

const OLD_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// An Ingress for the host of its name. What stands in `class` is a line of its spec, or empty.
fn ingress(name: &str, class: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec:\n  {class}\n  rules:\n  \
         - host: {name}.example.com\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: \
         app, port: {{name: ws}}}}}}}}]}}\n---\n"
    )
}

/// The same as a WsRoute that takes plain requests too.
fn ws_route(name: &str, class: &str) -> String {
    format!(
        "apiVersion: longhaul.dev/v1alpha1\nkind: WsRoute\nmetadata: {{name: {name}}}\nspec:\n  {class}\n  hosts: \
         [{name}.example.com]\n  rules:\n  - {{name: all, http: true, backends: [{{service: app, port: ws}}]}}\n---\n"
    )
}

fn class(name: &str, controller: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: {name}}}\nspec: {{controller: \
         {controller}}}\n---\n"
    )
}

const OF: &str = "ingressClassName: CLASS";
const OURS: &str = "longhaul.dev/ingress-controller";

/// What a replica serves.
trait Serving {
    fn target(&self, name: &str) -> Target;

    async fn status(&self, name: &str) -> u16 {
        self.target(name).get("/whoami").await.unwrap().status
    }

    async fn open(&self, name: &str) -> Socket {
        self.target(name).websocket("/").await.unwrap()
    }

    /// Waits until an object is served, or is not.
    async fn becomes(&self, name: &str, wanted: u16) {
        let as_wanted = async || {
            let found = self.status(name).await;
            ensure!(found == wanted, "{name} answers {found}");
            Ok(())
        };
        eventually(&format!("{wanted} of {name}"), as_wanted).await.unwrap();
    }

    /// Waits until the controller has a remark about an object.
    async fn remarked(&self, name: &str, reason: &str);
}

impl Serving for Replica {
    fn target(&self, name: &str) -> Target {
        Target::plain(self.proxy.as_ref().unwrap().http(), &format!("{name}.example.com"))
    }

    async fn remarked(&self, name: &str, reason: &str) {
        let said = async || {
            let all = self.controller.as_ref().unwrap().api("/api/diagnostics").await?;
            let mut all = all.as_array().into_iter().flatten();
            let found = all.any(|one| one["object"]["name"] == name && one["reason"] == reason);
            ensure!(found, "no {reason} about {name}");
            Ok(())
        };
        eventually(reason, said).await.unwrap();
    }
}

/// A backend behind a Service `app`, with endpoints, in a namespace.
async fn app(cluster: &ControlPlane, namespace: &str) -> DemoBackend {
    let app = DemoBackend::start_on(namespace, backend_address(1)).await.unwrap();
    cluster.apply(namespace, &backend("app", &[app.address()])).await.unwrap();
    app
}

#[test]
fn a_class_comes_goes_and_changes_hands() {
    let Some(cluster) = ControlPlane::wanted_by("an IngressClass that comes and goes") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "class", &[]).await.unwrap();
        let name = installation.name();
        let _app = app(cluster, name).await;
        cluster.kubectl(&["delete", "ingressclass", name]).await.unwrap();
        let replica = installation.replica("lh-0").await.unwrap();
        let objects = ingress("a", OF) + &ws_route("b", OF);
        installation.apply(&objects).await.unwrap();
        replica.remarked("b", "ClassNotFound").await;
        assert_eq!(replica.status("a").await, UNKNOWN);

        installation.apply(&class(name, OURS)).await.unwrap();
        replica.becomes("a", SERVED).await;
        replica.becomes("b", SERVED).await;
        let mut open = [replica.open("a").await, replica.open("b").await];

        // Whose a class is cannot be changed, only which class has the name.
        let changed = cluster.apply("default", &class(name, "example.com/other")).await.unwrap_err();
        assert!(changed.to_string().contains("field is immutable"), "{changed}");
        for another in [None, Some("example.com/other")] {
            cluster.kubectl(&["delete", "ingressclass", name]).await.unwrap();
            if let Some(controller) = another {
                cluster.apply("default", &class(name, controller)).await.unwrap();
            }
            replica.becomes("a", UNKNOWN).await;
            replica.becomes("b", UNKNOWN).await;
            if another.is_some() {
                cluster.kubectl(&["delete", "ingressclass", name]).await.unwrap();
            }
            installation.apply(&class(name, OURS)).await.unwrap();
            replica.becomes("a", SERVED).await;
            replica.becomes("b", SERVED).await;
        }
        for socket in &mut open {
            socket.echo("whosever the class").await.unwrap();
        }
    });
}

#[test]
fn an_object_goes_to_another_class_and_comes_back() {
    let Some(cluster) = ControlPlane::wanted_by("an Ingress of changing class") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "moves", &[]).await.unwrap();
        let other = format!("{}-other", installation.name());
        installation.apply(&class(&other, "example.com/other")).await.unwrap();
        let _app = app(cluster, installation.name()).await;
        let replica = installation.replica("lh-0").await.unwrap();
        let theirs = format!("ingressClassName: {other}");
        let of = |class: &str| ingress("a", class) + &ws_route("b", class);
        installation.apply(&of(OF)).await.unwrap();
        replica.becomes("a", SERVED).await;
        replica.becomes("b", SERVED).await;
        let mut open = [replica.open("a").await, replica.open("b").await];
        for (class, wanted) in
            [(&*theirs, UNKNOWN), (OF, SERVED), ("ingressClassName: none", UNKNOWN), (OF, SERVED)]
        {
            installation.apply(&of(class)).await.unwrap();
            replica.becomes("a", wanted).await;
            replica.becomes("b", wanted).await;
        }
        for socket in &mut open {
            socket.echo("back again").await.unwrap();
        }
    });
}

#[test]
fn the_annotation_from_before_classes_still_counts() {
    let Some(cluster) = ControlPlane::wanted_by("the annotation kubernetes.io/ingress.class") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "old", &[]).await.unwrap();
        let name = installation.name();
        let _app = app(cluster, name).await;
        let replica = installation.replica("lh-0").await.unwrap();
        let annotate = async |value: &str| {
            let pair = format!("{OLD_ANNOTATION}={value}");
            let arguments = ["-n", name, "annotate", "--overwrite", "ingress", "a", &pair];
            cluster.kubectl(&arguments).await.unwrap();
        };
        let old = format!("metadata: {{annotations: {{{OLD_ANNOTATION}: CLASS}}, ");
        installation.apply(&ingress("a", "").replace("metadata: {", &old)).await.unwrap();
        replica.becomes("a", SERVED).await;
        annotate("nginx").await;
        replica.becomes("a", UNKNOWN).await;
        annotate(name).await;
        replica.becomes("a", SERVED).await;
        // The field is there beside it: the annotation counts, which is worth a remark.
        let patch = r#"{"spec": {"ingressClassName": "nginx"}}"#;
        cluster.kubectl(&["-n", name, "patch", "ingress", "a", "--patch", patch]).await.unwrap();
        replica.remarked("a", "ClassMismatch").await;
        assert_eq!(replica.status("a").await, SERVED);
    });
}

#[test]
fn another_controllers_ingresses_are_served_too_and_written_to_only_with_leave() {
    let Some(cluster) = ControlPlane::wanted_by("classes of another controller") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "also", &[]).await.unwrap();
        let name = installation.name();
        let _app = app(cluster, name).await;
        let theirs = format!("{name}-theirs");
        cluster.apply(name, &class(&theirs, "example.com/other")).await.unwrap();
        let both = ingress("guest", &format!("ingressClassName: {theirs}")) + &ingress("own", OF);
        let faulty = "metadata: {annotations: {longhaul.dev/idle-timeout: soon}, ";
        installation.apply(&both.replace("metadata: {", faulty)).await.unwrap();

        let also = format!("--also-class={theirs}");
        let flags = [&*also, "--also-class-status=false", "--publish-address=192.0.2.9"];
        let mut replica = installation.pod_as(60, &installation.kubeconfig(), &flags).await.unwrap();
        for object in ["guest", "own"] {
            replica.becomes(object, SERVED).await;
            replica.open(object).await.echo("hello").await.unwrap();
        }
        replica.remarked("guest", "UnsupportedValue").await;
        let shown = |stored: &Stored| stored.addresses() == ["192.0.2.9"];
        installation.becomes("ingress", "own", "an address", shown).await.unwrap();
        installation.event("ingress", "own", "Warning UnsupportedValue").await.unwrap();
        let stored = installation.stored("ingress", "guest").await.unwrap();
        assert_eq!((stored.addresses(), stored.status_managers()), (Vec::new(), Vec::new()));
        assert!(installation.events("ingress", "guest").await.unwrap().is_empty());

        replica.kill_controller().unwrap();
        let mut flags = installation.flags("lh-60");
        flags.extend(installation.pod_flags(60));
        flags.extend([also, "--publish-address=192.0.2.9".into()]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        replica.start_controller(&flags).await.unwrap();
        installation.becomes("ingress", "guest", "an address", shown).await.unwrap();
        installation.event("ingress", "guest", "Warning UnsupportedValue").await.unwrap();
    });
}

/// One test, since which class is the default is a matter of the whole cluster.
#[test]
fn objects_of_no_class_belong_to_the_default_or_to_who_asks_for_them() {
    let Some(cluster) = ControlPlane::wanted_by("the default class") else { return };
    cluster.inside(async || {
        let installation = Installation::new(cluster, "default", &[]).await.unwrap();
        let name = installation.name();
        let _app = app(cluster, name).await;
        let modest = installation.replica("modest").await.unwrap();
        let flags = ["--watch-without-class"];
        let greedy = installation.replica_with("greedy", &installation.kubeconfig(), &flags).await.unwrap();

        installation.apply(&(ingress("before", "") + &ws_route("route", ""))).await.unwrap();
        greedy.becomes("before", SERVED).await;
        for replica in [&modest, &greedy] {
            replica.remarked("route", "NoClass").await;
            assert_eq!(replica.status("route").await, UNKNOWN, "no WsRoute is taken without a default");
        }

        let on = format!("{DEFAULT_ANNOTATION}=true");
        cluster.kubectl(&["annotate", "ingressclass", name, &on]).await.unwrap();
        modest.becomes("route", SERVED).await;
        greedy.becomes("route", SERVED).await;
        // The API server learns of a default class from a watch of its own.
        let defaulted = async || {
            installation.apply(&ingress("since", "")).await?;
            let class = "jsonpath={.spec.ingressClassName}";
            let class = cluster.kubectl(&["-n", name, "get", "ingress", "since", "-o", class]).await?;
            if class != name {
                installation.remove("ingress", "since").await?;
            }
            ensure!(class == name, "its class is {class:?}");
            Ok(())
        };
        eventually("the API server's own defaulting", defaulted).await.unwrap();
        modest.becomes("since", SERVED).await;
        // It was there earlier, and was seen earlier.
        assert_eq!(modest.status("before").await, UNKNOWN, "what came before the default is not captured");

        let off = format!("{DEFAULT_ANNOTATION}-");
        cluster.kubectl(&["annotate", "ingressclass", name, &off]).await.unwrap();
        modest.becomes("route", UNKNOWN).await;
        greedy.becomes("route", UNKNOWN).await;
        assert_eq!(modest.status("since").await, SERVED, "it has a class since");
        assert_eq!(greedy.status("before").await, SERVED);
    });
}

#[test]
fn two_installations_serve_each_their_own() {
    let Some(cluster) = ControlPlane::wanted_by("two installations") else { return };
    cluster.inside(async || {
        let one = Installation::new(cluster, "one", &[]).await.unwrap();
        let two = Installation::new(cluster, "two", &[]).await.unwrap();
        let _apps = [app(cluster, one.name()).await, app(cluster, two.name()).await];
        let (first, second) = (one.replica("lh-0").await.unwrap(), two.replica("lh-0").await.unwrap());
        let of_two = format!("ingressClassName: {}", two.name());
        // Namespaces do not matter, classes do.
        one.apply(&(ingress("strange", &of_two) + &ws_route("stranger", &of_two))).await.unwrap();
        one.apply(&(ingress("first", OF) + &ws_route("first-route", OF))).await.unwrap();
        two.apply(&(ingress("second", OF) + &ws_route("second-route", OF))).await.unwrap();
        // Whoever serves its own last has seen all the above.
        one.apply(&(ingress("last-one", OF) + &ws_route("last-one-route", OF))).await.unwrap();
        two.apply(&(ingress("last-two", OF) + &ws_route("last-two-route", OF))).await.unwrap();
        let ours = ["last-one", "last-one-route", "first", "first-route"];
        let theirs = ["last-two", "last-two-route", "second", "second-route", "strange", "stranger"];
        for (replica, own, others) in [(&first, &ours[..], &theirs[..]), (&second, &theirs, &ours)] {
            for name in own {
                replica.becomes(name, SERVED).await;
            }
            for name in others {
                assert_eq!(replica.status(name).await, UNKNOWN, "{name}");
            }
        }
    });
}

#[test]
fn an_installation_that_sees_some_namespaces_knows_its_class_by_name() {
    let Some(cluster) = ControlPlane::wanted_by("an installation for namespaces") else { return };
    cluster.inside(async || {
        let inside = cluster.namespace("inside").await.unwrap();
        let beside = cluster.namespace("beside").await.unwrap();
        let outside = cluster.namespace("outside").await.unwrap();
        let scope = format!("controller.scope.namespaces={{{inside},{beside}}}");
        let values = ["controller.scope.enabled=true", &scope, "rbac.clusterScoped=false"];
        let installation = Installation::new(cluster, "scoped", &values).await.unwrap();
        let of = format!("ingressClassName: {}", installation.name());
        let mut apps = Vec::new();
        for namespace in [&inside, &beside, &outside] {
            apps.push(app(cluster, namespace).await);
        }
        let objects = |place: &str| ingress(place, &of) + &ws_route(&format!("{place}-route"), &of);
        cluster.apply(&outside, &objects("outside")).await.unwrap();
        cluster.apply(&beside, &objects("beside")).await.unwrap();
        cluster.apply(&inside, &objects("inside")).await.unwrap();
        let relay = Relay::start(cluster.api_server(), cluster.trusting_client().unwrap()).await.unwrap();
        let kubeconfig = installation.kubeconfig_at(&relay.url()).unwrap();
        let flag = format!("--watch-namespaces={inside},{beside}");
        let replica = installation.replica_with("lh-0", &kubeconfig, &[&flag]).await.unwrap();
        for place in ["beside", "inside"] {
            replica.becomes(place, SERVED).await;
            replica.becomes(&format!("{place}-route"), SERVED).await;
        }
        for place in ["outside", "outside-route"] {
            assert_eq!(replica.status(place).await, UNKNOWN);
        }

        // It asks again and again, and says once that it may not.
        let asked = relay.requests();
        let asks = async || {
            let times = relay.requests() - asked;
            ensure!(times > 2, "it asked {times} times");
            Ok(())
        };
        eventually("that it asks again", asks).await.unwrap();
        let lines = replica.controller.as_ref().unwrap().process.lines();
        let of_classes = |line: &str| line.contains("ingressclasses.networking.k8s.io cannot be watched");
        let said: Vec<_> = lines.iter().filter(|line| of_classes(line)).collect();
        assert_eq!(said.len(), 1, "{said:#?}");
        assert!(said[0].contains("grant list and watch on ingressclasses.networking.k8s.io"), "{}", said[0]);
        let warnings = lines.iter().filter(|line| line.contains("cannot be watched")).count();
        assert_eq!(warnings, 1, "nothing else is missing: {lines:#?}");
    });
}
