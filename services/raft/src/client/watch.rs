//! A watch that survives the node that serves it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use proto::ensemble::raft::v1 as pb;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, Streaming};

use super::ask::store;
use super::error::{Error, Names, Verdict};
use super::nodes::{Target, Whom};
use super::types::Event;
use super::{Client, Course};

/// A node that serves a watch shows that it lives about every ten seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(25);

/// Every change of the keys with a prefix, in order, each once. When its node fails, it goes on at
/// another, from where it was.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    prefix: Bytes,
    /// Up to this version, everything was told; unset, nobody has said where the watch begins.
    after: Option<u64>,
    serving: Option<(Streaming<pb::WatchResponse>, Target)>,
    /// What was received and not told yet.
    waiting: VecDeque<Event>,
    /// The version that everything received takes into account.
    received: u64,
    /// Whether the node that serves it has said more than its first word.
    fruitful: bool,
}

impl Watch {
    pub(crate) async fn open(
        client: Client,
        prefix: Bytes,
        after: Option<u64>,
    ) -> Result<Self, Error> {
        let received = after.unwrap_or(0);
        let waiting = VecDeque::new();
        let mut watch =
            Self { client, prefix, after, serving: None, waiting, received, fruitful: true };
        watch.connect().await?;
        Ok(watch)
    }

    /// The next change. When it is dropped before it is done, nothing is lost.
    ///
    /// # Errors
    ///
    /// No node could be watched before the deadline: asking again goes on from where it was. Or the
    /// history is gone, because the watch was away for too long: read everything, and watch anew.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            if self.serving.is_none() {
                self.connect().await?;
                continue;
            }
            let (stream, _) = self.serving.as_mut().expect("it was connected");
            match timeout(SILENCE_LIMIT, stream.message()).await {
                Ok(Ok(Some(answer))) => {
                    self.fruitful = true;
                    self.take(answer);
                }
                Ok(Ok(None)) => self.serving = None,
                Ok(Err(status)) => self.part(&status)?,
                Err(_) => {
                    if let Some((_, target)) = self.serving.take() {
                        self.client.nodes.silent(&target, "it does not serve its watch");
                    }
                }
            }
        }
    }

    /// The last version that is taken into account once every event is told that was received: a
    /// watch after it goes on from here.
    pub fn position(&self) -> u64 {
        match self.waiting.front() {
            // An event that waits is not told, nor are the others of its version.
            Some(event) => event.version.saturating_sub(1),
            None => self.received,
        }
    }

    /// Has a node serve it, and waits for its first word.
    async fn connect(&mut self) -> Result<(), Error> {
        let deadline = self.client.until();
        let mut course = Course::default();
        if !self.fruitful {
            // Nodes that begin to serve it and end at once are given time.
            self.client.pause(&mut course, deadline).await;
        }
        loop {
            let reached = self.client.nodes.reach(Whom::Anyone, deadline).await;
            let (channel, target) = reached.map_err(|reason| course.end_with(reason))?;
            let request = pb::WatchRequest { prefix: self.prefix.clone(), after: self.after };
            let first = async {
                let mut stream = store(channel).watch(request).await?.into_inner();
                let first = stream.message().await?;
                Ok::<_, Status>((stream, first))
            };
            let until = deadline.min(Instant::now() + self.client.options.attempt);
            match timeout_at(until, first).await {
                Ok(Ok((stream, Some(first)))) => {
                    self.client.nodes.served(&target);
                    self.fruitful = false;
                    self.serving = Some((stream, target));
                    self.take(first);
                    return Ok(());
                }
                Ok(Ok((_, None))) => course.reason = "the watch ended at once".into(),
                Ok(Err(status)) => {
                    let verdict =
                        self.client.learn(&target, &status, Names::default(), &mut course);
                    finally(verdict)?;
                }
                Err(_) => {
                    self.client.no_answer(&target, until < deadline, &mut course);
                }
            }
            if Instant::now() >= deadline {
                return Err(course.end());
            }
            self.client.pause(&mut course, deadline).await;
        }
    }

    /// Takes what was received. A node that is behind says again what another has said.
    fn take(&mut self, answer: pb::WatchResponse) {
        let after = self.after;
        let is_told = |event: &Event| after.is_some_and(|after| event.version <= after);
        let events = answer.events.into_iter().map(Event::from);
        self.waiting.extend(events.filter(|event| !is_told(event)));
        self.received = self.received.max(answer.applied);
        self.after = Some(self.received);
    }

    /// The node has stopped serving it: another does, unless it would say the same.
    fn part(&mut self, status: &Status) -> Result<(), Error> {
        let Some((_, target)) = self.serving.take() else { return Ok(()) };
        let mut course = Course::default();
        finally(self.client.learn(&target, status, Names::default(), &mut course))
    }
}

/// What no other node would do better.
fn finally(verdict: Verdict) -> Result<(), Error> {
    match verdict {
        // One node may have as many watches as it takes.
        Verdict::Final(Error::Full(_)) => Ok(()),
        Verdict::Final(error) => Err(error),
        Verdict::NotLeader(_)
        | Verdict::Undone
        | Verdict::Busy(_)
        | Verdict::Unconnected
        | Verdict::Broken
        | Verdict::Doubtful => Ok(()),
    }
}
