//! A connection to one process, made when it is first needed. One that breaks is made again by the
//! next call: the channel does that itself.

use std::sync::Arc;
use std::time::Duration;

use chassis::channel::{Channel, Connector, Loss, is_address, loss};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tonic::Request;

use super::ask::Ask;
use super::error::{Error, Failure, Verdict};

/// The connection. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    connector: Connector,
    address: Arc<str>,
    /// How long it may take to make it.
    patience: Duration,
    /// Callers that want it at once share one attempt to make it.
    channel: Arc<OnceCell<Channel>>,
}

impl Connection {
    /// A connection to this `host:port`.
    ///
    /// # Errors
    ///
    /// It is not a host and a port.
    pub(crate) fn new(
        connector: Connector,
        address: &str,
        patience: Duration,
    ) -> Result<Self, Error> {
        if !is_address(address) {
            let example = "not a host and port, such as 127.0.0.1:50081";
            return Err(Error::Invalid(format!("{address}: {example}")));
        }
        Ok(Self { connector, address: address.into(), patience, channel: Arc::default() })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Asks once. Who is asked is told how much time there is.
    pub(crate) async fn ask<Q: Ask>(
        &self,
        request: Q,
        deadline: Instant,
    ) -> Result<Q::Answer, Failure> {
        let channel = self.channel(deadline).await?;
        let mut request = Request::new(request);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        match timeout_at(deadline, Q::ask(request, channel)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if loss(&status) != Some(Loss::Late) => {
                Err(Failure::of(&status, &self.address))
            }
            Ok(Err(_)) | Err(_) => {
                let reason = format!("{}: no answer in time", self.address);
                Err(Failure { reason, verdict: Verdict::Doubtful })
            }
        }
    }

    async fn channel(&self, deadline: Instant) -> Result<Channel, Failure> {
        let connect = || self.connector.connect(&self.address, self.patience);
        let reason = match timeout_at(deadline, self.channel.get_or_try_init(connect)).await {
            Ok(Ok(channel)) => return Ok(channel.clone()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("{}: no connection in time", self.address),
        };
        Err(Failure { reason, verdict: Verdict::Undone })
    }
}
