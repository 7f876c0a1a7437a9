//! Longhaul's image, as the scenarios on a node run it.

use anyhow::Result;

use super::{Node, image};
use crate::process::binary;

/// Its name, as values of the chart.
pub(super) const VALUES: [&str; 3] = [
    "controller.image.repository=localhost/longhaul",
    "controller.image.tag=dev",
    "controller.image.pullPolicy=Never",
];

/// What runs behind Longhaul.
const BACKEND: &str = "localhost/demo-backend:dev";

impl Node {
    /// Loads the image under test, and that of the demo backend.
    pub(super) fn load_images(&self) -> Result<()> {
        let (controller, proxy) = (binary("longhaul-controller")?, binary("longhaul-proxy")?);
        let programs =
            [("usr/local/bin/longhaul-controller", &*controller), ("usr/local/bin/longhaul-proxy", &*proxy)];
        self.load(&image::of_programs("localhost/longhaul:dev", &programs, self.folder())?)?;
        self.load_program(BACKEND, &binary("demo-backend")?)
    }
}
