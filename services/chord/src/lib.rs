//! A hash ring by Chord: its registry, its node and its client.
//!
//! `hashring` decides; this crate gives a node an id and peers to speak to, and gRPC to be asked
//! by.
//!
//! | file | what it holds |
//! |---|---|
//! | [`client`] | how the ring and its registry are asked |
//! | `identity` | where nodes and keys are on the circle: the document's rule and the paper's |
//! | `directory` | what the registry knows: who has which id, and until when |
//! | `role` | the two roles: their settings, how their processes begin and end |
//! | `service` | what they answer, and the links between nodes |
//! | `wire` | between the messages of gRPC and those of the protocol |

pub mod client;
mod directory;
mod identity;
mod role;
mod service;
mod wire;

pub use self::role::{NODE, REGISTRY, ROLES};
