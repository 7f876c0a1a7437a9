//! What pods ask one another: do your proxies hold this version of this object?

use crds::diagnostic::ObjectRef;
use serde::{Deserialize, Serialize};

use crate::overview::Overview;
use crate::programmed::Holding;
use crate::version::Version;

/// The most objects of one question.
pub const MOST: usize = 1_000;

/// The most bytes of a question or an answer.
pub const MAX_BODY: usize = 1 << 20;

/// The most bytes of a reason.
const MAX_REASON: usize = 512;

/// One object in one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// `Ingress` or `WsRoute`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: Version,
}

impl Asked {
    /// About this object.
    pub fn about(object: &ObjectRef, version: &Version) -> Self {
        let ObjectRef { kind, namespace, name } = object.clone();
        Self { kind, namespace, name, version: version.clone() }
    }

    /// Which object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(&*self.kind, &*self.namespace, &*self.name)
    }
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// At most [`MOST`].
    pub objects: Vec<Asked>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The pod that answers. An address may be another pod's by now.
    pub pod: String,
    /// For each object of the question, in its order.
    pub objects: Vec<Holding>,
}

/// What the proxies of this pod hold.
pub fn held(overview: &Overview, pod: &str, question: &Question) -> Answer {
    let asked: Vec<_> =
        question.objects.iter().take(MOST).map(|asked| (asked.object(), &asked.version)).collect();
    let mut objects = overview.held(&asked);
    for holding in &mut objects {
        let end = holding.reason.floor_char_boundary(MAX_REASON);
        holding.reason.truncate(end);
    }
    Answer { pod: pod.into(), objects }
}
