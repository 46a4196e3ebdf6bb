//! What Raft promises, as far as views show it: they have terms, votes and marks of logs, but no
//! entries. That two logs have the same entries is therefore not checked; that a log is too short
//! for what it must have, is.
//!
//! A view may show what is not yet written: a process that crashes may then have less. So only what
//! two different views of one process showed counts as kept (between them it wrote all of the
//! first). A process that comes back with less than it had kept has another disk, and is another
//! one.

mod terms;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use serde_json::Value;

use self::terms::Terms;
use self::view::View;
use super::Observed;
use super::life::{Lives, is_certain};
use super::reading::clock;
use super::verdict::Verdict;

/// Milliseconds after which nobody's view can be older than what a leader said.
const PATIENCE_MS: u64 = 5_000;

/// What one process showed last.
#[derive(Debug)]
struct Mark {
    view: View,
    at: u64,
    started: Option<u64>,
}

impl Mark {
    /// Whether it is certainly this process that showed it.
    fn is_of(&self, started: Option<u64>) -> bool {
        self.started == started && started.is_some_and(|started| is_certain(started, self.at))
    }
}

/// What a server has written.
#[derive(Clone, Copy, Debug)]
struct Kept {
    term: u64,
    vote: Option<u64>,
    commit: u64,
    at: u64,
    started: Option<u64>,
}

/// A vote that differs from the one before a restart.
#[derive(Debug)]
struct Doubt {
    kept: Kept,
    vote: u64,
    at: u64,
    started: u64,
}

/// What a leader counts on a server to have.
#[derive(Debug)]
struct Counted {
    term: u64,
    /// The process that has it.
    started: u64,
    /// Said so long ago that a view of it must show it.
    settled: u64,
    /// Said later, and when.
    recent: (u64, u64),
}

impl Counted {
    /// What was said last must be in every view by this time.
    fn settle(&mut self, steady: u64) -> bool {
        let settles = self.recent.1.saturating_add(PATIENCE_MS) <= steady;
        if settles {
            self.settled = self.recent.0;
        }
        settles
    }

    /// The leader says it again.
    fn count(&mut self, matched: u64, steady: u64) {
        if matched < self.recent.0 {
            // It counts from the beginning, as for a member that was removed and added.
            (self.settled, self.recent) = (0, (matched, steady));
        } else if self.settle(steady) {
            self.recent = (matched, steady);
        }
    }
}

#[derive(Debug, Default)]
struct Server {
    mark: Option<Mark>,
    kept: Option<Kept>,
    doubt: Option<Doubt>,
    counted: Option<Counted>,
}

/// What is known of the cluster.
#[derive(Debug)]
pub(super) struct Raft {
    servers: BTreeMap<String, Server>,
    terms: Terms,
    one_leader: Verdict,
    one_vote: Verdict,
    forward: Verdict,
    in_order: Verdict,
    leader_has_all: Verdict,
    copies_stay: Verdict,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            servers: BTreeMap::new(),
            terms: Terms::default(),
            one_leader: Verdict::new("raft/one-leader", "At most one node leads in a term"),
            one_vote: Verdict::new(
                "raft/one-vote",
                "A node votes once in a term, and remembers it when it begins anew",
            ),
            forward: Verdict::new(
                "raft/forward",
                "Term, committed and applied never go back while a process runs",
            ),
            in_order: Verdict::new(
                "raft/in-order",
                "In each log: snapshot ≤ applied ≤ committed ≤ last, without a gap after the \
                 snapshot",
            ),
            leader_has_all: Verdict::new(
                "raft/leader-has-all",
                "A leader's log is at least as long as what was committed in earlier terms",
            ),
            copies_stay: Verdict::new(
                "raft/copies-stay",
                "A log is at least as long as its leader counts on, 5 s later",
            ),
        }
    }
}

impl Raft {
    pub(super) fn verdicts(&self) -> [&Verdict; 6] {
        let Self { one_leader, one_vote, forward, in_order, leader_has_all, copies_stay, .. } =
            self;
        [one_leader, one_vote, forward, in_order, leader_has_all, copies_stay]
    }

    pub(super) fn verdicts_mut(&mut self) -> [&mut Verdict; 6] {
        let Self { one_leader, one_vote, forward, in_order, leader_has_all, copies_stay, .. } =
            self;
        [one_leader, one_vote, forward, in_order, leader_has_all, copies_stay]
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.servers.remove(key);
    }

    pub(super) fn reset(&mut self) {
        self.servers.clear();
        self.terms = Terms::default();
    }

    /// A server shows another view. Times: since 1970, and the one that does not leap.
    pub(super) fn see(
        &mut self,
        (at, steady): (u64, u64),
        node: &Observed,
        view: &Value,
        lives: &Lives,
    ) {
        let Some(view) = View::read(view, node.name) else { return };
        let started = node.started;
        let disorder = view.disorder();
        self.in_order
            .judge(at, disorder.map(|wrong| format!("{} at {}: {wrong}", node.key, clock(at))));
        let mut server = self.servers.remove(node.key).unwrap_or_default();
        if let Some(before) = server.mark.take().filter(|mark| mark.is_of(started)) {
            self.compare(at, node.key, &before, &view);
            self.keep(&mut server, &before, &view);
        }
        self.recall(at, &mut server, node, &view);
        self.see_leader(at, node, &view, lives);
        self.see_copies(at, steady, node, &view, &mut server);
        if view.leads {
            self.count_copies((at, steady), &view, lives);
        }
        server.mark = Some(Mark { view, at, started });
        self.servers.insert(node.key.to_owned(), server);
        self.reconsider(at, lives);
    }

    /// Two views of one process, one after the other.
    fn compare(&mut self, at: u64, key: &str, before: &Mark, view: &View) {
        let old = &before.view;
        let marks = [
            ("term", old.term, view.term),
            ("committed", old.commit, view.commit),
            ("applied", old.applied, view.applied),
        ];
        let back = marks.into_iter().filter(|(_, from, to)| to < from);
        let (then, when) = (clock(before.at), clock(at));
        let back = back.map(|(what, from, to)| {
            format!("{key}: {what} {from} at {then}, {to} at {when}, of the same process")
        });
        self.forward.judge(at, back.collect::<Vec<_>>());
        if let Some(vote) = old.vote.filter(|_| old.term == view.term) {
            let other = (view.vote != Some(vote)).then(|| {
                let now = view.vote.map_or("nobody".to_owned(), |vote| vote.to_string());
                format!("{key}: in term {} for {vote} at {then}, for {now} at {when}", old.term)
            });
            self.one_vote.judge(at, other);
        }
    }

    /// A process has shown something after this: it has written what it showed before.
    fn keep(&mut self, server: &mut Server, before: &Mark, view: &View) {
        let Mark { view: old, at, started } = before;
        self.terms.committed(old.term, old.commit.min(view.commit), *at);
        let (term, vote, commit) = (old.term, old.vote, old.commit);
        server.kept = Some(Kept { term, vote, commit, at: *at, started: *started });
    }

    /// What a process shows that another one before it had written.
    fn recall(&mut self, at: u64, server: &mut Server, node: &Observed, view: &View) {
        let Some(kept) = server.kept.filter(|kept| kept.started != node.started) else { return };
        if view.term < kept.term || view.last < kept.commit {
            (server.kept, server.doubt) = (None, None);
            return;
        }
        if view.term > kept.term {
            server.doubt = None;
            return;
        }
        let (Some(before), Some(vote), Some(started)) = (kept.vote, view.vote, node.started) else {
            return;
        };
        if before == vote {
            self.one_vote.judge(at, None);
        } else {
            server.doubt = Some(Doubt { kept, vote, at, started });
        }
    }

    fn see_leader(&mut self, at: u64, node: &Observed, view: &View, lives: &Lives) {
        let (Some(leader), Some(started)) = (view.known_leader(), node.started) else { return };
        self.terms.led(view.term, leader, (at, started), node.key);
        self.one_leader.judge(at, None);
        if !view.leads {
            return;
        }
        let lacking = self.terms.lacking(view.term, view.last, |seen| lives.ties(seen, started));
        self.leader_has_all.judge(
            at,
            lacking.map(|(term, commit, seen)| {
                format!(
                    "{} leads in term {} with a log up to {} at {}; {commit} was committed in term \
                     {term}, at {} at the latest",
                    node.key,
                    view.term,
                    view.last,
                    clock(at),
                    clock(seen)
                )
            }),
        );
    }

    /// A leader says what it counts on others to have.
    fn count_copies(&mut self, (at, steady): (u64, u64), view: &View, lives: &Lives) {
        for &(id, matched) in &view.matched {
            let key = format!("raft/{id}");
            let Some(server) = self.servers.get_mut(&key) else { continue };
            let started = lives.started(&key).filter(|started| is_certain(*started, at));
            let Some(started) = started else { continue };
            let fresh = Counted { term: view.term, started, settled: 0, recent: (matched, steady) };
            match &mut server.counted {
                Some(counted) if (counted.term, counted.started) == (view.term, started) => {
                    counted.count(matched, steady);
                }
                // It does not lead any more.
                Some(counted) if view.term < counted.term => (),
                Some(_) | None => server.counted = Some(fresh),
            }
        }
    }

    /// A server shows what it has.
    fn see_copies(
        &mut self,
        at: u64,
        steady: u64,
        node: &Observed,
        view: &View,
        server: &mut Server,
    ) {
        let Some(counted) = &mut server.counted else { return };
        if counted.term != view.term || Some(counted.started) != node.started || view.leads {
            return;
        }
        counted.settle(steady);
        if counted.settled == 0 {
            return;
        }
        let lacks = (view.last < counted.settled).then(|| {
            format!(
                "{}: the leader of term {} counted on entries up to {}, but the log ends with {} \
                 at {}",
                node.key,
                view.term,
                counted.settled,
                view.last,
                clock(at)
            )
        });
        self.copies_stay.judge(at, lacks);
    }

    /// Looks anew at what lacked a witness.
    pub(super) fn reconsider(&mut self, at: u64, lives: &Lives) {
        for (key, server) in &mut self.servers {
            let certain = |doubt: &mut Doubt| lives.ties(doubt.kept.at, doubt.started);
            let Some(Doubt { kept, vote, at: when, .. }) = server.doubt.take_if(certain) else {
                continue;
            };
            let before = kept.vote.unwrap_or_default();
            let against = format!(
                "{key}: in term {} for {before} at {}, and after it began anew for {vote} at {}",
                kept.term,
                clock(kept.at),
                clock(when)
            );
            self.one_vote.judge(at, Some(against));
        }
        let against = self.terms.contradictions(|seen, began| lives.ties(seen, began));
        for against in against {
            self.one_leader.judge(at, Some(against));
        }
    }
}
