//! An API server's manners in memory, for tests that pause time: the end-to-end tests have the real one. It keeps
//! objects by path, with resource versions; it creates, replaces and patches; it can refuse, stall, or lose its
//! answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What becomes of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// They are served.
    #[default]
    Well,
    /// They are refused with this status and reason.
    Refusing(u16, &'static str),
    /// They are never answered, and without effect.
    Stalled,
    /// They have their effect, and no answer.
    Mute,
}

/// A request that was served.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    served: Vec<Served>,
    /// How many requests came.
    asked: usize,
    /// By the beginning of a path, or of a method and a path; the longest that fits counts.
    moods: BTreeMap<String, Mood>,
}

/// A client of a new, empty API server, and the server itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryApi(Arc<Mutex<State>>);

impl MemoryApi {
    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        Client::new(service, "default")
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut state = self.0.lock().unwrap();
        state.store(path, object);
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    pub(crate) fn mood(&self, prefix: &str, mood: Mood) {
        self.0.lock().unwrap().moods.insert(prefix.into(), mood);
    }

    /// How many requests came, served or not.
    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    /// What was served of paths with this in them.
    pub(crate) fn served(&self, part: &str) -> Vec<Served> {
        let state = self.0.lock().unwrap();
        state.served.iter().filter(|served| served.path.contains(part)).cloned().collect()
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let mood = self.0.lock().unwrap().mood_of(&head.method, &path);
        let (status, answer) = match mood {
            Mood::Stalled => std::future::pending().await,
            Mood::Refusing(code, reason) => failure(code, reason),
            Mood::Well | Mood::Mute => {
                let query = head.uri.query().unwrap_or_default().to_owned();
                let served = Served { method: head.method, path, query, body };
                self.0.lock().unwrap().serve(served)
            }
        };
        if mood == Mood::Mute {
            std::future::pending::<()>().await;
        }
        let mut response = Response::new(Full::new(answer.to_string().into()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

impl State {
    fn mood_of(&mut self, method: &Method, path: &str) -> Mood {
        self.asked += 1;
        let request = format!("{method} {path}");
        let fits = |prefix: &str| path.starts_with(prefix) || request.starts_with(prefix);
        let fitting = self.moods.iter().filter(|(prefix, _)| fits(prefix));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, mood)| mood.clone()).unwrap_or_default()
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.into(), object.clone());
        object
    }

    fn serve(&mut self, served: Served) -> (u16, Value) {
        let Served { method, path, query, body } = served.clone();
        self.served.push(served);
        let path = path.strip_suffix("/status").unwrap_or(&path).to_owned();
        match method {
            Method::GET => {
                self.objects.get(&path).map_or(failure(404, "NotFound"), |found| (200, found.clone()))
            }
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return failure(409, "AlreadyExists");
                }
                (201, self.store(&path, body))
            }
            Method::PUT => match self.objects.get(&path) {
                None => failure(404, "NotFound"),
                Some(now) if now["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] => {
                    failure(409, "Conflict")
                }
                Some(_) => (200, self.store(&path, body)),
            },
            Method::PATCH => {
                let Some(mut object) = self.objects.get(&path).cloned() else {
                    return failure(404, "NotFound");
                };
                if query.contains("fieldManager") {
                    // One manager: what it does not say any more is gone.
                    object["status"] = body.get("status").cloned().unwrap_or_else(|| json!({}));
                } else {
                    for (key, value) in body.as_object().unwrap() {
                        object[key] = value.clone();
                    }
                }
                (200, self.store(&path, object))
            }
            _ => failure(405, "MethodNotAllowed"),
        }
    }
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("as the test asks: {reason}");
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}))
}
