//! The client against a cluster without a protocol, in which a test decides what goes wrong.

mod calls;
mod fake;
mod leaders;
mod leases;
#[path = "../../../chassis/tests/server/mod.rs"]
mod server;
mod sessions;
mod watches;

use std::time::Duration;

use chassis::channel::Connector;
use raft::client::{Client, Options};

use crate::fake::{Fake, PATIENCE};

/// A client that has time on a busy machine, and gives one node little of it.
fn patient() -> Options {
    let attempt = Duration::from_millis(300);
    Options { deadline: PATIENCE, attempt, ..Options::default() }
}

/// A client of all nodes.
fn client(fake: &Fake) -> Client {
    client_of(&fake.addresses())
}

/// A client of these nodes.
fn client_of(endpoints: &[String]) -> Client {
    Client::new(Connector::new(None), endpoints, patient()).expect("addresses")
}

/// Waits for a condition.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        assert!(tokio::time::Instant::now() < until, "not in time: {what}");
        look.tick().await;
    }
}
