//! ConfigMaps that hold what a setting is made of.

use serde::Serialize;

/// A ConfigMap in the namespace of the object that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigMapName {
    /// Its name.
    pub name: String,
    /// The field that names it.
    pub field: String,
}
