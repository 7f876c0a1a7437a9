//! Every key of both families, served or not.

mod former;
mod nginx;
mod own;

use super::Annotation;

/// Every annotation that Longhaul knows.
pub fn table() -> impl Iterator<Item = &'static Annotation> + Clone {
    [own::ROWS, nginx::ROWS, former::ROWS].into_iter().flatten()
}
