//! The layers of a route's settings: who says what, and what is left of it. This is the one place where they are put
//! together.

use crds::policy::PolicyPatch;

use crate::class::ClassPolicy;

/// Who says something about a route. Below all of them is what is built in, above all of them nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// `spec.defaults` of the class's `WsPolicy`.
    ClassDefaults,
    /// The annotations of an Ingress, or `spec.policy` of a `WsRoute`.
    Object,
    /// The policy of the rule.
    Rule,
    /// `spec.overrides` of the class's `WsPolicy`.
    ClassOverrides,
}

/// What each layer says, the lowest first.
pub(crate) fn layers<'a>(
    class: Option<&'a ClassPolicy>,
    object: &'a PolicyPatch,
    rule: Option<&'a PolicyPatch>,
) -> impl Iterator<Item = (Layer, &'a PolicyPatch)> {
    let defaults = class.map(|class| (Layer::ClassDefaults, &class.defaults));
    let overrides = class.map(|class| (Layer::ClassOverrides, &class.overrides));
    let own = [Some((Layer::Object, object)), rule.map(|rule| (Layer::Rule, rule))];
    [defaults].into_iter().chain(own).chain([overrides]).flatten()
}

/// What they come to together: of each field what the highest layer says that says anything.
pub(crate) fn merged(
    class: Option<&ClassPolicy>,
    object: &PolicyPatch,
    rule: Option<&PolicyPatch>,
) -> PolicyPatch {
    layers(class, object, rule).fold(PolicyPatch::default(), |below, (_, above)| below.merge(above.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_layer_that_says_anything_is_heard() {
        let says = |max_body: Option<u64>| PolicyPatch { max_body, ..PolicyPatch::default() };
        let class = |defaults, overrides| ClassPolicy {
            defaults: says(defaults),
            overrides: says(overrides),
            ..ClassPolicy::default()
        };
        let left = |class: &ClassPolicy, object, rule| {
            let rule = says(rule);
            merged(Some(class), &says(object), Some(&rule)).max_body
        };
        assert_eq!(left(&class(Some(1), None), None, None), Some(1));
        assert_eq!(left(&class(Some(1), None), Some(2), None), Some(2));
        assert_eq!(left(&class(Some(1), None), Some(2), Some(3)), Some(3));
        assert_eq!(left(&class(Some(1), Some(4)), Some(2), Some(3)), Some(4));
        assert_eq!(merged(None, &says(Some(2)), None).max_body, Some(2));
        let order: Vec<_> = layers(Some(&class(None, None)), &says(None), Some(&says(None)))
            .map(|(layer, _)| layer)
            .collect();
        assert!(order.is_sorted() && order.len() == 4, "{order:?}");
    }
}
