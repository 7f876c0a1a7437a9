//! TLS to backends, as a `WsRoute` writes it. Whatever does not read closes its routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Reader;
use crate::grammar;
use crate::policy::upstream_tls::{Protocol, SecretName, UpstreamTlsPatch, Verify};
use crate::wsroute::schema;

/// How TLS is spoken to backends, and what they must prove.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::tidy)]
pub struct UpstreamTls {
    /// Whether TLS is spoken, whatever the appProtocol of the Service's port says. Absent: it is, where anything else is
    /// said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// A Secret in this namespace whose key `ca.crt` holds the authorities one of which must have signed the backend's
    /// certificate, or that certificate itself. Absent: the authorities that browsers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub ca_secret_name: Option<String>,
    /// The name in the backend's certificate, which it is also asked for. Absent: the Service's, `SERVICE.NAMESPACE.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::server_name")]
    pub server_name: Option<String>,
    /// A Secret in this namespace with the certificate that backends are shown which ask for one, `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub client_secret_name: Option<String>,
}

impl Reader<'_> {
    pub(super) fn upstream_tls(&mut self, tls: &UpstreamTls) -> UpstreamTlsPatch {
        match self.read_upstream_tls(tls) {
            Ok(patch) => patch,
            Err(why) => UpstreamTlsPatch { unusable: Some(why), ..UpstreamTlsPatch::default() },
        }
    }

    fn read_upstream_tls(&mut self, tls: &UpstreamTls) -> Result<UpstreamTlsPatch, String> {
        let UpstreamTls { enabled, ca_secret_name, server_name, client_secret_name } = tls;
        let mut secret = |name: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let name = format!("upstreamTLS.{name}");
            let read = self.sound(&name, text, &grammar::OBJECT_NAME)?;
            Ok::<_, String>(Some(SecretName {
                namespace: None,
                name: read,
                field: format!("{}.{name}", self.field),
            }))
        };
        let ca = secret("caSecretName", ca_secret_name)?;
        let client = secret("clientSecretName", client_secret_name)?;
        let server_name = server_name.as_deref();
        let server_name =
            server_name.map(|name| self.sound("upstreamTLS.serverName", name, &grammar::SERVER_NAME));
        let protocol = enabled.map(|enabled| if enabled { Protocol::Https } else { Protocol::Http });
        Ok(UpstreamTlsPatch {
            protocol,
            meant: enabled.is_none(),
            verify: Some(Verify::Certificates),
            ca,
            client,
            server_name: server_name.transpose()?,
            sni: Some(true),
            ..UpstreamTlsPatch::default()
        })
    }
}
