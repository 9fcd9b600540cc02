//! Tests of what the crate shows outside.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod page;
mod reading;
mod speaking;
