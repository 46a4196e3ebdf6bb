//! The binary as its user meets it: commands, and topologies of real processes on loopback.

mod chord;
mod commands;
mod overlay;
mod processes;
mod raft;
mod site;
