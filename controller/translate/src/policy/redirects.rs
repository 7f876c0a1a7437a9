//! Where clients are sent instead of to a backend.

use crds::policy::redirects::{self, RedirectsPatch};
use snapshot::{LocationPart, RedirectTo};

/// For now beats for good.
pub(crate) fn to(patch: &RedirectsPatch) -> Option<RedirectTo> {
    let temporal = patch.temporal.as_ref().map(|parts| (parts, patch.temporal_code.unwrap_or(302)));
    let permanent = || patch.permanent.as_ref().map(|parts| (parts, patch.permanent_code.unwrap_or(301)));
    let (parts, status) = temporal.or_else(permanent)?;
    let location = parts.iter().map(|part| match part {
        redirects::LocationPart::Text(text) => LocationPart::Text(text.clone()),
        redirects::LocationPart::Scheme => LocationPart::Scheme,
        redirects::LocationPart::Host => LocationPart::Host,
        redirects::LocationPart::Target => LocationPart::Target,
    });
    Some(RedirectTo { status, location: location.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_now_beats_for_good() {
        let parts = |text: &str| Some(vec![redirects::LocationPart::Text(text.into())]);
        let status = |permanent: Option<&str>, temporal: Option<&str>| {
            let patch = RedirectsPatch {
                permanent: permanent.and_then(parts),
                temporal: temporal.and_then(parts),
                ..RedirectsPatch::default()
            };
            to(&patch).map(|to| (to.status, to.location))
        };
        let text = |text: &str| vec![LocationPart::Text(text.into())];
        assert_eq!(status(Some("a"), Some("b")), Some((302, text("b"))));
        assert_eq!(status(Some("a"), None), Some((301, text("a"))));
        assert_eq!(status(None, None), None);
    }
}
