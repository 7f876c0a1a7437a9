//! Certificates by which clients say who they are in the TLS handshake. They are asked for by hosts, not by routes.

use serde::Serialize;

/// What an object asks of the clients of its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientsPatch {
    /// A certificate.
    Asked(ClientCertificates),
    /// It does not read: why the hosts must answer 503.
    Unreadable(String),
}

/// Which certificates clients may come with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificates {
    /// A Secret in the object's namespace: `ca.crt` has who may sign them, `ca.crl` which of them are revoked.
    pub secret: String,
    /// Who must have one.
    pub mode: ClientMode,
    /// The most certificates between a client's and the authority's. Absent: the TLS library's own limit.
    pub depth: Option<u8>,
    /// A regular expression, from `CN=` on, that the beginning of the name in it must fit.
    pub common_name: Option<String>,
    /// What backends are told beside our own fields.
    pub passed: Passed,
    /// The field that names the Secret.
    pub field: String,
}

/// Who must have a certificate, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientMode {
    /// Nobody, and one by another authority is taken too; backends are told. Said by annotations only.
    Unverified,
    /// Nobody; one that is there must be good.
    Optional,
    /// Everybody.
    Required,
}

/// What backends are told of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Passed {
    /// Our own fields.
    #[default]
    Own,
    /// Our own of its subject, and those of ingress-nginx without the certificate.
    Nginx,
    /// Our own and those of ingress-nginx.
    NginxWithCertificate,
}

/// Fields of requests that tell of a client's certificate, which are ours alone to write: in lower case with hyphens.
pub(crate) fn tells_of_certificate(name: &str) -> bool {
    name == "client-cert" || name.starts_with("client-cert-") || name.starts_with("ssl-client-")
}
