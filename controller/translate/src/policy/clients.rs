//! Client certificates: which Secret says who may sign them, and what is in it.
//!
//! They are settings of a host as a whole, and the oldest object that names the host under tls has its way. A younger
//! one never loosens them, and where it asks for more than the host does its own routes there close.

use std::collections::BTreeSet;

use bytes::Bytes;
use crds::policy::clients::{self as crd, ClientsPatch};
use crds::wsroute::{ClientCertificate, ClientCertificateMode};
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use snapshot::{ClientCertificates, ClientMode, ClientVerification, HostPattern, PassedOn, leading_pattern};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::absence;
use crate::draft::Owner;
use crate::store::{Name, Store};
use crate::tls::Problem;

/// All that an authority's Secret may have in it, in bytes: each host of it carries that.
const MOST_BYTES: usize = 512 * 1024;

/// What an object says of client certificates for some of its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DraftClients {
    /// Absent: every host.
    pub(crate) hosts: Option<Vec<HostPattern>>,
    /// Absent: nothing is asked.
    pub(crate) asked: Option<Clients>,
}

/// Client certificates that an object asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clients {
    /// Who may sign them, or why that cannot be known.
    secret: Result<Name, String>,
    mode: ClientMode,
    depth: Option<u8>,
    common_name: Option<String>,
    passed: PassedOn,
    pub(crate) field: String,
}

impl Clients {
    /// What the annotations of an Ingress ask for.
    pub(crate) fn of_ingress(patch: &ClientsPatch, owner: &Owner) -> Self {
        match patch {
            ClientsPatch::Asked(asked) => Self {
                secret: Ok(Name::new(owner.namespace(), &asked.secret)),
                mode: match asked.mode {
                    crd::ClientMode::Unverified => ClientMode::Unverified,
                    crd::ClientMode::Optional => ClientMode::Optional,
                    crd::ClientMode::Required => ClientMode::Required,
                },
                depth: asked.depth,
                common_name: asked.common_name.clone(),
                passed: match asked.passed {
                    crd::Passed::Own => PassedOn::Own,
                    crd::Passed::Nginx => PassedOn::Nginx,
                    crd::Passed::NginxWithCertificate => PassedOn::NginxWithCertificate,
                },
                field: asked.field.clone(),
            },
            ClientsPatch::Unreadable(why) => Self {
                secret: Err(why.clone()),
                mode: ClientMode::Required,
                depth: None,
                common_name: None,
                passed: PassedOn::Own,
                field: "metadata.annotations".into(),
            },
        }
    }

    /// What an entry of a WsRoute's tls asks for.
    pub(crate) fn of_ws_route(asked: &ClientCertificate, owner: &Owner, field: &str) -> Self {
        Self {
            secret: Ok(Name::new(owner.namespace(), &asked.ca_secret_name)),
            mode: match asked.mode {
                ClientCertificateMode::Required => ClientMode::Required,
                ClientCertificateMode::Optional => ClientMode::Optional,
            },
            depth: None,
            common_name: None,
            passed: PassedOn::Own,
            field: format!("{field}.clientCertificate.caSecretName"),
        }
    }

    /// The Secret that it names.
    pub(crate) fn secret(&self) -> Option<&Name> {
        self.secret.as_ref().ok()
    }

    /// What is wrong with a name to compare with.
    pub(crate) fn unusable(&self) -> Option<String> {
        let text = self.common_name.as_ref()?;
        leading_pattern(text).err()
    }

    /// Closes whatever asks for it.
    pub(crate) fn close(&mut self, why: &str) {
        self.secret = Err(why.to_owned());
    }

    /// Whether they ask for the same, wherever they say it.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let Self { secret, mode, depth, common_name, passed, field: _ } = self;
        *secret == other.secret
            && *mode == other.mode
            && *depth == other.depth
            && *common_name == other.common_name
            && *passed == other.passed
    }

    /// Whether nobody comes in by these who would not by the others.
    fn protects(&self, other: &Self) -> bool {
        let strictness = |mode| match mode {
            ClientMode::Unverified => 0,
            ClientMode::Optional => 1,
            ClientMode::Required => 2,
        };
        let depth = |clients: &Self| clients.depth.unwrap_or(u8::MAX);
        self.secret == other.secret
            && strictness(self.mode) >= strictness(other.mode)
            && depth(self) <= depth(other)
            && (other.common_name.is_none() || self.common_name == other.common_name)
    }

    /// What a proxy is to ask for, or why nobody comes in.
    pub(crate) fn resolve(&self, store: &Store) -> Result<ClientCertificates, Problem> {
        let name = match &self.secret {
            Ok(name) => name,
            Err(why) => {
                let remedy = "write it as the documentation of the annotation says";
                return Err(Problem { reason: "UnsupportedValue", message: why.clone(), remedy });
            }
        };
        let key = format!("{}/{}", name.namespace, name.name);
        let remedy = "create it, with the certificates of the authorities under its key ca.crt";
        let secret = store.secret(name).ok_or_else(|| absence::of_secret(name, store, remedy))?;
        let (authorities, revoked) = read(secret).map_err(|(what, remedy)| Problem {
            reason: "SecretInvalid",
            message: format!("Secret {key}: {what}"),
            remedy,
        })?;
        Ok(ClientCertificates {
            verification: ClientVerification { mode: self.mode, authorities, revoked, depth: self.depth },
            common_name: self.common_name.clone(),
            passed: self.passed,
        })
    }
}

/// What an object asks for at a host: what it says of the name itself, else of the wildcard above.
pub(crate) fn asked_at<'a>(drafts: &'a [DraftClients], host: &HostPattern) -> Option<&'a Clients> {
    let of = |wanted: &HostPattern| {
        let names = |draft: &&DraftClients| draft.hosts.as_ref().is_none_or(|hosts| hosts.contains(wanted));
        drafts.iter().find(names)
    };
    let draft = of(host).or_else(|| of(&crate::host::wildcard_of(host)?))?;
    draft.asked.as_ref()
}

/// Why a route that asks for these must not be served at a host, of which this is asked.
pub(crate) fn unprotected(asked: &Clients, host: Option<&Clients>) -> Option<(&'static str, &'static str)> {
    match host {
        None => Some((
            "client certificates are asked for, and the host's TLS settings ask for none",
            "name the host under tls with a certificate; where it belongs to an older object, ask there",
        )),
        Some(host) if !host.protects(asked) => Some((
            "client certificates are asked for that the host's TLS settings, which belong to an older object, do not \
             ask for",
            "ask for the same in both objects",
        )),
        Some(_) => None,
    }
}

type Authorities = (Vec<Bytes>, Vec<Bytes>);

/// Who may sign, and what is revoked; or what is wrong and what to do.
fn read(secret: &Secret) -> Result<Authorities, (String, &'static str)> {
    const AUTHORITIES: &str = "put the certificates of the authorities there in PEM";
    const LISTS: &str = "put lists of revoked certificates there in PEM, or remove it";
    let data = |name: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(name)).filter(|bytes| !bytes.0.is_empty());
        bytes.map(|bytes| &bytes.0[..])
    };
    let written = data("ca.crt").ok_or_else(|| ("it has no ca.crt".to_owned(), AUTHORITIES))?;
    let lists = data("ca.crl").unwrap_or_default();
    if written.len() + lists.len() > MOST_BYTES {
        let what = format!("its ca.crt and ca.crl have more than {MOST_BYTES} bytes together");
        return Err((what, "leave out what is not needed"));
    }
    let authorities: BTreeSet<_> = CertificateDer::pem_slice_iter(written)
        .map(|der| der.map(|der| Bytes::copy_from_slice(&der)))
        .collect::<Result<_, _>>()
        .map_err(|_| ("its ca.crt is not PEM".to_owned(), AUTHORITIES))?;
    if authorities.is_empty() {
        return Err(("its ca.crt holds no certificate in PEM".to_owned(), AUTHORITIES));
    }
    if authorities.iter().any(|der| x509_parser::parse_x509_certificate(der).is_err()) {
        return Err(("its ca.crt holds a certificate that does not parse".to_owned(), AUTHORITIES));
    }
    let revoked: BTreeSet<_> = CertificateRevocationListDer::pem_slice_iter(lists)
        .map(|der| der.map(|der| Bytes::copy_from_slice(der.as_ref())))
        .collect::<Result<_, _>>()
        .map_err(|_| ("its ca.crl is not PEM".to_owned(), LISTS))?;
    if !lists.is_empty() && revoked.is_empty() {
        return Err(("its ca.crl holds no list in PEM".to_owned(), LISTS));
    }
    if revoked.iter().any(|der| CertificateRevocationList::from_der(der).is_err()) {
        return Err(("its ca.crl holds a list that does not parse".to_owned(), LISTS));
    }
    Ok((authorities.into_iter().collect(), revoked.into_iter().collect()))
}
