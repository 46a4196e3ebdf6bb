//! Sessions: what makes a command that a client repeats happen once (dissertation, 6.3).
//!
//! A client numbers its commands, and says up to where it has their answers. The answer to each
//! command after that is kept, so that a repetition finds it. That ends where the limits do: the
//! answers of a client that never says what it has, and the sessions of clients that have fallen
//! silent, are dropped. Whoever comes back to them is told so, and nothing is done.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::pages::Pages;
use super::{
    ANSWER_BYTES_LIMIT, ANSWERS_LIMIT, Answer, Ordinal, SESSION_PATIENCE, SESSIONS_BYTES_LIMIT,
    SESSIONS_LIMIT, SessionId,
};
use crate::Time;

/// What is known of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// When it was last used, by the store's time.
    pub used: Time,
    /// Up to and including this number, its answers are gone.
    pub forgotten: u64,
    /// Answers by the numbers of their commands.
    pub answers: BTreeMap<u64, Answer>,
}

impl Session {
    /// Forgets answers, and tells how many bytes of values they held.
    fn forget(&mut self, through: u64) -> usize {
        self.forgotten = self.forgotten.max(through);
        let mut freed = 0;
        while let Some(first) = self.answers.first_entry()
            && *first.key() <= self.forgotten
        {
            freed += value_bytes(&first.remove());
        }
        freed
    }

    /// Bytes of the values that its answers hold.
    fn bytes(&self) -> usize {
        self.answers.values().map(value_bytes).sum()
    }

    fn keep(&mut self, sequence: u64, answer: Answer) {
        let mut held = 0;
        // Other answers hold nothing that could have come to be too much.
        if value_bytes(&answer) != 0 {
            held = value_bytes(&answer) + self.bytes();
        }
        self.answers.insert(sequence, answer);
        while ANSWERS_LIMIT < self.answers.len()
            || (1 < self.answers.len() && ANSWER_BYTES_LIMIT < held)
        {
            let (sequence, answer) = self.answers.pop_first().expect("it is not empty");
            held = held.saturating_sub(value_bytes(&answer));
            self.forgotten = self.forgotten.max(sequence);
        }
    }
}

/// Bytes of the value that an answer keeps alive.
pub(super) fn value_bytes(answer: &Answer) -> usize {
    if let Answer::Unmet(Some(item)) = answer { item.value.len() } else { 0 }
}

/// Every session that is open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sessions {
    sessions: Pages<SessionId, Arc<Session>>,
    /// The same by when they were last used.
    idle: Pages<(Time, SessionId), ()>,
    /// Bytes of the values that the answers of all hold.
    bytes: usize,
}

impl Sessions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Those after one of them, in order.
    pub(super) fn range(&self, after: Bound<&SessionId>) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.range(after).map(|(_, session)| session)
    }

    /// The last of them.
    pub(super) fn last(&self) -> Option<SessionId> {
        self.sessions.last().map(|(id, _)| *id)
    }

    /// Opens one; if there are as many as there may be, the one that was idle longest is closed.
    pub(super) fn open(&mut self, id: SessionId, time: Time) {
        if SESSIONS_LIMIT <= self.len()
            && let Some(idlest) = self.idlest()
        {
            self.close(idlest);
        }
        self.restore(Session { id, used: time, forgotten: 0, answers: BTreeMap::new() });
    }

    /// Takes up one as it was.
    pub(super) fn restore(&mut self, session: Session) {
        self.bytes += session.bytes();
        self.idle.insert((session.used, session.id), ());
        let before = self.sessions.insert(session.id, Arc::new(session));
        assert!(before.is_none(), "an entry opens one session, and no two have the same index");
    }

    /// Closes one, and tells whether there was such a session.
    pub(super) fn close(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.remove(&id) else { return false };
        self.idle.remove(&(session.used, id));
        self.bytes -= session.bytes();
        true
    }

    /// Closes those that have been idle for too long.
    pub(super) fn expire(&mut self, time: Time) {
        while self.next_deadline().is_some_and(|deadline| deadline <= time)
            && let Some(idlest) = self.idlest()
        {
            self.close(idlest);
        }
    }

    /// When the next one has been idle for too long.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.idle.first().map(|((used, _), ())| used.after(SESSION_PATIENCE))
    }

    /// A command has come: what it is answered if it must not be carried out.
    pub(super) fn recall(&mut self, ordinal: Ordinal, time: Time) -> Option<Answer> {
        let Ordinal { session: id, sequence, acknowledged } = ordinal;
        let Some(session) = self.sessions.get_mut(&id) else { return Some(Answer::NoSession(id)) };
        let session = Arc::make_mut(session);
        if session.used != time {
            self.idle.remove(&(session.used, id));
            self.idle.insert((time, id), ());
            session.used = time;
        }
        self.bytes -= session.forget(acknowledged);
        if sequence <= session.forgotten {
            return Some(Answer::Forgotten);
        }
        session.answers.get(&sequence).cloned()
    }

    /// A command was carried out. Its session may have ended with it. If the answers of all hold
    /// too much, the sessions that were idle longest are closed; this one is not among them.
    pub(super) fn keep(&mut self, ordinal: Ordinal, answer: &Answer) {
        let Some(session) = self.sessions.get_mut(&ordinal.session) else { return };
        let session = Arc::make_mut(session);
        if value_bytes(answer) == 0 && session.answers.len() < ANSWERS_LIMIT {
            session.keep(ordinal.sequence, answer.clone());
            return;
        }
        let before = session.bytes();
        session.keep(ordinal.sequence, answer.clone());
        self.bytes = self.bytes - before + session.bytes();
        while SESSIONS_BYTES_LIMIT < self.bytes
            && let Some(idlest) = self.idlest()
            && idlest != ordinal.session
        {
            self.close(idlest);
        }
    }

    fn idlest(&self) -> Option<SessionId> {
        self.idle.first().map(|((_, id), ())| *id)
    }
}
