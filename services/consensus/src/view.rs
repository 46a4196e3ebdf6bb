//! What an onlooker sees of a server.

use std::collections::BTreeSet;
use std::time::Duration;

use protocols::NodeId;
use serde::Serialize;

use crate::progress::{Pace, Progress};
use crate::store::Counts;
use crate::{Index, Raft, Role, Standing, Term};

/// A silence of less than so many heartbeats is none: they are never quite punctual.
const CALM: u32 = 2;
/// From so many heartbeats on, a silence is told in multiples of that.
const LONG: u32 = 20;

/// What a server looks like from outside. While all is calm it is the same at every look, as far
/// as it is serialized.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// Its name.
    pub id: NodeId,
    /// `follower`, `pre_candidate`, `candidate` or `leader`.
    pub role: &'static str,
    /// Its term.
    pub term: Term,
    /// Who leads, if it knows.
    pub leader: Option<NodeId>,
    /// Who has its vote in this term.
    pub vote: Option<NodeId>,
    /// Who would elect it; nobody unless it is a candidate or would be one.
    pub votes: BTreeSet<NodeId>,
    /// How far its election timer has run; none while it leads.
    pub election: Option<ElectionView>,
    /// The first entry that its log has in memory.
    pub first: Index,
    /// The last entry of its log.
    pub last: Index,
    /// The last entry that it knows to be committed.
    pub commit: Index,
    /// The last entry that it has applied.
    pub applied: Index,
    /// The last entry of its snapshot.
    pub snapshot: Index,
    /// Bytes of its log in memory.
    pub log_bytes: usize,
    /// What its store holds.
    pub store: Counts,
    /// The members by the latest configuration that it has.
    pub members: Vec<MemberView>,
    /// Whether a change of members is under way.
    pub change_pending: bool,
    /// Messages that made no sense.
    pub ignored: u64,
}

/// An election timer: when it has run down, the server stands for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ElectionView {
    /// How long it runs from when it was set.
    pub timeout_ms: u64,
    /// How long it has run, in whole heartbeats; 0 while it is set again and again by those of a
    /// leader.
    pub quiet_ms: u64,
    /// Time between two heartbeats.
    pub heartbeat_ms: u64,
}

/// A member as a server sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberView {
    /// The member.
    pub id: NodeId,
    /// Where it is.
    pub address: String,
    /// What it is for.
    pub standing: Standing,
    /// Up to where its log matches; none unless the server leads.
    pub matched: Option<Index>,
    /// How long nothing was heard of it; none unless the server leads.
    #[serde(skip)]
    pub silent_ms: Option<u64>,
    /// The same for onlookers: in whole heartbeats, and 0 while it answers them.
    #[serde(rename = "silent_ms")]
    pub quiet_ms: Option<u64>,
    /// Whether a snapshot is on its way to it.
    pub snapshot: bool,
}

/// Where a server stands: what costs nothing to look at, for whoever looks after every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Its term.
    pub term: Term,
    /// Whether it leads.
    pub leads: bool,
    /// The first entry that its log has in memory.
    pub first: Index,
    /// The last entry of its log.
    pub last: Index,
    /// The last entry that it has applied.
    pub applied: Index,
    /// Bytes of its log in memory.
    pub log_bytes: usize,
    /// Bytes of its own entries that are not committed.
    pub uncommitted: usize,
    /// Requests that wait for entries, for the leader, and for rounds of questions.
    pub waiting: [usize; 3],
}

impl Raft {
    /// Where it stands.
    pub fn marks(&self) -> Marks {
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let questions = leader.map_or(0, |leader| leader.questions.len());
        let passed_on = self.forwarded.len() + self.reads.count();
        Marks {
            term: self.term,
            leads: leader.is_some(),
            first: self.log.first(),
            last: self.log.last().0,
            applied: self.applied,
            log_bytes: self.log.bytes(),
            uncommitted: leader.map_or(0, |leader| leader.uncommitted),
            waiting: [self.waiting.len(), passed_on, questions],
        }
    }

    /// A silence as onlookers are told of it: in whole heartbeats, so that it changes only when
    /// they fail to come.
    fn quiet_ms(&self, silence: Duration) -> u64 {
        let heartbeat = self.config.heartbeat.max(Duration::from_millis(1));
        let beats = silence.as_nanos() / heartbeat.as_nanos();
        let beats = match u32::try_from(beats).unwrap_or(u32::MAX) {
            ..CALM => 0,
            beats @ CALM..LONG => beats,
            beats => beats - beats % LONG,
        };
        milliseconds(heartbeat.saturating_mul(beats))
    }

    fn election(&self, now: Duration) -> Option<ElectionView> {
        let (set, period) = self.timer;
        let leads = matches!(self.role, Role::Leader(_));
        (!leads).then(|| ElectionView {
            timeout_ms: milliseconds(period),
            quiet_ms: self.quiet_ms(now.saturating_sub(set)),
            heartbeat_ms: milliseconds(self.config.heartbeat),
        })
    }

    fn votes(&self) -> BTreeSet<NodeId> {
        match &self.role {
            Role::PreCandidate(votes) | Role::Candidate(votes) => votes.clone(),
            Role::Follower | Role::Leader(_) => BTreeSet::new(),
        }
    }

    pub(crate) fn look(&self, now: Duration) -> View {
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let mut members = Vec::new();
        for (id, member) in &self.configuration().members {
            let progress = leader.and_then(|leader| leader.progress.get(id));
            let own = leader.filter(|_| *id == self.config.me).map(|leader| leader.flushed);
            let silent = |progress: &Progress| now.saturating_sub(progress.heard);
            let silent = progress.map(silent);
            members.push(MemberView {
                id: *id,
                address: member.address.to_string(),
                standing: member.standing,
                matched: progress.map(|progress| progress.matched).or(own),
                silent_ms: silent.map(milliseconds),
                quiet_ms: silent.map(|silence| self.quiet_ms(silence)),
                snapshot: progress.is_some_and(|of| matches!(of.pace, Pace::Ship(_))),
            });
        }
        View {
            id: self.config.me,
            role: match self.role {
                Role::Follower => "follower",
                Role::PreCandidate(_) => "pre_candidate",
                Role::Candidate(_) => "candidate",
                Role::Leader(_) => "leader",
            },
            term: self.term,
            leader: self.leader,
            vote: self.vote,
            votes: self.votes(),
            election: self.election(now),
            first: self.log.first(),
            last: self.log.last().0,
            commit: self.commit,
            applied: self.applied,
            snapshot: self.snapshot,
            log_bytes: self.log.bytes(),
            store: self.store.counts(),
            members,
            change_pending: self.change_pending(),
            ignored: self.ignored,
        }
    }

    /// The entry at this place of the log in memory, for whoever checks what a cluster did.
    pub fn entry(&self, index: Index) -> Option<&crate::Entry> {
        self.log.get(index).map(|entry| &**entry)
    }

    /// The store, as far as it is applied.
    pub fn store(&self) -> &crate::store::Store {
        &self.store
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use protocols::{Effect, Input, Outbox, Protocol as _};
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::{Config, Configuration, Member, Message, Timer};

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    /// A server, and when its election timer will ring.
    struct Watched {
        raft: Raft,
        rings: Option<Duration>,
    }

    impl Watched {
        /// The first of three, which has just started.
        fn new() -> Self {
            let member = Member { address: "host:1".into(), standing: Standing::Voter };
            let members = [1, 2, 3].map(|id| (NodeId(id), member.clone())).into();
            let founders = Configuration { members };
            let random = StdRng::seed_from_u64(7);
            let raft = Raft::new(Config::of(ME), founders, Vec::new(), random);
            let mut watched = Self { raft, rings: None };
            watched.step(ms(0), Input::Start);
            watched
        }

        fn step(&mut self, now: Duration, input: Input<Raft>) {
            let mut out = Outbox::default();
            self.raft.step(now, input, &mut out);
            for effect in out.drain() {
                match effect {
                    Effect::Arm(Timer::Election, period) => self.rings = Some(now + period),
                    Effect::Disarm(Timer::Election) => self.rings = None,
                    Effect::Arm(..)
                    | Effect::Disarm(_)
                    | Effect::Notify(_)
                    | Effect::Persist(_)
                    | Effect::Send(..) => (),
                }
            }
        }

        /// The other leads, and shows it.
        fn hear(&mut self, now: Duration) {
            let nothing = (Index(0), Term(0));
            let (entries, commit) = (Vec::new(), Index(0));
            let (term, round) = (Term(1), 0);
            let sign = Message::AppendEntries { term, previous: nothing, entries, commit, round };
            self.step(now, Input::Message(OTHER, sign));
        }

        /// It is elected by the other.
        fn win(&mut self, now: Duration) {
            self.step(now, Input::Timeout(Timer::Election));
            for pre in [true, false] {
                let vote = Message::Vote { term: Term(1), granted: true, pre };
                self.step(now, Input::Message(OTHER, vote));
            }
        }

        /// What onlookers are told of the silence of the third.
        fn silence_of_third(&self, now: Duration) -> Option<u64> {
            self.raft.view_at(now).members[2].quiet_ms
        }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_follower_looks_the_same_for_as_long_as_it_hears_its_leader() {
        let mut watched = Watched::new();
        watched.hear(ms(10));
        let calm = watched.raft.view_at(ms(11));
        for beat in 1..100 {
            // Heartbeats come early and late.
            let now = ms(10 + beat * 50 + beat * 7 % 20);
            assert_eq!(watched.raft.view_at(now), calm, "before the heartbeat at {now:?}");
            watched.hear(now);
            assert_eq!(watched.raft.view_at(now), calm, "after it");
        }
    }

    #[test]
    fn the_timer_of_a_follower_runs_from_the_last_heartbeat_until_it_stands() {
        let mut watched = Watched::new();
        watched.hear(ms(10));
        watched.hear(ms(60));
        let rings = watched.rings.expect("it waits");
        let quiet = |now| {
            let election = watched.raft.view_at(now).election.expect("it does not lead");
            assert_eq!(election.timeout_ms, milliseconds(rings - ms(60)), "as the alarm was set");
            election.quiet_ms
        };
        let told = [60, 109, 159, 160, 209, 210, 260].map(|now| quiet(ms(now)));
        assert_eq!(told, [0, 0, 0, 100, 100, 150, 200]);
        watched.step(rings, Input::Timeout(Timer::Election));
        let view = watched.raft.view_at(rings);
        assert_eq!((view.role, view.votes.len()), ("pre_candidate", 1), "it asks, alone as yet");
        let election = view.election.expect("it waits for votes");
        let again = watched.rings.expect("it waits") - rings;
        assert_eq!((election.timeout_ms, election.quiet_ms), (milliseconds(again), 0));
    }

    #[test]
    fn a_leader_has_no_timer_and_tells_of_a_silence_ever_more_coarsely() {
        let mut watched = Watched::new();
        watched.win(ms(200));
        let view = watched.raft.view_at(ms(200));
        assert_eq!((view.role, view.election, view.votes.len()), ("leader", None, 0));
        let told = [299, 300, 349, 350, 1_150, 1_199, 1_200, 2_199, 2_200]
            .map(|now| watched.silence_of_third(ms(now)).expect("it leads"));
        assert_eq!(told, [0, 100, 100, 150, 950, 950, 1_000, 1_000, 2_000]);
    }
}
