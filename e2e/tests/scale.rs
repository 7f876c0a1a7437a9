//! Two thousand Ingresses from a directory are served, and one change among them is. What it costs is printed, by
//! `make scale` at full size and in the release profile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use e2e::notes;

#[tokio::test]
async fn two_thousand_ingresses_from_a_directory() {
    let figures = e2e::scale::measure(2_000).await.unwrap();
    notes::measured(figures.to_string().trim_end());
}
