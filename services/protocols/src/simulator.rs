//! Drives protocols through a storm: virtual time, one agenda, everything drawn from one seed.
//!
//! ```
//! # use protocols::{NodeId, Protocol, simulator::{Simulator, Weather}};
//! # use std::time::Duration;
//! # fn survives<P: Protocol>(seed: u64, make: fn(NodeId, Vec<P::Record>, u64) -> P) {
//! let mut simulator = Simulator::new(seed, (1..=3).map(NodeId), make);
//! simulator.set_weather(Weather::stormy());
//! while let Some(step) = simulator.step_until(Duration::from_secs(10)) {
//!     // Look at `step.notices`, answer with `simulator.request(..)`, and check what must never
//!     // be false of all `simulator.nodes()`.
//! }
//! simulator.heal();
//! while let Some(step) = simulator.step_until(Duration::from_secs(20)) {
//!     // What was asked must come to an end by then.
//! }
//! # }
//! ```
//!
//! # What it promises
//!
//! The same seed, members, weather and calls give the same run, byte for byte of its
//! [trace](Simulator::trace). The simulator of a test that panics prints its seed and its time.
//!
//! A message may be lost, repeated, slow, and overtaken by later ones; it is never altered, and
//! never comes from somebody who did not send it. It may arrive after its sender's crash, and at
//! a later incarnation of its receiver. A cut works in one direction, on what is sent and on what
//! would arrive while it lasts.
//!
//! A crash falls between two effects of a step: those before are performed, those after never, and
//! alarms, memory and whatever waited are gone. What was persisted before the crash comes back in
//! its order with the next incarnation, together with a seed of its own; nothing else does.
//!
//! Where the weather has slow disks, a record waits for a sync, and so does every later effect but
//! the setting of alarms; the effects before it do not, unless they wait for an earlier record.
//! Meanwhile the node goes on taking steps. Records that wait when a sync begins are durable
//! together when it ends, whereupon what waited for them alone is performed; those that came during
//! the sync share the next one. A crash finds records that no sync has made durable: of these, any
//! number from the first may come back all the same, though nothing after them was performed, and
//! of the one that follows perhaps a part, if [`set_tear`](Simulator::set_tear) says which.
//!
//! A paused node takes nothing and forgets nothing: what arrives and every alarm that is due waits
//! until it resumes, and then comes late, alarms sometimes before what arrived earlier. To its
//! peers it looks like a node that is down, until it comes back with all its beliefs. A sync that
//! would end during the pause ends after it: until then its records may still be lost.
//!
//! A node's `now` begins with its last start and runs as fast as the weather's drift allows.
//!
//! # What it leaves out
//!
//! - Disks that are full or corrupt, lose what they have synced, or keep a later record without an
//!   earlier one. Records are kept for ever: a protocol that compacts them cannot show it here.
//! - The work of a step: it takes no time, so nothing overloads a node, and its inbox has no limit.
//! - The real driver's batches, which persist earlier than this one does and take no input during
//!   a sync: whatever it does, this one does in some run, or something that is less safe.
//! - Bandwidth, the size of messages, and connections: a link never keeps the order of its
//!   messages for their sake, and no message is sent again unless the protocol does it.
//! - Lying or altered messages, clocks that jump, and two incarnations of one node at a time.
//! - Local callers that are remote or go away: a request finds its node or is dropped, and each
//!   notice performed is told.

mod clock;
mod counts;
mod disk;
mod faults;
mod member;
mod weather;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::clock::Clock;
pub use self::counts::Counts;
use self::faults::{Crash, Strike};
use self::member::{Arrival, Incarnation, Member};
pub use self::weather::{Spell, Weather};
use crate::{Effect, Input, NodeId, Outbox, Protocol, trace};

/// No protocol needs so many steps while no time passes: it would never let time pass.
const STEPS_AT_ONCE_LIMIT: u32 = 100_000;

/// A system of nodes that run one protocol, with the network and the misfortunes between them.
pub struct Simulator<P: Protocol> {
    seed: u64,
    random: StdRng,
    now: Duration,
    /// How many steps were taken since time last passed.
    steps_at_once: u32,
    /// The last serial number given out.
    serial: u64,
    /// What will happen, by time and then by serial number.
    agenda: BTreeMap<(Duration, u64), Event<P>>,
    members: BTreeMap<NodeId, Member<P>>,
    make: Box<Make<P>>,
    weather: Weather,
    /// Grows with each change of weather, and so outdates the strikes of the weather before.
    era: u64,
    /// The links that carry nothing, each by the serial number of its cut.
    cuts: BTreeMap<(NodeId, NodeId), u64>,
    counts: Counts,
    tear: Option<Tear<P>>,
    trace: Option<String>,
    /// Kept from step to step for its memory alone.
    outbox: Outbox<P>,
}

/// Makes a node's next incarnation from its name, its records and a seed.
type Make<P> = dyn FnMut(NodeId, Vec<<P as Protocol>::Record>, u64) -> P;

/// What is left of a record that was being written at a crash.
type Tear<P> = fn(&<P as Protocol>::Record, &mut StdRng) -> Option<<P as Protocol>::Record>;

/// What can stand on the agenda.
enum Event<P: Protocol> {
    /// Something comes to this node.
    Arrive(NodeId, Arrival<P>),
    /// This node starts, if nothing changed its fate meanwhile.
    Start(NodeId, u64),
    /// This node's pause ends, if nothing changed its fate meanwhile.
    Resume(NodeId, u64),
    /// The cuts with this serial number end.
    Mend(u64),
    /// A fault strikes, if the weather is still of this era.
    Strike(Strike, u64),
}

/// What one input, or the end of a sync, led to.
#[derive(Debug)]
pub struct Step<P: Protocol> {
    /// The world's time since the simulation began.
    pub now: Duration,
    /// Who took the input, or synced.
    pub node: NodeId,
    /// What its local callers were told, in order.
    pub notices: Vec<P::Notice>,
    /// Whether it crashed thereby; it is down then, and `notices` precede the crash.
    pub crashed: bool,
}

impl<P: Protocol> Simulator<P> {
    /// A system of `members`, all of which start at time zero in calm weather.
    ///
    /// `make` gives a node's next incarnation: it is told the node's name, its records in the
    /// order in which they were persisted (none at its first start), and a seed.
    pub fn new(
        seed: u64,
        members: impl IntoIterator<Item = NodeId>,
        make: impl FnMut(NodeId, Vec<P::Record>, u64) -> P + 'static,
    ) -> Self {
        let mut simulator = Self {
            seed,
            random: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            steps_at_once: 0,
            serial: 0,
            agenda: BTreeMap::new(),
            members: BTreeMap::new(),
            make: Box::new(make),
            weather: Weather::calm(),
            era: 0,
            cuts: BTreeMap::new(),
            counts: Counts::default(),
            tear: None,
            trace: None,
            outbox: Outbox::default(),
        };
        for node in members {
            simulator.start(node);
        }
        simulator
    }

    /// Lets time pass until some node takes an input or ends a sync, and says what came of it.
    ///
    /// None means that nothing will ever happen again. Weather with crashes, cuts or pauses never
    /// ends: there, use [`Self::step_until`].
    pub fn step(&mut self) -> Option<Step<P>> {
        self.next(Duration::MAX)
    }

    /// Like [`Self::step`], up to and including the time `until`; none means that it has come.
    pub fn step_until(&mut self, until: Duration) -> Option<Step<P>> {
        let step = self.next(until);
        if step.is_none() {
            self.pass_to(self.now.max(until));
        }
        step
    }

    /// Takes every step up to and including the time `until`, and shows each to `react`, which may
    /// look at the nodes, ask for more, or do harm.
    pub fn run_until(&mut self, until: Duration, mut react: impl FnMut(&mut Self, Step<P>)) {
        while let Some(step) = self.step_until(until) {
            react(self, step);
        }
    }

    /// Asks `node` at once. A node that is down does not hear it; one that is paused hears it late.
    pub fn request(&mut self, node: NodeId, request: P::Request) {
        self.request_at(self.now, node, request);
    }

    /// Asks `node` at the time `at`, or at once if that has passed.
    pub fn request_at(&mut self, at: Duration, node: NodeId, request: P::Request) {
        self.post(at, Event::Arrive(node, Arrival::Request(request)));
    }

    /// The time since the simulation began.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The generator from which everything is drawn, so that a workload can be drawn from the same
    /// seed.
    pub fn random(&mut self) -> &mut StdRng {
        &mut self.random
    }

    /// How often each thing happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// This node's running incarnation; none while it is down or unknown.
    pub fn node(&self, node: NodeId) -> Option<&P> {
        let incarnation = self.members.get(&node)?.incarnation.as_ref()?;
        Some(&incarnation.protocol)
    }

    /// Every running incarnation, by name; those of paused nodes too.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &P)> {
        self.members.iter().filter_map(|(node, member)| {
            let incarnation = member.incarnation.as_ref()?;
            Some((*node, &incarnation.protocol))
        })
    }

    /// What is durable at this node, in the order in which it was persisted.
    pub fn records(&self, node: NodeId) -> &[P::Record] {
        self.members.get(&node).map_or(&[], |member| &member.records)
    }

    /// Begins a trace; without it nothing is formatted.
    pub fn start_trace(&mut self) {
        self.trace.get_or_insert_default();
    }

    /// The trace since it began or was last taken, one line an input, effect or fault.
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Takes the trace so far, and goes on with an empty one.
    pub fn take_trace(&mut self) -> String {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Does what is next on the agenda, up to and including `until`, until a node takes a step.
    fn next(&mut self, until: Duration) -> Option<Step<P>> {
        loop {
            let entry = self.agenda.first_entry()?;
            let (at, _) = *entry.key();
            if at > until {
                return None;
            }
            let event = entry.remove();
            self.pass_to(at);
            let step = match event {
                Event::Arrive(node, arrival) => self.arrive(node, arrival),
                Event::Start(node, fate) => self.begin(node, fate),
                Event::Resume(node, fate) => self.resume_in(node, fate),
                Event::Mend(serial) => self.mend_all(serial),
                Event::Strike(strike, era) => self.strike(strike, era),
            };
            if step.is_some() {
                return step;
            }
        }
    }

    fn pass_to(&mut self, now: Duration) {
        if self.now < now {
            self.now = now;
            self.steps_at_once = 0;
        }
    }

    /// Turns what came to a node into its input, unless it is out of date or cannot be heard.
    fn arrive(&mut self, node: NodeId, arrival: Arrival<P>) -> Option<Step<P>> {
        let Some(member) = self.members.get_mut(&node) else {
            return self.miss(node, arrival);
        };
        let Some(incarnation) = &mut member.incarnation else {
            return self.miss(node, arrival);
        };
        if let Arrival::Alarm(timer, serial) = &arrival {
            if !incarnation.is_armed(*timer, *serial) {
                return None;
            }
            self.counts.late += u64::from(incarnation.waiting.is_some());
        }
        if let Arrival::Synced(serial) = &arrival
            && !incarnation.disk.is_syncing(*serial)
        {
            return None;
        }
        if let Some(waiting) = &mut incarnation.waiting {
            waiting.push(arrival);
            return None;
        }
        let input = match arrival {
            Arrival::Alarm(timer, _) => {
                incarnation.alarms.remove(&timer);
                Input::Timeout(timer)
            }
            Arrival::Message(from, message, _) if self.cuts.contains_key(&(from, node)) => {
                self.stop(from, node, &message);
                return None;
            }
            Arrival::Message(from, message, serial) => {
                let latest = member.latest.entry(from).or_default();
                self.counts.overtaken += u64::from(serial < *latest);
                *latest = serial.max(*latest);
                self.counts.delivered += 1;
                Input::Message(from, message)
            }
            Arrival::Request(request) => Input::Request(request),
            Arrival::Unreachable(peer) => {
                self.counts.hints += 1;
                Input::Unreachable(peer)
            }
            Arrival::Synced(_) => return Some(self.end_sync(node)),
        };
        Some(self.take(node, input))
    }

    /// Nobody is there to hear it.
    fn miss(&mut self, node: NodeId, arrival: Arrival<P>) -> Option<Step<P>> {
        match arrival {
            Arrival::Message(from, message, _) => {
                self.counts.missed += 1;
                self.note(from, format_args!("in vain to {node} {message:?}"));
                self.hint(from, node);
            }
            Arrival::Request(request) => {
                self.counts.missed += 1;
                self.note(node, format_args!("not there for {request:?}"));
            }
            Arrival::Alarm(..) | Arrival::Unreachable(_) | Arrival::Synced(_) => (),
        }
        None
    }

    /// Makes the next incarnation of a node and lets it start.
    fn begin(&mut self, node: NodeId, fate: u64) -> Option<Step<P>> {
        let member = self.members.get_mut(&node)?;
        if member.fate != fate {
            return None;
        }
        member.fate += 1;
        let records = member.records.clone();
        if 0 < fate {
            self.note(node, format_args!("restarted from {} records", records.len()));
        }
        self.counts.starts += 1;
        let clock = Clock::start(self.now, self.weather.drift_ppm, &mut self.random);
        let seed = self.random.random();
        let protocol = (self.make)(node, records, seed);
        self.member(node).incarnation = Some(Incarnation::new(protocol, clock));
        Some(self.take(node, Input::Start))
    }

    /// Gives a node that is up its input, and performs the effects, or those before its crash.
    fn take(&mut self, node: NodeId, input: Input<P>) -> Step<P> {
        self.steps_at_once += 1;
        assert!(self.steps_at_once < STEPS_AT_ONCE_LIMIT, "{node} lets no time pass: {input:?}");
        self.counts.steps += 1;
        if let Some(trace) = &mut self.trace {
            put(trace, trace::input(self.now, node, &input));
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        let now = self.now;
        let incarnation = self.incarnation(node);
        incarnation.protocol.step(incarnation.clock.read(now), input, &mut outbox);

        let crash = self.crash_within(node, &outbox);
        let whole = outbox.effects.len();
        let kept = crash.map_or(whole, |crash| crash.kept);
        let mut notices = Vec::new();
        for effect in outbox.drain().take(kept) {
            self.perform_or_queue(node, effect, &mut notices);
        }
        self.outbox = outbox;
        self.conclude(node, notices, whole, crash)
    }

    /// Carries out the crash that ended the performing of so many effects; without one, lets the
    /// disk begin what it can.
    fn conclude(
        &mut self,
        node: NodeId,
        notices: Vec<P::Notice>,
        whole: usize,
        crash: Option<Crash>,
    ) -> Step<P> {
        match crash {
            Some(Crash { kept, down }) => {
                self.counts.torn += u64::from(kept < whole);
                self.note(node, format_args!("crashed after {kept} of {whole} effects"));
                self.fall(node, down);
            }
            None => self.begin_sync(node),
        }
        Step { now: self.now, node, notices, crashed: crash.is_some() }
    }

    fn perform(&mut self, node: NodeId, effect: Effect<P>, notices: &mut Vec<P::Notice>) {
        if let Some(trace) = &mut self.trace {
            put(trace, trace::effect(self.now, node, &effect));
        }
        match effect {
            Effect::Arm(timer, after) => {
                let serial = self.next_serial();
                let now = self.now;
                let incarnation = self.incarnation(node);
                incarnation.alarms.insert(timer, serial);
                let due = incarnation.clock.when(now, after);
                self.post(due, Event::Arrive(node, Arrival::Alarm(timer, serial)));
            }
            Effect::Disarm(timer) => {
                self.incarnation(node).alarms.remove(&timer);
            }
            Effect::Notify(notice) => notices.push(notice),
            Effect::Persist(record) => self.member(node).records.push(record),
            Effect::Send(to, message) => self.send(node, to, message),
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: P::Message) {
        self.counts.sent += 1;
        if self.cuts.contains_key(&(from, to)) {
            return self.stop(from, to, &message);
        }
        if self.chance(self.weather.loss) {
            self.counts.lost += 1;
            return self.note(from, format_args!("lost to {to} {message:?}"));
        }
        let serial = self.next_serial();
        if self.chance(self.weather.repetition) {
            self.counts.repeated += 1;
            self.note(from, format_args!("repeated to {to} {message:?}"));
            self.post_travelling(to, Arrival::Message(from, message.clone(), serial));
        }
        self.post_travelling(to, Arrival::Message(from, message, serial));
    }

    /// A cut link stops a message.
    fn stop(&mut self, from: NodeId, to: NodeId, message: &P::Message) {
        self.counts.stopped += 1;
        self.note(from, format_args!("stopped to {to} {message:?}"));
        self.hint(from, to);
    }

    /// May tell `node`, one latency later, that it cannot reach `peer`.
    fn hint(&mut self, node: NodeId, peer: NodeId) {
        if self.chance(self.weather.hint) {
            self.post_travelling(node, Arrival::Unreachable(peer));
        }
    }

    fn post_travelling(&mut self, to: NodeId, arrival: Arrival<P>) {
        let latency = self.weather.travel(&mut self.random);
        self.post_after(latency, Event::Arrive(to, arrival));
    }

    fn post_after(&mut self, after: Duration, event: Event<P>) {
        self.post(self.now.saturating_add(after), event);
    }

    fn post(&mut self, at: Duration, event: Event<P>) {
        let serial = self.next_serial();
        self.agenda.insert((at.max(self.now), serial), event);
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn chance(&mut self, probability: f64) -> bool {
        0.0 < probability && self.random.random_bool(probability)
    }

    fn member(&mut self, node: NodeId) -> &mut Member<P> {
        self.members.get_mut(&node).expect("a member stays one for ever")
    }

    fn incarnation(&mut self, node: NodeId) -> &mut Incarnation<P> {
        self.member(node).incarnation.as_mut().expect("a node that takes a step is up")
    }

    /// Adds a fault to the trace.
    fn note(&mut self, node: NodeId, fault: impl Display) {
        if let Some(trace) = &mut self.trace {
            put(trace, trace::fault(self.now, node, fault));
        }
    }
}

fn put(trace: &mut String, line: impl Display) {
    writeln!(trace, "{line}").expect("a string takes every line");
}

/// A test that fails says how to fail again.
impl<P: Protocol> Drop for Simulator<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulator: seed {} at {:?}", self.seed, self.now);
        }
    }
}
