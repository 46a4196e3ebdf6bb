//! Clients: loops that each ask, wait for the answer, and ask again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::asker::{Asker, Work};
use super::cluster::Kind;
use crate::load::Tally;

/// The keys that are asked about: so many that two clients seldom meet at one.
pub(super) const KEYS: u64 = 10_000;
/// Clients that put keys which are only there to be read, or to fill memory.
const FILLERS: usize = 64;
const FILL_DEADLINE: Duration = Duration::from_secs(300);

/// The clients of a cluster, by the connections that they share.
#[derive(Debug)]
pub(super) struct Clients(Vec<Asker>);

impl Clients {
    /// Makes so many connections to each of these nodes.
    pub(super) async fn connect(
        kind: Kind,
        addresses: &[SocketAddr],
        connections: usize,
    ) -> anyhow::Result<Self> {
        let mut askers = Vec::new();
        for &address in addresses.iter().cycle().take(connections * addresses.len()) {
            askers.push(Asker::connect(kind, address).await?);
        }
        Ok(Self(askers))
    }

    /// So many clients ask for so long about keys at random. What is answered later is waited for,
    /// but not counted.
    pub(super) async fn ask(
        &self,
        work: Work,
        clients: usize,
        length: Duration,
    ) -> anyhow::Result<Tally> {
        let until = Instant::now() + length;
        let mut loops = JoinSet::new();
        for client in 0..clients {
            let keys = scattered(client as u64);
            loops.spawn(client_loop(self.0.clone(), client, work, keys, Some(until)));
        }
        Tally::of(loops, length).await
    }

    /// Puts so many keys, each once.
    pub(super) async fn fill(&self, keys: u64) -> anyhow::Result<()> {
        let mut loops = JoinSet::new();
        for client in 0..FILLERS {
            let keys = (client as u64..keys).step_by(FILLERS);
            loops.spawn(client_loop(self.0.clone(), client, Work::Put, keys, None));
        }
        let tally = Tally::of(loops, FILL_DEADLINE).await?;
        let reason = tally.failure.unwrap_or_default();
        ensure!(tally.failed == 0, "{} of {keys} puts failed: {reason}", tally.failed);
        Ok(())
    }
}

/// The key of a number: 16 bytes.
pub(super) fn key(number: u64) -> Bytes {
    format!("key-{number:012}").into()
}

/// Keys at random, the same in every run.
fn scattered(seed: u64) -> impl Iterator<Item = u64> {
    // Steele, Lea and Flood's SplitMix: each client walks from a place of its own.
    let places = (1_u64..).map(move |step| (seed << 32 | step).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    places.map(|place| {
        let mixed = (place ^ place >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % KEYS
    })
}

/// One client: asks about these keys, by its connections in turn.
async fn client_loop(
    mut askers: Vec<Asker>,
    client: usize,
    work: Work,
    keys: impl Iterator<Item = u64>,
    until: Option<Instant>,
) -> Tally {
    let mut tally = Tally::default();
    let connections = askers.len();
    for (turn, number) in keys.enumerate() {
        let asked = Instant::now();
        let outcome = askers[(client + turn) % connections].ask(work, key(number)).await;
        let answered = Instant::now();
        if until.is_some_and(|until| answered >= until) {
            break;
        }
        match outcome {
            Ok(()) => tally.answer(answered - asked),
            Err(status) => tally.fail(status).await,
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_16_bytes_and_scattered_over_all() {
        assert_eq!(key(KEYS).len(), 16);
        let some: BTreeSet<u64> = scattered(7).take(1000).collect();
        assert!(some.len() > 900, "{} of 1,000 are distinct", some.len());
        assert!(some.iter().all(|&number| number < KEYS));
        assert!(some.first() < Some(&100) && some.last() > Some(&(KEYS - 100)));
        assert!(!scattered(7).take(100).eq(scattered(8).take(100)));
    }
}
