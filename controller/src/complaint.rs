//! Something that the API server does not let us do: said once and clearly, again only when the reason is another,
//! and once more when it is over. The work goes on without it meanwhile.

use kube::Error;
use kube::core::Status;
use kube::runtime::watcher;

/// What is complained about.
#[derive(Clone, Debug)]
pub struct Complaint {
    subject: String,
    said: Option<String>,
}

impl Complaint {
    /// About this: `the EndpointSlices of Service a/b cannot be watched`.
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), said: None }
    }

    /// About a request.
    pub fn about(&mut self, error: &Error, effect: &str) {
        self.say(&reason(error), effect);
    }

    /// About a watch.
    pub fn about_watch(&mut self, error: &watcher::Error, effect: &str) {
        let reason = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => reason(error),
            watcher::Error::WatchError(status) => of_status(status),
            watcher::Error::NoResourceVersion => error.to_string(),
        };
        self.say(&reason, effect);
    }

    /// For this reason, with this effect.
    pub fn say(&mut self, reason: &str, effect: &str) {
        if self.said.as_deref().map(essence) != Some(essence(reason)) {
            tracing::warn!("{}: {reason}; until that is put right, {effect}", self.subject);
            self.said = Some(reason.into());
        }
    }

    /// It works.
    pub fn over(&mut self) {
        if self.said.take().is_some() {
            tracing::info!("resolved: {}", self.subject);
        }
    }
}

/// Why a request failed, for people.
pub fn reason(error: &Error) -> String {
    match error {
        Error::Api(status) => of_status(status),
        Error::Service(source) => {
            let mut text = source.to_string();
            let mut inner = source.source();
            while let Some(source) = inner {
                text = format!("{text}: {source}");
                inner = source.source();
            }
            text
        }
        error => error.to_string(),
    }
}

/// What the API server puts between the name of an object and what is forbidden.
const FORBIDDEN: &str = " is forbidden: ";

/// A reason without the namespace that it was met in: with a `ClusterRole` it is met in all of them.
fn essence(reason: &str) -> &str {
    reason.split_once(" in the namespace ").map_or(reason, |(essence, _)| essence)
}

fn of_status(status: &Status) -> String {
    if status.is_forbidden() {
        // What is forbidden is the same for every object: its name, which comes first, says nothing.
        let message = status.message.split_once(FORBIDDEN).map_or(&*status.message, |(_, what)| what);
        return format!("permission is refused: {message}");
    }
    format!("the API server answers {} {}: {}", status.code, status.reason, status.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_until_it_is_over() {
        let error = |code, reason: &str| Error::Api(Status::failure("no", reason).with_code(code).boxed());
        let (forbidden, internal) = (error(403, "Forbidden"), error(500, "InternalError"));
        let mut complaint = Complaint::new("Leases cannot be used");
        let mut said = Vec::new();
        for error in [&forbidden, &forbidden, &internal] {
            complaint.about(error, "nothing is written");
            said.push(complaint.said.clone().unwrap());
        }
        let expected = ["permission is refused: no", "the API server answers 500 InternalError: no"];
        assert_eq!(said, [expected[0], expected[0], expected[1]]);
        complaint.over();
        assert_eq!(complaint.said, None);
    }

    #[test]
    fn what_is_forbidden_for_many_objects_is_said_once() {
        let refused = |name: &str, namespace: &str| {
            let message = format!(
                "ingresses.networking.k8s.io \"{name}\" is forbidden: User \"lh\" cannot patch resource \
                 \"ingresses/status\" in API group \"networking.k8s.io\" in the namespace \"{namespace}\""
            );
            Error::Api(Status::failure(&message, "Forbidden").with_code(403).boxed())
        };
        let mut complaint = Complaint::new("the status of Ingresses cannot be written");
        let first = "permission is refused: User \"lh\" cannot patch resource \"ingresses/status\" in API group \
                     \"networking.k8s.io\" in the namespace \"a\"";
        for (name, namespace) in [("one", "a"), ("other", "a"), ("third", "b")] {
            complaint.about(&refused(name, namespace), "they say what was");
            assert_eq!(complaint.said.as_deref(), Some(first));
        }
    }
}
