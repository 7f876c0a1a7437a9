//! Certificates for tests and the demo: an authority made on the spot, and Secrets with what it signed.
//!
//! Nothing here is meant for use: keys live in temporary folders and are thrown away with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DnType, IsCa, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority of our own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its private key, in PEM.
#[derive(Clone)]
pub struct Pair {
    /// `tls.crt`.
    pub certificate: String,
    /// `tls.key`.
    pub key: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
    serial: SerialNumber,
}

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Result<Self> {
        Self::named("Longhaul test authority")
    }

    /// Makes a new authority of this name.
    pub fn named(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's certificate in PEM, for `curl --cacert` and the like.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's private key in PEM, for programs that sign in its name.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// An authority that this one signs.
    pub fn intermediate(&self, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        Ok(Self { issuer: CertifiedIssuer::signed_by(params, KeyPair::generate()?, &self.issuer)? })
    }

    /// The list of the certificates of this authority that are revoked, in PEM.
    pub fn revoke(&self, pairs: &[&Pair]) -> Result<String> {
        self.revocations(pairs, 2100)
    }

    /// The same, out of date.
    pub fn revoke_long_ago(&self, pairs: &[&Pair]) -> Result<String> {
        self.revocations(pairs, 2002)
    }

    fn revocations(&self, pairs: &[&Pair], until: i32) -> Result<String> {
        let issued = date_time_ymd(2001, 1, 1);
        let revoked_certs = pairs.iter().map(|pair| RevokedCertParams {
            serial_number: pair.serial.clone(),
            revocation_time: issued,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: issued,
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    /// Signs a certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Result<Pair> {
        self.sign(names, |_| {})
    }

    /// Signs a certificate for these names that expired long ago.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Pair> {
        self.sign(names, |params| params.not_after = date_time_ymd(2001, 1, 1))
    }

    /// Signs a certificate by which a client of the API server is this user, in this group.
    pub fn issue_user(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        self.sign(&[], |params| {
            if let Some(group) = group {
                params.distinguished_name.push(DnType::OrganizationName, group);
            }
            params.distinguished_name.push(DnType::CommonName, user);
        })
    }

    /// The same, expired long ago.
    pub fn issue_expired_user(&self, user: &str) -> Result<Pair> {
        self.sign(&[], |params| {
            params.not_after = date_time_ymd(2001, 1, 1);
            params.distinguished_name.push(DnType::CommonName, user);
        })
    }

    /// Makes a certificate for this name that has signed itself, and might sign others: as `openssl req -x509` does.
    pub fn alone(name: &str) -> Result<Pair> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let (key, serial) = (KeyPair::generate()?, next_serial());
        params.serial_number = Some(serial.clone());
        let certificate = params.self_signed(&key)?;
        Ok(Pair::new(&certificate, &key, serial))
    }

    fn sign(&self, names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Result<Pair> {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
        edit(&mut params);
        params.use_authority_key_identifier_extension = true;
        let (key, serial) = (KeyPair::generate()?, next_serial());
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair::new(&certificate, &key, serial))
    }

    /// What a client has that trusts this authority alone.
    pub fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        Ok(roots)
    }

    /// A client's TLS settings that trust this authority alone.
    pub fn trusting_client(&self) -> Result<Arc<ClientConfig>> {
        let roots = self.roots()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn next_serial() -> SerialNumber {
    static SERIALS: AtomicU64 = AtomicU64::new(1);
    SerialNumber::from(SERIALS.fetch_add(1, Ordering::Relaxed))
}

impl Pair {
    fn new(certificate: &Certificate, key: &KeyPair, serial: SerialNumber) -> Self {
        Self {
            serial,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }

    /// The Secret of type `kubernetes.io/tls` that holds this pair, as YAML.
    pub fn secret(&self, namespace: &str, name: &str) -> String {
        secret(namespace, name, &self.certificate, &self.key)
    }

    /// The certificate in DER, to compare with what a server presents.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What a client proves with this pair who it is by: the chain, of which `between` are the authorities that are
    /// sent with it, and the key.
    pub fn proof(&self, between: &[&Authority]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = between.iter().map(|authority| authority.issuer.der().clone());
        let chain = std::iter::once(self.der.clone()).chain(chain).collect();
        (chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone())))
    }

    /// A server's TLS settings with this pair, for backends of tests that speak TLS themselves.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)?;
        Ok(Arc::new(config))
    }

    /// The same of a server that takes nobody without a certificate of this authority.
    pub fn server_for(&self, clients: &Authority) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(clients.roots()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.der.clone()], key)?;
        Ok(Arc::new(config))
    }
}

/// A Secret of no type in particular with these keys, in namespace `default`, as YAML.
pub fn opaque(name: &str, data: &[(&str, &str)]) -> String {
    let keys: Vec<_> = data
        .iter()
        .map(|(key, text)| format!("  {key}: |\n    {}\n", text.trim_end().replace('\n', "\n    ")))
        .collect();
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n{}", keys.concat())
}

/// PEM as it stands in a block of a Secret's YAML.
pub fn block(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

/// A Secret of type `kubernetes.io/tls` with any content, as YAML. The content may be wrong on purpose.
pub fn secret(namespace: &str, name: &str, certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        block(certificate),
        block(key)
    )
}
