//! Snapshots: taking them, sending them in pieces, and receiving them (section 5).

use std::collections::{BTreeMap, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use protocols::{NodeId, Outbox};

use crate::log::Log;
use crate::progress::Pace;
use crate::store::{Assembly, Parts};
use crate::{
    Configuration, Index, Message, Notice, Occurrence, Piece, Raft, Record, Refusal, Snapshot, Term,
};

/// Pieces on the way to one member.
const PIECES_LIMIT: usize = 8;
/// The log grows at least to this many bytes before a snapshot is taken.
const LEAST_LOG_BYTES: usize = 4 << 20;
/// The log grows to no more than this many bytes, however large the store is.
const MOST_LOG_BYTES: usize = 64 << 20;
/// This part of the log stays after a snapshot, for members that lag a little.
const KEPT_DIVISOR: usize = 4;

/// A snapshot on its way to a member.
#[derive(Debug)]
pub(crate) struct Shipment {
    pub(crate) last: (Index, Term),
    configuration: Option<Arc<Configuration>>,
    parts: Peekable<Parts>,
    /// The number of the first piece in `window`: the one that the member wants.
    wanted: u64,
    /// Pieces on their way, and whether each is the last.
    window: VecDeque<(Piece, bool)>,
    /// How many pieces of the window have been sent.
    sent: usize,
    /// Whether anything has arrived since the last heartbeat.
    moved: bool,
    /// The member has said since then that it wants a piece that it had: it has begun again.
    begun_again: bool,
}

impl Shipment {
    fn new(snapshot: &Snapshot) -> Self {
        Self {
            last: snapshot.last,
            configuration: Some(snapshot.configuration.clone()),
            parts: snapshot.store.parts().peekable(),
            wanted: 0,
            window: VecDeque::new(),
            sent: 0,
            moved: true,
            begun_again: false,
        }
    }

    /// The member wants this piece next.
    fn land(&mut self, wanted: u64) {
        self.begun_again |= wanted < self.wanted;
        while self.wanted < wanted && self.sent > 0 {
            self.window.pop_front();
            self.sent -= 1;
            self.wanted += 1;
            self.moved = true;
        }
    }

    /// The next message with a piece, if there is room for one.
    fn next(&mut self, term: Term) -> Option<Message> {
        if self.sent == self.window.len() && self.window.len() < PIECES_LIMIT {
            let piece = match self.configuration.take() {
                Some(configuration) => Piece::Configuration(configuration),
                None => Piece::Store(self.parts.next()?),
            };
            let done = self.parts.peek().is_none();
            self.window.push_back((piece, done));
        }
        let (piece, done) = self.window.get(self.sent)?.clone();
        let number = self.wanted + self.sent as u64;
        self.sent += 1;
        Some(Message::InstallSnapshot { term, last: self.last, number, piece, done })
    }
}

/// A snapshot on its way from the leader.
#[derive(Debug)]
pub(crate) struct Arriving {
    last: (Index, Term),
    wanted: u64,
    configuration: Option<Arc<Configuration>>,
    assembly: Assembly,
    /// Pieces that overtook others, and whether each is the last.
    early: BTreeMap<u64, (Piece, bool)>,
}

impl Arriving {
    fn new(last: (Index, Term)) -> Self {
        let (assembly, early) = (Assembly::default(), BTreeMap::new());
        Self { last, wanted: 0, configuration: None, assembly, early }
    }

    /// Takes a piece when its turn comes. True if that was the last one's.
    fn receive(&mut self, number: u64, piece: (Piece, bool)) -> Result<bool, &'static str> {
        if !(self.wanted..self.wanted + PIECES_LIMIT as u64).contains(&number) {
            return Ok(false);
        }
        self.early.insert(number, piece);
        while let Some((piece, done)) = self.early.remove(&self.wanted) {
            self.take(piece)?;
            if done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, piece: Piece) -> Result<(), &'static str> {
        match piece {
            Piece::Configuration(_) if self.wanted > 0 => return Err("the members come first"),
            Piece::Configuration(configuration) => self.configuration = Some(configuration),
            Piece::Store(_) if self.wanted == 0 => return Err("the members come first"),
            Piece::Store(part) => self.assembly.add(part)?,
        }
        self.wanted += 1;
        Ok(())
    }

    fn finish(self) -> Result<Snapshot, &'static str> {
        let configuration = self.configuration.ok_or("it has no members")?;
        Ok(Snapshot { last: self.last, configuration, store: self.assembly.finish()? })
    }
}

impl Raft {
    /// Whether there is anything to take a snapshot of: a server that joins has members only from
    /// the entry on that names them.
    pub(crate) fn may_compact(&self) -> bool {
        self.snapshot < self.applied && !self.configuration_at(self.applied).members.is_empty()
    }

    /// Takes a snapshot when the log has grown enough since the last.
    pub(crate) fn compact_when_due(&mut self, out: &mut Outbox<Self>) {
        let limit = usize::try_from(self.store.counts().bytes / 2).unwrap_or(usize::MAX);
        let limit = limit.clamp(LEAST_LOG_BYTES, MOST_LOG_BYTES).min(self.config.log_bytes);
        if self.log.bytes() > limit && self.may_compact() {
            self.compact(limit / KEPT_DIVISOR, out);
        }
    }

    /// Takes a snapshot, and drops the log before it but for so many bytes.
    pub(crate) fn compact(&mut self, kept: usize, out: &mut Outbox<Self>) {
        let snapshot = self.picture();
        self.snapshot = snapshot.last.0;
        out.persist(Record::Compact(Arc::new(snapshot)));
        out.notify(Notice::Occurred(Occurrence::Compacted(self.snapshot)));
        self.log.compact_to(kept, self.applied);
        self.forget_old_configurations();
    }

    /// The state as it is.
    fn picture(&self) -> Snapshot {
        let term = self.log.term(self.applied).expect("what is applied last is in the log");
        Snapshot {
            last: (self.applied, term),
            configuration: self.configuration_at(self.applied),
            store: self.store.clone(),
        }
    }

    /// Begins to send a snapshot to a member that needs what was dropped.
    pub(crate) fn ship(&mut self, peer: NodeId, out: &mut Outbox<Self>) {
        let shipment = Shipment::new(&self.picture());
        let term = self.term;
        if let Some(progress) = self.progress(peer) {
            progress.pace = Pace::Ship(Box::new(shipment));
        }
        self.ship_on(peer, term, out);
    }

    /// Sends as many pieces as there is room for.
    fn ship_on(&mut self, peer: NodeId, term: Term, out: &mut Outbox<Self>) {
        if let Some(progress) = self.progress(peer)
            && let Pace::Ship(shipment) = &mut progress.pace
        {
            while let Some(message) = shipment.next(term) {
                out.send(peer, message);
            }
        }
    }

    /// A heartbeat is due: if nothing has arrived since the last one, pieces were lost.
    pub(crate) fn ship_again(&mut self, peer: NodeId, out: &mut Outbox<Self>) {
        let term = self.term;
        if let Some(progress) = self.progress(peer)
            && let Pace::Ship(shipment) = &mut progress.pace
        {
            if shipment.moved {
                // What it said before that was late.
                (shipment.moved, shipment.begun_again) = (false, false);
            } else if shipment.begun_again {
                return self.ship(peer, out);
            } else {
                shipment.sent = 0;
            }
        }
        self.ship_on(peer, term, out);
    }

    /// A member says how far a snapshot has come.
    pub(crate) fn on_installing(
        &mut self,
        now: Duration,
        from: NodeId,
        (term, last, wanted): (Term, Index, u64),
        out: &mut Outbox<Self>,
    ) {
        if term > self.term {
            return self.follow(now, term, None, out);
        }
        if term < self.term {
            return;
        }
        if let Some(progress) = self.progress(from) {
            progress.heard = now;
            if let Pace::Ship(shipment) = &mut progress.pace
                && shipment.last.0 == last
            {
                shipment.land(wanted);
            }
        }
        self.ship_on(from, term, out);
    }

    /// The leader sends a piece of a snapshot.
    pub(crate) fn on_install_snapshot(
        &mut self,
        now: Duration,
        from: NodeId,
        (term, last, number): (Term, (Index, Term), u64),
        (piece, done): (Piece, bool),
        out: &mut Outbox<Self>,
    ) {
        if !self.hear_leader(now, from, term, out) {
            return;
        }
        if last.0 <= self.applied {
            let outcome = Ok(self.applied);
            return out.send(from, Message::Appended { term: self.term, round: 0, outcome });
        }
        if self.arriving.as_ref().is_none_or(|arriving| arriving.last != last) {
            self.arriving = Some(Arriving::new(last));
        }
        let arriving = self.arriving.as_mut().expect("it was just made");
        match arriving.receive(number, (piece, done)) {
            Ok(true) => return self.install(from, out),
            Ok(false) => (),
            Err(_) => {
                self.ignored += 1;
                self.arriving = None;
            }
        }
        let wanted = self.arriving.as_ref().map_or(0, |arriving| arriving.wanted);
        out.send(from, Message::Installing { term: self.term, last: last.0, wanted });
    }

    /// The snapshot has arrived.
    fn install(&mut self, from: NodeId, out: &mut Outbox<Self>) {
        let Some(Ok(snapshot)) = self.arriving.take().map(Arriving::finish) else {
            self.ignored += 1;
            return;
        };
        let snapshot = Arc::new(snapshot);
        out.persist(Record::Install(snapshot.clone()));
        let (last, term) = snapshot.last;
        let within = self.waiting.extract_if(.., |(_, index), _| *index <= last);
        for (_, origin) in within.collect::<Vec<_>>() {
            self.refuse(origin, Refusal::Unknown, out);
        }
        self.give_up_before(term, out);
        self.restore(&snapshot);
        out.notify(Notice::Occurred(Occurrence::Installed(snapshot.last.0)));
        out.notify(Notice::Settled(snapshot.configuration.clone()));
        out.notify(Notice::Configured(self.configuration().clone()));
        self.answer_applied(out);
        let outcome = Ok(snapshot.last.0);
        out.send(from, Message::Appended { term: self.term, round: 0, outcome });
    }

    /// Takes the state of a snapshot, and what of the log goes on from it.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) {
        let (index, term) = snapshot.last;
        if self.log.term(index) == Some(term) {
            self.log.compact(index);
        } else if self.log.first() <= index.next() {
            self.log = Log::after(snapshot.last, snapshot.store.time());
            self.configurations.clear();
        }
        self.configurations.retain(|(at, _)| index < *at);
        self.configurations.insert(0, (index, snapshot.configuration.clone()));
        self.store = snapshot.store.clone();
        self.snapshot = index;
        self.applied = index;
        self.commit = self.commit.max(index);
    }
}
