//! Objects as YAML, for tests: short to write and shaped like what people apply. All are in namespace `default`.

use std::fmt::Write;
use std::net::SocketAddr;

/// The image of the demo backend, as nodes know it.
pub const DEMO_IMAGE: &str = "localhost/demo-backend:dev";

/// A Service with one port, `ws`, and EndpointSlices that list these addresses as ready.
pub fn backend(name: &str, addresses: &[SocketAddr]) -> String {
    let mut text = service(name);
    for (number, address) in addresses.iter().enumerate() {
        text.push_str("---\n");
        text.push_str(&slice(name, number, *address));
    }
    text
}

/// A Service with one port, 80, named `ws`.
pub fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec:\n  ports:\n  - {{name: ws, port: 80, targetPort: ws}}\n"
    )
}

/// The EndpointSlice `SERVICE-NUMBER` with one ready address. (The addresses of a slice share their ports.)
pub fn slice(service: &str, number: usize, address: SocketAddr) -> String {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata:\n  name: {service}-{number}\n  labels: {{kubernetes.io/service-name: {service}}}\n\
         addressType: {family}\nports:\n- {{name: ws, port: {}, protocol: TCP}}\n\
         endpoints:\n- addresses: [\"{}\"]\n  conditions: {{ready: true}}\n",
        address.port(),
        address.ip()
    )
}

/// A pod that runs the demo backend from its image, with the label `app`, and a Service for pods of that label, of the
/// same name, with one port, 80, named `ws`. The pod is called by its backend's name.
pub fn backend_in_a_pod(name: &str, app: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\n\
         spec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: app\n\
         \x20   image: {DEMO_IMAGE}\n    imagePullPolicy: Never\n\
         \x20   args: [--name, {name}, --listen, '0.0.0.0:9000']\n\
         \x20   ports: [{{name: ws, containerPort: 9000}}]\n\
         \x20   readinessProbe: {{tcpSocket: {{port: ws}}, periodSeconds: 1}}\n\
         ---\n{}  selector: {{app: {app}}}\n",
        service(app)
    )
}

/// An Ingress for one host.
#[derive(Clone, Debug)]
pub struct Ingress {
    name: String,
    class: String,
    host: String,
    annotations: Vec<(String, String)>,
    paths: Vec<(String, String)>,
    secret: Option<String>,
}

impl Ingress {
    /// An Ingress without paths.
    pub fn new(name: &str, host: &str) -> Self {
        Self {
            name: name.to_owned(),
            class: "longhaul".to_owned(),
            host: host.to_owned(),
            annotations: Vec::new(),
            paths: Vec::new(),
            secret: None,
        }
    }

    /// Adds a path of type `Prefix` that goes to a [`backend`].
    pub fn path(mut self, prefix: &str, service: &str) -> Self {
        self.paths.push((prefix.to_owned(), service.to_owned()));
        self
    }

    /// Is of this class in place of `longhaul`.
    pub fn class(mut self, name: &str) -> Self {
        name.clone_into(&mut self.class);
        self
    }

    /// Adds an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Serves its host with the certificate of this Secret.
    pub fn tls(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    /// Serves its host with the certificate of this Secret, and without redirecting requests in the clear.
    pub fn tls_beside_plain(self, secret: &str) -> Self {
        self.tls(secret).annotation("longhaul.dev/ssl-redirect", "false")
    }

    /// As YAML.
    pub fn yaml(&self) -> String {
        let mut text =
            format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {}\n", self.name);
        if !self.annotations.is_empty() {
            text.push_str("  annotations:\n");
        }
        // Writing to a String cannot fail.
        for (key, value) in &self.annotations {
            let _ = writeln!(text, "    {key}: {value:?}");
        }
        let _ = writeln!(text, "spec:\n  ingressClassName: {}", self.class);
        if let Some(secret) = &self.secret {
            let _ = writeln!(text, "  tls:\n  - hosts: [\"{}\"]\n    secretName: {secret}", self.host);
        }
        let _ = writeln!(text, "  rules:\n  - host: \"{}\"\n    http:\n      paths:", self.host);
        for (prefix, service) in &self.paths {
            let _ = writeln!(
                text,
                "      - path: {prefix}\n        pathType: Prefix\n        backend: {{service: {{name: {service}, \
                 port: {{name: ws}}}}}}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingress_reads_as_people_write_it() {
        let ingress = Ingress::new("app", "app.example.com")
            .annotation("longhaul.dev/idle-timeout", "2s")
            .path("/", "site")
            .tls("app-tls");
        let wanted = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: app
  annotations:
    longhaul.dev/idle-timeout: \"2s\"
spec:
  ingressClassName: longhaul
  tls:
  - hosts: [\"app.example.com\"]
    secretName: app-tls
  rules:
  - host: \"app.example.com\"
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: site, port: {name: ws}}}
";
        assert_eq!(ingress.yaml(), wanted);
        assert!(!Ingress::new("app", "a").yaml().contains("annotations"));
    }
}
