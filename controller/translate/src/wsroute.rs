//! WsRoute to drafts.

use std::collections::{BTreeMap, BTreeSet};

use crds::annotations;
use crds::diagnostic::{ObjectRef, Severity, quoted};
use crds::policy::PolicyPatch;
use crds::policy::auth::Auth;
use crds::wsroute::{Match, PathKind, Policy, Rule, Tls, WsRoute};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use snapshot::{Conditions, HostPattern, PathMatch, Reach, Serves};

use crate::class::{ClassPolicy, Parameters};
use crate::draft::{self, Comparison, Draft, DraftBackend, DraftRoute, DraftTls, Owner, PortRef, Standing};
use crate::policy::clients::{Clients, DraftClients};
use crate::policy::layers;
use crate::report::{Notes, remark};
use crate::settings::Settings;
use crate::{conditions, object, policy, tls};

/// What a WsRoute asks for.
pub(crate) fn draft(
    owner: &Owner,
    route: &WsRoute,
    (settings, class): (&Settings, &Parameters),
    notes: &mut Notes,
) -> Draft {
    let object = owner.reference();
    let none = BTreeMap::new();
    let annotations = route.metadata.annotations.as_ref().unwrap_or(&none);
    let reading = annotations::read_misplaced(annotations, &object, "set it in spec.policy");
    for diagnostic in reading.diagnostics {
        notes.note(diagnostic);
    }
    let closed = reading.closed.or(object::closed_by_class(class, &object, notes));
    notes.rejected.clone_from(&closed);
    let class = class.policy();
    let mut reader = Reader { owner, object: &object, class, closed, patterns: 0, notes };
    let hosts = reader.hosts(&route.spec.hosts, "spec.hosts", &[HostPattern::Any]);
    let (tls, clients) = reader.tls(&route.spec.tls, &hosts, settings);
    let policy = reader.policy(route.spec.policy.as_ref(), "spec.policy");
    let mut names = BTreeSet::new();
    let rules = route.spec.rules.iter().enumerate();
    let routes = rules
        .flat_map(|(index, rule)| {
            let again = !names.insert(rule.name.as_str());
            reader.rule(rule, &format!("spec.rules[{index}]"), &hosts, &policy, again)
        })
        .collect();
    Draft { routes, fallback: None, tls, clients }
}

/// Each takes a proxy some ten kilobytes.
const MOST_PATTERNS: usize = 256;

struct Reader<'a> {
    owner: &'a Owner,
    object: &'a ObjectRef,
    class: Option<&'a ClassPolicy>,
    closed: Option<String>,
    /// Regular expressions so far.
    patterns: usize,
    notes: &'a mut Notes,
}

impl Reader<'_> {
    /// Without any text, what `absent` says. A host that does not read is left out, never widened.
    fn hosts(&mut self, texts: &[String], field: &str, absent: &[HostPattern]) -> Vec<HostPattern> {
        if texts.is_empty() {
            return absent.to_vec();
        }
        let mut hosts = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match draft::host(text) {
                Ok(host) if hosts.contains(&host) => {}
                Ok(host) => hosts.push(host),
                Err((message, remedy)) => {
                    self.invalid(format!("{field}[{index}]"), "InvalidHost", message, remedy);
                }
            }
        }
        hosts
    }

    fn policy(&mut self, policy: Option<&Policy>, field: &str) -> PolicyPatch {
        let Some(policy) = policy else { return PolicyPatch::default() };
        let (mut patch, diagnostics) = policy.read(self.object, field);
        for diagnostic in diagnostics {
            // What was to keep somebody out closes routes; else the default is served.
            match diagnostic.severity {
                Severity::Error => self.notes.invalid(diagnostic),
                Severity::Warning | Severity::Info => self.notes.note(diagnostic),
            }
        }
        if let Some(unusable) = policy::take_unusable(&mut patch) {
            let field = format!("{field}.{}", unusable.field);
            let remark = remark(self.object, field, "UnsupportedValue", unusable.message, unusable.remedy);
            self.notes.warn(remark);
        }
        patch
    }

    fn rule(
        &mut self,
        rule: &Rule,
        field: &str,
        hosts: &[HostPattern],
        policy: &PolicyPatch,
        again: bool,
    ) -> Vec<DraftRoute> {
        let of_rule = self.policy(rule.policy.as_ref(), &format!("{field}.policy"));
        let patch = layers::merged(self.class, policy, Some(&of_rule));
        let mut broken = self.broken(rule, field, again).or_else(|| policy::unreadable(&patch.access));
        if let Some(Auth::Unusable(why)) = &patch.auth {
            broken.get_or_insert_with(|| why.clone());
        }
        if let Some(why) = &patch.upstream_tls.unusable {
            broken.get_or_insert_with(|| why.clone());
        }
        let serves = if rule.http { Serves::Everything } else { Serves::WebSocketOnly };
        self.matches(&rule.matches, field)
            .into_iter()
            .map(|(path, conditions, field_of_match)| DraftRoute {
                hosts: hosts.to_vec(),
                rule: rule.name.clone(),
                field: field_of_match,
                path,
                conditions,
                serves,
                backends: backends(rule, field),
                standby: None,
                patch: patch.clone(),
                broken: broken.clone(),
                standing: Standing::Own,
            })
            .collect()
    }

    fn broken(&mut self, rule: &Rule, field: &str, again: bool) -> Option<String> {
        let mut broken = self.closed.clone();
        if again {
            let message = format!("a rule before this one is named {} too", quoted(&rule.name));
            let remedy = "give each rule a name of its own";
            self.invalid(format!("{field}.name"), "DuplicateRule", message.clone(), remedy);
            broken.get_or_insert(message);
        }
        if rule.backends.is_empty() {
            let message = "the rule has no backends";
            self.invalid(
                format!("{field}.backends"),
                "InvalidBackend",
                message.into(),
                "name a Service and its port",
            );
            broken.get_or_insert(message.into());
        } else if rule.backends.iter().all(|backend| backend.weight.is_some_and(|weight| weight <= 0)) {
            let message = "every backend has weight 0";
            let remedy = "give one of them a weight above 0";
            self.invalid(format!("{field}.backends"), "NoWeight", message.into(), remedy);
            broken.get_or_insert(message.into());
        }
        broken
    }

    /// What does not read is left out: never a match without its path or one of its conditions.
    fn matches(&mut self, matches: &[Match], field: &str) -> Vec<(PathMatch, Conditions, String)> {
        let every = PathMatch::Prefix("/".into());
        if matches.is_empty() {
            return vec![(every, Conditions::default(), field.to_owned())];
        }
        let mut found = Vec::new();
        for (index, matched) in matches.iter().enumerate() {
            let field = format!("{field}.matches[{index}]");
            let conditions = match conditions::read(matched) {
                Ok(conditions) => conditions,
                Err((part, message, remedy)) => {
                    self.invalid(format!("{field}.{part}"), "InvalidMatch", message, remedy);
                    continue;
                }
            };
            self.patterns += conditions.patterns();
            if self.patterns > MOST_PATTERNS {
                let message = format!("this object has more than {MOST_PATTERNS} regular expressions");
                self.invalid(
                    field,
                    "InvalidMatch",
                    message,
                    "compare with Exact or Prefix where that is enough",
                );
                continue;
            }
            let Some(path) = &matched.path else {
                found.push((every.clone(), conditions, field));
                continue;
            };
            let comparison = match path.kind {
                PathKind::Exact => Comparison::Exact,
                PathKind::Prefix => Comparison::Prefix,
            };
            match draft::path(&path.value, comparison) {
                Ok(path) => found.push((path, conditions, field)),
                Err(message) => {
                    let remedy = "write a path as a request has it, from its slash on";
                    self.invalid(format!("{field}.path.value"), "InvalidPath", message, remedy);
                }
            }
        }
        found
    }

    /// Hosts without a certificate still ask for those of clients: their routes close.
    fn tls(
        &mut self,
        all: &[Tls],
        hosts: &[HostPattern],
        settings: &Settings,
    ) -> (Vec<DraftTls>, Vec<DraftClients>) {
        let (mut drafts, mut all_clients) = (Vec::new(), Vec::new());
        for (index, tls) in all.iter().enumerate() {
            let field = format!("spec.tls[{index}]");
            let hosts = self.hosts(&tls.hosts, &format!("{field}.hosts"), hosts);
            let min_version = tls.min_version.map(policy::tls_version);
            let mut cipher_suites = policy::cipher_suites(&tls.cipher_suites);
            if !policy::negotiable(min_version.unwrap_or_default(), &cipher_suites) {
                cipher_suites.clear();
                self.close(format!("{field}.cipherSuites"), policy::NOT_NEGOTIABLE, policy::NEGOTIABLE);
            }
            let clients = tls.client_certificate.as_ref();
            let clients = clients.map(|asked| Clients::of_ws_route(asked, self.owner, &field));
            all_clients.push(DraftClients { hosts: Some(hosts.clone()), asked: clients.clone() });
            let secret = tls.secret_name.as_deref();
            if let Some((certificate, by_default)) =
                tls::certificate(self.owner, secret, &field, settings, self.notes)
            {
                drafts.push(DraftTls {
                    hosts,
                    certificate,
                    by_default,
                    min_version,
                    cipher_suites,
                    clients,
                    field,
                });
            }
        }
        (drafts, all_clients)
    }

    /// A setting that would keep somebody out cannot be kept: every route answers 503.
    fn close(&mut self, field: String, message: &str, remedy: &str) {
        self.notes.rejected.get_or_insert_with(|| message.to_owned());
        self.closed.get_or_insert_with(|| message.to_owned());
        self.notes.note(remark(self.object, field, "UnsupportedValue", message, remedy));
    }

    fn invalid(&mut self, field: String, reason: &str, message: String, remedy: &str) {
        self.notes.invalid(remark(self.object, field, reason, message, remedy));
    }
}

fn backends(rule: &Rule, field: &str) -> Vec<DraftBackend> {
    let each = rule.backends.iter().enumerate();
    each.map(|(index, backend)| DraftBackend {
        service: backend.service.clone(),
        port: match &backend.port {
            IntOrString::Int(number) => PortRef::Number(*number),
            IntOrString::String(name) => PortRef::Name(name.clone()),
        },
        // Negative weights are refused by the schema; taken as none they harm nobody.
        weight: backend.weight.map_or(1, |weight| u32::try_from(weight).unwrap_or(0)),
        reach: Reach::Endpoints,
        field: format!("{field}.backends[{index}]"),
    })
    .collect()
}
