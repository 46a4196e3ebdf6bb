//! Runs a protocol for real: one loop that selects over a bounded inbox and the earliest alarm.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::future::Future;

use protocols::{Effect, Input, NodeId, Outbox, Protocol, trace as line};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::trace;

use crate::Faults;
use crate::faults::Fate;

/// Inputs that wait for the protocol; whoever brings more waits himself.
const INBOX_LIMIT: usize = 1024;
/// Inputs that are stepped before their effects are performed, so that one sync serves them all.
const BATCH_LIMIT: usize = 256;
/// Messages that a delay holds back; more are lost, as on a wire.
const DELAYED_LIMIT: usize = 65_536;

/// A role's own side of the effects.
pub trait World<P: Protocol> {
    /// Tells a local caller.
    fn notify(&mut self, notice: P::Notice);

    /// Makes records durable before it returns.
    ///
    /// # Errors
    ///
    /// End the process: a protocol that cannot keep its records must not go on.
    fn persist(&mut self, records: Vec<P::Record>) -> impl Future<Output = anyhow::Result<()>>;

    /// Says something to a peer; nobody promises that it arrives.
    fn send(&mut self, to: NodeId, message: P::Message);
}

enum Item<P: Protocol> {
    Input(Input<P>),
    Look(oneshot::Sender<P::View>),
}

/// Where inputs for a protocol are left. Clones share one inbox.
pub struct Inbox<P: Protocol>(mpsc::Sender<Item<P>>);

impl<P: Protocol> Clone for Inbox<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Protocol> Debug for Inbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("room", &self.0.capacity()).finish()
    }
}

impl<P: Protocol> Inbox<P> {
    /// An inbox, and the end of it that [`drive()`] takes from.
    pub fn new() -> (Self, Outlet<P>) {
        let (sender, receiver) = mpsc::channel(INBOX_LIMIT);
        (Self(sender), Outlet(receiver))
    }

    /// Leaves an input, when there is room for it. False when the protocol has ended.
    pub async fn put(&self, input: Input<P>) -> bool {
        self.0.send(Item::Input(input)).await.is_ok()
    }

    /// Leaves an input if there is room at once. False when there is none.
    pub fn try_put(&self, input: Input<P>) -> bool {
        self.0.try_send(Item::Input(input)).is_ok()
    }

    /// What the protocol looks like; nothing when it has ended.
    pub async fn view(&self) -> Option<P::View> {
        let (answer, view) = oneshot::channel();
        self.0.send(Item::Look(answer)).await.ok()?;
        view.await.ok()
    }
}

/// The end of an [`Inbox`] that [`drive()`] takes from.
pub struct Outlet<P: Protocol>(mpsc::Receiver<Item<P>>);

impl<P: Protocol> Debug for Outlet<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

/// Runs a protocol until one of its records cannot be kept, or everyone who could leave an input
/// is gone. At TRACE it writes every input and effect to the target `protocol`, in the simulator's
/// format, as those of `node`.
///
/// # Errors
///
/// When [`World::persist`] fails.
pub async fn drive<P: Protocol, W: World<P>>(
    node: NodeId,
    protocol: P,
    world: W,
    outlet: Outlet<P>,
    faults: Faults,
) -> anyhow::Result<Infallible> {
    let started = Instant::now();
    Driver {
        node,
        protocol,
        world,
        faults,
        started,
        out: Outbox::default(),
        alarms: Alarms { at: BTreeMap::new(), order: BTreeMap::new() },
        delayed: BTreeMap::new(),
        records: Vec::new(),
        pending: Vec::new(),
        ahead: 0,
        sequence: 0,
        trace: tracing::enabled!(target: "protocol", tracing::Level::TRACE),
    }
    .run(outlet)
    .await
}

struct Driver<P: Protocol, W> {
    node: NodeId,
    protocol: P,
    world: W,
    faults: Faults,
    started: Instant,
    out: Outbox<P>,
    alarms: Alarms<P::Timer>,
    delayed: BTreeMap<(Instant, u64), (NodeId, P::Message)>,
    records: Vec<P::Record>,
    pending: Vec<Pending<P>>,
    /// How many of `pending` come before the first of `records`, if there are any.
    ahead: usize,
    sequence: u64,
    trace: bool,
}

impl<P: Protocol, W: World<P>> Driver<P, W> {
    async fn run(mut self, Outlet(mut inbox): Outlet<P>) -> anyhow::Result<Infallible> {
        let mut batch = Vec::with_capacity(BATCH_LIMIT);
        self.step(Input::Start);
        self.ring();
        self.perform().await?;
        loop {
            let next = self.next_alarm();
            let alarm = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                taken = inbox.recv_many(&mut batch, BATCH_LIMIT) => {
                    anyhow::ensure!(taken > 0, "nobody can ask this protocol any more");
                }
                () = alarm => (),
            }
            self.faults.allow().await;
            for item in batch.drain(..) {
                match item {
                    Item::Input(Input::Message(from, message)) => self.arrive(from, message),
                    Item::Input(input) => self.step(input),
                    // An error means that the onlooker did not wait.
                    Item::Look(answer) => {
                        let now = Instant::now() - self.started;
                        drop(answer.send(self.protocol.view_at(now)));
                    }
                }
            }
            self.ring();
            self.perform().await?;
        }
    }

    fn next_alarm(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|(&(at, _), _)| at);
        self.alarms.next().into_iter().chain(delayed).min()
    }

    fn arrive(&mut self, from: NodeId, message: P::Message) {
        match self.faults.of_arrival(from) {
            Fate::Deliver => self.step(Input::Message(from, message)),
            Fate::Delay(wait) if self.delayed.len() < DELAYED_LIMIT => {
                self.sequence += 1;
                self.delayed.insert((Instant::now() + wait, self.sequence), (from, message));
            }
            Fate::Delay(_) | Fate::Lose => (),
        }
    }

    /// Steps whatever is due. The time is read anew for each alarm, so that one which is set for at
    /// once, by an input of this batch or by an alarm before, rings before anything is performed;
    /// a protocol that sets one each time must still let its effects happen.
    fn ring(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.delayed.first_entry().filter(|entry| entry.key().0 <= now) {
            let (from, message) = entry.remove();
            self.step(Input::Message(from, message));
        }
        for _ in 0..BATCH_LIMIT {
            let Some(timer) = self.alarms.take_due(Instant::now()) else { break };
            self.step(Input::Timeout(timer));
        }
    }

    /// Steps one input. Alarms are set at once, so that none rings that a step has disarmed; what
    /// must wait for the records is kept for [`Self::perform`].
    fn step(&mut self, input: Input<P>) {
        let now = Instant::now();
        let since = now - self.started;
        if self.trace {
            trace!(target: "protocol", "{}", line::input(since, self.node, &input));
        }
        self.protocol.step(since, input, &mut self.out);
        for effect in self.out.drain() {
            if self.trace {
                trace!(target: "protocol", "{}", line::effect(since, self.node, &effect));
            }
            match effect {
                Effect::Arm(timer, after) => self.alarms.arm(timer, now + after),
                Effect::Disarm(timer) => self.alarms.disarm(timer),
                Effect::Persist(record) => {
                    if self.records.is_empty() {
                        self.ahead = self.pending.len();
                    }
                    self.records.push(record);
                }
                Effect::Notify(notice) => self.pending.push(Pending::Notify(notice)),
                Effect::Send(to, message) => self.pending.push(Pending::Send(to, message)),
            }
        }
    }

    /// Does what comes before the first record, makes the records of all steps durable with one
    /// sync, then does the rest in its order: persisting earlier is always safe. What a step puts
    /// before its records, peers thus work on during the sync.
    async fn perform(&mut self) -> anyhow::Result<()> {
        if !self.records.is_empty() {
            self.perform_first(self.ahead);
            self.world.persist(std::mem::take(&mut self.records)).await?;
        }
        self.perform_first(self.pending.len());
        Ok(())
    }

    fn perform_first(&mut self, count: usize) {
        for pending in self.pending.drain(..count) {
            match pending {
                Pending::Notify(notice) => self.world.notify(notice),
                Pending::Send(to, message) => {
                    if self.faults.lets_pass(to) {
                        self.world.send(to, message);
                    }
                }
            }
        }
    }
}

/// An effect that waits until its batch is stepped, and for the records that precede it.
enum Pending<P: Protocol> {
    Notify(P::Notice),
    Send(NodeId, P::Message),
}

/// Alarms by name and by time.
struct Alarms<T> {
    at: BTreeMap<T, Instant>,
    order: BTreeMap<(Instant, T), ()>,
}

impl<T: Copy + Ord> Alarms<T> {
    fn arm(&mut self, timer: T, at: Instant) {
        self.disarm(timer);
        self.at.insert(timer, at);
        self.order.insert((at, timer), ());
    }

    fn disarm(&mut self, timer: T) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.order.first_key_value().map(|(&(at, _), ())| at)
    }

    fn take_due(&mut self, now: Instant) -> Option<T> {
        let (&(at, timer), ()) = self.order.first_key_value()?;
        (at <= now).then(|| {
            self.disarm(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_alarm_armed_again_rings_once_at_the_later_time() {
        let mut alarms = Alarms { at: BTreeMap::new(), order: BTreeMap::new() };
        let start = Instant::now();
        alarms.arm("a", start + Duration::from_secs(1));
        alarms.arm("a", start + Duration::from_secs(3));
        alarms.arm("b", start + Duration::from_secs(2));
        assert_eq!(alarms.take_due(start + Duration::from_secs(2)), Some("b"));
        assert_eq!(alarms.take_due(start + Duration::from_secs(2)), None);
        assert_eq!(alarms.take_due(start + Duration::from_secs(3)), Some("a"));
        assert_eq!(alarms.next(), None);
    }

    /// Keeps what it is told, and says so.
    #[derive(Debug, Default)]
    struct Ledger {
        gathered: u32,
    }

    /// What a ledger does with a number.
    #[derive(Debug)]
    enum Asked {
        KeepAndTell(u32),
        SayAndKeep(u32),
        Gather,
        GatherLater,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Timer {
        Flush,
        Later,
    }

    impl Ledger {
        /// Leaves something to be done when everything of the batch is here.
        fn gather(&mut self, out: &mut Outbox<Self>) {
            self.gathered += 1;
            out.persist(0);
            out.arm(Timer::Flush, Duration::ZERO);
        }
    }

    impl Protocol for Ledger {
        type Message = u32;
        type Timer = Timer;
        type Request = Asked;
        type Notice = u32;
        type Record = u32;
        type View = ();

        fn step(&mut self, _: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
            match input {
                Input::Request(Asked::KeepAndTell(number)) => {
                    out.persist(number);
                    out.notify(number);
                }
                Input::Request(Asked::SayAndKeep(number)) => {
                    out.send(NodeId(2), number);
                    out.persist(number);
                }
                Input::Request(Asked::Gather) | Input::Timeout(Timer::Later) => self.gather(out),
                Input::Request(Asked::GatherLater) => {
                    out.arm(Timer::Later, Duration::from_millis(1));
                }
                Input::Timeout(Timer::Flush) => {
                    out.persist(0);
                    out.notify(100 + self.gathered);
                }
                Input::Start | Input::Message(..) | Input::Unreachable(_) => (),
            }
        }

        fn view(&self) {}
    }

    /// What happened, in its order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Seen {
        Synced(usize),
        Told(u32),
        Said(u32),
    }

    struct Disk {
        seen: mpsc::Sender<Seen>,
        full: bool,
    }

    impl World<Ledger> for Disk {
        fn notify(&mut self, notice: u32) {
            self.seen.try_send(Seen::Told(notice)).expect("room");
        }

        async fn persist(&mut self, records: Vec<u32>) -> anyhow::Result<()> {
            anyhow::ensure!(!self.full, "no space left");
            self.seen.try_send(Seen::Synced(records.len())).expect("room");
            Ok(())
        }

        fn send(&mut self, _: NodeId, message: u32) {
            self.seen.try_send(Seen::Said(message)).expect("room");
        }
    }

    /// What happens to requests that wait when the driver begins.
    async fn one_batch(requests: impl IntoIterator<Item = Asked>, full: bool) -> Vec<Seen> {
        let (inbox, outlet) = Inbox::new();
        for request in requests {
            assert!(inbox.put(Input::Request(request)).await);
        }
        // Without anyone who could ask more, the driver ends when it has done all.
        drop(inbox);
        let (seen, mut happened) = mpsc::channel(16);
        let disk = Disk { seen, full };
        let ended = drive(NodeId(1), Ledger::default(), disk, outlet, Faults::default()).await;
        let Err(reason) = ended;
        let expected = if full { "no space left" } else { "nobody can ask this protocol any more" };
        assert_eq!(reason.to_string(), expected);
        let mut all = Vec::new();
        while let Some(one) = happened.recv().await {
            all.push(one);
        }
        all
    }

    #[tokio::test]
    async fn one_sync_serves_a_batch_and_comes_before_every_notice() {
        let seen = one_batch((1..=3).map(Asked::KeepAndTell), false).await;
        assert_eq!(seen, [Seen::Synced(3), Seen::Told(1), Seen::Told(2), Seen::Told(3)]);
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_kept_ends_the_driver_and_nobody_is_told() {
        assert_eq!(one_batch((1..=3).map(Asked::KeepAndTell), true).await, []);
    }

    #[tokio::test]
    async fn what_comes_before_the_first_record_of_a_batch_does_not_wait_for_the_sync() {
        let requests = [Asked::SayAndKeep(1), Asked::KeepAndTell(2), Asked::SayAndKeep(3)];
        let seen = one_batch(requests, false).await;
        assert_eq!(seen, [Seen::Said(1), Seen::Synced(3), Seen::Told(2), Seen::Said(3)]);
        assert_eq!(one_batch([Asked::SayAndKeep(1)], true).await, [Seen::Said(1)]);
    }

    #[tokio::test]
    async fn an_alarm_for_at_once_rings_once_after_all_of_its_batch_and_before_the_sync() {
        let requests = [Asked::Gather, Asked::KeepAndTell(1), Asked::Gather, Asked::Gather];
        let seen = one_batch(requests, false).await;
        assert_eq!(seen, [Seen::Synced(5), Seen::Told(1), Seen::Told(103)]);
    }

    #[tokio::test]
    async fn an_alarm_for_at_once_that_an_alarm_sets_rings_before_the_sync_too() {
        let (inbox, outlet) = Inbox::new();
        assert!(inbox.put(Input::Request(Asked::GatherLater)).await);
        let (seen, mut happened) = mpsc::channel(16);
        let disk = Disk { seen, full: false };
        let first = tokio::time::timeout(Duration::from_secs(10), happened.recv());
        tokio::select! {
            Err(reason) = drive(NodeId(1), Ledger::default(), disk, outlet, Faults::default()) => {
                panic!("{reason}");
            }
            synced = first => assert_eq!(synced, Ok(Some(Seen::Synced(2)))),
        }
    }
}
