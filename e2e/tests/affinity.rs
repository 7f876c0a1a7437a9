//! Clients that come back to their endpoint: by Longhaul's cookie, by the sid of Engine.IO, by the pod's name; with two
//! backends, and with two proxies whom a client meets by turns.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "affinity/clients.rs"]
mod clients;
#[path = "affinity/cookies.rs"]
mod cookies;
#[path = "affinity/pods.rs"]
mod pods;
#[path = "affinity/sessions.rs"]
mod sessions;
#[path = "affinity/turns.rs"]
mod turns;
