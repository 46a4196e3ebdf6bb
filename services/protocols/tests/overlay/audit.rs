//! What must be true of every answer, whatever happened on its way.

use std::collections::{BTreeMap, BTreeSet};

use protocols::NodeId;
use protocols::overlay::{
    Operation, Part, Range, Reason, Report, Role, Task, Team, Topology, WordCount,
};

use crate::requests::{count, value};

/// Stops the test unless this is an honest answer of `me` to a task that had passed `hops`.
pub(crate) fn audit(
    topology: &Topology,
    me: NodeId,
    task: &Task,
    hops: &[NodeId],
    report: &Report,
) {
    if hops.contains(&me) {
        let part = (task.operation != Operation::Process).then(|| task.part.range());
        let missing = report.missing.iter().map(|missing| (missing.process, missing.reason));
        assert!(missing.eq([(me, Reason::Visited)]) && report.missing[0].part == part);
        assert!(report.visits.is_empty() && report.text.is_empty() && report.pieces.is_empty());
        return;
    }
    Audit { topology, me, task, hops, report }.everything();
}

struct Audit<'a> {
    topology: &'a Topology,
    me: NodeId,
    task: &'a Task,
    hops: &'a [NodeId],
    report: &'a Report,
}

impl Audit<'_> {
    fn everything(&self) {
        self.the_visits_are_a_tree();
        self.nobody_is_both_there_and_missing();
        self.nobody_is_silently_absent();
        self.detours_go_round_the_dead();
        match self.task.operation {
            Operation::Process => self.the_text_names_the_visits(),
            Operation::WordCount | Operation::Digest => self.the_parts_are_the_whole(),
        }
    }

    fn the_visits_are_a_tree(&self) {
        let mut passed = BTreeSet::new();
        for (index, visit) in self.report.visits.iter().enumerate() {
            assert!(!self.hops.contains(&visit.process), "{} had been passed", visit.process);
            assert!(passed.insert(visit.process), "{} is visited twice", visit.process);
            assert!(visit.queued <= visit.total, "the queue is part of the time");
            if index == 0 {
                assert_eq!((visit.process, visit.asked_by), (self.me, self.hops.last().copied()));
            } else {
                let by = visit.asked_by.expect("somebody asked");
                assert!(passed.contains(&by), "{by} asks after it was asked");
                assert!(self.topology.place(by).neighbours.contains(&visit.process));
            }
            let works = self.topology.place(visit.process).role == Role::Worker;
            assert_eq!(visit.part.is_some(), works, "workers work, and nobody else");
        }
    }

    fn visited(&self) -> BTreeSet<NodeId> {
        self.report.visits.iter().map(|visit| visit.process).collect()
    }

    fn missing(&self) -> BTreeSet<NodeId> {
        self.report.missing.iter().map(|missing| missing.process).collect()
    }

    fn nobody_is_both_there_and_missing(&self) {
        let missing = self.missing();
        assert_eq!(missing.len(), self.report.missing.len(), "nobody is missing twice");
        assert!(missing.is_disjoint(&self.visited()), "nobody is both there and missing");
        for missing in &self.report.missing {
            let visited = self.hops.contains(&missing.process);
            assert_eq!(missing.reason == Reason::Visited, visited, "{missing:?}");
        }
    }

    /// Whoever should take part did, or is missing, or only somebody missing could have asked it.
    fn nobody_is_silently_absent(&self) {
        let (visited, missing) = (self.visited(), self.missing());
        for (process, askers) in self.expected() {
            let named = visited.contains(&process) || missing.contains(&process);
            let behind = !askers.is_empty() && askers.iter().all(|by| !visited.contains(by));
            assert!(
                named || behind || self.may_be_idle(),
                "{process} is silently absent: {:?}",
                self.report
            );
        }
    }

    /// Whether the grain is so coarse for the payload that a share of it can be empty: whoever
    /// would have that share is not asked.
    fn may_be_idle(&self) -> bool {
        let bytes = &self.task.part.bytes;
        let grain = match self.task.operation {
            Operation::Process => return false,
            Operation::WordCount => {
                let words = bytes.split(u8::is_ascii_whitespace);
                words.map(|word| word.len() + 2).max().unwrap_or_default() * 6
            }
            Operation::Digest => Part::DIGEST_GRAIN as usize * 4,
        };
        !bytes.is_empty() && bytes.len() < grain
    }

    /// Who should take part, and by whom each could be asked.
    fn expected(&self) -> BTreeMap<NodeId, Vec<NodeId>> {
        let detour = |team: Team| {
            let detours = self.report.detours.iter();
            detours.filter(move |detour| detour.team == team).map(|detour| detour.through)
        };
        let mut expected = BTreeMap::from([(self.me, Vec::new())]);
        for team in self.task.teams.iter() {
            let mut leaders = vec![self.me];
            if self.topology.place(self.me).role == Role::Leader {
                leaders = self.next(self.me, Role::TeamLeader, team).collect();
                expected.extend(leaders.iter().map(|&leader| (leader, vec![self.me])));
            }
            for leader in leaders {
                for worker in self.next(leader, Role::Worker, team) {
                    let reaches =
                        |by: &NodeId| self.topology.place(*by).neighbours.contains(&worker);
                    let mut askers: Vec<_> = detour(team).filter(reaches).collect();
                    // Whom a detour cannot reach must be named.
                    if detour(team).next().is_none() {
                        askers.push(leader);
                    }
                    let askers = if askers.is_empty() { vec![self.me] } else { askers };
                    expected.insert(worker, askers);
                }
            }
        }
        expected
    }

    fn next(&self, of: NodeId, role: Role, team: Team) -> impl Iterator<Item = NodeId> {
        let place = move |id: &NodeId| self.topology.place(*id);
        let fits = move |id: &NodeId| place(id).role == role && place(id).team == team;
        self.topology.place(of).neighbours.iter().copied().filter(fits)
    }

    fn detours_go_round_the_dead(&self) {
        for detour in &self.report.detours {
            assert!(self.task.detour, "a detour is allowed");
            let missing = self.report.missing.iter().find(|missing| {
                let place = self.topology.place(missing.process);
                place.role == Role::TeamLeader && place.team == detour.team
            });
            let reason = missing.expect("the team's leader is missing").reason;
            assert_eq!(reason, Reason::Unreachable, "only the dead are gone round");
            let through = detour.through;
            assert!(self.visited().contains(&through) || self.missing().contains(&through));
        }
        for visit in self.report.visits.iter().skip(1) {
            let place = self.topology.place(visit.process);
            let by = visit.asked_by.map(|by| self.topology.place(by));
            if let Some(by) = by.filter(|by| by.role == Role::TeamLeader && by.team != place.team)
                && self.topology.place(self.me).role == Role::Leader
            {
                let named = |through| self.topology.place(through).name == by.name;
                let mut detours = self.report.detours.iter();
                let honest = detours.any(|it| it.team == place.team && named(it.through));
                assert!(honest, "{} is asked by {}, and nobody says so", place.name, by.name);
            }
        }
    }

    fn the_text_names_the_visits(&self) {
        let parts = self.report.missing.iter().any(|missing| missing.part.is_some());
        assert!(!parts && self.report.count == WordCount::default());
        assert!(self.report.pieces.is_empty());
        let text = self.text(self.me).unwrap_or_default();
        assert_eq!(self.report.text, text, "the text follows the visits");
    }

    fn text(&self, process: NodeId) -> Option<String> {
        if !self.visited().contains(&process) {
            return None;
        }
        let place = self.topology.place(process);
        let asked = self.report.visits.iter().filter(|visit| visit.asked_by == Some(process));
        let mut shares: Vec<_> = asked.filter_map(|visit| self.text(visit.process)).collect();
        let done = format!("{}-processed", place.name);
        Some(match place.role {
            Role::Worker => done,
            Role::TeamLeader => {
                shares.push(done);
                format!("{}|{}", place.name, shares.join(";"))
            }
            Role::Leader => format!("{}|{}", place.name, shares.join(";")),
        })
    }

    /// What was worked on and what is missing are the payload, and nothing is there twice.
    fn the_parts_are_the_whole(&self) {
        assert!(self.report.text.is_empty());
        let done: Vec<_> = self.report.visits.iter().filter_map(|visit| visit.part).collect();
        let missing = self.report.missing.iter().filter_map(|missing| missing.part);
        let mut parts: Vec<_> = done.iter().copied().chain(missing).collect();
        parts.sort_by_key(|part| (part.offset, part.length));
        let whole = self.task.part.range();
        let mut at = whole.offset;
        for part in parts {
            assert_eq!(part.offset, at, "parts follow each other: {:?}", self.report);
            at += part.length;
        }
        assert_eq!(at, whole.offset + whole.length, "no part is lost: {:?}", self.report);
        if self.task.operation == Operation::WordCount {
            assert!(self.report.pieces.is_empty());
            let counts = done.iter().map(|part| count(self.bytes(*part)));
            let sum = counts.fold(WordCount::default(), |sum, count| WordCount {
                lines: sum.lines + count.lines,
                words: sum.words + count.words,
                bytes: sum.bytes + count.bytes,
            });
            assert_eq!(self.report.count, sum, "the sum of the parts");
            if self.report.missing.iter().all(|missing| missing.part.is_none()) {
                assert_eq!(sum, count(&self.task.part.bytes), "no word is cut in two");
            }
        } else {
            assert_eq!(self.report.count, WordCount::default());
            self.the_pieces_are_the_parts(&done);
        }
    }

    fn the_pieces_are_the_parts(&self, done: &[Range]) {
        let mut pieces = self.report.pieces.iter();
        for part in done {
            let (mut at, end) = (part.offset, part.offset + part.length);
            for piece in pieces.by_ref() {
                assert_eq!(piece.range.offset, at, "pieces follow each other");
                assert_eq!(piece.value, value(piece.range, self.bytes(piece.range)));
                at += piece.range.length;
                if at == end {
                    break;
                }
            }
            assert_eq!(at, end, "a part is made of its pieces");
        }
        assert!(pieces.next().is_none(), "no piece without a part");
        let offsets = self.report.pieces.iter().map(|piece| piece.range.offset);
        assert!(offsets.is_sorted(), "pieces are in the order of their offsets");
    }

    fn bytes(&self, part: Range) -> &[u8] {
        let start = usize::try_from(part.offset - self.task.part.offset).expect("a small payload");
        let length = usize::try_from(part.length).expect("a small payload");
        &self.task.part.bytes[start..start + length]
    }
}
