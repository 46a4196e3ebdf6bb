//! The binary as its user meets it: commands, and topologies of real processes on loopback.

mod chord;
mod commands;
mod console;
mod overlay;
mod processes;
mod raft;
#[path = "../../../chassis/tests/server/mod.rs"]
mod server;
mod site;
