//! Our own keys.

use super::super::parse::affinity;
use super::super::parse::auth;
use super::super::parse::clients;
use super::super::parse::cors;
use super::super::parse::headers::{own_add_response, own_hsts, own_set_request};
use super::super::parse::upstream_tls;
use super::super::parse::{
    own_access_log, own_allow_cidrs, own_allow_origins, own_body_size, own_cipher_suites, own_connect,
    own_deny_cidrs, own_handshake, own_hash_on, own_idle, own_load_balancing, own_redirect, own_request,
    own_rewrite_path, own_rewrite_prefix, own_send, own_subprotocols, own_tls_version, own_upstream_host,
    own_websocket_only,
};
use super::super::{Annotation, Inert, not_yet, refused, served};

/// Values.
const DURATION: &str = "a duration with unit (h, m, s, ms); `0s`: no limit";
const BOOLEAN: &str = "`true` or `false`";
const NETWORKS: &str = "a comma list of CIDRs and addresses";

/// In the order of the documentation.
pub(super) static ROWS: &[Annotation] = &[
    served("longhaul.dev/connect-timeout", "One attempt to reach an endpoint.", own_connect).takes(DURATION, "5s", "2s"),
    served("longhaul.dev/handshake-timeout", "From the handshake sent to the backend until its answer.", own_handshake).takes(DURATION, "30s", "10s"),
    served("longhaul.dev/idle-timeout", "No bytes either way in an open tunnel.", own_idle).takes(DURATION, "1h", "15m"),
    served("longhaul.dev/send-timeout", "A write towards either side that makes no progress.", own_send).takes(DURATION, "60s", "30s"),
    not_yet("longhaul.dev/max-lifetime", "The longest life of a tunnel."),
    served("longhaul.dev/request-timeout", "Plain HTTP: until the backend answers, then between two reads of its response.", own_request).takes(DURATION, "60s", "30s"),
    not_yet("longhaul.dev/keepalive-interval", "A Ping after so long without a byte.")
        .inert(Inert::Values(&["0s"])),
    not_yet("longhaul.dev/keepalive-timeout", "A tunnel without an answer to a Ping for so long is dead."),
    not_yet("longhaul.dev/keepalive-side", "client, upstream or both."),
    served("longhaul.dev/load-balancing", "How an endpoint is chosen for a new tunnel or request. Hashing hashes what `hash-on` names, or the client's address.", own_load_balancing).takes("`least-connections`, `round-robin` or `consistent-hash`", "least-connections", "round-robin"),
    served("longhaul.dev/hash-on", "What is hashed, so that the same goes to the same endpoint; asks for consistent hashing.", own_hash_on).takes("`client-address`, `header:NAME`, `cookie:NAME`, `query:NAME` or `path`", "client-address", "query:room"),
    served("longhaul.dev/hash-ring", "What of an endpoint keys and affinity cookies are tied to: its address, or the name of its pod, so that the pods of a StatefulSet keep theirs when they are restarted.", affinity::ring).takes("`address` or `pod-name`", "address", "pod-name"),
    not_yet("longhaul.dev/on-owner-change", "keep or drain.").inert(Inert::Values(&["keep"])),
    not_yet("longhaul.dev/hold", "How long a handshake waits for a ready endpoint.")
        .inert(Inert::Values(&["0s"])),
    not_yet("longhaul.dev/slow-start", "A new endpoint's share grows over this time.")
        .inert(Inert::Values(&["0s"])),
    not_yet("longhaul.dev/endpoint-connections", "Most open tunnels for each endpoint.")
        .inert(Inert::Values(&["0"])),
    served("longhaul.dev/engine-io", "Learn the `sid` of Engine.IO, which Socket.IO speaks, so that a session's requests come to its endpoint without a cookie. A request without one that this proxy knows goes by the hash of the client's address.", affinity::engine_io).takes(BOOLEAN, "false", "true"),
    served("longhaul.dev/affinity-cookie", "Sets a cookie of this name, by which clients come back to the endpoint that they were at as long as it is ready. It tells nobody the address. `off`: none, whatever else asks for one.", affinity::own_cookie).takes("a name, or `off`", "none", "longhaul"),
    served("longhaul.dev/affinity-cookie-max-age", "How long browsers keep it.", affinity::own_max_age).takes("a duration with unit (h, m, s, ms); `0s`: until the browser ends", "until the browser ends", "24h"),
    served("longhaul.dev/affinity-cookie-path", "Below which path browsers send it.", affinity::path).takes("a path", "the path that the rule matches", "/"),
    served("longhaul.dev/affinity-cookie-same-site", "From which sites' pages browsers send it.", affinity::same_site).takes("`Strict`, `Lax` or `None`", "what browsers have", "Lax"),
    served("longhaul.dev/affinity-cookie-secure", "Browsers send it over https only.", affinity::own_secure).takes(BOOLEAN, "true where the client comes by https", "true"),
    served("longhaul.dev/affinity-cookie-domain", "The domain to whose hosts browsers send it.", affinity::domain).takes("a DNS name", "the host that is asked for alone", "example.com"),
    not_yet("longhaul.dev/max-connections", "Most open tunnels of the route.").inert(Inert::Values(&["0"])),
    not_yet("longhaul.dev/max-connections-per-client", "Most open tunnels of one client address.")
        .inert(Inert::Values(&["0"])),
    not_yet("longhaul.dev/max-message-size", "The longest message, as a quantity.")
        .inert(Inert::Values(&["0"])),
    not_yet("longhaul.dev/message-rate", "Messages a second in a tunnel.").inert(Inert::Values(&["0"])),
    not_yet("longhaul.dev/message-rate-action", "delay or close."),
    not_yet("longhaul.dev/handshake-rate", "Handshakes a second.").inert(Inert::Values(&["0"])),
    not_yet("longhaul.dev/handshake-burst", "Handshakes above the rate at once."),
    not_yet("longhaul.dev/handshake-max-wait", "How long a handshake waits for its turn."),
    served("longhaul.dev/max-body-size", "The longest body of a plain request; a longer one gets 413.", own_body_size).takes("a quantity; `0`: no limit", "no limit", "10Mi"),
    served("longhaul.dev/allow-cidrs", "Networks of clients that are let in; all others get 403.", own_allow_cidrs).takes(NETWORKS, "everybody", "10.0.0.0/8, 2001:db8::/32").security(),
    served("longhaul.dev/deny-cidrs", "Networks of clients that get 403, even where they are allowed.", own_deny_cidrs).takes(NETWORKS, "nobody", "192.0.2.7").security(),
    served("longhaul.dev/allow-origins", "Origins of the pages that may open WebSockets; other pages' handshakes get 403. `*` stands for one or more characters of one label of the host, or for any port. A handshake without an Origin comes from no page and is let in; plain requests are not looked at.", own_allow_origins).takes("a comma list of origins, `SameHost` or `null`", "every origin", "SameHost, https://*.example.com").security(),
    served("longhaul.dev/auth-service", "Lets in whom this Service lets in, which is asked about each handshake and request.", auth::own_service).takes("`NAME:PORT/PATH` of a Service in the Ingress's namespace", "everybody is let in", "auth:9000/check").security(),
    served("longhaul.dev/auth-url", "The same of a service elsewhere.", auth::own_url).takes("a URL with `http://` or `https://`", "everybody is let in", "http://auth.example.com:9000/check").security(),
    served("longhaul.dev/auth-response-headers", "Fields of its answer that the backend gets; the client's own of these names never pass.", auth::response_headers).takes("a comma list", "none", "X-User, X-Groups").security(),
    served("longhaul.dev/auth-timeout", "How long it may take; then the client gets 503.", auth::own_timeout).takes("a duration with unit (h, m, s, ms) above 0", "5s", "2s").security(),
    served("longhaul.dev/auth-basic-secret", "Lets in who has a user name and password of this Secret, whose key `auth` is a file of htpasswd.", auth::own_secret).takes("the name of a Secret in the Ingress's namespace", "everybody is let in", "chat-users").security(),
    served("longhaul.dev/auth-basic-realm", "What a browser shows when it asks for them.", auth::realm).takes("one line", "Restricted", "Chat of the staff").security(),
    not_yet("longhaul.dev/jwt-issuer", "Issuer of accepted tokens.").security(),
    not_yet("longhaul.dev/jwt-audiences", "Audiences of accepted tokens.").security(),
    not_yet("longhaul.dev/jwt-key-set-secret", "Secret with the key set.").security(),
    not_yet("longhaul.dev/jwt-from", "Where the token is found.").security(),
    not_yet("longhaul.dev/jwt-claim-headers", "Claims that the backend gets as fields.").security(),
    not_yet("longhaul.dev/jwt-close-on-expiry", "Close a tunnel when its token expires.")
        .security()
        .inert(Inert::False),
    served("longhaul.dev/rewrite-prefix", "Replaces the path, or the prefix of it, that the rule matches.", own_rewrite_prefix).takes("a path", "the path as it came", "/"),
    served("longhaul.dev/rewrite-path", "Replaces the whole path; the query stays. Beats `rewrite-prefix`.", own_rewrite_path).takes("a path", "the path as it came", "/socket"),
    served("longhaul.dev/upstream-host", "The Host that the backend gets.", own_upstream_host).takes("a host with or without a port", "the client's own", "chat.internal:8080"),
    served("longhaul.dev/set-request-headers", "Fields that the backend gets in place of the client's. Those of connections, framing, the handshake and of Longhaul's own forwarding are not a route's to change.", own_set_request).takes("`Name: value` lines", "none", "X-Tenant: blue"),
    served("longhaul.dev/add-response-headers", "Fields that the client gets beside the backend's.", own_add_response).takes("`Name: value` lines", "none", "X-Frame-Options: DENY"),
    served("longhaul.dev/cors-allow-origins", "Origins whose pages browsers let read plain responses. Longhaul answers preflights and replaces the backend's CORS fields. Not an Origin check: WebSockets and other programs are not kept out.", cors::own_origins).takes("a comma list of origins, `https://*.example.com` for one label, `*` or `null`", "none: what the backend says is passed on", "https://app.example.com"),
    served("longhaul.dev/cors-allow-methods", "Methods that such pages may use.", cors::methods).takes("a comma list", "GET, PUT, POST, DELETE, PATCH, OPTIONS", "GET, POST"),
    served("longhaul.dev/cors-allow-headers", "Request fields that they may send.", cors::request_headers).takes("a comma list", "as ingress-nginx's", "Content-Type, X-Token"),
    served("longhaul.dev/cors-expose-headers", "Response fields that they may see beside the usual ones.", cors::expose_headers).takes("a comma list", "none", "X-Total"),
    served("longhaul.dev/cors-allow-credentials", "Whether they may send cookies and other credentials; not together with the origin `*`.", cors::own_credentials).takes(BOOLEAN, "false", "true"),
    served("longhaul.dev/cors-max-age", "How long browsers may keep the answer to a preflight.", cors::own_max_age).takes("a duration with unit (h, m, s, ms)", "480h", "24h"),
    served("longhaul.dev/upstream-protocol", "What is spoken to the backend, whatever the appProtocol of its Service's port says. Its certificate is verified. See docs/upstream-tls.md.", upstream_tls::own_protocol).takes("`http` or `https`", "as the Service's port says, else http", "https").security(),
    served("longhaul.dev/upstream-ca-secret", "The Secret whose key `ca.crt` holds the authorities one of which must have signed the backend's certificate. Asks for TLS.", upstream_tls::own_ca).takes("the name of a Secret in the Ingress's namespace", "the authorities that browsers trust", "chat-ca").security(),
    served("longhaul.dev/upstream-server-name", "The name in the backend's certificate, which it is also asked for. Asks for TLS.", upstream_tls::own_server_name).takes("a name", "`SERVICE.NAMESPACE.svc`", "chat.internal").security(),
    served("longhaul.dev/upstream-client-secret", "The Secret with the certificate that a backend is shown which asks for one, `tls.crt` and `tls.key`. Asks for TLS.", upstream_tls::own_client).takes("the name of a Secret in the Ingress's namespace", "none", "chat-client").security(),
    not_yet("longhaul.dev/proxy-protocol", "Version of the PROXY protocol spoken to the backend."),
    served("longhaul.dev/tls-min-version", "The lowest TLS version that the hosts of `spec.tls` accept.", own_tls_version).takes("`1.2` or `1.3`", "1.2", "1.3").security(),
    served("longhaul.dev/tls-cipher-suites", "The cipher suites that the hosts of `spec.tls` accept, in order of preference.", own_cipher_suites).takes("a comma list of IANA names", "all that Longhaul has", "TLS_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384").security(),
    served("longhaul.dev/client-ca-secret", "The hosts of `spec.tls` ask clients for certificates that the authorities in `ca.crt` of this Secret signed; `ca.crl` there says which are revoked. Backends get Client-Cert and Client-Cert-Subject.", clients::own_secret).takes("the name of a Secret in the Ingress's namespace", "nobody is asked", "device-ca").security(),
    served("longhaul.dev/client-certificate", "With `client-ca-secret`: whether a client without a certificate comes in.", clients::own_mode).takes("`required` or `optional`", "required", "optional").security(),
    served("longhaul.dev/ssl-redirect", "Redirect plain requests to https (308).", own_redirect).takes(BOOLEAN, "true where the host has a certificate", "false"),
    served("longhaul.dev/hsts", "Strict-Transport-Security on every response over TLS, Longhaul's own answers too.", own_hsts).takes("a duration, and `includeSubdomains` and `preload` behind commas", "what the backend says", "4320h, includeSubdomains"),
    not_yet("longhaul.dev/drain-on-terminating", "Close tunnels of a terminating endpoint over this period."),
    not_yet("longhaul.dev/on-route-removed", "keep or drain.").inert(Inert::Values(&["keep"])),
    not_yet("longhaul.dev/drain-close-code", "The close code of drained tunnels.")
        .inert(Inert::Values(&["1012"])),
    not_yet("longhaul.dev/rebalance-max-skew", "Most that an endpoint holds over the mean."),
    not_yet("longhaul.dev/rebalance-rate", "Tunnels closed a second to rebalance."),
    served("longhaul.dev/subprotocols", "The routes are only for clients that offer one of these WebSocket subprotocols.", own_subprotocols).takes("a comma list", "any, or none", "graphql-transport-ws, mqtt"),
    served("longhaul.dev/access-log", "Write an access record for each tunnel at its end and for each plain request.", own_access_log).takes(BOOLEAN, "true", "false"),
    served("longhaul.dev/websocket-only", "Refuse plain requests with 426 (Upgrade Required).", own_websocket_only).takes(BOOLEAN, "false", "true"),
    refused(
        "longhaul.dev/addresses",
        "IP:PORT, … of a Service without EndpointSlices, in standalone mode.",
        "set it on the Service",
    ),
];
