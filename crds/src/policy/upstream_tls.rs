//! How backends are spoken to: in the clear or over TLS, and what they must prove then.

use serde::Serialize;

use crate::tls::TlsVersion;

/// What one layer says about TLS to backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamTlsPatch {
    /// What is spoken. Absent: TLS where it is [meant](Self::meant), else what the Service's port says.
    pub protocol: Option<Protocol>,
    /// Something is said that means TLS, unless the protocol says otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub meant: bool,
    /// Whether certificates of backends are verified. Absent: they are.
    pub verify: Option<Verify>,
    /// The Secret with the authorities, `ca.crt`. Absent: those that browsers trust.
    pub ca: Option<SecretName>,
    /// The Secret with the certificate that backends are shown, `tls.crt` and `tls.key`.
    pub client: Option<SecretName>,
    /// A Secret that has one or both of these. Said by ingress-nginx's annotations only.
    pub both: Option<SecretName>,
    /// The name in the certificates of backends. Absent: the Service's own.
    pub server_name: Option<String>,
    /// Whether backends are told that name. Absent: they are.
    pub sni: Option<bool>,
    /// The TLS versions that are offered, never empty. Absent: all.
    pub versions: Option<Vec<TlsVersion>>,
    /// What is written cannot be kept: why its routes must answer 503.
    pub unusable: Option<String>,
}

/// What is spoken to backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// As the client does.
    AsClient,
}

/// What is asked of the certificates of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verify {
    /// An authority has signed them.
    Certificates,
    /// Nothing.
    Nothing,
}

/// A Secret in the object's namespace, and the field that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretName {
    /// Its name.
    pub name: String,
    /// The field.
    pub field: String,
}

impl UpstreamTlsPatch {
    /// What is spoken, where this says it.
    pub fn spoken(&self) -> Option<Protocol> {
        self.protocol.or(self.meant.then_some(Protocol::Https))
    }

    /// The Secrets that it names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        [&self.ca, &self.client, &self.both].into_iter().flatten()
    }

    /// Lays `over` on top of this layer.
    pub(super) fn merge(self, over: Self) -> Self {
        Self {
            protocol: over.protocol.or(self.protocol),
            meant: over.meant || self.meant,
            verify: over.verify.or(self.verify),
            ca: over.ca.or(self.ca),
            client: over.client.or(self.client),
            both: over.both.or(self.both),
            server_name: over.server_name.or(self.server_name),
            sni: over.sni.or(self.sni),
            versions: over.versions.or(self.versions),
            unusable: over.unusable.or(self.unusable),
        }
    }
}
