//! Real processes A to F: what a user is promised, and what bad input does to it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../chassis/tests/collector/mod.rs"]
mod collector;
#[path = "../../../chassis/tests/process/mod.rs"]
mod process;

mod bad_input;
mod certificates;
mod cluster;
mod ending;
mod faults;
mod promises;
mod traces;
