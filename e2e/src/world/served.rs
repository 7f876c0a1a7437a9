//! Waiting until every proxy serves what lies in the folder.
//!
//! A file with a witness, an Ingress of a name that was never used, is written after every change. A look of the
//! controller at the folder that finds the witness began after the change was complete, so the generation with the
//! witness's route has the change too. `/api/routes` says which generation that is and what each proxy acknowledged.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::World;
use crate::objects::Ingress;
use crate::wire::PATIENCE;

/// How long to leave the controller alone between two questions.
const PAUSE: Duration = Duration::from_millis(3);

impl World {
    /// Waits until every proxy has acknowledged a generation with all that is in the folder now.
    pub async fn settle(&mut self) -> Result<()> {
        let before = self.objects().join(witness_file(self.witness));
        self.witness += 1;
        let witness = witness_name(self.witness);
        if before.exists() {
            fs::remove_file(before)?;
        }
        let ingress = Ingress::new(&witness, "witness.invalid").path("/", "witness");
        let content = format!("{}---\n{}", ingress.yaml(), crate::objects::service("witness"));
        self.put(&witness_file(self.witness), &content)?;
        self.wait_routes(|routes| self.all_have(routes) && routes.to_string().contains(&witness)).await
    }

    /// Writes a file of objects that change what is served, waits until a generation later than the newest is
    /// acknowledged, and says how long that took. [`World::settle`] proves more; this is as fast as it goes.
    pub async fn write_timed(&mut self, name: &str, content: &str) -> Result<Duration> {
        let newest = |routes: &Value| routes["generation"].as_u64();
        let before = newest(&self.controller()?.api("/api/routes").await?);
        let written = Instant::now();
        self.put(name, content)?;
        self.wait_routes(|routes| newest(routes) > before && self.all_have(routes)).await?;
        Ok(written.elapsed())
    }

    /// Asks for the routes until they are as wanted.
    async fn wait_routes(&self, mut wanted: impl FnMut(&Value) -> bool) -> Result<()> {
        let controller = self.controller()?;
        let given_up = Instant::now() + PATIENCE;
        loop {
            let routes = controller.api("/api/routes").await?;
            if wanted(&routes) {
                return Ok(());
            }
            if Instant::now() > given_up {
                bail!("the change was not acknowledged\n{routes:#}\n{}", self.logs());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether as many proxies as run have acknowledged the newest generation.
    fn all_have(&self, routes: &Value) -> bool {
        let proxies = routes["proxies"].as_array().map_or(&[][..], Vec::as_slice);
        let current = proxies.iter().filter(|proxy| proxy["applied"] == routes["generation"]).count();
        current >= self.proxies.iter().flatten().count()
    }
}

fn witness_name(number: u64) -> String {
    // Ended by a letter, so that no name is the beginning of another.
    format!("witness-{number}-x")
}

fn witness_file(number: u64) -> String {
    format!("{}.yaml", witness_name(number))
}
