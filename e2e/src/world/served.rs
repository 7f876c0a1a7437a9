//! Waiting until every proxy serves what lies in the folder.
//!
//! A file with a witness, an Ingress of a name that was never used, is written after every change. A look of the
//! controller at the folder that finds the witness began after the change was complete, so the generation with the
//! witness's route has the change too. `/api/routes` says which generation that is and what each proxy acknowledged.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
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
        self.acknowledged(&witness).await
    }

    async fn acknowledged(&self, witness: &str) -> Result<()> {
        let controller = self.controller()?;
        let wanted = self.proxies.iter().flatten().count();
        let given_up = Instant::now() + PATIENCE;
        loop {
            let routes = controller.api("/api/routes").await?;
            if serves(&routes, witness, wanted).context("reading /api/routes")? {
                return Ok(());
            }
            if Instant::now() > given_up {
                bail!("no generation with {witness} was acknowledged\n{routes:#}\n{}", self.logs());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the newest generation has the witness's route and `wanted` proxies have acknowledged it.
fn serves(routes: &Value, witness: &str, wanted: usize) -> Result<bool> {
    let newest = &routes["generation"];
    let proxies = routes["proxies"].as_array().context("no list of proxies")?;
    let acknowledged = proxies.iter().filter(|proxy| &proxy["applied"] == newest).count();
    Ok(acknowledged >= wanted && routes.to_string().contains(witness))
}

fn witness_name(number: u64) -> String {
    // Ended by a letter, so that no name is the beginning of another.
    format!("witness-{number}-x")
}

fn witness_file(number: u64) -> String {
    format!("{}.yaml", witness_name(number))
}
