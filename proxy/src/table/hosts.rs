//! What the table has of one host.

use std::sync::Arc;

use routing::paths::Paths;
use snapshot::CertificateKey;

use super::Route;
use crate::tls::clients::Clients;
use crate::tls::policy::Terms;

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
    pub(super) terms: Arc<Terms>,
    pub(super) clients: Option<Arc<Clients>>,
}
