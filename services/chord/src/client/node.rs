//! One node. It is asked once; nothing is asked of another in its place.

use chassis::channel::Connector;
use hashring::{Mode, Peer};
use proto::ensemble::chord::v1 as pb;
use tokio::time::Instant;

use super::ask::Ask;
use super::connection::Connection;
use super::error::Error;
use super::types::{Done, Fingers, NodeState, Place, peer, peers, state};
use super::{Options, nonsense, request};

/// A node. A connection that broke is made again by the next call.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) connection: Connection,
    options: Options,
}

impl Node {
    /// The node at this `host:port`. It connects when it is first asked.
    ///
    /// # Errors
    ///
    /// It is not a host and a port.
    pub fn new(connector: Connector, address: &str, options: Options) -> Result<Self, Error> {
        let connection = Connection::new(connector, address, options.connect)?;
        Ok(Self { connection, options })
    }

    /// Where it is, as `host:port`.
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    /// Its fingers as the document has them: in their order, without repetitions.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn fingers(&self) -> Result<Fingers, Error> {
        let answer = self.ask(pb::GetFingerTableRequest {}).await?;
        let node = answer.node.map(peer).ok_or_else(|| nonsense(self.address(), true))?;
        Ok(Fingers { node, fingers: peers(answer.fingers) })
    }

    /// Saves a key that holds nothing yet; false if it holds something.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn save(
        &self,
        key: &[u8],
        value: &[u8],
        mode: Option<Mode>,
    ) -> Result<Done<bool>, Error> {
        let answer = self.ask(request::save(key, value, mode)).await?;
        request::saved(answer).ok_or_else(|| nonsense(self.address(), false))
    }

    /// Removes a key; false if it held nothing.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn remove(&self, key: &[u8], mode: Option<Mode>) -> Result<Done<bool>, Error> {
        let answer = self.ask(request::remove(key, mode)).await?;
        request::removed(answer).ok_or_else(|| nonsense(self.address(), false))
    }

    /// What a key holds.
    ///
    /// # Errors
    ///
    /// It does not answer, or nobody does that is responsible.
    pub async fn find(
        &self,
        key: &[u8],
        mode: Option<Mode>,
    ) -> Result<Done<Option<Vec<u8>>>, Error> {
        let answer = self.ask(request::find(key, mode)).await?;
        request::found(answer).ok_or_else(|| nonsense(self.address(), true))
    }

    /// Who is responsible for a place of the circle.
    ///
    /// # Errors
    ///
    /// It does not answer, or nobody does that is responsible.
    pub async fn locate(&self, place: &Place, mode: Option<Mode>) -> Result<Done<()>, Error> {
        let answer = self.ask(request::locate(place, mode)).await?;
        request::located(answer).ok_or_else(|| nonsense(self.address(), true))
    }

    /// Has it leave the ring; the node that has its keys, or nothing if it was alone: then they are
    /// gone.
    ///
    /// # Errors
    ///
    /// Says whether it may be leaving all the same.
    pub async fn quit(&self) -> Result<Option<Peer>, Error> {
        Ok(self.ask(pb::QuitRequest {}).await?.successor.map(peer))
    }

    /// How it sees the ring.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn state(&self) -> Result<NodeState, Error> {
        let answer = self.ask(pb::GetStateRequest {}).await?;
        state(answer).ok_or_else(|| nonsense(self.address(), true))
    }

    async fn ask<Q: Ask>(&self, request: Q) -> Result<Q::Answer, Error> {
        let answer = self.connection.ask(request, Instant::now() + self.options.deadline).await;
        answer.map_err(|failure| failure.end(Q::READS))
    }
}
