//! Certificates of clients: how they are judged, what is known of a connection, and what upstreams are told.
//!
//! Whether a certificate is good is decided in the handshake, and again where a session is taken up that began with
//! one: it may have expired meanwhile. (When authorities or lists change, so does the policy, and with it the keys of
//! tickets.) Requests of a connection are served for hosts with the same verification only.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::bytes::Regex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use snapshot::{ClientCertificates, ClientMode, ClientVerification, PassedOn, leading_pattern};

use super::names;

/// Judges certificates as one verification says.
#[derive(Debug)]
pub(crate) struct Verifier {
    asked: ClientVerification,
    authorities: Vec<CertificateDer<'static>>,
    judge: Arc<dyn ClientCertVerifier>,
}

/// What a host asks of its clients.
pub(crate) struct Clients {
    verifier: Arc<Verifier>,
    common_name: Option<Regex>,
    passed: PassedOn,
}

/// What is known of the client of one TLS connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    verifier: Option<Arc<Verifier>>,
    presented: Option<Arc<Presented>>,
}

/// A certificate that a client has shown, and whose key it has.
#[derive(Debug)]
pub(crate) struct Presented {
    /// Base64 of its DER.
    encoded: String,
    subject: String,
    issuer: String,
    common_names: Vec<String>,
    /// Why it is no good one; absent: it is.
    failed: Option<String>,
}

/// Why a request is not served, as far as certificates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its connection was made for a host that asks for others.
    Misdirected,
    /// It came without TLS.
    InTheClear,
    /// There is no certificate with a name that comes in.
    Name,
}

/// What an upstream is told of a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    presented: Option<&'a Presented>,
    passed: PassedOn,
}

/// Fields of requests in which upstreams are told. Nobody else's ever pass.
pub(crate) const FIELDS: [&str; 7] = [
    "client-cert",
    "client-cert-chain",
    "client-cert-subject",
    "ssl-client-cert",
    "ssl-client-issuer-dn",
    "ssl-client-subject-dn",
    "ssl-client-verify",
];

impl Verifier {
    /// The error is for people.
    pub(super) fn new(asked: &ClientVerification, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let authorities: Vec<_> =
            asked.authorities.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|error| format!("an authority of clients: {error}"))?;
        }
        let lists = asked.revoked.iter().map(|der| CertificateRevocationListDer::from(der.to_vec()));
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = builder.with_crls(lists).enforce_revocation_expiration();
        let judge = builder.build().map_err(|error| format!("client certificates: {error}"))?;
        Ok(Self { asked: asked.clone(), authorities, judge })
    }

    fn same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.asked == other.asked
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let further =
            intermediates.iter().filter(|sent| !self.authorities.iter().any(|known| known == *sent));
        if self.asked.depth.is_some_and(|depth| further.count() > usize::from(depth)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        self.judge.verify_client_cert(end_entity, intermediates, now)
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.asked.mode == ClientMode::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.asked.mode {
            // Upstreams are told what is wrong with it.
            ClientMode::Unverified => Ok(ClientCertVerified::assertion()),
            ClientMode::Optional | ClientMode::Required => self.judge(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

impl Session {
    /// Of a handshake that is done. A certificate that came with a session which was taken up again is judged anew.
    pub(super) fn new(
        verifier: Option<&Arc<Verifier>>,
        chain: Option<&[CertificateDer<'static>]>,
        now: UnixTime,
    ) -> Result<Self, rustls::Error> {
        let Some(verifier) = verifier else { return Ok(Self::default()) };
        let presented = match chain.and_then(<[_]>::split_first) {
            None if verifier.client_auth_mandatory() => return Err(rustls::Error::NoCertificatesPresented),
            None => None,
            Some((end_entity, intermediates)) => {
                let judged = verifier.judge(end_entity, intermediates, now);
                let failed = match judged {
                    Err(error) if verifier.asked.mode != ClientMode::Unverified => return Err(error),
                    judged => judged.err(),
                };
                Some(Arc::new(Presented::new(end_entity, failed.as_ref())?))
            }
        };
        Ok(Self { verifier: Some(verifier.clone()), presented })
    }
}

impl Presented {
    fn new(der: &CertificateDer<'_>, failed: Option<&rustls::Error>) -> Result<Self, rustls::Error> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        Ok(Self {
            encoded: STANDARD.encode(der),
            subject: names::text(certificate.subject()),
            issuer: names::text(certificate.issuer()),
            common_names: names::common_names(certificate.subject()),
            failed: failed.map(|error| reason(error).to_owned()),
        })
    }

    /// PEM in percent encoding, as nginx' `$ssl_client_escaped_cert` is.
    fn escaped_pem(&self) -> String {
        let mut text = "-----BEGIN%20CERTIFICATE-----%0A".to_owned();
        for (at, letter) in self.encoded.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                text.push_str("%0A");
            }
            match letter {
                '+' | '/' | '=' => {
                    write!(text, "%{:02X}", u32::from(letter)).expect("writing to a String cannot fail");
                }
                letter => text.push(letter),
            }
        }
        text.push_str("%0A-----END%20CERTIFICATE-----%0A");
        text
    }
}

/// A few words that are the same for everybody: what a certificate is compared with is not the client's business.
fn reason(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not yet valid"
            }
            CertificateError::Revoked => "certificate revoked",
            CertificateError::UnknownIssuer => "unable to get local issuer certificate",
            CertificateError::ApplicationVerificationFailure => "certificate chain too long",
            _ => "certificate rejected",
        },
        _ => "certificate rejected",
    }
}

impl Clients {
    /// The error is for people.
    pub(crate) fn new(verifier: Arc<Verifier>, written: &ClientCertificates) -> Result<Self, String> {
        let pattern = written.common_name.as_deref().map(leading_pattern).transpose();
        let common_name = pattern.map_err(|why| format!("a common name of clients: {why}"))?;
        Ok(Self { verifier, common_name, passed: written.passed })
    }

    /// What an upstream is told of the client of a session.
    pub(crate) fn shown<'a>(&self, session: &'a Session) -> Shown<'a> {
        Shown { presented: session.presented.as_deref(), passed: self.passed }
    }

    /// Whether the client must have a certificate, whatever else there is.
    fn insists(&self) -> bool {
        self.verifier.asked.mode == ClientMode::Required || self.common_name.is_some()
    }

    fn names(&self, presented: &Presented) -> bool {
        self.common_name.as_ref().is_none_or(|pattern| {
            let mut names = presented.common_names.iter();
            presented.failed.is_none() && names.any(|name| pattern.is_match(format!("CN={name}").as_bytes()))
        })
    }
}

/// Whether a request may be served for a host that asks this of its clients. `session` is that of its connection, where
/// that is TLS.
pub(crate) fn judge(clients: Option<&Clients>, session: Option<&Session>) -> Result<(), Unfit> {
    let Some(session) = session else {
        return if clients.is_some_and(Clients::insists) { Err(Unfit::InTheClear) } else { Ok(()) };
    };
    match (clients, &session.verifier) {
        (None, None) => Ok(()),
        (Some(clients), Some(verifier)) if clients.verifier.same(verifier) => {
            let named = session.presented.as_deref().map(|presented| clients.names(presented));
            if named.unwrap_or(clients.common_name.is_none()) { Ok(()) } else { Err(Unfit::Name) }
        }
        _ => Err(Unfit::Misdirected),
    }
}

impl Shown<'_> {
    /// The fields, each by itself.
    pub(crate) fn fields(&self, put: &mut dyn FnMut(&str, &[u8])) {
        let nginx = self.passed != PassedOn::Own;
        let Some(presented) = self.presented else {
            if nginx {
                put("ssl-client-verify", b"NONE");
            }
            return;
        };
        if presented.failed.is_none() {
            if self.passed != PassedOn::Nginx {
                put("Client-Cert", format!(":{}:", presented.encoded).as_bytes());
            }
            put("Client-Cert-Subject", presented.subject.as_bytes());
        }
        if !nginx {
            return;
        }
        match &presented.failed {
            None => put("ssl-client-verify", b"SUCCESS"),
            Some(reason) => put("ssl-client-verify", format!("FAILED:{reason}").as_bytes()),
        }
        put("ssl-client-subject-dn", presented.subject.as_bytes());
        put("ssl-client-issuer-dn", presented.issuer.as_bytes());
        if self.passed == PassedOn::NginxWithCertificate {
            put("ssl-client-cert", presented.escaped_pem().as_bytes());
        }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("mode", &self.verifier.asked.mode).finish_non_exhaustive()
    }
}
