//! Certificates by which clients of a host say who they are.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a host asks of its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificates {
    /// How certificates are judged in handshakes.
    pub verification: ClientVerification,
    /// What a request's certificate must say: text that begins with `CN=`, a regular expression as
    /// [`leading_pattern`](crate::leading_pattern) means it. Absent: nothing is asked.
    pub common_name: Option<String>,
    /// What upstreams are told.
    pub passed: PassedOn,
}

/// How certificates of clients are judged. Where two hosts differ in it, no connection serves both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientVerification {
    /// Who must have one.
    pub mode: ClientMode,
    /// DER of the authorities that may sign them, each once, in the order of bytes. Never empty.
    pub authorities: Vec<Bytes>,
    /// DER of lists of revoked certificates. Empty: nothing is asked about revocation; else every certificate on the
    /// way to the authority must be of an issuer whose list is here and has not expired.
    pub revoked: Vec<Bytes>,
    /// The most certificates of other authorities that a client may send. Absent: the TLS library's limit.
    pub depth: Option<u8>,
}

/// Who must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClientMode {
    /// Nobody, and one that no authority signed is taken too.
    Unverified,
    /// Nobody; one that is there must be good.
    Optional,
    /// Everybody. Without TLS nobody comes in.
    Required,
}

/// What upstreams are told of a client's certificate, beside its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PassedOn {
    /// The certificate as RFC 9440 has it.
    Own,
    /// What ingress-nginx tells.
    Nginx,
    /// What ingress-nginx tells, and the certificate both ways.
    NginxWithCertificate,
}
