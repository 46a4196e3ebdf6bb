//! The binary as its user meets it: commands, and topologies of real processes on loopback.

mod chord;
#[path = "../../../chassis/tests/collector/mod.rs"]
mod collector;
mod commands;
mod console;
mod overlay;
mod processes;
mod raft;
#[path = "../../../chassis/tests/server/mod.rs"]
mod server;
mod site;
mod traces;
