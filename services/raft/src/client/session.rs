//! A session: its commands are numbered, so that one that is sent again is not carried out again
//! (section 6.3 of Ongaro's dissertation).

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use consensus::store::ANSWERS_LIMIT;
use proto::ensemble::raft::v1 as pb;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout_at};

use super::ask::Ask;
use super::error::Error;
use super::types::{Condition, Lease, Outcome, Put, Written};
use super::{Client, always};

/// Commands from the oldest that has no answer to the newest: as many answers as the store keeps of
/// one session, so that none is forgotten before it is known.
const WINDOW: usize = ANSWERS_LIMIT;

/// A session. It takes many commands at once, each of which is carried out once at most however
/// often it had to be sent; their order is that in which they reach the leader.
///
/// It lives while it is used at least once an hour. When the store has closed it, every command
/// fails with [`Error::NoSession`]: it never opens another by itself, because what became of
/// commands without an answer could not be known then.
#[derive(Debug)]
pub struct Session {
    client: Client,
    id: OnceCell<u64>,
    numbers: Mutex<Numbers>,
    /// The window has moved.
    moved: Notify,
}

/// Which commands are on their way.
#[derive(Debug, Default)]
struct Numbers {
    /// Up to and including this number, every command has its answer or was given up.
    acknowledged: u64,
    /// Whether each of those after it has.
    answered: VecDeque<bool>,
    /// Whether the session is known to be closed.
    closed: bool,
}

/// A command on its way; when it is dropped, nobody will ask again for its answer.
struct Numbered<'a> {
    session: &'a Session,
    ordinal: pb::Ordinal,
}

impl Session {
    pub(crate) fn new(client: Client) -> Self {
        let numbers = Mutex::default();
        Self { client, id: OnceCell::new(), numbers, moved: Notify::new() }
    }

    /// Opens it, if it is not open; its name.
    ///
    /// # Errors
    ///
    /// No node could open it before the deadline.
    pub async fn open(&self) -> Result<u64, Error> {
        self.open_until(self.client.until()).await
    }

    /// Sets a key, whatever it has.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Written, Error> {
        always(self.put_if(Put::new(key, value)).await?)
    }

    /// Sets a key as the [`Put`] says.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn put_if(&self, put: Put) -> Result<Outcome, Error> {
        let mut request = pb::PutRequest::from(put);
        let deadline = self.client.until();
        let numbered = self.number(deadline).await?;
        request.ordinal = Some(numbered.ordinal);
        Ok(self.call(request, deadline).await?.into())
    }

    /// Sets a key if the condition holds.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn compare_and_set(
        &self,
        key: impl Into<Bytes>,
        expected: Condition,
        value: impl Into<Bytes>,
    ) -> Result<Outcome, Error> {
        self.put_if(Put::new(key, value).when(expected)).await
    }

    /// Removes a key, if there is one.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Written, Error> {
        always(self.delete_if(key, Condition::Always).await?)
    }

    /// Removes a key if the condition holds.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn delete_if(
        &self,
        key: impl Into<Bytes>,
        condition: Condition,
    ) -> Result<Outcome, Error> {
        let (key, condition) = (key.into(), condition.into());
        let deadline = self.client.until();
        let numbered = self.number(deadline).await?;
        let ordinal = Some(numbered.ordinal);
        let request = pb::DeleteRequest { key, condition, ordinal, route: 0 };
        Ok(self.call(request, deadline).await?.into())
    }

    /// Begins a lease.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn grant_lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let deadline = self.client.until();
        let numbered = self.number(deadline).await?;
        let ordinal = Some(numbered.ordinal);
        let ttl_ms = super::leases::milliseconds(ttl);
        let request = pb::GrantLeaseRequest { ttl_ms, ordinal, route: 0 };
        let pb::GrantLeaseResponse { lease, ttl_ms } = self.call(request, deadline).await?;
        Ok(Lease { id: lease, ttl_ms })
    }

    /// Ends a lease; how many keys went with it.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn revoke_lease(&self, lease: u64) -> Result<u64, Error> {
        let deadline = self.client.until();
        let numbered = self.number(deadline).await?;
        let ordinal = Some(numbered.ordinal);
        let request = pb::RevokeLeaseRequest { lease, ordinal, route: 0 };
        Ok(self.call(request, deadline).await?.keys)
    }

    /// Closes it, if it was opened. Commands that are on their way may fail.
    ///
    /// # Errors
    ///
    /// No node could close it; it ends by itself when it has not been used for an hour.
    pub async fn close(&self) -> Result<(), Error> {
        if std::mem::replace(&mut self.numbers().closed, true) {
            return Ok(());
        }
        self.moved.notify_waiters();
        let Some(session) = self.id.get() else { return Ok(()) };
        let request = pb::CloseSessionRequest { session: *session, route: 0 };
        match self.client.lead(request, self.client.until()).await {
            Ok(_) | Err(Error::NoSession(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().expect("nobody panics while holding the numbers")
    }

    async fn open_until(&self, deadline: Instant) -> Result<u64, Error> {
        let open = || async {
            let request = pb::OpenSessionRequest { route: 0 };
            Ok(self.client.lead(request, deadline).await?.session)
        };
        // To open another is no harm: the doubt is only about a session that nobody uses.
        let opened = self.id.get_or_try_init(open).await;
        match opened {
            Err(Error::Unknown(reason)) => Err(Error::Unavailable(reason)),
            opened => opened.copied(),
        }
    }

    /// Gives a command its number, once the window has room for it.
    async fn number(&self, deadline: Instant) -> Result<Numbered<'_>, Error> {
        let session = self.open_until(deadline).await?;
        loop {
            if let Some(numbered) = self.try_number(session)? {
                return Ok(numbered);
            }
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            // It may have moved before it was listened for.
            if let Some(numbered) = self.try_number(session)? {
                return Ok(numbered);
            }
            if timeout_at(deadline, moved).await.is_err() {
                let reason = "an earlier command of the session has no answer yet".into();
                return Err(Error::Unavailable(reason));
            }
        }
    }

    fn try_number(&self, session: u64) -> Result<Option<Numbered<'_>>, Error> {
        let mut numbers = self.numbers();
        if numbers.closed {
            return Err(Error::NoSession(session));
        }
        let Some(sequence) = numbers.take() else { return Ok(None) };
        let acknowledged = numbers.acknowledged;
        let ordinal = pb::Ordinal { session, sequence, acknowledged };
        Ok(Some(Numbered { session: self, ordinal }))
    }

    async fn call<Q: Ask>(&self, request: Q, deadline: Instant) -> Result<Q::Answer, Error> {
        let answer = self.client.lead(request, deadline).await;
        if let Err(Error::NoSession(_)) = &answer {
            self.numbers().closed = true;
        }
        answer
    }
}

impl Numbers {
    /// The next number, if the window has room.
    fn take(&mut self) -> Option<u64> {
        if self.answered.len() == WINDOW {
            return None;
        }
        self.answered.push_back(false);
        Some(self.acknowledged + self.answered.len() as u64)
    }

    /// The command with this number has its answer or was given up; how far the window moves.
    fn answer(&mut self, sequence: u64) -> usize {
        let place = usize::try_from(sequence - self.acknowledged - 1).expect("in the window");
        self.answered[place] = true;
        let moved = self.answered.iter().take_while(|answered| **answered).count();
        self.answered.drain(..moved);
        self.acknowledged += moved as u64;
        moved
    }
}

impl Drop for Numbered<'_> {
    fn drop(&mut self) {
        let moved = self.session.numbers().answer(self.ordinal.sequence);
        for _ in 0..moved {
            self.session.moved.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_ends_before_the_oldest_without_an_answer() {
        let mut numbers = Numbers::default();
        assert_eq!([numbers.take(), numbers.take(), numbers.take()], [Some(1), Some(2), Some(3)]);
        assert_eq!((numbers.answer(2), numbers.acknowledged), (0, 0));
        assert_eq!((numbers.answer(1), numbers.acknowledged), (2, 2));
        assert_eq!(numbers.take(), Some(4));
        assert_eq!((numbers.answer(4), numbers.acknowledged), (0, 2));
        assert_eq!((numbers.answer(3), numbers.acknowledged), (2, 4));
    }

    #[test]
    fn no_more_commands_are_on_their_way_than_answers_are_kept() {
        let mut numbers = Numbers::default();
        let taken = std::iter::from_fn(|| numbers.take()).count();
        assert_eq!(taken, ANSWERS_LIMIT);
        assert_eq!(numbers.answer(2), 0, "the oldest has no answer");
        assert_eq!(numbers.take(), None);
        assert_eq!(numbers.answer(1), 2);
        assert_eq!(numbers.take(), Some(1 + ANSWERS_LIMIT as u64));
    }
}
