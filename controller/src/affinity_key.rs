//! The key of affinity cookies: from a file where objects come from a directory, else in a Secret of the cluster, which
//! whoever leads fills once.
//!
//! The chart creates the Secret without content and names only it in our permissions. It is filled by server-side apply
//! under a field manager of its own, so that whoever applies the empty Secret again takes nothing away; and only the
//! version that was seen to be empty is, so that of two that try one is told that it was too late. The key itself comes
//! back to every replica by the watch, as any Secret does.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::json;
use snapshot::{AffinityKey, Key, Section};
use tokio::sync::watch;
use tokio::time::timeout;
use translate::{AFFINITY_KEY, SHORTEST_AFFINITY_KEY};

use crate::complaint::Complaint;
use crate::lease::Leadership;
use crate::pace::Backoff;
use crate::publish::Published;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// How long the watch may take to show what was written.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The shortest and the longest pause after an attempt that came to nothing.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What is said while the Secret cannot be filled.
const EFFECT: &str = "no affinity cookies are set";

/// Who owns the key in the Secret.
const MANAGER: &str = "longhaul.dev/affinity-key";

/// The file that is used where none is named: beside the socket, so that it outlives restarts.
pub fn beside(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".affinity-key");
    name.into()
}

/// The key in a file, which is made where it is missing.
pub fn of_file(path: &Path) -> anyhow::Result<AffinityKey> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = new()?;
            create(path, text.as_bytes()).with_context(|| {
                format!("the key of affinity cookies cannot be kept in {}", path.display())
            })?;
            text.into_bytes()
        }
        Err(error) => {
            return Err(error).with_context(|| {
                format!("the key of affinity cookies cannot be read from {}", path.display())
            });
        }
    };
    let key = text.trim_ascii();
    if key.len() < SHORTEST_AFFINITY_KEY {
        bail!(
            "{} has fewer than {SHORTEST_AFFINITY_KEY} characters, too few for a key of affinity cookies; \
             write more, or remove it for a new one",
            path.display()
        );
    }
    Ok(AffinityKey::new(key))
}

/// Whole or not at all.
fn create(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

/// 256 random bits as text: people copy it.
fn new() -> anyhow::Result<String> {
    let mut text = String::new();
    for _ in 0..4 {
        // Writing to a String cannot fail.
        let _ = write!(text, "{:016x}", getrandom::u64().context("there is no randomness")?);
    }
    Ok(text)
}

/// A key that nothing keeps.
pub fn random() -> anyhow::Result<AffinityKey> {
    Ok(AffinityKey::new(new()?.as_bytes()))
}

/// Fills the Secret.
pub struct Filler {
    /// The API server.
    pub client: Client,
    /// The Secret's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What proxies are to serve: it tells whether there is a key.
    pub published: watch::Receiver<Option<Published>>,
    /// Who may write. `None`: there is no election, and everybody may.
    pub leadership: Option<watch::Receiver<Leadership>>,
}

/// What came of an attempt.
enum Filled {
    Now,
    /// Somebody else was quicker.
    Already,
    /// There is no Secret.
    Missing,
}

impl Filler {
    /// Fills it whenever nothing usable is in it, until nothing is published any more.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut complaint =
            Complaint::new(format!("the Secret {}/{} cannot be filled", self.namespace, self.name));
        loop {
            let lacking = |published: &Option<Published>| {
                published.as_ref().is_some_and(|now| {
                    let section = now.snapshot.section(&Key::AffinityKey).and_then(Result::ok);
                    matches!(section, Some(Section::AffinityKey(AffinityKey::Unknown)))
                })
            };
            if self.published.wait_for(lacking).await.is_err() {
                return;
            }
            if let Some(leadership) = &mut self.leadership {
                let leads = leadership.wait_for(|leadership| leadership.left().is_some());
                if leads.await.is_err() {
                    return;
                }
            }
            match timeout(REQUEST, self.fill()).await {
                Ok(Ok(Filled::Now | Filled::Already)) => {
                    complaint.over();
                    let shown = timeout(CATCH_UP, self.published.wait_for(|published| !lacking(published)));
                    if matches!(shown.await, Ok(Ok(_))) {
                        backoff.reset();
                        continue;
                    }
                }
                Ok(Ok(Filled::Missing)) => {
                    complaint.say("there is no such Secret; the chart creates it", EFFECT);
                }
                Ok(Err(error)) => complaint.about(&error, EFFECT),
                Err(_) => complaint.say("the API server does not answer in time", EFFECT),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    async fn fill(&self) -> Result<Filled, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(secret) = api.get_opt(&self.name).await? else { return Ok(Filled::Missing) };
        let held = secret.data.iter().flatten().find(|(key, _)| *key == AFFINITY_KEY);
        if held.is_some_and(|(_, bytes)| bytes.0.len() >= SHORTEST_AFFINITY_KEY) {
            return Ok(Filled::Already);
        }
        let key = new().map_err(|error| Error::Service(error.into()))?;
        let patch = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            // That which was empty, and no later one.
            "metadata": {"name": self.name, "namespace": self.namespace, "uid": secret.metadata.uid,
                "resourceVersion": secret.metadata.resource_version},
            "data": {AFFINITY_KEY: ByteString(key.into_bytes())},
        });
        let parameters = PatchParams::apply(MANAGER).force();
        match api.patch(&self.name, &parameters, &Patch::Apply(patch)).await {
            Ok(_) => {
                tracing::info!(secret = self.name, "a new key of affinity cookies");
                Ok(Filled::Now)
            }
            Err(Error::Api(status)) if status.is_conflict() => Ok(Filled::Already),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_made_once_and_for_ourselves_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("socket"));
        assert_eq!(path, folder.path().join("socket.affinity-key"));
        let key = of_file(&path).unwrap();
        let AffinityKey::Known(bytes) = &key else { panic!("there is one") };
        assert_eq!(bytes.der().len(), 64);
        assert_eq!(of_file(&path).unwrap(), key, "as it was before a restart");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(of_file(&folder.path().join("other")).unwrap(), key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
    }

    #[test]
    fn a_file_of_somebody_else_is_taken_as_it_is_unless_it_could_be_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, format!("{}\n", "k".repeat(40))).unwrap();
        assert_eq!(of_file(&path).unwrap(), AffinityKey::new("k".repeat(40).as_bytes()));
        fs::write(&path, format!("{}\n", "k".repeat(31))).unwrap();
        let error = of_file(&path).unwrap_err().to_string();
        assert!(error.contains("fewer than 32") && !error.contains("kkk"), "{error}");
        assert!(of_file(&folder.path().join("no/such/folder")).is_err());
    }
}
