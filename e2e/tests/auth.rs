//! Authentication: who comes in, who does not, and what the others notice of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod auth {
    mod basic;
    mod external;
    mod secure;
}
