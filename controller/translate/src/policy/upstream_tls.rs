//! TLS to backends: to which of them, and what is in the Secrets that a layer names. Where one of these leads nowhere,
//! the route closes.

use std::collections::BTreeSet;

use bytes::Bytes;
use crds::annotations::NGINX;
use crds::diagnostic::ObjectRef;
use crds::policy::upstream_tls::{self as asked, Protocol, SecretName, UpstreamTlsPatch};
use k8s_openapi::api::core::v1::Secret;
use snapshot::{ClientPair, SecuredUpstreams, Sni, TlsVersion, UpstreamId, UpstreamTls, Verify};

use crate::absence::{self, Absence};
use crate::backends;
use crate::draft::Owner;
use crate::object::Reference;
use crate::report::{Notes, remark};
use crate::store::{Kind, Name, Store};
use crate::tls;

/// The Secrets that it names.
pub(crate) fn references<'a>(
    patch: &'a UpstreamTlsPatch,
    owner: &'a Owner,
) -> impl Iterator<Item = Reference> + 'a {
    patch.secrets().map(|secret| (Kind::Secret, name(secret, owner)))
}

/// Where the layer that names it says nothing else, it is in the object's namespace.
fn name(named: &SecretName, owner: &Owner) -> Name {
    Name::new(named.namespace.as_deref().unwrap_or(owner.namespace()), &named.name)
}

/// How TLS is spoken to these upstreams of a route, if it is; or why the route must answer 503.
pub(crate) fn resolve(
    patch: &UpstreamTlsPatch,
    owner: &Owner,
    (upstreams, store): (&BTreeSet<UpstreamId>, &Store),
    notes: &mut Notes,
) -> Result<Option<Box<UpstreamTls>>, String> {
    if let Some(why) = &patch.unusable {
        return Err(why.clone());
    }
    let reader = Reader { object: owner.reference(), owner, store };
    let Some(to) = to(patch, upstreams, store) else {
        reader.warn_of_no_effect(patch, notes);
        return Ok(None);
    };
    let (mut authorities, mut client) = (None, None);
    if let Some(both) = &patch.both {
        let secret = reader.secret(both, notes)?;
        authorities =
            data(secret, "ca.crt").is_some().then(|| reader.authorities(both, notes)).transpose()?;
        let pair = data(secret, "tls.crt").is_some() || data(secret, "tls.key").is_some();
        client = (pair || authorities.is_none()).then(|| reader.pair(both, notes)).transpose()?;
    }
    if let Some(ca) = &patch.ca {
        authorities = Some(reader.authorities(ca, notes)?);
    }
    if let Some(named) = &patch.client {
        client = Some(reader.pair(named, notes)?);
    }
    let verify = match (patch.verify, authorities) {
        (Some(asked::Verify::Nothing), _) => Verify::Nothing,
        (_, Some(authorities)) => Verify::By(authorities),
        (_, None) => Verify::Public,
    };
    reader.warn_of_verification(&verify, patch, notes);
    Ok(Some(Box::new(UpstreamTls {
        to,
        verify,
        server_name: patch.server_name.clone(),
        sni: if patch.sni == Some(false) { Sni::Omitted } else { Sni::Sent },
        versions: versions(patch),
        client,
    })))
}

/// Lets a route speak TLS to the backends of its canary, as their Services say it, where the route's own words do not.
pub(crate) fn add_canary(route: &mut Option<Box<UpstreamTls>>, canary: Option<&UpstreamTls>) {
    let Some(UpstreamTls { to: SecuredUpstreams::Only(canaries), .. }) = canary else { return };
    match route {
        None => *route = canary.cloned().map(Box::new),
        Some(route) => {
            if let SecuredUpstreams::Only(these) = &mut route.to {
                these.extend(canaries.iter().cloned());
                these.sort();
                these.dedup();
            }
        }
    }
}

/// To whom TLS is spoken. What a layer says comes before what a Service's port does.
fn to(patch: &UpstreamTlsPatch, upstreams: &BTreeSet<UpstreamId>, store: &Store) -> Option<SecuredUpstreams> {
    match patch.spoken() {
        Some(Protocol::Https) => Some(SecuredUpstreams::All),
        Some(Protocol::AsClient) => Some(SecuredUpstreams::AsClient),
        Some(Protocol::Http) => None,
        None => {
            let these = upstreams.iter().filter(|upstream| backends::says_tls(upstream, store)).cloned();
            let these: Vec<_> = these.collect();
            (!these.is_empty()).then_some(SecuredUpstreams::Only(these))
        }
    }
}

fn versions(patch: &UpstreamTlsPatch) -> Vec<TlsVersion> {
    let Some(named) = &patch.versions else { return vec![TlsVersion::V1_2, TlsVersion::V1_3] };
    let mut versions: Vec<_> = named.iter().copied().map(super::tls_version).collect();
    versions.sort();
    versions.dedup();
    versions
}

struct Reader<'a> {
    object: ObjectRef,
    owner: &'a Owner,
    store: &'a Store,
}

impl<'a> Reader<'a> {
    fn secret(&self, named: &SecretName, notes: &mut Notes) -> Result<&'a Secret, String> {
        let name = name(named, self.owner);
        self.store.secret(&name).ok_or_else(|| {
            let remedy = "create it, with what is asked for: ca.crt, or tls.crt and tls.key";
            let Absence { reason, message, remedy } = absence::of_secret(&name, self.store, remedy);
            self.close(named, reason, message, remedy, notes)
        })
    }

    /// The certificates of `ca.crt`.
    fn authorities(&self, named: &SecretName, notes: &mut Notes) -> Result<Vec<Bytes>, String> {
        const REMEDY: &str = "put the certificates of the authorities there, in PEM";
        let secret = self.secret(named, notes)?;
        let read = match data(secret, "ca.crt") {
            Some(pem) => tls::read_certificates(pem).map_err(|why| format!("its ca.crt {why}")),
            None => Err("it has no ca.crt".to_owned()),
        };
        read.map_err(|why| {
            let message = format!("Secret {}: {why}", self.key(named));
            self.close(named, "SecretInvalid", message, REMEDY, notes)
        })
    }

    /// The certificate and key of `tls.crt` and `tls.key`.
    fn pair(&self, named: &SecretName, notes: &mut Notes) -> Result<ClientPair, String> {
        let secret = self.secret(named, notes)?;
        tls::read_pair(secret).map(|(chain, _, key)| ClientPair { chain, key }).map_err(|(why, remedy)| {
            let message = format!("Secret {}: {why}", self.key(named));
            self.close(named, "SecretInvalid", message, remedy, notes)
        })
    }

    fn key(&self, named: &SecretName) -> String {
        name(named, self.owner).certificate().to_string()
    }

    fn close(
        &self,
        named: &SecretName,
        reason: &'static str,
        message: String,
        remedy: &str,
        notes: &mut Notes,
    ) -> String {
        let said = format!("{message}; the routes answer 503");
        notes.unresolved(reason, remark(&self.object, &*named.field, reason, said, remedy));
        message
    }

    /// Where our own fields are clear that TLS is not meant, nobody needs to be told.
    fn warn_of_no_effect(&self, patch: &UpstreamTlsPatch, notes: &mut Notes) {
        if let (Some(secret), None) = (&patch.both, patch.spoken()) {
            let message = "has no effect: backends are spoken to in the clear";
            let remedy = "ask for TLS with nginx.ingress.kubernetes.io/backend-protocol: HTTPS";
            notes.warn(remark(&self.object, &*secret.field, "NotApplicable", message, remedy));
        }
    }

    fn warn_of_verification(&self, verify: &Verify, patch: &UpstreamTlsPatch, notes: &mut Notes) {
        let (field, reason, message, remedy) = match verify {
            Verify::By(_) => return,
            Verify::Nothing => (
                format!("metadata.annotations[{NGINX}proxy-ssl-verify]"),
                "Unverified",
                "certificates of the backends are not verified, as in ingress-nginx: whoever stands between can \
                 read and change everything",
                "set proxy-ssl-verify: on with the authority in ca.crt of proxy-ssl-secret, or longhaul.dev/upstream-ca-secret",
            ),
            Verify::Public if patch.server_name.is_some() => return,
            Verify::Public => (
                "upstreamTLS".to_owned(),
                "Unverifiable",
                "certificates of the backends must be signed by an authority that browsers trust, and none of these \
                 signs for the name of a Service: every handshake will fail",
                "name the authority (caSecretName, longhaul.dev/upstream-ca-secret, ca.crt of proxy-ssl-secret) or the \
                 name in the certificate (serverName, longhaul.dev/upstream-server-name, proxy-ssl-name)",
            ),
        };
        notes.warn(remark(&self.object, field, reason, message, remedy));
    }
}

/// A value of a Secret that is not empty.
fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    let value = secret.data.as_ref()?.get(key)?;
    Some(&value.0[..]).filter(|value| !value.is_empty())
}
