//! Leases: keys that end with their owner.

use std::time::Duration;

use proto::ensemble::raft::v1 as pb;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Client;
use super::error::Error;
use super::types::{Lease, LeaseLeft};

/// A lease is kept alive this often in its time to live.
const TIMES: u32 = 3;
/// How long after a failure to keep a lease alive another attempt is made, at the least.
const PAUSE: Duration = Duration::from_millis(50);

impl Client {
    /// Begins a lease that ends after this time, 100 ms to a day, unless it is kept alive.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn grant_lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let request = pb::GrantLeaseRequest { ttl_ms: milliseconds(ttl), ordinal: None, route: 0 };
        let answer = self.lead(request, self.until()).await?;
        Ok(Lease { id: answer.lease, ttl_ms: answer.ttl_ms })
    }

    /// Gives a lease its whole time again.
    ///
    /// # Errors
    ///
    /// It has ended, or no node could do it before the deadline.
    pub async fn keep_lease_alive(&self, lease: u64) -> Result<Lease, Error> {
        let request = pb::KeepLeaseAliveRequest { lease, route: 0 };
        let answer = self.lead(request, self.until()).await?;
        Ok(Lease { id: lease, ttl_ms: answer.ttl_ms })
    }

    /// Ends a lease; how many keys went with it.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn revoke_lease(&self, lease: u64) -> Result<u64, Error> {
        let request = pb::RevokeLeaseRequest { lease, ordinal: None, route: 0 };
        Ok(self.lead(request, self.until()).await?.keys)
    }

    /// What is left of a lease.
    ///
    /// # Errors
    ///
    /// It has ended, or no node could answer before the deadline.
    pub async fn lease(&self, lease: u64) -> Result<LeaseLeft, Error> {
        let request = pb::GetLeaseRequest { lease, route: 0 };
        let answer = self.lead(request, self.until()).await?;
        let pb::GetLeaseResponse { ttl_ms, left_ms, keys } = answer;
        Ok(LeaseLeft { ttl_ms, left_ms, keys })
    }

    /// Keeps a lease alive until the keeper is dropped.
    ///
    /// # Errors
    ///
    /// It has ended, or no node could keep it alive for the first time before the deadline.
    pub async fn keep_lease(&self, lease: u64) -> Result<LeaseKeeper, Error> {
        let asked = Instant::now();
        let lease = self.keep_lease_alive(lease).await?;
        let (tell, state) = watch::channel(LeaseState::Alive);
        let task = tokio::spawn(keep(self.clone(), lease, asked, tell));
        Ok(LeaseKeeper { lease, state, task })
    }
}

/// Keeps a lease alive until it is dropped; then the lease ends by itself.
#[derive(Debug)]
pub struct LeaseKeeper {
    lease: Lease,
    state: watch::Receiver<LeaseState>,
    task: JoinHandle<()>,
}

/// How a lease is that is kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It lives: by this machine's clock its time is not up.
    Alive,
    /// Its time is up by this machine's clock, and no node has said what became of it. Whatever it
    /// guards must be left alone.
    Doubtful,
    /// It has ended.
    Ended,
}

impl LeaseKeeper {
    /// The lease.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// How it is.
    pub fn state(&self) -> LeaseState {
        *self.state.borrow()
    }

    /// Waits until it does not certainly live any more; how it is then.
    pub async fn not_alive(&mut self) -> LeaseState {
        match self.state.wait_for(|state| *state != LeaseState::Alive).await {
            Ok(state) => *state,
            // The task says so before it ends.
            Err(_) => LeaseState::Ended,
        }
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        // An error says that the task has ended, which it does after the lease.
        let _ = self.state.wait_for(|state| *state == LeaseState::Ended).await;
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps a lease alive that was last asked for at `asked`: its time began no earlier.
async fn keep(client: Client, lease: Lease, mut asked: Instant, tell: watch::Sender<LeaseState>) {
    let ttl = Duration::from_millis(lease.ttl_ms);
    let mut next = asked + ttl / TIMES;
    loop {
        sleep_until(next).await;
        let attempt = Instant::now();
        let end = asked + ttl;
        // Past its end it may live on: the store's time stands still without a leader.
        let left = end.saturating_duration_since(attempt).max(ttl / TIMES);
        match client.with_deadline(left).keep_lease_alive(lease.id).await {
            Ok(_) => {
                asked = attempt;
                tell.send_replace(LeaseState::Alive);
                next = asked + ttl / TIMES;
            }
            Err(Error::NoLease(_)) => {
                tell.send_replace(LeaseState::Ended);
                return;
            }
            Err(_) => {
                if Instant::now() >= end {
                    tell.send_replace(LeaseState::Doubtful);
                }
                next = Instant::now() + PAUSE;
            }
        }
    }
}

/// In whole milliseconds, and no less than was asked for.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}
