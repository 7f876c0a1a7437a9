//! Cipher suites by OpenSSL's names.

use super::{Malformed, Note, Parsed, of_ingress};
use crate::policy::IngressPatch;
use crate::tls::{CipherSuite, TlsVersion};

/// OpenSSL's names of the suites of TLS 1.2 that there are.
const SUITES: [(&str, CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// nginx's list is of TLS 1.2; what TLS 1.3 may choose it leaves as it is. Of `!` and a name of ours the suite goes.
pub(in super::super) fn nginx_ciphers(text: &str) -> Parsed {
    const NONE: Malformed = Malformed {
        message: "names no cipher suite of TLS 1.2 that is served",
        remedy: "write OpenSSL's names with : between them, such as ECDHE-ECDSA-AES256-GCM-SHA384, without groups such \
                 as HIGH; or use longhaul.dev/tls-cipher-suites",
    };
    const SOME: Note = Note {
        message: "names suites that Longhaul does not have, which are passed over",
        remedy: "remove those; suites without forward secrecy or authenticated encryption are not served",
    };
    let of = |name: &str| SUITES.iter().find(|(known, _)| *known == name).map(|(_, suite)| *suite);
    let (mut suites, mut excluded, mut unknown) = (Vec::new(), Vec::new(), false);
    for word in text.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        match (word.strip_prefix('!'), of(word)) {
            (Some(name), _) => excluded.extend(of(name)),
            (None, Some(suite)) => suites.push(suite),
            (None, None) => unknown = true,
        }
    }
    suites.retain(|suite| !excluded.contains(suite));
    if suites.is_empty() {
        return Err(NONE);
    }
    let newest = CipherSuite::ALL.into_iter().filter(|suite| suite.version() == TlsVersion::V1_3);
    let tls_cipher_suites = Some(newest.chain(suites).collect());
    let mut value = of_ingress(IngressPatch { tls_cipher_suites, ..IngressPatch::default() });
    value.note = unknown.then_some(SOME);
    Ok(value)
}
