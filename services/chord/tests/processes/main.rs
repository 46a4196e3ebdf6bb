//! A registry and nodes as real processes on loopback, killed, restarted and lied to: what was
//! saved is found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../chassis/tests/collector/mod.rs"]
mod collector;
#[path = "../../../chassis/tests/process/mod.rs"]
mod process;

mod bad_input;
mod documents;
mod promises;
mod registry;
mod ring;
mod traces;
