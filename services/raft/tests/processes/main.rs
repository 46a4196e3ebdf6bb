//! Real nodes on loopback, killed, paused, restarted and robbed, while clients work: what they are
//! told is one history throughout.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../chassis/tests/collector/mod.rs"]
mod collector;
#[path = "../../../consensus/tests/linear/mod.rs"]
mod linear;
#[path = "../../../chassis/tests/process/mod.rs"]
mod process;

mod bad_input;
mod cluster;
mod load;
mod promises;
mod traces;
