//! A census: a walk by first successors, once round the ring, which shows that Zave's invariant
//! holds for the nodes on it: one ring, in order. It comes back to the node that began it after
//! exactly one turn, or the ring is not what it should be; then that node has its place looked up
//! anew. A second walk tells all nodes what the first has counted.
//!
//! Whoever has not heard of a census for a while begins one.

use std::time::Duration;

use protocols::{Outbox, Ticket};
use rand::Rng as _;

use crate::{Body, Census, Chord, Event};

/// How many looks after the ring go by between two censuses, at least; twice as many at most.
const CENSUS_TICKS: u32 = 10;

/// What is known of censuses.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// How many nodes the last one counted that came by or came back.
    pub(crate) counted: u64,
    /// Whether the last one that this node began came back as it should.
    pub(crate) on_ring: Option<bool>,
    /// When to begin one.
    due: Option<Duration>,
    /// The one that this node has begun.
    begun: Option<Ticket>,
}

impl Chord {
    /// Begins a census, if it is time.
    pub(crate) fn count(&mut self, out: &mut Outbox<Self>) {
        let due = match self.census.due {
            Some(due) => due,
            None => self.put_census_off(),
        };
        if self.now < due || !self.is_member() {
            return;
        }
        self.put_census_off();
        if self.census.begun.is_some() {
            // The last one has not come back.
            self.census.on_ring = Some(false);
        }
        let ticket = self.ticket();
        self.census.begun = Some(ticket);
        let origin = self.config.me.clone();
        self.walk(Census { origin, ticket, nodes: 0, walked: 0, total: None }, out);
    }

    fn put_census_off(&mut self) -> Duration {
        let period = self.config.stabilise * CENSUS_TICKS;
        let due = self.now + period.mul_f64(self.random.random_range(1.0..2.0));
        self.census.due = Some(due);
        due
    }

    /// On to the first successor.
    fn walk(&mut self, census: Census, out: &mut Outbox<Self>) {
        let successor = self.successor().clone();
        let distance = match self.circle.distance(self.config.me.id, successor.id) {
            0 => self.whole(),
            distance => u128::from(distance),
        };
        let walked = census.walked.saturating_add(distance);
        if self.whole() < walked {
            // The next node is past the one that began it: that one is not on the ring, and hears
            // of a walk that went nowhere.
            let origin = census.origin.clone();
            return self.say(&origin, Body::Census(Census { walked: 0, ..census }), out);
        }
        let census = Census { nodes: census.nodes.saturating_add(1), walked, ..census };
        match successor == self.config.me {
            true => self.on_census(census, out),
            false => self.say(&successor, Body::Census(census), out),
        }
    }

    fn whole(&self) -> u128 {
        1 << self.circle.bits()
    }

    /// A census comes by, or comes back.
    pub(crate) fn on_census(&mut self, census: Census, out: &mut Outbox<Self>) {
        if census.origin == self.config.me {
            return self.came_back(census, out);
        }
        self.put_census_off();
        if let Some(total) = census.total {
            self.census.counted = total;
        }
        self.walk(census, out);
    }

    fn came_back(&mut self, census: Census, out: &mut Outbox<Self>) {
        if self.census.begun != Some(census.ticket) {
            return;
        }
        if census.total.is_some() {
            self.census.begun = None;
            return;
        }
        let right = census.walked == self.whole();
        self.census.on_ring = Some(right);
        if !right {
            self.census.begun = None;
            Self::event(Event::Astray, out);
            return;
        }
        if self.census.counted != census.nodes {
            Self::event(Event::Counted(census.nodes), out);
        }
        self.census.counted = census.nodes;
        let total = Some(census.nodes);
        if self.successor() == &self.config.me {
            self.census.begun = None;
        } else {
            self.walk(Census { nodes: 0, walked: 0, total, ..census }, out);
        }
    }
}
