//! What breaks, by hand or by the weather, and what is whole again.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::member::{Arrival, Doom, Incarnation, Member, Moment};
use super::{Event, Simulator, Spell, Step, Weather};
use crate::{Effect, NodeId, Outbox, Protocol};

/// The faults that the weather brings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Strike {
    Crash,
    Cut,
    Pause,
}

/// A crash in the step at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    /// How many of the step's effects are performed.
    pub(super) kept: usize,
    /// How long until the reboot; none if somebody else will see to it.
    pub(super) down: Option<Duration>,
}

/// What happens to nodes, links and the weather by hand. Naming a node that does not exist does
/// nothing.
impl<P: Protocol> Simulator<P> {
    /// Changes the weather from here on. What the weather before had begun still ends when it
    /// would have: its cuts are mended, its pauses end, and its crashed nodes reboot.
    ///
    /// # Panics
    ///
    /// If the weather makes no sense: no probability, an empty latency, faults without time
    /// between them.
    pub fn set_weather(&mut self, weather: Weather) {
        weather.assert_sound();
        self.weather = weather;
        self.era += 1;
        for incarnation in self.members.values_mut().flat_map(|member| &mut member.incarnation) {
            incarnation.doom.take_if(|doom| doom.down.is_some());
        }
        self.await_strike(Strike::Crash);
        self.await_strike(Strike::Cut);
        self.await_strike(Strike::Pause);
    }

    /// Begins the time in which what is pending must come to its end: no more loss, cuts, pauses
    /// and crashes, and whoever is down starts. Latency, repetition, drift and slow disks stay.
    pub fn heal(&mut self) {
        self.set_weather(self.weather.healed());
        self.mend_every_cut();
        for node in self.members() {
            if let Some(incarnation) = self.live(node) {
                incarnation.doom = None;
            }
            self.resume(node);
            self.start(node);
        }
    }

    /// Starts a node that is down, or one that was never there, at once.
    pub fn start(&mut self, node: NodeId) {
        let member = self.members.entry(node).or_insert_with(Member::unborn);
        if member.incarnation.is_none() {
            let fate = member.fate;
            self.post(self.now, Event::Start(node, fate));
        }
    }

    /// Crashes a node at once, after all that it did so far. It stays down until it is started or
    /// all is healed.
    pub fn crash(&mut self, node: NodeId) {
        if self.is_up(node) {
            self.note(node, "crashed");
            self.fall(node, None);
        }
    }

    /// Crashes a node in its next step, after `kept` effects of it or all of them if there are
    /// fewer; those that wait for the disk by then are lost. It stays down until it is started or
    /// all is healed.
    pub fn crash_after(&mut self, node: NodeId, kept: usize) {
        if let Some(incarnation) = self.live(node) {
            incarnation.doom = Some(Doom { moment: Moment::After(kept), down: None });
        }
    }

    /// Pauses a node, as SIGSTOP does.
    pub fn pause(&mut self, node: NodeId) {
        if let Some(incarnation) = self.live(node)
            && incarnation.waiting.is_none()
        {
            incarnation.waiting = Some(Vec::new());
            self.member(node).fate += 1;
            self.counts.pauses += 1;
            self.note(node, "paused");
        }
    }

    /// Ends a node's pause: all that waited comes to it at once.
    pub fn resume(&mut self, node: NodeId) {
        let Some(incarnation) = self.live(node) else {
            return;
        };
        let Some(mut waiting) = incarnation.waiting.take() else {
            return;
        };
        self.member(node).fate += 1;
        self.note(node, format_args!("resumed, {} waited", waiting.len()));
        // Nobody knows what a process that wakes looks at first, its clock or its inbox.
        if self.random.random() {
            waiting.sort_by_key(|arrival| !is_alarm(arrival));
        }
        for arrival in waiting {
            self.post(self.now, Event::Arrive(node, arrival));
        }
    }

    /// Cuts the link from one node to another: nothing arrives. The other direction stays.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        let serial = self.next_serial();
        self.sever(from, to, serial);
    }

    /// Mends the link from one node to another.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        if self.cuts.remove(&(from, to)).is_some() {
            self.note(from, format_args!("link to {to} mended"));
        }
    }

    /// Cuts every link, in both directions, between `group` and all other nodes.
    pub fn partition(&mut self, group: impl IntoIterator<Item = NodeId>) {
        let group = group.into_iter().collect();
        let serial = self.next_serial();
        self.sever_group(&group, serial);
    }

    /// Mends every link.
    pub fn mend_every_cut(&mut self) {
        for (from, to) in self.cuts.keys().copied().collect::<Vec<_>>() {
            self.mend(from, to);
        }
    }

    /// Whether a node runs; one that is paused does.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.node(node).is_some()
    }

    /// Whether a node is paused.
    pub fn is_paused(&self, node: NodeId) -> bool {
        let incarnation = self.members.get(&node).and_then(|member| member.incarnation.as_ref());
        incarnation.is_some_and(|incarnation| incarnation.waiting.is_some())
    }

    /// Whether the link from one node to another is cut.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.contains_key(&(from, to))
    }
}

/// What the agenda asks for.
impl<P: Protocol> Simulator<P> {
    pub(super) fn resume_in(&mut self, node: NodeId, fate: u64) -> Option<Step<P>> {
        if self.member(node).fate == fate {
            self.resume(node);
        }
        None
    }

    pub(super) fn mend_all(&mut self, serial: u64) -> Option<Step<P>> {
        let mended = self.cuts.extract_if(.., |_, cut| *cut == serial).collect::<Vec<_>>();
        for ((from, to), _) in mended {
            self.note(from, format_args!("link to {to} mended"));
        }
        None
    }

    pub(super) fn strike(&mut self, strike: Strike, era: u64) -> Option<Step<P>> {
        if era == self.era
            && let Some(spell) = self.spell(strike)
        {
            self.await_strike(strike);
            let lasting = spell.draw_lasting(&mut self.random);
            match strike {
                Strike::Crash => self.strike_crash(lasting),
                Strike::Cut => self.strike_cut(lasting),
                Strike::Pause => self.strike_pause(lasting),
            }
        }
        None
    }

    /// Whether the step whose effects are in `outbox` is the node's last, and how far it gets.
    pub(super) fn crash_within(&mut self, node: NodeId, outbox: &Outbox<P>) -> Option<Crash> {
        let Doom { moment, down } = self.live(node)?.doom?;
        let effects = &outbox.effects;
        let kept = match moment {
            Moment::After(kept) => kept.min(effects.len()),
            Moment::Persisting if !effects.iter().any(is_persist) => return None,
            // What follows a record is performed when its sync ends: half of the crashes are there.
            Moment::Persisting if self.weather.has_slow_disks() && self.random.random() => {
                self.incarnation(node).doom = Some(Doom { moment: Moment::Synced, down });
                return None;
            }
            Moment::Synced => return None,
            Moment::Any | Moment::Persisting => self.random.random_range(0..=effects.len()),
        };
        Some(Crash { kept, down })
    }

    /// Ends a node's incarnation, and may tell its peers.
    pub(super) fn fall(&mut self, node: NodeId, down: Option<Duration>) {
        self.counts.crashes += 1;
        let member = self.member(node);
        member.fate += 1;
        let fate = member.fate;
        if let Some(fallen) = member.incarnation.take() {
            self.spare(node, fallen.disk);
            for arrival in fallen.waiting.unwrap_or_default() {
                self.miss(node, arrival);
            }
        }
        if let Some(down) = down {
            self.post_after(down, Event::Start(node, fate));
        }
        for peer in self.up() {
            self.hint(peer, node);
        }
    }

    fn await_strike(&mut self, strike: Strike) {
        if let Some(spell) = self.spell(strike) {
            let between = spell.draw_between(&mut self.random);
            self.post_after(between, Event::Strike(strike, self.era));
        }
    }

    fn spell(&self, strike: Strike) -> Option<Spell> {
        match strike {
            Strike::Crash => self.weather.crashes,
            Strike::Cut => self.weather.cuts,
            Strike::Pause => self.weather.pauses,
        }
    }

    /// Dooms a random node. A step that persists is where a protocol is most likely wrong, so
    /// every other crash waits for one; a node struck again meanwhile falls at its next step.
    fn strike_crash(&mut self, down: Duration) {
        let Some(node) = self.up().choose(&mut self.random).copied() else {
            return;
        };
        let patient = self.random.random();
        let Some(incarnation) = self.live(node) else {
            return;
        };
        let moment = match incarnation.doom {
            None if patient => Moment::Persisting,
            None => Moment::Any,
            Some(Doom { down: None, .. }) => return,
            Some(Doom { down: Some(_), .. }) => Moment::Any,
        };
        incarnation.doom = Some(Doom { moment, down: Some(down) });
    }

    /// Cuts a random link in one direction, or a random group off in both.
    fn strike_cut(&mut self, lasting: Duration) {
        let serial = self.next_serial();
        let members = self.members();
        if self.random.random() {
            let mut ends = members.choose_multiple(&mut self.random, 2).copied();
            if let (Some(from), Some(to)) = (ends.next(), ends.next()) {
                self.sever(from, to, serial);
            }
        } else {
            let group = members.into_iter().filter(|_| self.random.random()).collect();
            self.sever_group(&group, serial);
        }
        self.post_after(lasting, Event::Mend(serial));
    }

    fn strike_pause(&mut self, lasting: Duration) {
        let awake: Vec<_> = self.up().into_iter().filter(|node| !self.is_paused(*node)).collect();
        let Some(node) = awake.choose(&mut self.random).copied() else {
            return;
        };
        self.pause(node);
        let fate = self.member(node).fate;
        self.post_after(lasting, Event::Resume(node, fate));
    }

    fn sever_group(&mut self, group: &BTreeSet<NodeId>, serial: u64) {
        let (inside, outside): (Vec<_>, Vec<_>) =
            self.members().into_iter().partition(|node| group.contains(node));
        for inner in inside {
            for outer in &outside {
                self.sever(inner, *outer, serial);
                self.sever(*outer, inner, serial);
            }
        }
    }

    /// Cuts a link, unless it is cut: who cut it first says for how long.
    fn sever(&mut self, from: NodeId, to: NodeId, serial: u64) {
        if !self.is_cut(from, to) {
            self.cuts.insert((from, to), serial);
            self.counts.cuts += 1;
            self.note(from, format_args!("link to {to} cut"));
            self.hint(from, to);
        }
    }

    fn live(&mut self, node: NodeId) -> Option<&mut Incarnation<P>> {
        self.members.get_mut(&node)?.incarnation.as_mut()
    }

    fn members(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    fn up(&self) -> Vec<NodeId> {
        self.nodes().map(|(node, _)| node).collect()
    }
}

fn is_alarm<P: Protocol>(arrival: &Arrival<P>) -> bool {
    matches!(arrival, Arrival::Alarm(..))
}

fn is_persist<P: Protocol>(effect: &Effect<P>) -> bool {
    matches!(effect, Effect::Persist(_))
}
