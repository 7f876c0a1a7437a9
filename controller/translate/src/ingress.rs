//! Ingress to drafts, as [the Kubernetes documentation][page] describes the resource.
//!
//! [page]: https://kubernetes.io/docs/concepts/services-networking/ingress/

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use crds::annotations;
use crds::diagnostic::quoted;
use crds::policy::redirects::{LocationPart, RedirectsPatch};
use crds::policy::{IngressPatch, PathRewrite, PolicyPatch, Redirect};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec, ServiceBackendPort,
};
use snapshot::{Conditions, HostPattern, PathMatch, Reach, Serves};

use crate::class::Parameters;
use crate::draft::{
    self, Comparison, Draft, DraftBackend, DraftRoute, DraftTls, Fallback, Owner, PortRef, Standing,
};
use crate::host::canary;
use crate::policy::clients::{Clients, DraftClients};
use crate::policy::layers;
use crate::report::{Notes, remark};
use crate::settings::Settings;
use crate::{conditions, object, policy, tls};

/// What `RouteId` calls the route of `spec.defaultBackend`.
pub(crate) const DEFAULT_BACKEND: &str = "defaultBackend";

/// The field of remarks that are about a setting, whichever key it came by.
const ANNOTATIONS: &str = "metadata.annotations";

/// What an Ingress asks for: nothing, where its annotations say that it is no set of routes of its own.
pub(crate) fn draft(
    owner: &Owner,
    ingress: &Ingress,
    (settings, class): (&Settings, &Parameters),
    notes: &mut Notes,
) -> Draft {
    let object = owner.reference();
    let none = BTreeMap::new();
    let annotations = ingress.metadata.annotations.as_ref().unwrap_or(&none);
    let reading = annotations::read(annotations, &object, settings.nginx_annotations);
    drafted(owner, ingress.spec.as_ref(), reading, (settings, class), notes)
}

fn drafted(
    owner: &Owner,
    spec: Option<&IngressSpec>,
    mut reading: annotations::Reading,
    (settings, class): (&Settings, &Parameters),
    notes: &mut Notes,
) -> Draft {
    for diagnostic in std::mem::take(&mut reading.diagnostics) {
        notes.note(diagnostic);
    }
    if let Some(why) = object::closed_by_class(class, &owner.reference(), notes) {
        reading.closed.get_or_insert(why);
    }
    notes.rejected = reading.left_out.clone().or_else(|| reading.closed.clone());
    if reading.left_out.is_some() {
        return Draft::default();
    }
    let mut reader = Reader::new(owner, reading, notes);
    reader.patch = layers::merged(class.policy(), &reader.patch, None);
    let empty = IngressSpec::default();
    let spec = spec.unwrap_or(&empty);
    if spec.rules.as_ref().is_none_or(Vec::is_empty) && spec.default_backend.is_none() {
        reader.invalid("spec", "NoPaths", "there are neither rules nor a defaultBackend");
    }
    reader.regex = paths::are_regexes(&reader.patch, spec);
    let mut routes = reader.rules(spec);
    let mut tls = reader.tls(spec, settings);
    reader.add_aliases(&mut routes, &mut tls);
    reader.add_counterparts(&mut routes, &mut tls);
    let fallback = reader.fallback(spec, &tls);
    let asked = reader.clients.take();
    let clients = asked.map(|asked| DraftClients { hosts: None, asked: Some(asked) });
    Draft { routes, fallback, tls, clients: clients.into_iter().collect() }
}

struct Reader<'a> {
    owner: &'a Owner,
    patch: PolicyPatch,
    conditions: Conditions,
    closed: Option<String>,
    /// Its paths are regular expressions.
    regex: bool,
    /// What the rules name.
    hosts: Vec<HostPattern>,
    /// Certificates that clients of every host are asked for.
    clients: Option<Clients>,
    notes: &'a mut Notes,
}

impl<'a> Reader<'a> {
    fn new(owner: &'a Owner, reading: annotations::Reading, notes: &'a mut Notes) -> Self {
        let annotations::Reading { patch, closed, .. } = reading;
        let (hosts, conditions) = (Vec::new(), Conditions::default());
        let clients = patch.ingress.client_certificates.as_ref();
        let clients = clients.map(|patch| Clients::of_ingress(patch, owner));
        let mut reader = Self { owner, patch, conditions, closed, regex: false, hosts, clients, notes };
        reader.settings();
        reader
    }

    /// Looks at what the annotations say beyond their own grammar.
    fn settings(&mut self) {
        if let Some(unusable) = policy::take_unusable(&mut self.patch) {
            let message = format!("{}: {}", unusable.field, unusable.message);
            let object = self.owner.reference();
            self.notes.warn(remark(&object, ANNOTATIONS, "UnsupportedValue", message, unusable.remedy));
        }
        if let Some(why) = self.clients.as_ref().and_then(Clients::unusable) {
            let message = format!("the common name of client certificates is no regular expression: {why}");
            self.clients.iter_mut().for_each(|clients| clients.close(&message));
            self.close(message, "write CN= and a regular expression without look-around and backreferences");
        }
        if let Some(text) = &self.patch.ingress.canary.header_pattern
            && let Err(why) = snapshot::pattern(text).and_then(|_| snapshot::pattern(&canary::found(text)))
        {
            let field = format!("metadata.annotations[{}canary-by-header-pattern]", annotations::NGINX);
            let message = format!(
                "{} is no regular expression that can be served: {why}; the field decides nothing",
                quoted(text)
            );
            let remedy = "write one without look-around and backreferences";
            self.notes.warn(remark(&self.owner.reference(), field, "UnsupportedValue", message, remedy));
            self.patch.ingress.canary.header = None;
        }
        match conditions::subprotocols(self.patch.ingress.subprotocols.as_deref().unwrap_or_default()) {
            Ok(subprotocols) => self.conditions.subprotocols = subprotocols,
            Err((_, message, remedy)) => self.close(message, remedy),
        }
        let suites = self.patch.ingress.tls_cipher_suites.as_deref().unwrap_or_default();
        let min_version = self.patch.ingress.tls_min_version.map(policy::tls_version).unwrap_or_default();
        if !policy::negotiable(min_version, &policy::cipher_suites(suites)) {
            self.patch.ingress.tls_cipher_suites = None;
            self.close(policy::NOT_NEGOTIABLE.into(), policy::NEGOTIABLE);
        }
    }

    /// A setting that would keep somebody out cannot be kept: every route answers 503.
    fn close(&mut self, message: String, remedy: &str) {
        let object = self.owner.reference();
        self.notes.rejected.get_or_insert_with(|| message.clone());
        self.closed.get_or_insert_with(|| message.clone());
        self.notes.note(remark(&object, ANNOTATIONS, "UnsupportedValue", message, remedy));
    }

    fn serves(&self) -> Serves {
        match self.patch.ingress.websocket_only {
            Some(true) => Serves::WebSocketOnly,
            Some(false) | None => Serves::Everything,
        }
    }

    fn rules(&mut self, spec: &IngressSpec) -> Vec<DraftRoute> {
        let mut routes = Vec::new();
        for (index, rule) in spec.rules.iter().flatten().enumerate() {
            let field = format!("spec.rules[{index}]");
            let Some(host) = self.rule_host(rule, &field) else { continue };
            if !self.hosts.contains(&host) {
                self.hosts.push(host.clone());
            }
            let paths = rule.http.as_ref().map_or(&[][..], |http| &http.paths);
            if paths.is_empty() && spec.default_backend.is_none() {
                self.invalid(&field, "NoPaths", "the rule has no paths, and there is no defaultBackend");
            }
            for (index, path) in paths.iter().enumerate() {
                routes.extend(self.path(path, &host, &format!("{field}.http.paths[{index}]")));
            }
        }
        routes
    }

    fn rule_host(&mut self, rule: &IngressRule, field: &str) -> Option<HostPattern> {
        match rule.host.as_deref() {
            None | Some("") => Some(HostPattern::Any),
            Some(text) => self.host(text, format!("{field}.host")),
        }
    }

    fn host(&mut self, text: &str, field: String) -> Option<HostPattern> {
        draft::host(text)
            .map_err(|(message, remedy)| {
                let object = self.owner.reference();
                self.notes.invalid(remark(&object, field, "InvalidHost", message, remedy));
            })
            .ok()
    }

    fn path(&mut self, path: &HTTPIngressPath, host: &HostPattern, field: &str) -> Option<DraftRoute> {
        let text = path.path.as_deref().unwrap_or_default();
        let comparison = match path.path_type.as_str() {
            "Exact" => Comparison::Exact,
            "Prefix" => Comparison::Prefix,
            "ImplementationSpecific" | "" => {
                if !self.regex {
                    self.warn_of_patterns(text, field);
                }
                Comparison::Prefix
            }
            other => {
                let message = format!("{other:?} is no path type; the path is left out");
                self.invalid(&format!("{field}.pathType"), "InvalidPathType", &message);
                return None;
            }
        };
        let text = if text.is_empty() && comparison == Comparison::Prefix { "/" } else { text };
        if self.regex {
            return self.regex(text, host, path, field);
        }
        match draft::path(text, comparison) {
            Ok(matched) => Some(self.route(host, matched, &path.backend, field)),
            Err(message) => {
                self.invalid(&format!("{field}.path"), "InvalidPath", &message);
                None
            }
        }
    }

    /// Where the path is no regular expression that can be served, what it certainly begins with is closed.
    fn regex(
        &mut self,
        text: &str,
        host: &HostPattern,
        path: &HTTPIngressPath,
        field: &str,
    ) -> Option<DraftRoute> {
        let field_of_path = format!("{field}.path");
        if !text.starts_with('/') || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            let message = format!("{} is no regular expression for a path", quoted(text));
            self.invalid(&field_of_path, "InvalidPath", &message);
            return None;
        }
        let (matched, broken) = match paths::groups(text) {
            Ok(groups) => {
                self.look_at_rewrite(text, groups, &field_of_path);
                (PathMatch::Regex(text.to_owned()), None)
            }
            Err(why) => (PathMatch::Regex(paths::beginning(text)), Some(why)),
        };
        let mut route = self.route(host, matched, &path.backend, field);
        if let Some(why) = broken {
            let message = format!("{} is no regular expression that can be served: {why}", quoted(text));
            self.invalid(&field_of_path, "InvalidPath", &message);
            route.broken.get_or_insert(message);
        }
        // As ingress-nginx: a target that is the path itself asks for nothing.
        if matches!(&route.patch.rewrite.path, Some(PathRewrite::Template(target)) if target == text) {
            route.patch.rewrite.path = None;
        }
        Some(route)
    }

    /// Warns of a target that is not what it looks like.
    fn look_at_rewrite(&mut self, text: &str, groups: usize, field: &str) {
        let Some(PathRewrite::Template(target)) = &self.patch.rewrite.path else { return };
        let named = paths::highest_group(target);
        let message = if target == text {
            return;
        } else if named == 0 {
            format!("every path that {} matches is sent as {}", quoted(text), quoted(target))
        } else if named > groups {
            format!(
                "{} has {groups} groups, and {} names group {named}, which is empty",
                quoted(text),
                quoted(target)
            )
        } else {
            return;
        };
        let remedy = "put what is to be kept into a group, as in /app(/|$)(.*), and its number into rewrite-target, \
                      as in /$2; or use longhaul.dev/rewrite-prefix";
        self.notes.warn(remark(&self.owner.reference(), field, "RewrittenPath", message, remedy));
    }

    /// nginx takes such paths for regular expressions. They are taken literally here, which never matches.
    fn warn_of_patterns(&mut self, text: &str, field: &str) {
        if text.contains(['*', '(', '[', '^', '$', '\\', '|', '{', '+']) {
            self.notes.warn(remark(
                &self.owner.reference(),
                format!("{field}.path"),
                "LiteralPath",
                format!("{text:?} is taken as a literal prefix, not as a pattern"),
                "write one path for each prefix that is meant",
            ));
        }
    }

    fn route(
        &mut self,
        host: &HostPattern,
        matched: PathMatch,
        backend: &IngressBackend,
        field: &str,
    ) -> DraftRoute {
        let (backends, broken) = self.target(backend, &format!("{field}.backend"));
        DraftRoute {
            hosts: vec![host.clone()],
            rule: host.to_string(),
            field: field.to_owned(),
            path: matched,
            conditions: self.conditions.clone(),
            serves: self.serves(),
            backends,
            standby: self.standby(),
            patch: if self.regex { self.patch.clone() } else { self.plain_patch() },
            broken,
            standing: Standing::Own,
        }
    }

    /// A Service for what no endpoint of the backends is there for.
    fn standby(&self) -> Option<DraftBackend> {
        let service = self.patch.ingress.standby.clone()?;
        let field = format!("metadata.annotations[{}default-backend]", annotations::NGINX);
        Some(DraftBackend { service, port: PortRef::First, weight: 1, reach: Reach::Endpoints, field })
    }

    /// Further names of the first host: they have its routes, and its certificate unless they are given another.
    fn add_aliases(&mut self, routes: &mut [DraftRoute], tls: &mut [DraftTls]) {
        let names = self.patch.ingress.aliases.take().unwrap_or_default();
        let Some(first) = self.hosts.first().filter(|host| **host != HostPattern::Any).cloned() else {
            if !names.is_empty() {
                let field = format!("metadata.annotations[{}server-alias]", annotations::NGINX);
                let message = "no rule names a host that these could be other names of; they are left out";
                let object = self.owner.reference();
                self.notes.warn(remark(
                    &object,
                    field,
                    "NotApplicable",
                    message,
                    "name a host in the first rule",
                ));
            }
            return;
        };
        let aliases = names.iter().filter_map(|name| draft::host(name).ok());
        for alias in aliases.filter(|alias| !self.hosts.contains(alias)).collect::<BTreeSet<_>>() {
            for route in routes.iter_mut().filter(|route| route.hosts.contains(&first)) {
                route.hosts.push(alias.clone());
            }
            if !tls.iter().any(|tls| tls.hosts.contains(&alias)) {
                for tls in tls.iter_mut().filter(|tls| tls.hosts.contains(&first)) {
                    tls.hosts.push(alias.clone());
                }
            }
            self.hosts.push(alias);
        }
    }

    /// Redirects from the other one of `www.HOST` and HOST, with the certificate of the host unless it is given another.
    fn add_counterparts(&self, routes: &mut Vec<DraftRoute>, tls: &mut [DraftTls]) {
        if self.patch.ingress.redirects.from_to_www != Some(true) {
            return;
        }
        for host in &self.hosts {
            let HostPattern::Exact(name) = host else { continue };
            let other = name.strip_prefix("www.").map_or_else(|| format!("www.{name}"), str::to_owned);
            let counterpart = HostPattern::Exact(other);
            if self.hosts.contains(&counterpart) || draft::host(&counterpart.to_string()).is_err() {
                continue;
            }
            if !tls.iter().any(|tls| tls.hosts.contains(&counterpart)) {
                for tls in tls.iter_mut().filter(|tls| tls.hosts.contains(host)) {
                    tls.hosts.push(counterpart.clone());
                }
            }
            routes.push(self.counterpart(counterpart, name));
        }
    }

    /// Over TLS or not, so that nobody is asked to trust a certificate for a name that only leads elsewhere.
    fn counterpart(&self, from: HostPattern, to: &str) -> DraftRoute {
        let location =
            vec![LocationPart::Scheme, LocationPart::Text(format!("://{to}")), LocationPart::Target];
        let redirects = RedirectsPatch {
            permanent: Some(location),
            permanent_code: Some(308),
            ..RedirectsPatch::default()
        };
        let ingress = IngressPatch { redirects, ..IngressPatch::default() };
        let (redirect, access_log) = (Some(Redirect::Never), self.patch.access_log);
        DraftRoute {
            rule: from.to_string(),
            hosts: vec![from],
            field: format!("metadata.annotations[{}from-to-www-redirect]", annotations::NGINX),
            path: PathMatch::Prefix("/".into()),
            conditions: Conditions::default(),
            serves: Serves::Everything,
            backends: Vec::new(),
            standby: None,
            patch: PolicyPatch { redirect, access_log, ingress, ..PolicyPatch::default() },
            broken: self.closed.clone(),
            standing: Standing::GivesWay,
        }
    }

    /// The settings of a path that is no regular expression, which has no groups to make another of: a target is then
    /// the path itself, or is not meant for it.
    fn plain_patch(&self) -> PolicyPatch {
        let mut patch = self.patch.clone();
        patch.rewrite.path = patch.rewrite.path.filter(|path| !matches!(path, PathRewrite::Template(_)));
        patch
    }

    /// The backend if it reads, and why the route must answer 503.
    fn target(&mut self, backend: &IngressBackend, field: &str) -> (Vec<DraftBackend>, Option<String>) {
        match self.backend(backend, field) {
            Ok(backend) => (vec![backend], self.closed.clone()),
            Err(why) => (Vec::new(), Some(self.closed.clone().unwrap_or(why))),
        }
    }

    fn backend(&mut self, backend: &IngressBackend, field: &str) -> Result<DraftBackend, String> {
        let port = |port: &ServiceBackendPort| match (&port.name, port.number) {
            (Some(name), _) if !name.is_empty() => Some(PortRef::Name(name.clone())),
            (_, number) => number.map(PortRef::Number),
        };
        let message = match &backend.service {
            Some(service) => match service.port.as_ref().and_then(port) {
                Some(port) => {
                    let (service, field) = (service.name.clone(), format!("{field}.service"));
                    let direct = self.patch.ingress.service_address == Some(true);
                    let reach = if direct { Reach::Address } else { Reach::Endpoints };
                    return Ok(DraftBackend { service, port, weight: 1, reach, field });
                }
                None => format!("Service {:?} is named without a port", service.name),
            },
            None if backend.resource.is_some() => "a resource is no backend that can be served".into(),
            None => "no Service is named".into(),
        };
        self.invalid(field, "InvalidBackend", &message);
        Err(message)
    }

    /// Hosts that do not read are left out; they never widen what the certificate is for.
    fn tls(&mut self, spec: &IngressSpec, settings: &Settings) -> Vec<DraftTls> {
        let mut all = Vec::new();
        for (index, tls) in spec.tls.iter().flatten().enumerate() {
            let field = format!("spec.tls[{index}]");
            let named = tls.hosts.as_deref().unwrap_or_default();
            let hosts = if named.is_empty() {
                // Without rules the Ingress is for every host.
                let every = spec.rules.as_ref().is_none_or(Vec::is_empty).then_some(HostPattern::Any);
                self.hosts.iter().cloned().chain(every).collect()
            } else {
                let each = named.iter().enumerate();
                each.filter_map(|(index, text)| self.host(text, format!("{field}.hosts[{index}]"))).collect()
            };
            let secret = tls.secret_name.as_deref();
            let Some((certificate, by_default)) =
                tls::certificate(self.owner, secret, &field, settings, self.notes)
            else {
                continue;
            };
            let patch = &self.patch.ingress;
            let min_version = patch.tls_min_version.map(policy::tls_version);
            let cipher_suites = policy::cipher_suites(patch.tls_cipher_suites.as_deref().unwrap_or_default());
            let clients = self.clients.clone();
            all.push(DraftTls { hosts, certificate, by_default, min_version, cipher_suites, clients, field });
        }
        self.warn_of_no_tls(&all);
        all
    }

    fn warn_of_no_tls(&mut self, tls: &[DraftTls]) {
        let patch = &self.patch.ingress;
        if tls.is_empty() && (patch.tls_min_version.is_some() || patch.tls_cipher_suites.is_some()) {
            self.notes.warn(remark(
                &self.owner.reference(),
                ANNOTATIONS,
                "NotApplicable",
                "TLS versions and cipher suites are set, but spec.tls names no host that they are for",
                "name the hosts in spec.tls",
            ));
        }
    }

    /// It stands for the hosts of the rules; without rules for those of the certificates, and for everything else.
    fn fallback(&mut self, spec: &IngressSpec, tls: &[DraftTls]) -> Option<Fallback> {
        let backend = spec.default_backend.as_ref()?;
        let everywhere = spec.rules.as_ref().is_none_or(Vec::is_empty);
        let hosts = if everywhere {
            let named: BTreeSet<_> = tls.iter().flat_map(|tls| &tls.hosts).collect();
            named.into_iter().filter(|host| **host != HostPattern::Any).cloned().collect()
        } else {
            self.hosts.clone()
        };
        let field = "spec.defaultBackend";
        let (backends, broken) = self.target(backend, field);
        let route = DraftRoute {
            hosts,
            rule: DEFAULT_BACKEND.into(),
            field: field.into(),
            path: PathMatch::Prefix("/".into()),
            conditions: self.conditions.clone(),
            serves: self.serves(),
            backends,
            standby: self.standby(),
            patch: self.plain_patch(),
            broken,
            standing: Standing::Own,
        };
        Some(Fallback { route, everywhere })
    }

    fn invalid(&mut self, field: &str, reason: &str, message: &str) {
        let remedy = match reason {
            "NoPaths" => "write a rule with a path and its backend",
            "InvalidPathType" => "write Exact, Prefix or ImplementationSpecific",
            "InvalidPath" if self.regex => {
                "write a regular expression without look-around and backreferences, of at most 1024 characters"
            }
            "InvalidPath" => "write a path as a request has it, from its slash on",
            _ => "name a Service of this namespace and its port, by name or by number",
        };
        self.notes.invalid(remark(&self.owner.reference(), field, reason, message, remedy));
    }
}

#[cfg(test)]
mod tests {
    use crds::tls::{CipherSuite, TlsVersion};
    use serde_json::json;

    use super::*;

    /// What an Ingress with a route, a fallback and a certificate becomes under these settings.
    fn drafted(ingress: IngressPatch) -> (Draft, Notes) {
        let backend = json!({"service": {"name": "chat", "port": {"number": 80}}});
        let spec = json!({
            "rules": [{"host": "a", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
            "defaultBackend": backend,
            "tls": [{"hosts": ["a"], "secretName": "chat-tls"}],
        });
        let spec: IngressSpec = serde_json::from_value(spec).unwrap();
        let patch = PolicyPatch { ingress, ..PolicyPatch::default() };
        let reading = annotations::Reading { patch, ..annotations::Reading::default() };
        let owner =
            Owner::new("Ingress", &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default());
        let mut notes = Notes::default();
        let draft = super::drafted(
            &owner,
            Some(&spec),
            reading,
            (&Settings::default(), &Parameters::default()),
            &mut notes,
        );
        assert_eq!(draft.all_routes().count(), 2);
        (draft, notes)
    }

    #[test]
    fn what_annotations_say_of_websockets_is_for_every_route() {
        let (draft, notes) = drafted(IngressPatch {
            subprotocols: Some(vec!["b".into(), "a".into()]),
            websocket_only: Some(true),
            ..IngressPatch::default()
        });
        for (_, route) in draft.all_routes() {
            assert_eq!(route.serves, Serves::WebSocketOnly);
            assert_eq!(route.conditions.subprotocols, ["a", "b"]);
            assert_eq!(route.broken, None);
        }
        assert_eq!(notes, Notes::default());
    }

    #[test]
    fn what_annotations_say_of_tls_is_for_every_certificate() {
        let (draft, notes) = drafted(IngressPatch {
            tls_min_version: Some(TlsVersion::V1_3),
            tls_cipher_suites: Some(vec![CipherSuite::TLS_AES_128_GCM_SHA256; 2]),
            ..IngressPatch::default()
        });
        assert_eq!(draft.tls[0].min_version, Some(snapshot::TlsVersion::V1_3));
        assert_eq!(draft.tls[0].cipher_suites, [snapshot::CipherSuite::TLS_AES_128_GCM_SHA256]);
        assert_eq!(notes, Notes::default());
    }

    #[test]
    fn what_would_keep_somebody_out_closes_every_route_where_it_cannot() {
        let odd = IngressPatch { subprotocols: Some(vec!["a b".into()]), ..IngressPatch::default() };
        let impossible = IngressPatch {
            tls_min_version: Some(TlsVersion::V1_3),
            tls_cipher_suites: Some(vec![CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]),
            ..IngressPatch::default()
        };
        for patch in [odd, impossible] {
            let (draft, notes) = drafted(patch);
            assert!(draft.all_routes().all(|(_, route)| route.broken.is_some()));
            assert!(notes.rejected.is_some() && notes.diagnostics.len() == 1, "{notes:?}");
        }
    }
}
