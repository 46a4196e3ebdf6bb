//! Who is whose neighbour, and whom a process therefore asks.

use std::collections::{BTreeMap, BTreeSet};

use super::work::{Detour, Missing, Reason, Team, Teams};
use crate::NodeId;

/// What a process does in the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes requests into its queue and asks the team leaders.
    Leader,
    /// Asks the workers among its neighbours.
    TeamLeader,
    /// Does the work.
    Worker,
}

impl Role {
    /// The document's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::TeamLeader => "team_leader",
            Self::Worker => "worker",
        }
    }
}

/// One process of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name, such as `A`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Its team.
    pub team: Team,
    /// Its neighbours, in the order of the configuration, which is the order of the answer.
    pub neighbours: Vec<NodeId>,
}

/// Every process of an overlay. All members are given the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The processes.
    pub places: BTreeMap<NodeId, Place>,
}

/// Whom a process asks, whom it should ask and cannot, and what it does about that.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whom to ask for which teams, and how many workers serve them there.
    pub asks: Vec<(NodeId, Teams, usize)>,
    /// Who is missing from the start.
    pub missing: Vec<Missing>,
    /// Which teams go another way.
    pub detours: Vec<Detour>,
}

impl Topology {
    /// The process that bears this name.
    pub fn named(&self, name: &str) -> Option<NodeId> {
        self.places.iter().find(|(_, place)| place.name == name).map(|(&id, _)| id)
    }

    /// # Panics
    ///
    /// When `id` is not of this topology.
    pub fn place(&self, id: NodeId) -> &Place {
        self.places.get(&id).expect("a process of this topology")
    }

    /// The teams that a process serves when a client names none: a leader all, others their own.
    pub fn served_by_default(&self, id: NodeId) -> Teams {
        let place = self.place(id);
        if place.role == Role::Leader { Teams::BOTH } else { place.team.into() }
    }

    /// Whether a process can serve a team at all: a worker its own, a team leader those of its
    /// neighbouring workers, a leader all.
    pub fn serves(&self, id: NodeId, team: Team) -> bool {
        let place = self.place(id);
        match place.role {
            Role::Leader => true,
            Role::TeamLeader => place.team == team || self.workers(id, team.into()).count() > 0,
            Role::Worker => place.team == team,
        }
    }

    /// The workers of these teams next to a process.
    fn workers(&self, id: NodeId, teams: Teams) -> impl Iterator<Item = NodeId> + '_ {
        self.place(id).neighbours.iter().copied().filter(move |&next| {
            let place = self.place(next);
            place.role == Role::Worker && teams.contains(place.team)
        })
    }

    /// Whom `me` asks to serve `teams`, when the request has passed `hops` and `alive` tells who
    /// shows signs of life.
    pub fn plan(
        &self,
        me: NodeId,
        teams: Teams,
        hops: &[NodeId],
        detour: bool,
        alive: impl Fn(NodeId) -> bool,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut wanted: BTreeMap<NodeId, Teams> = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for next in self.children(me, teams) {
            if hops.contains(&next) {
                plan.missing.push(Missing { process: next, reason: Reason::Visited, part: None });
            } else if !alive(next) {
                let reason = Reason::Unreachable;
                plan.missing.push(Missing { process: next, reason, part: None });
                lost.insert(next);
            } else {
                wanted.insert(next, self.place(next).team.into());
            }
        }
        if detour {
            self.detour(me, hops, &alive, &lost, &mut wanted, &mut plan);
        }
        for next in &self.place(me).neighbours {
            if let Some(&teams) = wanted.get(next) {
                let workers = self.workers(*next, teams).filter(|id| !hops.contains(id)).count();
                plan.asks.push((*next, teams, workers.max(1)));
            }
        }
        plan
    }

    /// Whom `me` asks when all is well, in the order of its neighbours.
    fn children(&self, me: NodeId, teams: Teams) -> Vec<NodeId> {
        let role = self.place(me).role;
        let asks = |place: &Place| match (role, place.role) {
            (Role::Leader, Role::TeamLeader | Role::Worker) | (Role::TeamLeader, Role::Worker) => {
                teams.contains(place.team)
            }
            (Role::Leader | Role::TeamLeader | Role::Worker, _) => false,
        };
        self.place(me).neighbours.iter().copied().filter(|&id| asks(self.place(id))).collect()
    }

    /// Sends each team whose leaders are all lost another way: through a live team leader that is
    /// next to one of its workers.
    fn detour(
        &self,
        me: NodeId,
        hops: &[NodeId],
        alive: &impl Fn(NodeId) -> bool,
        lost: &BTreeSet<NodeId>,
        wanted: &mut BTreeMap<NodeId, Teams>,
        plan: &mut Plan,
    ) {
        for team in Team::ALL {
            let leads = |id: &NodeId| {
                let place = self.place(*id);
                place.role == Role::TeamLeader && place.team == team
            };
            if wanted.keys().any(leads) || !lost.iter().any(leads) {
                continue;
            }
            let through = self.place(me).neighbours.iter().copied().find(|&next| {
                let can = alive(next) && !hops.contains(&next);
                let leads = self.place(next).role == Role::TeamLeader;
                can && leads && self.workers(next, team.into()).any(|id| !hops.contains(&id))
            });
            let Some(through) = through else { continue };
            wanted.entry(through).or_default().insert(team);
            plan.detours.push(Detour { team, through });
            let mut behind = BTreeSet::new();
            for &leader in lost.iter().filter(|id| leads(id)) {
                behind.extend(self.workers(leader, team.into()));
            }
            for worker in self.workers(through, team.into()) {
                behind.remove(&worker);
            }
            plan.missing.extend(behind.into_iter().map(|process| {
                let visited = hops.contains(&process);
                let reason = if visited { Reason::Visited } else { Reason::Unreachable };
                Missing { process, reason, part: None }
            }));
        }
    }

    /// The document's six processes, A to F as n1 to n6.
    pub fn two_hosts() -> Self {
        let place = |name: &str, role, team, neighbours: &[u64]| Place {
            name: name.into(),
            role,
            team,
            neighbours: neighbours.iter().copied().map(NodeId).collect(),
        };
        let places = [
            place("A", Role::Leader, Team::Green, &[2, 5]),
            place("B", Role::TeamLeader, Team::Green, &[1, 3, 4]),
            place("C", Role::Worker, Team::Green, &[2]),
            place("D", Role::Worker, Team::Pink, &[2, 5]),
            place("E", Role::TeamLeader, Team::Pink, &[1, 6, 4]),
            place("F", Role::Worker, Team::Pink, &[5]),
        ];
        Self { places: (1..).map(NodeId).zip(places).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const E: NodeId = NodeId(5);
    const F: NodeId = NodeId(6);

    #[test]
    fn the_leader_asks_each_team_leader_for_its_own_team() {
        let plan = Topology::two_hosts().plan(A, Teams::BOTH, &[], true, |_| true);
        assert_eq!(plan.asks, [(B, Team::Green.into(), 1), (E, Team::Pink.into(), 2)]);
        assert!(plan.missing.is_empty() && plan.detours.is_empty());
    }

    #[test]
    fn a_team_without_a_leader_is_served_through_the_other_edge() {
        let plan = Topology::two_hosts().plan(A, Teams::BOTH, &[], true, |id| id != E);
        assert_eq!(plan.asks, [(B, Teams::BOTH, 2)]);
        assert_eq!(plan.detours, [Detour { team: Team::Pink, through: B }]);
        let missing: Vec<_> = plan.missing.iter().map(|missing| missing.process).collect();
        assert_eq!(missing, [E, F]);
    }

    #[test]
    fn a_request_that_asks_for_one_team_can_take_the_detour_alone() {
        let plan = Topology::two_hosts().plan(A, Team::Pink.into(), &[], true, |id| id != E);
        assert_eq!(plan.asks, [(B, Team::Pink.into(), 1)]);
    }

    #[test]
    fn a_team_whose_leader_lives_takes_no_detour() {
        let plan = Topology::two_hosts().plan(A, Team::Pink.into(), &[E], true, |_| true);
        let missing = Missing { process: E, reason: Reason::Visited, part: None };
        assert_eq!(plan, Plan { missing: vec![missing], ..Plan::default() });
    }

    #[test]
    fn nobody_is_asked_twice() {
        let plan = Topology::two_hosts().plan(A, Teams::BOTH, &[B, E], true, |_| true);
        assert!(plan.asks.is_empty());
        assert!(plan.missing.iter().all(|missing| missing.reason == Reason::Visited));
    }
}
