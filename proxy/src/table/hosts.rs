//! What the table has of one host.

use std::sync::Arc;

use routing::paths::Paths;
use rustls::ServerConfig;
use snapshot::CertificateKey;

use super::Route;

/// All hosts.
pub(super) type Hosts = routing::hosts::Hosts<Host>;

/// One host.
pub(super) struct Host {
    pub(super) tls: Option<Tls>,
    pub(super) paths: Paths<Route>,
}

/// TLS of one host.
pub(super) struct Tls {
    pub(super) certificate: CertificateKey,
    pub(super) config: Arc<ServerConfig>,
}
