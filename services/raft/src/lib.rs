//! A replicated store by Raft: its node, its storage and its client.
//!
//! `consensus` decides; this crate gives it members to speak to, a directory to remember in, and
//! gRPC to be asked by.

pub mod client;
mod config;
mod role;
mod service;
pub mod storage;
mod wire;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use self::role::{NODE, ROLES};
