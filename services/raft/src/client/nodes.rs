//! The nodes that a client knows: one connection each, who leads, and who does not answer.
//!
//! Nobody is asked while it is known not to answer, so that a dead node costs a call nothing; it
//! is tried again a little later, and each time later up to a limit.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chassis::channel::{Channel, Connector};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::error::Hint;

/// The first pause before a node that could not be reached is tried again.
const SHORTEST_REST: Duration = Duration::from_millis(20);
/// The longest, and at once that of a node that is connected and does not answer.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// The longest of a node that is known from hints alone: its address may mean nothing here.
const LONGEST_REST_OF_HINTED: Duration = Duration::from_secs(10);
/// Silence counts as so many failures to connect.
const SILENCE: u32 = 6;
/// Nodes that hints may add to those that were given.
const NODES_LIMIT: usize = 64;

/// The nodes; who asks shares their connections.
#[derive(Debug)]
pub(crate) struct Nodes {
    connector: Connector,
    /// How long a connection may take.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    leader: Option<usize>,
    /// Whose turn it is when anybody will do.
    next: usize,
    random: StdRng,
}

#[derive(Debug)]
struct Node {
    address: Arc<str>,
    id: Option<u64>,
    /// Whether the user named it; the others are known from hints, and only lead.
    given: bool,
    channel: Arc<OnceCell<Channel>>,
    failures: u32,
    rests_until: Option<Instant>,
    /// Why it rests.
    reason: Arc<str>,
}

/// Whom a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The leader; another only to be told who it is, or to pass the call on.
    Leader,
    /// Any node.
    Anyone,
}

/// A node that is asked.
#[derive(Debug)]
pub(crate) struct Target {
    /// Whether it is to pass the call on, because the leader is known and cannot be reached.
    pub(crate) forward: bool,
    node: usize,
    cell: Arc<OnceCell<Channel>>,
    /// Whether it is known to lead.
    leads: bool,
    /// Whether it did not answer the last time.
    suspect: bool,
}

/// A node that was chosen, with or without a connection.
struct Choice {
    node: usize,
    forward: bool,
    leads: bool,
    suspect: bool,
    address: Arc<str>,
    cell: Arc<OnceCell<Channel>>,
}

impl Nodes {
    pub(crate) fn new(connector: Connector, given: &[Arc<str>], patience: Duration) -> Self {
        let mut random = StdRng::seed_from_u64(chassis::seed());
        let nodes: Vec<_> = given.iter().map(|address| Node::new(address.clone(), true)).collect();
        let next = random.random_range(0..nodes.len().max(1));
        let state = State { nodes, leader: None, next, random };
        Self { connector, patience, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the nodes")
    }

    /// The addresses that the user gave.
    pub(crate) fn given(&self) -> Vec<Arc<str>> {
        let state = self.state();
        state.nodes.iter().filter(|node| node.given).map(|node| node.address.clone()).collect()
    }

    /// A node to ask. Who cannot be reached is passed over.
    ///
    /// # Errors
    ///
    /// Nobody could be reached before the deadline, and why.
    pub(crate) async fn reach(
        &self,
        whom: Whom,
        deadline: Instant,
    ) -> Result<(Channel, Target), String> {
        loop {
            let choice = self.state().choose(whom);
            let choice = match choice {
                Ok(choice) => choice,
                Err((until, reason)) => {
                    sleep_until(until.min(deadline)).await;
                    if until >= deadline {
                        return Err(reason.as_ref().into());
                    }
                    continue;
                }
            };
            match self.connect(choice, deadline).await {
                Ok(target) => return Ok(target),
                Err(reason) if Instant::now() >= deadline => return Err(reason.as_ref().into()),
                Err(_) => (),
            }
        }
    }

    /// The node at this address, whether or not it was given.
    ///
    /// # Errors
    ///
    /// It cannot be reached before the deadline, and why.
    pub(crate) async fn reach_at(
        &self,
        address: &str,
        deadline: Instant,
    ) -> Result<(Channel, Target), String> {
        let known = self.state().find_or_add(address);
        let Some(node) = known else {
            return Err(format!("{address}: more than {NODES_LIMIT} nodes"));
        };
        let choice = {
            let mut state = self.state();
            // Whoever names a node wants it tried, however it was the last time.
            state.nodes[node].rests_until = None;
            state.choice(node, true)
        };
        self.connect(choice, deadline).await.map_err(|reason| reason.as_ref().into())
    }

    /// Callers that want the same node at once share one attempt to connect, and its failure.
    async fn connect(
        &self,
        choice: Choice,
        deadline: Instant,
    ) -> Result<(Channel, Target), Arc<str>> {
        let Choice { node, forward, leads, suspect, address, cell } = choice;
        if let Some(channel) = cell.get() {
            let channel = channel.clone();
            return Ok((channel, Target { forward, node, cell, leads, suspect }));
        }
        let connecting = cell.get_or_try_init(|| async {
            if let Some(reason) = self.state().nodes[node].rests() {
                return Err(reason);
            }
            let connected = self.connector.connect(&address, self.patience).await;
            connected.map_err(|error| self.failed(node, &format!("{error:#}"), 0))
        });
        let channel = match timeout_at(deadline, connecting).await {
            Ok(connected) => connected?.clone(),
            Err(_) => return Err(format!("{address}: no connection in time").into()),
        };
        Ok((channel, Target { forward, node, cell, leads, suspect }))
    }

    /// The node answered; unless it was to pass the call on, it leads.
    pub(crate) fn served(&self, target: &Target) {
        let elected = !target.leads && !target.forward;
        if !elected && !target.suspect {
            return;
        }
        let mut state = self.state();
        if elected {
            state.leader = Some(target.node);
        }
        state.nodes[target.node].recovered();
    }

    /// The node says that it does not lead, and perhaps who does.
    pub(crate) fn follow(&self, target: &Target, hint: Option<&Hint>) {
        let mut state = self.state();
        if state.leader == Some(target.node) {
            state.leader = None;
        }
        let Some(hint) = hint else { return };
        let by_id = |node: &Node| hint.id.is_some() && node.id == hint.id && node.given;
        let known = state.nodes.iter().position(by_id);
        let Some(node) = known.or_else(|| state.find_or_add(&hint.address)) else { return };
        // Of an address that another node had, the latest word counts.
        state.nodes[node].id = hint.id;
        state.leader = (node != target.node).then_some(node);
    }

    /// The node could not carry it out: perhaps another leads.
    pub(crate) fn doubt(&self, target: &Target) {
        self.state().leader.take_if(|_| target.leads || target.forward);
    }

    /// The connection broke.
    pub(crate) fn broken(&self, target: &Target) {
        let mut state = self.state();
        let node = &mut state.nodes[target.node];
        if Arc::ptr_eq(&node.channel, &target.cell) {
            node.channel = Arc::default();
        }
    }

    /// The node cannot be reached any more.
    pub(crate) fn lost(&self, target: &Target, reason: &str) {
        self.failed(target.node, reason, 0);
    }

    /// The node is connected and does not answer.
    pub(crate) fn silent(&self, target: &Target, reason: &str) {
        self.failed(target.node, reason, SILENCE);
    }

    fn failed(&self, node: usize, reason: &str, failures: u32) -> Arc<str> {
        let mut state = self.state();
        let jitter = state.random.random_range(0.5..1.0);
        state.leader.take_if(|leader| *leader == node);
        let node = &mut state.nodes[node];
        node.failures = node.failures.max(failures);
        node.failed(reason, jitter)
    }

    /// The id that the node at this address has.
    pub(crate) fn learn(&self, address: &str, id: u64) {
        let mut state = self.state();
        if let Some(node) = state.nodes.iter_mut().find(|node| *node.address == *address) {
            node.id = Some(id);
        }
    }

    /// The address of a target.
    pub(crate) fn address(&self, target: &Target) -> Arc<str> {
        self.state().nodes[target.node].address.clone()
    }

    /// A time drawn between half of `pause` and the whole of it.
    pub(crate) fn jittered(&self, pause: Duration) -> Duration {
        pause.mul_f64(self.state().random.random_range(0.5..1.0))
    }
}

impl State {
    /// Whom to ask; or when the first of those that rest may be asked, and why it rests.
    fn choose(&mut self, whom: Whom) -> Result<Choice, (Instant, Arc<str>)> {
        let leader = self.leader.filter(|_| whom == Whom::Leader);
        if let Some(leader) = leader.filter(|leader| self.nodes[*leader].rests().is_none()) {
            return Ok(self.choice(leader, false));
        }
        for step in 0..self.nodes.len() {
            let node = (self.next + step) % self.nodes.len();
            if self.nodes[node].given && self.nodes[node].rests().is_none() {
                self.next = node + 1;
                return Ok(self.choice(node, leader.is_some() || whom == Whom::Anyone));
            }
        }
        let resting = self.nodes.iter().filter(|node| node.given);
        let first = resting.min_by_key(|node| node.rests_until).expect("a client has a node");
        let until = first.rests_until.unwrap_or_else(Instant::now);
        Err((until, first.reason.clone()))
    }

    fn choice(&self, node: usize, forward: bool) -> Choice {
        let leads = self.leader == Some(node);
        let Node { address, channel, failures, .. } = &self.nodes[node];
        let (address, cell) = (address.clone(), channel.clone());
        Choice { node, forward, leads, suspect: *failures > 0, address, cell }
    }

    fn find_or_add(&mut self, address: &str) -> Option<usize> {
        let found = self.nodes.iter().position(|node| *node.address == *address);
        let added = self.nodes.iter().filter(|node| !node.given).count();
        if found.is_none() && added < NODES_LIMIT && !address.is_empty() {
            self.nodes.push(Node::new(address.into(), false));
            return Some(self.nodes.len() - 1);
        }
        found
    }
}

impl Node {
    fn new(address: Arc<str>, given: bool) -> Self {
        let reason = Arc::from("");
        let channel = Arc::default();
        Self { address, id: None, given, channel, failures: 0, rests_until: None, reason }
    }

    /// Why it is not to be asked, if it is not.
    fn rests(&self) -> Option<Arc<str>> {
        let until = self.rests_until?;
        (Instant::now() < until).then(|| self.reason.clone())
    }

    fn failed(&mut self, reason: &str, jitter: f64) -> Arc<str> {
        let rest = SHORTEST_REST * 2_u32.pow(self.failures.min(10));
        let longest = if self.given { LONGEST_REST } else { LONGEST_REST_OF_HINTED };
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(Instant::now() + rest.min(longest).mul_f64(jitter));
        self.reason = reason.into();
        self.reason.clone()
    }

    fn recovered(&mut self) {
        self.failures = 0;
        self.rests_until = None;
    }
}
