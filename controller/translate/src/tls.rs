//! Certificates: which Secret a host has, and what is in it.

use std::sync::Arc;

use bytes::Bytes;
use crds::diagnostic::ObjectRef;
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use snapshot::{Certificate, CertificateKey, HostPattern, HostTls, PrivateKey};

use crate::absence::{self, Absence};
use crate::draft::{DraftTls, Owner};
use crate::object::Asked;
use crate::policy::clients::Clients;
use crate::report::{Conflict, Notes, Tally, remark};
use crate::settings::Settings;
use crate::store::{Name, Store};

const SECRET_TYPE: &str = "kubernetes.io/tls";

/// The Secret that is named, or else the default certificate (`true`), if there is one.
pub(crate) fn certificate(
    owner: &Owner,
    secret: Option<&str>,
    field: &str,
    settings: &Settings,
    notes: &mut Notes,
) -> Option<(CertificateKey, bool)> {
    match (secret.filter(|name| !name.is_empty()), &settings.default_tls_secret) {
        (Some(secret), _) => {
            Some((CertificateKey { namespace: owner.namespace().into(), secret: secret.into() }, false))
        }
        (None, Some(default)) => Some((default.clone(), true)),
        (None, None) => {
            notes.warn(remark(
                &owner.reference(),
                format!("{field}.secretName"),
                "NoCertificate",
                "no Secret is named, and there is no default certificate",
                "name a Secret, or start the controller with --default-tls-secret",
            ));
            None
        }
    }
}

/// What a host has, as the oldest object that names it wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) owner: Arc<Owner>,
    pub(crate) tls: HostTls,
    /// The client certificates that it wants.
    pub(crate) clients: Option<Clients>,
    /// Why the host must answer 503: nobody can say whose certificates are good.
    pub(crate) closed: Option<String>,
}

/// What a wish leads to where it is the oldest.
pub(crate) fn bound(owner: &Arc<Owner>, wish: &DraftTls, store: &Store) -> Bound {
    let (certificate, min_version) = (wish.certificate.clone(), wish.min_version.unwrap_or_default());
    let (clients, closed) = match wish.clients.as_ref().map(|clients| clients.resolve(store)) {
        None => (None, None),
        Some(Ok(clients)) => (Some(clients), None),
        Some(Err(problem)) => (None, Some(problem.message)),
    };
    let tls = HostTls { certificate, min_version, cipher_suites: wish.cipher_suites.clone(), clients };
    Bound { owner: owner.clone(), tls, clients: wish.clients.clone(), closed }
}

/// Tells an object where it asks for something else than the host has by an older one, or by an earlier wish of its own.
pub(crate) fn compare(
    host: &HostPattern,
    theirs: &Bound,
    (owner, asked): (&Owner, &DraftTls),
    tally: &mut Tally,
) {
    if !satisfies(theirs, asked) {
        let conflict =
            Conflict { host: host.to_string(), path: "tls".into(), owner: theirs.owner.reference() };
        tally.conflict(&owner.reference(), &asked.field, conflict);
    }
}

/// Tells an object that a host's certificate is another namespace's to choose.
pub(crate) fn evicted(host: &HostPattern, oldest: &Asked, asked: &Asked) -> Tally {
    let mut tally = Tally::default();
    for index in asked.claims.get(host).iter().flat_map(|claim| &claim.tls) {
        let conflict =
            Conflict { host: host.to_string(), path: "tls".into(), owner: oldest.reference.clone() };
        tally.conflict(&asked.reference, &asked.draft.tls[*index].field, conflict);
    }
    tally
}

/// Whether a host has what is asked for. Who leaves something out asks for nothing in particular.
fn satisfies(Bound { tls: host, clients, .. }: &Bound, asked: &DraftTls) -> bool {
    let same = |asked: &Clients| clients.as_ref().is_some_and(|clients| clients.same(asked));
    host.certificate == asked.certificate
        && asked.min_version.is_none_or(|version| version == host.min_version)
        && (asked.cipher_suites.is_empty() || asked.cipher_suites == host.cipher_suites)
        && asked.clients.as_ref().is_none_or(same)
}

/// Why there is no certificate.
pub(crate) type Problem = Absence;

/// The certificate's section, which may say that there is none, and why.
pub(crate) fn section(key: &CertificateKey, store: &Store) -> (Certificate, Option<Problem>) {
    let name = Name::new(&key.namespace, &key.secret);
    let found = match store.secret(&name) {
        None => {
            let remedy = "create it, of type kubernetes.io/tls, with tls.crt and tls.key";
            Err(absence::of_secret(&name, store, remedy))
        }
        Some(secret) => read(secret).map_err(|(what, remedy)| {
            let message = format!("Secret {key}: {what}");
            Problem { reason: "SecretInvalid", message, remedy }
        }),
    };
    match found {
        Ok(pair) => (pair, None),
        Err(problem) => (Certificate::Bad(problem.message.clone()), Some(problem)),
    }
}

/// What is wrong with the default certificate, which no object refers to.
pub(crate) fn default_notes(key: &CertificateKey, problem: Option<&Problem>) -> Notes {
    let mut notes = Notes::default();
    if let Some(Problem { reason, message, remedy }) = problem {
        let secret = ObjectRef::new("Secret", &*key.namespace, &*key.secret);
        notes.note(remark(&secret, "data", reason, format!("the default certificate: {message}"), *remedy));
    }
    notes
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
    let (chain, not_after, key) = read_pair(secret)?;
    Ok(Certificate::Pair { chain, key, not_after })
}

/// The chain of `tls.crt`, when its first certificate expires, and the key of `tls.key`.
pub(crate) fn read_pair(secret: &Secret) -> Result<(Vec<Bytes>, i64, PrivateKey), (String, &'static str)> {
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
    Ok((chain, not_after, PrivateKey::new(key.secret_der())))
}

/// Certificates in DER, at least one; or why not, to follow the name of what holds them.
pub(crate) fn read_certificates(pem: &[u8]) -> Result<Vec<Bytes>, &'static str> {
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let ders = ders.map_err(|_| "is not PEM")?;
    if ders.is_empty() {
        return Err("holds no certificate in PEM");
    }
    if ders.iter().any(|der| x509_parser::parse_x509_certificate(der).is_err()) {
        return Err("holds a certificate that does not parse");
    }
    Ok(ders.iter().map(|der| Bytes::copy_from_slice(der)).collect())
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
