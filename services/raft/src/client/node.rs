//! One node, asked about itself: nothing is passed on to another, and nothing repeated.

use std::future::Future;
use std::sync::Arc;

use chassis::channel::{Channel, reason};
use proto::ensemble::raft::v1 as pb;
use proto::ensemble::raft::v1::raft_service_client::RaftServiceClient;
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use super::ask::{ANSWER_LIMIT, cluster};
use super::error::{Error, Names, Verdict, judge};
use super::types::{Leader, NodeStatus};
use super::{Client, Course};

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    client: Client,
    address: Arc<str>,
}

impl Node {
    pub(crate) fn new(client: Client, address: Arc<str>) -> Self {
        Self { client, address }
    }

    /// Where it is, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its state.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        let ask = |channel| async {
            cluster(channel)
                .max_decoding_message_size(ANSWER_LIMIT)
                .get_status(pb::GetStatusRequest {})
                .await
        };
        let status = NodeStatus::from(self.ask(ask, true).await?);
        self.client.nodes.learn(&self.address, status.id);
        Ok(status)
    }

    /// Who leads by its word; during an election, whom it votes for.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        let ask = |channel| async { raft(channel).get_leader(pb::GetLeaderRequest {}).await };
        let pb::GetLeaderResponse { id, address } = self.ask(ask, true).await?;
        Ok(id.map(|id| Leader { id, address }))
    }

    /// Makes it play dead for so many seconds.
    ///
    /// # Errors
    ///
    /// It was not started to be tormented, or does not answer.
    pub async fn suspend(&self, seconds: u32) -> Result<(), Error> {
        let request = pb::SuspendRequest { period: seconds };
        self.ask(|channel| async { raft(channel).suspend(request).await }, false).await.map(drop)
    }

    /// Takes a snapshot and drops the log before it; the last entry that the snapshot contains.
    ///
    /// # Errors
    ///
    /// It could not, or does not answer.
    pub async fn snapshot(&self) -> Result<u64, Error> {
        let ask =
            |channel| async { cluster(channel).take_snapshot(pb::TakeSnapshotRequest {}).await };
        Ok(self.ask(ask, false).await?.last_index)
    }

    /// Sets a key through this node, as the document does it; whether the key has the value.
    ///
    /// # Errors
    ///
    /// It could not, or does not answer: then it may have been done.
    pub async fn set_value(&self, key: &str, value: &str) -> Result<bool, Error> {
        let request = pb::SetValRequest { key: key.into(), value: value.into() };
        let ask = |channel| async { raft(channel).set_val(request).await };
        Ok(self.ask(ask, false).await?.success)
    }

    /// Reads a key through this node, as the document does it.
    ///
    /// # Errors
    ///
    /// It could not, or does not answer.
    pub async fn value(&self, key: &str) -> Result<Option<String>, Error> {
        let request = pb::GetValRequest { key: key.into() };
        let answer = self.ask(|channel| async { raft(channel).get_val(request).await }, true);
        let pb::GetValResponse { success, value } = answer.await?;
        Ok(success.then_some(value))
    }

    /// Asks once.
    async fn ask<A, F>(&self, ask: impl FnOnce(Channel) -> F, reads: bool) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = self.client.until();
        let reached = self.client.nodes.reach_at(&self.address, deadline).await;
        let (channel, target) = reached.map_err(Error::Unavailable)?;
        let mut course = Course::default();
        let verdict = match timeout_at(deadline, ask(channel)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => {
                let verdict = judge(&status, Names::default());
                course.reason = format!("{}: {}", self.address, reason(&status));
                if matches!(verdict, Verdict::Broken | Verdict::Unconnected) {
                    self.client.nodes.broken(&target);
                }
                verdict
            }
            Err(_) => {
                course.reason = format!("{}: no answer in time", self.address);
                Verdict::Doubtful
            }
        };
        course.doubt = !reads && matches!(verdict, Verdict::Broken | Verdict::Doubtful);
        match verdict {
            Verdict::Final(error) => Err(error),
            Verdict::NotLeader(_)
            | Verdict::Undone
            | Verdict::Busy(_)
            | Verdict::Unconnected
            | Verdict::Broken
            | Verdict::Doubtful => Err(course.end()),
        }
    }
}

impl Client {
    /// Asks every node in turn; who leads, if one knows.
    ///
    /// # Errors
    ///
    /// No node answers, and why the last one does not.
    pub(crate) async fn ask_who_leads(&self, deadline: Instant) -> Result<Option<Leader>, String> {
        let mut silent = None;
        let mut answered = false;
        for address in self.endpoints() {
            let left = deadline.saturating_duration_since(Instant::now());
            let client = self.with_deadline(left.min(self.options.attempt));
            match Node::new(client, address).leader().await {
                Ok(Some(leader)) => return Ok(Some(leader)),
                Ok(None) => answered = true,
                Err(error) => silent = Some(error.to_string()),
            }
        }
        if answered { Ok(None) } else { Err(silent.unwrap_or_default()) }
    }
}

fn raft(channel: Channel) -> RaftServiceClient<Channel> {
    RaftServiceClient::new(channel).max_decoding_message_size(ANSWER_LIMIT)
}
