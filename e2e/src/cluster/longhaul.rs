//! Longhaul's image, as the scenarios on a node run it.

use anyhow::Result;

use super::{Node, image};
use crate::objects::DEMO_IMAGE;
use crate::process::binary;

/// Its name, as values of the chart.
pub(super) const VALUES: [&str; 3] = [
    "controller.image.repository=localhost/longhaul",
    "controller.image.tag=dev",
    "controller.image.pullPolicy=Never",
];

impl Node {
    /// Loads the image that the Dockerfile gives, and that of the demo backend.
    pub fn load_images(&self) -> Result<()> {
        self.load(&image::longhaul()?)?;
        self.load_program(DEMO_IMAGE, &binary("demo-backend")?)
    }
}
