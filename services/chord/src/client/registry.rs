//! The registry: who gives nodes their ids and knows who there is.

use std::time::Duration;

use chassis::channel::Connector;
use hashring::Id;
use proto::ensemble::chord::v1 as pb;
use tokio::time::Instant;

use super::ask::Ask;
use super::connection::Connection;
use super::error::Error;
use super::types::{Info, Neighbours, Registered, peer, peers};
use super::{Options, nonsense};

/// A registry. Every call asks once, and has a deadline; a connection that broke is made again by
/// the next call.
#[derive(Clone, Debug)]
pub struct Registry {
    connection: Connection,
    deadline: Duration,
}

impl Registry {
    /// The registry at this `host:port`. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// It is not a host and a port.
    pub fn new(connector: Connector, address: &str) -> Result<Self, Error> {
        let Options { deadline, connect, .. } = Options::default();
        Ok(Self { connection: Connection::new(connector, address, connect)?, deadline })
    }

    /// The same registry with another deadline for each call.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Where it is, as `host:port`.
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    /// Has it give the node at `address` an id, or, when it has one, go on knowing it. The
    /// incarnation is a random number that the process drew when it began; 0 for one that will
    /// never renew. Doing it twice is no worse than doing it once.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] when the ring is; [`Error::AddressTaken`] and [`Error::IdTaken`] when
    /// another lives there; or it does not answer.
    pub async fn register(
        &self,
        address: &str,
        id: Option<Id>,
        incarnation: u64,
    ) -> Result<Registered, Error> {
        let (address, id) = (address.into(), id.map(|id| id.0));
        let request = pb::RegisterRequest { address, id, incarnation };
        let pb::RegisterResponse { id, bits, error, lease_ms } = self.ask(request).await?;
        let Some(id) = id else { return Err(Error::Full(error)) };
        if !(1..=64).contains(&bits) {
            return Err(nonsense(self.address(), false));
        }
        let lease = (lease_ms > 0).then(|| Duration::from_millis(lease_ms));
        Ok(Registered { id: Id(id), bits, lease })
    }

    /// Has it forget a node.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`] when it knows none with this id; or it does not answer.
    pub async fn deregister(&self, id: Id) -> Result<(), Error> {
        self.ask(pb::DeregisterRequest { id: id.0 }).await.map(drop)
    }

    /// The neighbours of a node by the list of registered ones.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`] when it knows none with this id; or it does not answer.
    pub async fn populate(&self, id: Id) -> Result<Neighbours, Error> {
        let answer = self.ask(pb::PopulateFingerTableRequest { id: id.0 }).await?;
        let predecessor = answer.predecessor.map(peer);
        let predecessor = predecessor.ok_or_else(|| nonsense(self.address(), true))?;
        Ok(Neighbours { predecessor, fingers: peers(answer.fingers) })
    }

    /// All nodes, in order of registration.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn info(&self) -> Result<Info, Error> {
        let answer = self.ask(pb::GetChordInfoRequest {}).await?;
        Ok(Info { nodes: peers(answer.nodes), bits: answer.bits })
    }

    async fn ask<Q: Ask>(&self, request: Q) -> Result<Q::Answer, Error> {
        let answer = self.connection.ask(request, Instant::now() + self.deadline).await;
        answer.map_err(|failure| failure.end(Q::READS))
    }
}
