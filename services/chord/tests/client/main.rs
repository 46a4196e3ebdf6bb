//! The client against a ring without a protocol, in which a test decides what goes wrong.

mod calls;
mod failover;
mod fake;
mod registry;
#[path = "../../../chassis/tests/server/mod.rs"]
mod server;

use std::time::Duration;

use chassis::channel::Connector;
use chord::client::{Client, Node, Options};

use crate::fake::{Fake, PATIENCE, Who};

/// m, and the ids that the registry of the document gives.
const BITS: u32 = 5;
const IDS: [u64; 6] = [24, 26, 2, 16, 31, 25];

/// Has time on a busy machine, and gives one node little of it.
fn patient() -> Options {
    let attempt = Duration::from_millis(300);
    Options { deadline: PATIENCE, attempt, ..Options::default() }
}

/// The same with less time.
fn within(milliseconds: u64) -> Options {
    Options { deadline: Duration::from_millis(milliseconds), ..patient() }
}

/// A client of these nodes.
fn client_of(endpoints: &[String], options: Options) -> Client {
    Client::new(Connector::new(None), endpoints, options).expect("addresses")
}

/// A client of all nodes.
fn client(fake: &Fake) -> Client {
    client_of(&fake.addresses(), patient())
}

/// What one process serves, asked as a node.
fn node(fake: &Fake, who: Who) -> Node {
    Node::new(Connector::new(None), &fake.address(who), patient()).expect("an address")
}
