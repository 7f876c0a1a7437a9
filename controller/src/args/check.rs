//! The command line of `check`.

use std::path::PathBuf;

use clap::{ArgGroup, ValueEnum};
use translate::Settings;

use super::{Color, OneCluster, Reading};

/// Flags of `check`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("elsewhere").args(["paths"]).multiple(true))]
pub struct Check {
    /// Manifests: files, directories with *.yaml, *.yml and *.json below them, and - for standard input.
    #[arg(required_unless_present = "cluster", value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Check what is in a cluster, read once with the permissions that you have.
    #[arg(long, conflicts_with_all = ["paths", "partial"])]
    pub cluster: bool,

    /// How remarks are written, on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: CheckFormat,

    /// Whether text is coloured.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    /// The files are a part of what will be there: a Service, Secret or class that is not among them is a warning.
    #[arg(long)]
    pub partial: bool,

    /// A warning fails the check as an error does; with --partial, but for what is not among the files.
    #[arg(long)]
    pub strict: bool,

    /// Which cluster.
    #[command(flatten)]
    pub of: OneCluster,

    /// How the objects are read.
    #[command(flatten)]
    pub reading: Reading,
}

/// How remarks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, as services that show findings beside code read it.
    Sarif,
}

impl Check {
    /// How the objects are translated.
    pub fn settings(&self) -> Settings {
        let reading = self.reading.clone();
        if self.cluster {
            reading.of_cluster(&self.of.namespaces, self.of.watch_without_class)
        } else {
            reading.settings()
        }
    }
}
