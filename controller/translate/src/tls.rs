//! Certificates: which Secret a host has, and what is in it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use crds::diagnostic::ObjectRef;
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use snapshot::{Certificate, CertificateKey, HostPattern, HostTls, Key, PrivateKey, Section, Snapshot};

use crate::draft::{Draft, DraftTls, Owner};
use crate::report::{Conflict, Ledger, remark};
use crate::settings::Settings;
use crate::store::{Name, Store};

const SECRET_TYPE: &str = "kubernetes.io/tls";

/// The TLS settings of each host, by the oldest object that names it.
#[derive(Debug, Default)]
pub(crate) struct Bindings<'a> {
    by_host: BTreeMap<HostPattern, (&'a Owner, HostTls)>,
}

impl Bindings<'_> {
    /// The host's TLS settings: its own, else those of the wildcard that it falls under.
    pub(crate) fn of(&self, host: &HostPattern) -> Option<HostTls> {
        let wildcard = || match host {
            HostPattern::Exact(name) => {
                let (_, suffix) = name.split_once('.')?;
                self.by_host.get(&HostPattern::Wildcard(suffix.into()))
            }
            _ => None,
        };
        let (_, tls) = self.by_host.get(host).or_else(wildcard)?;
        Some(tls.clone())
    }

    /// Every host that is named under tls.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostPattern> {
        self.by_host.keys()
    }
}

/// Gives each host its certificate and puts every Secret that is referenced into the snapshot. The drafts come in
/// the order of seniority.
pub(crate) fn bind<'a>(
    drafts: &'a [Draft],
    store: &Store,
    settings: &Settings,
    snapshot: &mut Snapshot,
    ledger: &mut Ledger,
) -> Bindings<'a> {
    let mut bindings = Bindings::default();
    let mut secrets = Secrets { store, snapshot, seen: BTreeMap::new() };
    if let Some(default) = &settings.default_tls_secret
        && let Err((reason, message, remedy)) = secrets.take(default)
    {
        let secret = ObjectRef::new("Secret", &*default.namespace, &*default.secret);
        ledger.note(remark(&secret, "data", reason, format!("the default certificate: {message}"), remedy));
    }
    for draft in drafts {
        for tls in &draft.tls {
            let Some(key) = certificate(&draft.owner, tls, settings, ledger) else { continue };
            let referenced = tls.secret.is_some();
            if let (true, Err((reason, message, remedy))) = (referenced, secrets.take(&key)) {
                let field = format!("{}.secretName", tls.field);
                ledger.unresolved(reason, remark(&draft.owner.reference(), field, reason, message, remedy));
            }
            bindings.add(&draft.owner, tls, key, ledger);
        }
    }
    bindings
}

fn certificate(
    owner: &Owner,
    tls: &DraftTls,
    settings: &Settings,
    ledger: &mut Ledger,
) -> Option<CertificateKey> {
    match (&tls.secret, &settings.default_tls_secret) {
        (Some(secret), _) => {
            Some(CertificateKey { namespace: owner.namespace().into(), secret: secret.clone() })
        }
        (None, Some(default)) => Some(default.clone()),
        (None, None) => {
            ledger.warn(remark(
                &owner.reference(),
                format!("{}.secretName", tls.field),
                "NoCertificate",
                "no Secret is named, and there is no default certificate",
                "name a Secret, or start the controller with --default-tls-secret",
            ));
            None
        }
    }
}

impl<'a> Bindings<'a> {
    fn add(&mut self, owner: &'a Owner, tls: &DraftTls, certificate: CertificateKey, ledger: &mut Ledger) {
        let min_version = tls.min_version.unwrap_or_default();
        let wanted = HostTls { certificate, min_version, cipher_suites: tls.cipher_suites.clone() };
        let hosts: BTreeSet<_> = tls.hosts.iter().collect();
        for host in hosts {
            let (older, theirs) = self.by_host.entry(host.clone()).or_insert_with(|| (owner, wanted.clone()));
            if !satisfies(theirs, tls, &wanted) {
                let conflict =
                    Conflict { host: host.to_string(), path: "tls".into(), owner: older.reference() };
                ledger.conflict(&owner.reference(), &tls.field, conflict);
            }
        }
    }
}

/// Whether a host has what is asked for. Who leaves versions or suites out asks for none in particular.
fn satisfies(host: &HostTls, asked: &DraftTls, wanted: &HostTls) -> bool {
    host.certificate == wanted.certificate
        && asked.min_version.is_none_or(|version| version == host.min_version)
        && (asked.cipher_suites.is_empty() || asked.cipher_suites == host.cipher_suites)
}

/// Why there is no certificate: reason, message, remedy.
type Problem = (&'static str, String, &'static str);

struct Secrets<'a> {
    store: &'a Store,
    snapshot: &'a mut Snapshot,
    seen: BTreeMap<CertificateKey, Result<(), Problem>>,
}

impl Secrets<'_> {
    /// Puts the certificate into the snapshot, or a section that says why there is none.
    fn take(&mut self, key: &CertificateKey) -> Result<(), Problem> {
        if let Some(known) = self.seen.get(key) {
            return known.clone();
        }
        let found = match self.store.secret(&Name::new(&key.namespace, &key.secret)) {
            None => Err((
                "SecretNotFound",
                format!("there is no Secret {key}"),
                "create it, of type kubernetes.io/tls, with tls.crt and tls.key",
            )),
            Some(secret) => read(secret)
                .map_err(|(what, remedy)| ("SecretInvalid", format!("Secret {key}: {what}"), remedy)),
        };
        let (section, result) = match found {
            Ok(pair) => (pair, Ok(())),
            Err(problem) => (Certificate::Bad(problem.1.clone()), Err(problem)),
        };
        self.snapshot.insert(Key::Certificate(key.clone()), &Section::Certificate(section));
        self.seen.insert(key.clone(), result.clone());
        result
    }
}

/// A Secret's certificate and key in DER, or what is wrong and what to do. No message repeats any of its bytes.
fn read(secret: &Secret) -> Result<Certificate, (String, &'static str)> {
    match secret.type_.as_deref() {
        Some(SECRET_TYPE) => {}
        other => {
            let found = other.unwrap_or("Opaque");
            return Err((
                format!("its type is {found:?}, not {SECRET_TYPE:?}"),
                "create it anew as type kubernetes.io/tls",
            ));
        }
    }
    let data = |name: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name)).filter(|bytes| !bytes.0.is_empty());
        bytes
            .map(|bytes| &bytes.0[..])
            .ok_or((format!("it has no {name}"), "put tls.crt and tls.key into it, as PEM"))
    };
    let (chain, key) = (data("tls.crt")?, data("tls.key")?);
    let (chain, not_after) = read_chain(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        ("its tls.key holds no private key in PEM".to_owned(), "put a PKCS#8, PKCS#1 or SEC1 key there")
    })?;
    Ok(Certificate::Pair { chain, key: PrivateKey::new(key.secret_der()), not_after })
}

fn read_chain(pem: &[u8]) -> Result<(Vec<Bytes>, i64), (String, &'static str)> {
    const REMEDY: &str = "put the certificate there in PEM, and its intermediates behind it";
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .map(|der| der.map(|der| Bytes::copy_from_slice(&der)))
        .collect::<Result<_, _>>()
        .map_err(|_| ("its tls.crt is not PEM".to_owned(), REMEDY))?;
    let first =
        chain.first().ok_or_else(|| ("its tls.crt holds no certificate in PEM".to_owned(), REMEDY))?;
    let (_, certificate) = x509_parser::parse_x509_certificate(first)
        .map_err(|_| ("its tls.crt holds a certificate that does not parse".to_owned(), REMEDY))?;
    let not_after = certificate.validity().not_after.timestamp();
    Ok((chain, not_after))
}
