//! Keys that ingress-nginx had once, and those that its users believe it has.

use super::super::{Annotation, Inert, refused};

/// With the right home of each.
pub(super) static ROWS: &[Annotation] = &[
    refused(
        "nginx.ingress.kubernetes.io/secure-backends",
        "No setting of ingress-nginx at its end.",
        "use backend-protocol: HTTPS",
    )
    .security()
    .inert(Inert::False),
    refused(
        "nginx.ingress.kubernetes.io/grpc-backend",
        "No setting of ingress-nginx at its end.",
        "gRPC backends are not served",
    ),
    refused(
        "nginx.ingress.kubernetes.io/add-base-url",
        "No setting of ingress-nginx at its end.",
        "remove it; it rewrote HTML and is long gone",
    ),
    refused(
        "nginx.ingress.kubernetes.io/base-url-scheme",
        "No setting of ingress-nginx at its end.",
        "remove it; it rewrote HTML and is long gone",
    ),
    refused(
        "nginx.ingress.kubernetes.io/session-cookie-hash",
        "No setting of ingress-nginx at its end.",
        "remove it; the cookie reveals nothing of the endpoint",
    ),
    refused(
        "nginx.ingress.kubernetes.io/mirror-uri",
        "No setting of ingress-nginx at its end.",
        "remove it: what mirroring a tunnel would mean is undefined",
    ),
    refused(
        "nginx.ingress.kubernetes.io/enable-websocket",
        "No setting of ingress-nginx at its end.",
        "remove it; WebSockets are always served",
    ),
    refused(
        "nginx.ingress.kubernetes.io/enable-websockets",
        "No setting of ingress-nginx at its end.",
        "remove it; WebSockets are always served",
    ),
    refused(
        "nginx.ingress.kubernetes.io/websocket-services",
        "No setting of ingress-nginx at its end.",
        "remove it; WebSockets are always served",
    ),
    refused(
        "nginx.ingress.kubernetes.io/use-forwarded-headers",
        "No setting of ingress-nginx at its end.",
        "name the peers whose fields are believed with the controller's --trusted-proxies",
    ),
    refused(
        "nginx.ingress.kubernetes.io/proxy-stream-timeout",
        "No setting of ingress-nginx at its end.",
        "set longhaul.dev/idle-timeout; the stream timeout is of another protocol",
    ),
    refused(
        "nginx.ingress.kubernetes.io/worker-shutdown-timeout",
        "No setting of ingress-nginx at its end.",
        "set the proxy's --drain-period",
    ),
];
