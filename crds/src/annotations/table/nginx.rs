//! The keys of ingress-nginx. Keys, values and quirks were read from its sources at its last commit.

use super::super::parse::affinity;
use super::super::parse::auth;
use super::super::parse::clients;
use super::super::parse::config_maps;
use super::super::parse::cookies;
use super::super::parse::cors;
use super::super::parse::next_upstream;
use super::super::parse::paths::{
    nginx_forwarded_prefix, nginx_rewrite_target, nginx_upstream_vhost, nginx_use_regex,
};
use super::super::parse::redirects;
use super::super::parse::tls;
use super::super::parse::upstream_tls;
use super::super::parse::{
    backends, canary, nginx_access_log, nginx_allowlist, nginx_body_size, nginx_connect, nginx_denylist,
    nginx_force_redirect, nginx_hash_by, nginx_load_balance, nginx_read, nginx_redirect, nginx_satisfy,
    nginx_send, snippet_protects,
};
use super::super::{Annotation, Inert, not_applicable, not_yet, refused, served};

/// Values.
const SECONDS: &str = "whole seconds above 0, or a duration with unit";
const GO_BOOLEAN: &str = "`true` or `false`, as Go reads them";
const NETWORKS: &str = "a comma list of CIDRs and addresses";

/// In the order of its own documentation.
pub(super) static ROWS: &[Annotation] = &[
    served("nginx.ingress.kubernetes.io/server-alias", "Further hosts for the rules of this Ingress, with the certificate of its first one where `spec.tls` names no other. No regular expressions.", backends::aliases).takes("a comma list of names, which may begin with `*.`", "none", "www.example.com"),
    served("nginx.ingress.kubernetes.io/allowlist-source-range", "Networks of clients that are let in; all others get 403.", nginx_allowlist).takes(NETWORKS, "everybody", "10.0.0.0/8, 192.0.2.7").security(),
    served("nginx.ingress.kubernetes.io/whitelist-source-range", "The old name of `allowlist-source-range`, which counts where both are set.", nginx_allowlist).takes(NETWORKS, "everybody", "10.0.0.0/8").security(),
    served("nginx.ingress.kubernetes.io/backend-protocol", "What is spoken to the backend; `AUTO_HTTP`: TLS for clients that came over TLS. Its certificate is not verified without `proxy-ssl-verify`. `GRPC`, `GRPCS` and `FCGI` are refused.", upstream_tls::nginx_protocol).takes("`HTTP`, `HTTPS` or `AUTO_HTTP`, in any case", "as the Service's port says, else `HTTP`", "HTTPS").security(),
    served("nginx.ingress.kubernetes.io/auth-realm", "What a browser shows when it asks for user name and password.", auth::realm).takes("one line", "empty", "Restricted area").security(),
    served("nginx.ingress.kubernetes.io/auth-secret", "The Secret with the users. Another namespace than the Ingress's is refused.", auth::nginx_secret).takes("`[NAMESPACE/]NAME`", "none", "chat-users").security(),
    served("nginx.ingress.kubernetes.io/auth-secret-type", "Whether its key `auth` is a file of htpasswd, or each key a user and its value the hash.", auth::nginx_secret_type).takes("`auth-file` or `auth-map`", "auth-file", "auth-map").security(),
    served("nginx.ingress.kubernetes.io/auth-type", "Lets in who has a user name and password of `auth-secret`. `digest` is refused.", auth::nginx_type).takes("`basic`", "everybody is let in", "basic").security(),
    served("nginx.ingress.kubernetes.io/canary", "This Ingress takes some of the requests of the one that has its hosts and paths; the other `canary-*` say which. Its own settings do not count, but for those.", canary::enabled).takes(GO_BOOLEAN, "false", "true"),
    served("nginx.ingress.kubernetes.io/canary-by-cookie", "A cookie that is `always` or `never`. Counts where the field does not decide.", canary::cookie).takes("a name", "none", "canary"),
    served("nginx.ingress.kubernetes.io/canary-by-header", "A request field that is `always` or `never`. Counts first.", canary::header).takes("a name", "none", "X-Canary"),
    served("nginx.ingress.kubernetes.io/canary-by-header-pattern", "Who sends a value in the field of `canary-by-header` in which this regular expression is found is taken, in place of `always` and `never`. `canary-by-header-value` counts before it. Without look-around and backreferences.", canary::header_pattern).takes("a regular expression", "none", "^(blue|green)$"),
    served("nginx.ingress.kubernetes.io/canary-by-header-value", "Who sends this value in the field of `canary-by-header` is taken, in place of `always` and `never`.", canary::header_value).takes("a value", "none", "blue"),
    served("nginx.ingress.kubernetes.io/canary-weight", "So many of `canary-weight-total` requests for which neither field nor cookie decides, by chance.", canary::weight).takes("digits", "0", "20"),
    served("nginx.ingress.kubernetes.io/canary-weight-total", "What `canary-weight` is a part of. Less than 100 counts as 100.", canary::total).takes("digits", "100", "1000"),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-tls-error-page",
        "URL or @named",
        "no browser shows an error page for a WebSocket handshake",
    ),
    served("nginx.ingress.kubernetes.io/auth-tls-match-cn", "With `auth-tls-secret`: who comes in. The common name of the certificate, behind `CN=`, must begin with what fits; others get 403. What stands beside the common name in a subject is not looked at.", clients::nginx_common_name).takes("`CN=` and a regular expression without look-around", "every name", "CN=device-[0-9]+$").security(),
    served("nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream", "With `auth-tls-secret`: backends get the certificate too, as `ssl-client-cert`, PEM in percent encoding, and as Client-Cert (RFC 9440).", clients::nginx_pass).takes(GO_BOOLEAN, "false", "true").security(),
    served("nginx.ingress.kubernetes.io/auth-tls-secret", "The hosts of `spec.tls` ask clients for certificates that the authorities in `ca.crt` of this Secret signed; `ca.crl` there says which are revoked. Another namespace than the Ingress's is refused. Without one the TLS handshake fails, where nginx answers 400; without TLS requests get 403. Backends get `ssl-client-verify`, `ssl-client-subject-dn` and `ssl-client-issuer-dn`.", clients::nginx_secret).takes("`NAMESPACE/NAME`", "nobody is asked", "default/device-ca").security(),
    served("nginx.ingress.kubernetes.io/auth-tls-verify-client", "With `auth-tls-secret`: whether a client without a certificate comes in, and with `optional_no_ca` one whose certificate another authority signed.", clients::nginx_verify).takes("`on`, `off`, `optional` or `optional_no_ca`", "on", "optional").security(),
    served("nginx.ingress.kubernetes.io/auth-tls-verify-depth", "With `auth-tls-secret`: the most certificates between a client's and the authority's, of those that the client sends.", clients::nginx_depth).takes("digits; `0` means 1", "1", "2").security(),
    not_applicable(
        "nginx.ingress.kubernetes.io/client-body-buffer-size",
        "SizeRegex",
        "bodies are streamed, never buffered",
    ),
    refused(
        "nginx.ingress.kubernetes.io/configuration-snippet",
        "raw nginx config",
        "say what it does with typed settings: headers, timeouts, redirects and limits have their own keys",
    )
    .security()
    .only(snippet_protects),
    refused(
        "nginx.ingress.kubernetes.io/connection-proxy-header",
        "close|keep-alive",
        "remove it: it overrides `Connection: upgrade` and so breaks every WebSocket",
    ),
    served("nginx.ingress.kubernetes.io/cors-allow-credentials", "With `enable-cors`: whether such pages may send credentials. Together with every origin browsers refuse it, so it is then left out.", cors::nginx_credentials).takes(GO_BOOLEAN, "true", "false"),
    served("nginx.ingress.kubernetes.io/cors-allow-headers", "With `enable-cors`: the request fields that they may send.", cors::request_headers).takes("a comma list", "DNT, Keep-Alive, User-Agent, X-Requested-With, If-Modified-Since, Cache-Control, Content-Type, Range, Authorization", "Content-Type, X-Token"),
    served("nginx.ingress.kubernetes.io/cors-allow-methods", "With `enable-cors`: the methods that they may use.", cors::methods).takes("a comma list", "GET, PUT, POST, DELETE, PATCH, OPTIONS", "GET, POST"),
    served("nginx.ingress.kubernetes.io/cors-allow-origin", "With `enable-cors`: whose pages. An item that is no origin is left out.", cors::nginx_origins).takes("a comma list of `scheme://[*.]host[:port]`, `null` or `*`", "`*`", "https://app.example.com"),
    served("nginx.ingress.kubernetes.io/cors-expose-headers", "With `enable-cors`: the response fields that they may see beside the usual ones.", cors::expose_headers).takes("a comma list, or `*`", "none", "X-Total"),
    served("nginx.ingress.kubernetes.io/cors-max-age", "With `enable-cors`: how long browsers may keep the answer to a preflight.", cors::nginx_max_age).takes("whole seconds", "1728000", "600"),
    served("nginx.ingress.kubernetes.io/enable-cors", "Tell browsers which pages of other origins may read plain responses. Longhaul answers preflights (204) and replaces the backend's CORS fields; an OPTIONS that is no preflight goes to the backend. Not an Origin check.", cors::nginx_enable).takes(GO_BOOLEAN, "false", "true"),
    refused(
        "nginx.ingress.kubernetes.io/custom-http-errors",
        "[45]dd comma list",
        "remove it: what a backend answers to a handshake or a request goes to the client as it is; for backends without \
         an endpoint set default-backend",
    ),
    served("nginx.ingress.kubernetes.io/custom-headers", "Fields that are set on every answer of the backend: those of this ConfigMap, each key a name. Another namespace than the Ingress's is refused, and so are the fields that no route may change; no other list of what is allowed is asked. Where it cannot be read, the routes are served without. Values are taken as they are, without nginx's variables.", config_maps::nginx_custom).takes("`NAMESPACE/NAME`", "none", "default/response-fields"),
    served("nginx.ingress.kubernetes.io/default-backend", "A Service of this namespace, by its first port, that gets what no endpoint of the backend is there for.", backends::standby).takes("a name", "none", "maintenance"),
    served("nginx.ingress.kubernetes.io/denylist-source-range", "Networks of clients that get 403, even where they are allowed.", nginx_denylist).takes(NETWORKS, "nobody", "192.0.2.0/24").security(),
    not_applicable(
        "nginx.ingress.kubernetes.io/disable-proxy-intercept-errors",
        "bool",
        "errors of backends are never replaced",
    ),
    not_yet("nginx.ingress.kubernetes.io/enable-global-auth", "bool").security().inert(Inert::Always),
    served("nginx.ingress.kubernetes.io/auth-always-set-cookie", "Cookies that the service sets by an answer that lets a client in go with every answer of the backend, not only with one below 400.", auth::nginx_set_cookie).takes(GO_BOOLEAN, "false", "true"),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-cache-duration",
        "200 202 401 5m lists",
        "the service is asked about each handshake and request",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-cache-key",
        "nginx vars",
        "the service is asked about each handshake and request",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-keepalive",
        "int",
        "connections to the service are kept as long as both sides keep them",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-keepalive-requests",
        "int",
        "connections are kept as long as both sides keep them",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-keepalive-share-vars",
        "bool",
        "there are no variables to share",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/auth-keepalive-timeout",
        "int seconds",
        "connections to the service are kept as long as both sides keep them",
    ),
    served("nginx.ingress.kubernetes.io/auth-method", "The method with which the service of `auth-url` is asked.", auth::nginx_method).takes("`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`", "GET", "HEAD").security(),
    served("nginx.ingress.kubernetes.io/auth-proxy-set-headers", "Fields that the service of `auth-url` gets with each question: those of this ConfigMap, each key a name, in place of the client's. Another namespace than the Ingress's is refused. Values are taken as they are, without nginx's variables.", config_maps::nginx_asked_with).takes("`[NAMESPACE/]NAME`", "none", "auth-fields").security(),
    served("nginx.ingress.kubernetes.io/auth-request-redirect", "What the service gets as X-Auth-Request-Redirect.", auth::nginx_redirect).takes("a URL or path, with nginx's variables as in `auth-url`", "`$request_uri`", "https://$host$request_uri").security(),
    served("nginx.ingress.kubernetes.io/auth-response-headers", "Fields of its answer that the backend gets; the client's own of these names never pass.", auth::response_headers).takes("a comma list", "none", "X-Auth-Request-User, X-Auth-Request-Email").security(),
    served("nginx.ingress.kubernetes.io/auth-signin", "Where pages are sent (302) that are not let in (401). WebSocket handshakes get the 401.", auth::nginx_sign_in).takes("a URL whose host is a name, `$host` or `$http_host`, or a path; with nginx's variables as in `auth-url`", "none", "https://$host/oauth2/start?rd=$escaped_request_uri").security(),
    served("nginx.ingress.kubernetes.io/auth-signin-redirect-param", "The parameter that tells `auth-signin` where to send them back to, unless it has one of this name.", auth::nginx_sign_in_parameter).takes("a name", "rd", "back").security(),
    refused(
        "nginx.ingress.kubernetes.io/auth-snippet",
        "raw nginx config",
        "remove it; the call to the authentication service is configured by typed settings",
    )
    .security(),
    served("nginx.ingress.kubernetes.io/auth-url", "Lets in whom this service lets in, which is asked about each handshake and request. Of nginx's variables `$host`, `$http_host`, `$request_uri`, `$escaped_request_uri`, `$scheme`, `$request_method`, `$remote_addr`, `$http_NAME`, `$arg_NAME` and `$cookie_NAME` are known; the host is a name or `$host` itself.", auth::nginx_url).takes("a URL with `http://` or `https://`", "everybody is let in", "https://$host/oauth2/auth").security(),
    not_applicable("nginx.ingress.kubernetes.io/fastcgi-index", "string", "FastCGI is not spoken"),
    not_applicable(
        "nginx.ingress.kubernetes.io/fastcgi-params-configmap",
        "[ns/]configmap",
        "FastCGI is not spoken",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/http2-push-preload",
        "bool",
        "no browser takes HTTP/2 pushes any more",
    ),
    served("nginx.ingress.kubernetes.io/load-balance", "How an endpoint is chosen. `ewma` is served as least connections; so is nginx's `least_conn`, and `ip_hash` as a hash of the client's address.", nginx_load_balance).takes("`round_robin` or `ewma`", "least connections", "round_robin"),
    served("nginx.ingress.kubernetes.io/enable-access-log", "Write an access record for each tunnel at its end and for each plain request.", nginx_access_log).takes(GO_BOOLEAN, "true", "false"),
    not_applicable(
        "nginx.ingress.kubernetes.io/enable-rewrite-log",
        "bool",
        "there is no rewrite engine whose log it could be",
    ),
    not_applicable("nginx.ingress.kubernetes.io/mirror-host", "host", "nothing is mirrored"),
    not_applicable("nginx.ingress.kubernetes.io/mirror-request-body", "on|off", "nothing is mirrored"),
    refused(
        "nginx.ingress.kubernetes.io/mirror-target",
        "URL",
        "remove it: what mirroring a tunnel would mean is undefined; mirror in the application",
    ),
    refused(
        "nginx.ingress.kubernetes.io/enable-modsecurity",
        "bool",
        "run a web application firewall in front, then remove the annotation",
    )
    .security()
    .inert(Inert::False),
    refused(
        "nginx.ingress.kubernetes.io/enable-owasp-core-rules",
        "bool",
        "run a web application firewall in front, then remove the annotation",
    )
    .security()
    .inert(Inert::False),
    refused(
        "nginx.ingress.kubernetes.io/modsecurity-snippet",
        "raw config",
        "run a web application firewall in front, then remove the annotation",
    )
    .security(),
    not_applicable(
        "nginx.ingress.kubernetes.io/modsecurity-transaction-id",
        "nginx vars",
        "requests carry X-Request-Id",
    ),
    not_yet("nginx.ingress.kubernetes.io/enable-opentelemetry", "bool").inert(Inert::False),
    not_yet("nginx.ingress.kubernetes.io/opentelemetry-operation-name", "string"),
    not_yet("nginx.ingress.kubernetes.io/opentelemetry-trust-incoming-span", "bool"),
    served("nginx.ingress.kubernetes.io/proxy-body-size", "The longest body of a plain request; a longer one gets 413.", nginx_body_size).takes("digits, and `b`, `k`, `m` or `g` behind them; `0`: no limit", "no limit", "8m"),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-buffer-size",
        "SizeRegex",
        "the head of a response may have 32 KiB in any case",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-buffering",
        "on|off",
        "responses are streamed with bounded memory, never buffered",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-buffers-number",
        "int",
        "responses are streamed with bounded memory, never buffered",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-busy-buffers-size",
        "SizeRegex",
        "responses are streamed with bounded memory, never buffered",
    ),
    served("nginx.ingress.kubernetes.io/proxy-connect-timeout", "One attempt to reach an endpoint.", nginx_connect).takes(SECONDS, "5s", "5"),
    served("nginx.ingress.kubernetes.io/proxy-cookie-domain", "Cookies that backends set for the first domain are set for the second. Without regular expressions and variables.", cookies::domain).takes("`off`, or two names", "off", "chat.internal chat.example.com"),
    served("nginx.ingress.kubernetes.io/proxy-cookie-path", "Cookies that backends set for a path that begins with the first get the second in its place. Without regular expressions and variables.", cookies::path).takes("`off`, or two paths", "off", "/one/ /"),
    refused(
        "nginx.ingress.kubernetes.io/proxy-http-version",
        "1.0|1.1",
        "remove it: HTTP/1.0 knows no Upgrade, and so no WebSocket; backends are spoken to with HTTP/1.1",
    )
    .inert(Inert::Values(&["1.1"])),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-max-temp-file-size",
        "SizeRegex",
        "nothing is written to temporary files",
    ),
    served("nginx.ingress.kubernetes.io/proxy-next-upstream", "Whether another endpoint is tried where one cannot be reached: `error` and `timeout` are one. What was sent to an endpoint is not sent to another, whatever it answers.", next_upstream::conditions).takes("`error`, `timeout` and others with blanks between them, or `off`", "`error timeout`", "off"),
    served("nginx.ingress.kubernetes.io/proxy-next-upstream-timeout", "How long after the first attempt another one may begin.", next_upstream::timeout).takes("whole seconds; `0`: no limit", "0", "10"),
    served("nginx.ingress.kubernetes.io/proxy-next-upstream-tries", "How many endpoints are tried.", next_upstream::tries).takes("digits; `0`: every one", "3", "2"),
    served("nginx.ingress.kubernetes.io/proxy-read-timeout", "No bytes either way in an open tunnel, until the handshake is answered, and between two reads of a plain response.", nginx_read).takes(SECONDS, "1h in a tunnel, 30s for the handshake, 60s for plain HTTP", "3600"),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-redirect-from",
        "URL chars",
        "Location fields of backends are passed on as they are",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-redirect-to",
        "URL chars",
        "Location fields of backends are passed on as they are",
    ),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-request-buffering",
        "on|off",
        "requests are streamed, never buffered",
    ),
    served("nginx.ingress.kubernetes.io/proxy-send-timeout", "A write towards either side that makes no progress.", nginx_send).takes(SECONDS, "60s", "60"),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-ssl-ciphers",
        "OpenSSL string",
        "the TLS library's cipher suites are all safe to use",
    ),
    served("nginx.ingress.kubernetes.io/proxy-ssl-name", "The name that the backend's certificate is verified for.", upstream_tls::nginx_name).takes("a name", "`SERVICE.NAMESPACE.svc`", "chat.internal").security(),
    served("nginx.ingress.kubernetes.io/proxy-ssl-protocols", "The TLS versions that a backend is offered. Those before TLS 1.2 are left out.", upstream_tls::nginx_versions).takes("`TLSv1.2` and `TLSv1.3`, with blanks between them", "both", "TLSv1.2"),
    served("nginx.ingress.kubernetes.io/proxy-ssl-secret", "The Secret with authorities for `proxy-ssl-verify` (`ca.crt`), a certificate that backends are shown (`tls.crt`, `tls.key`), or both. Another namespace than the Ingress's is refused.", upstream_tls::nginx_secret).takes("`NAMESPACE/NAME`", "none", "default/chat-tls").security(),
    served("nginx.ingress.kubernetes.io/proxy-ssl-server-name", "Whether the backend is told the name at the beginning of the handshake.", upstream_tls::nginx_sni).takes("`on` or `off`", "off", "on"),
    served("nginx.ingress.kubernetes.io/proxy-ssl-verify", "Whether the backend's certificate is verified, by `ca.crt` of `proxy-ssl-secret`, else by the authorities that browsers trust (where ingress-nginx verifies nothing).", upstream_tls::nginx_verify).takes("`on` or `off`", "off", "on").security(),
    not_applicable(
        "nginx.ingress.kubernetes.io/proxy-ssl-verify-depth",
        "int",
        "chains may be as long as the TLS library takes them, and must end in one of the authorities all the same",
    ),
    not_yet("nginx.ingress.kubernetes.io/limit-allowlist", "comma CIDRs"),
    not_yet("nginx.ingress.kubernetes.io/limit-whitelist", "The old name of limit-allowlist."),
    not_yet("nginx.ingress.kubernetes.io/limit-burst-multiplier", "int"),
    not_yet("nginx.ingress.kubernetes.io/limit-connections", "int").inert(Inert::Values(&["0"])),
    not_yet("nginx.ingress.kubernetes.io/limit-rate", "int KiB/s").inert(Inert::Values(&["0"])),
    not_yet("nginx.ingress.kubernetes.io/limit-rate-after", "int KiB").inert(Inert::Values(&["0"])),
    not_yet("nginx.ingress.kubernetes.io/limit-rpm", "int").inert(Inert::Values(&["0"])),
    not_yet("nginx.ingress.kubernetes.io/limit-rps", "int").inert(Inert::Values(&["0"])),
    served("nginx.ingress.kubernetes.io/from-to-www-redirect", "Send clients from `www.HOST` to each HOST of the rules (308), or from HOST to a `www.HOST`, where nothing else is served there. Over TLS with the certificate of the host, which should name both.", redirects::from_to_www).takes(GO_BOOLEAN, "false", "true"),
    served("nginx.ingress.kubernetes.io/permanent-redirect", "Send every client elsewhere, handshakes too, though browsers do not follow with those. The backend need not exist.", redirects::permanent).takes("a URL, with `$scheme`, `$host` and `$request_uri`", "none", "https://www.example.com$request_uri"),
    served("nginx.ingress.kubernetes.io/permanent-redirect-code", "The status of `permanent-redirect`.", redirects::permanent_code).takes("300 to 303, 307 or 308", "301", "308"),
    not_applicable(
        "nginx.ingress.kubernetes.io/relative-redirects",
        "bool",
        "redirects name the host that the client asked for",
    ),
    served("nginx.ingress.kubernetes.io/temporal-redirect", "As `permanent-redirect`, for now. Beats that.", redirects::temporal).takes("a URL, with `$scheme`, `$host` and `$request_uri`", "none", "https://busy.example.com"),
    served("nginx.ingress.kubernetes.io/temporal-redirect-code", "The status of `temporal-redirect`.", redirects::temporal_code).takes("300 to 303 or 307", "302", "307"),
    served("nginx.ingress.kubernetes.io/app-root", "Send plain requests for `/` there (302). Handshakes go to the backend.", redirects::app_root).takes("a path", "none", "/app"),
    served("nginx.ingress.kubernetes.io/force-ssl-redirect", "Redirect plain requests to https (308) even where TLS ends in front of Longhaul. Beats `ssl-redirect`.", nginx_force_redirect).takes(GO_BOOLEAN, "false", "true"),
    not_applicable(
        "nginx.ingress.kubernetes.io/preserve-trailing-slash",
        "bool",
        "redirects to https keep the path as it was asked for, with its slash",
    ),
    served("nginx.ingress.kubernetes.io/rewrite-target", "Replaces the whole path. Unless it equals the path of the rule, the paths of this Ingress, and of no other, are regular expressions: see `use-regex`. Without a group in it all paths become one.", nginx_rewrite_target).takes("a path, with `$1` to `$9` for groups of the regular expression", "the path as it came", "/$2"),
    served("nginx.ingress.kubernetes.io/ssl-redirect", "Redirect plain requests to https (308) where the host has a certificate.", nginx_redirect).takes(GO_BOOLEAN, "true where the host has a certificate", "false"),
    served("nginx.ingress.kubernetes.io/use-regex", "The paths of this Ingress, and of no other, are regular expressions for the beginning of a path, in upper or lower case, whatever their type; without look-around. See docs/paths.md.", nginx_use_regex).takes(GO_BOOLEAN, "false", "true"),
    served("nginx.ingress.kubernetes.io/ssl-ciphers", "The cipher suites of TLS 1.2 that the hosts of `spec.tls` accept, in order of preference; those of TLS 1.3 stay as they are. Names of suites that Longhaul does not have are passed over.", tls::nginx_ciphers).takes("OpenSSL's names with `:` between them", "all that Longhaul has", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"),
    not_applicable(
        "nginx.ingress.kubernetes.io/ssl-prefer-server-ciphers",
        "bool",
        "the server's order always decides",
    ),
    not_yet("nginx.ingress.kubernetes.io/ssl-passthrough", "bool").inert(Inert::False),
    served("nginx.ingress.kubernetes.io/satisfy", "With `any`: who is of `allowlist-source-range` comes in without a proof, everybody else, denied networks too, with one.", nginx_satisfy).takes("`any` or `all`", "all", "any").security(),
    refused(
        "nginx.ingress.kubernetes.io/server-snippet",
        "raw nginx config",
        "say what it does with typed settings: headers, timeouts, redirects and limits have their own keys",
    )
    .security()
    .only(snippet_protects),
    served("nginx.ingress.kubernetes.io/service-upstream", "Connect to the address of the Service in place of its endpoints.", backends::service_address).takes(GO_BOOLEAN, "false", "true"),
    served("nginx.ingress.kubernetes.io/affinity", "Sets a cookie by which clients come back to their endpoint. Those that ingress-nginx set are replaced. Beats `upstream-hash-by` and `load-balance`.", affinity::nginx_affinity).takes("`cookie`", "none", "cookie"),
    served("nginx.ingress.kubernetes.io/affinity-canary-behavior", "On a canary, or where it has none of its own on the Ingress that it is of: whether who has the cookie of an endpoint stays there, in the canary or not; or whether that is decided for each request.", affinity::nginx_canary_behavior).takes("`sticky` or `legacy`", "sticky", "legacy"),
    served("nginx.ingress.kubernetes.io/affinity-mode", "With `affinity`: whether endpoints that come take over their share of the clients that have a cookie.", affinity::nginx_mode).takes("`balanced` or `persistent`", "balanced", "persistent"),
    served("nginx.ingress.kubernetes.io/session-cookie-change-on-failure", "With `affinity`: whether a client whose endpoint cannot be reached gets the cookie of the one that serves it. Without, another one serves it meanwhile, the same for all with that cookie.", affinity::nginx_change_on_failure).takes(GO_BOOLEAN, "false", "true"),
    not_applicable(
        "nginx.ingress.kubernetes.io/session-cookie-conditional-samesite-none",
        "bool",
        "the browsers that needed it are gone",
    ),
    served("nginx.ingress.kubernetes.io/session-cookie-domain", "With `affinity`: the domain to whose hosts browsers send it.", affinity::domain).takes("a DNS name", "the host that is asked for alone", "example.com"),
    served("nginx.ingress.kubernetes.io/session-cookie-expires", "With `affinity`: how long browsers keep it. Served as Max-Age; `session-cookie-max-age` counts where both are set.", affinity::nginx_max_age).takes("whole seconds", "until the browser ends", "172800"),
    served("nginx.ingress.kubernetes.io/session-cookie-max-age", "With `affinity`: how long browsers keep it.", affinity::nginx_max_age).takes("whole seconds; `0`: until the browser ends", "until the browser ends", "172800"),
    served("nginx.ingress.kubernetes.io/session-cookie-name", "With `affinity`: its name.", affinity::nginx_name).takes("a name", "INGRESSCOOKIE", "route"),
    served("nginx.ingress.kubernetes.io/session-cookie-path", "With `affinity`: below which path browsers send it. Of a regular expression the default is `/`.", affinity::path).takes("a path", "the path that the rule matches", "/"),
    served("nginx.ingress.kubernetes.io/session-cookie-samesite", "With `affinity`: from which sites' pages browsers send it.", affinity::same_site).takes("`Strict`, `Lax` or `None`, in any case", "what browsers have", "Lax"),
    served("nginx.ingress.kubernetes.io/session-cookie-secure", "With `affinity`: browsers send it over https only.", affinity::nginx_secure).takes(GO_BOOLEAN, "true where the client comes by https", "true"),
    refused(
        "nginx.ingress.kubernetes.io/stream-snippet",
        "raw nginx config",
        "TCP and UDP listeners are not an Ingress's business; run a TCP proxy for them",
    ),
    served("nginx.ingress.kubernetes.io/upstream-hash-by", "What is hashed, so that the same goes to the same endpoint. Beats `load-balance`.", nginx_hash_by).takes("text with `$remote_addr`, `$binary_remote_addr`, `$http_x_forwarded_for`, `$request_uri`, `$uri`, `$host`, `$arg_NAME`, `$http_NAME` or `$cookie_NAME`", "no hashing", "$arg_room"),
    not_yet("nginx.ingress.kubernetes.io/upstream-hash-by-subset", "bool").inert(Inert::False),
    not_yet("nginx.ingress.kubernetes.io/upstream-hash-by-subset-size", "int"),
    served("nginx.ingress.kubernetes.io/upstream-vhost", "The Host that the backend gets. Without nginx's variables.", nginx_upstream_vhost).takes("a host with or without a port", "the client's own", "chat.internal"),
    not_applicable(
        "nginx.ingress.kubernetes.io/use-port-in-redirects",
        "bool",
        "the operator's --public-https-port decides",
    ),
    served("nginx.ingress.kubernetes.io/x-forwarded-prefix", "What the backend gets as X-Forwarded-Prefix where the path is rewritten, in place of the client's.", nginx_forwarded_prefix).takes("a path, with `$1` to `$9` for groups of the regular expression", "none", "/app"),
];
