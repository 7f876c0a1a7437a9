//! Whether another endpoint is tried where one cannot be reached.

use super::*;
use crate::policy::next_upstream::NextUpstreamPatch;

const KEY: &str = "nginx.ingress.kubernetes.io/proxy-next-upstream";

#[test]
fn another_endpoint_is_tried_before_anything_was_sent() {
    let read = |annotations: &[(&str, &str)]| {
        let reading = read_all(annotations);
        assert_eq!(reading.closed, None, "{annotations:?}");
        (reading.patch.ingress.next_upstream, reading.diagnostics.len())
    };
    for (text, tried, said) in [
        ("error timeout", Some(true), 0),
        ("error", Some(true), 0),
        ("off", Some(false), 0),
        ("error http_502 non_idempotent", Some(true), 1),
        // Nothing of it can be served, so that nothing is tried again.
        ("http_503", Some(false), 1),
        ("error tiemout", None, 1),
        ("", None, 1),
    ] {
        let patch = NextUpstreamPatch { tried, ..NextUpstreamPatch::default() };
        assert_eq!(read(&[(KEY, text)]), (patch, said), "{text:?}");
    }
    let tries = ("nginx.ingress.kubernetes.io/proxy-next-upstream-tries", "0");
    let within = ("nginx.ingress.kubernetes.io/proxy-next-upstream-timeout", "7");
    let patch = NextUpstreamPatch { tried: None, tries: Some(0), within: seconds(7) };
    assert_eq!(read(&[tries, within]), (patch, 0));
    for key in [tries.0, within.0] {
        for odd in ["-1", "+1", "1s", "", "99999999999"] {
            assert_eq!(read(&[(key, odd)]), (NextUpstreamPatch::default(), 1), "{key}: {odd:?}");
        }
    }
}
