//! The two-host leader queue: processes A to F.
//!
//! `protocols::overlay` decides; this crate gives it a file to read its topology from, gRPC to be
//! asked by, links to its neighbours, and the work itself.

pub mod client;
pub mod config;
mod graph;
mod lint;
mod role;
mod service;
pub mod work;

pub use self::graph::graph;
pub use self::lint::lint;
pub use self::role::{LEADER, ROLES, TEAM_LEADER, WORKER};

/// The longest payload, in bytes.
pub const PAYLOAD_LIMIT: usize = 8 << 20;

/// The document's configuration of two hosts.
pub const TWO_HOSTS: &str = include_str!("../two_hosts_config.json");
