//! How the store is spoken to.
//!
//! A [`Client`] knows some nodes, finds the one that leads, and follows when another does. It
//! repeats what is safe to repeat until one deadline, and tells of everything else whether it may
//! have been carried out: a write without a [`Session`] is never asked twice unless it is certain
//! that nothing was done.
//!
//! It starts no task: a call is a future, and nothing happens when nobody waits for it. Only a
//! [`LeaseKeeper`] has a task of its own.

mod ask;
mod error;
mod leases;
mod node;
mod nodes;
mod range;
mod session;
mod types;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::channel::{Connector, is_address, reason};
use proto::ensemble::raft::v1 as pb;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;

use self::ask::Ask;
use self::error::{Names, Verdict, judge};
use self::nodes::{Nodes, Target, Whom};

pub use consensus::store::{KEY_LIMIT, VALUE_LIMIT};

pub use self::error::Error;
pub use self::leases::{LeaseKeeper, LeaseState};
pub use self::node::Node;
pub use self::range::Range;
pub use self::session::Session;
pub use self::types::{
    Change, Condition, Event, Freshness, Item, Leader, Lease, LeaseLeft, MemberStatus, NodeStatus,
    Outcome, Put, Standing, Written,
};
pub use self::watch::Watch;

/// The first pause before something is asked again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest: a fraction of the time in which a leader is elected.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How often one call follows a hint at once; nodes that point at each other are given time.
const HOPS_LIMIT: u32 = 2;

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most time that a call takes, with everything it repeats.
    pub deadline: Duration,
    /// How long a node may take to answer what can be asked of another one.
    pub attempt: Duration,
    /// How long a connection may take.
    pub connect: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { deadline: 5 * second, attempt: second, connect: second }
    }
}

/// Speaks to the cluster. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    nodes: Arc<Nodes>,
    options: Options,
}

/// How one call has gone so far.
#[derive(Debug, Default)]
struct Course {
    /// Whether an attempt may have been carried out.
    doubt: bool,
    hops: u32,
    pauses: u32,
    /// What went wrong the last time.
    reason: String,
}

impl Client {
    /// A client of the nodes at these `host:port`; some of the cluster's are enough. It connects
    /// when it is first used.
    ///
    /// # Errors
    ///
    /// There is no address, or one is not a host and a port.
    pub fn new<A: AsRef<str>>(
        connector: Connector,
        endpoints: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, Error> {
        let endpoints: Vec<Arc<str>> = endpoints.into_iter().map(|it| it.as_ref().into()).collect();
        if endpoints.is_empty() {
            return Err(Error::Invalid("no address of a node was given".into()));
        }
        for endpoint in &endpoints {
            check_address(endpoint)?;
        }
        let nodes = Arc::new(Nodes::new(connector, &endpoints, options.connect));
        Ok(Self { nodes, options })
    }

    /// The same client with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { nodes: self.nodes.clone(), options: Options { deadline, ..self.options } }
    }

    /// The addresses that it was given.
    pub fn endpoints(&self) -> Vec<Arc<str>> {
        self.nodes.given()
    }

    /// One node, to be asked about itself.
    ///
    /// # Errors
    ///
    /// The address is not a host and a port.
    pub fn node(&self, address: &str) -> Result<Node, Error> {
        check_address(address)?;
        Ok(Node::new(self.clone(), address.into()))
    }

    /// Who leads, by the word of the first node that knows.
    ///
    /// # Errors
    ///
    /// No node knows before the deadline.
    pub async fn leader(&self) -> Result<Leader, Error> {
        let deadline = self.until();
        let mut course = Course::default();
        loop {
            if Instant::now() >= deadline {
                return Err(course.end());
            }
            match self.ask_who_leads(deadline).await {
                Ok(Some(leader)) => return Ok(leader),
                Ok(None) => course.reason = "no node knows a leader".into(),
                Err(reason) => course.reason = reason,
            }
            self.pause(&mut course, deadline).await;
        }
    }

    /// Sets a key, whatever it has.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Written, Error> {
        always(self.put_if(Put::new(key, value)).await?)
    }

    /// Sets a key as the [`Put`] says.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn put_if(&self, put: Put) -> Result<Outcome, Error> {
        let answer = self.lead(pb::PutRequest::from(put), self.until()).await?;
        Ok(answer.into())
    }

    /// Sets a key if the condition holds.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn compare_and_set(
        &self,
        key: impl Into<Bytes>,
        expected: Condition,
        value: impl Into<Bytes>,
    ) -> Result<Outcome, Error> {
        self.put_if(Put::new(key, value).when(expected)).await
    }

    /// Removes a key, if there is one.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Written, Error> {
        always(self.delete_if(key, Condition::Always).await?)
    }

    /// Removes a key if the condition holds.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn delete_if(
        &self,
        key: impl Into<Bytes>,
        condition: Condition,
    ) -> Result<Outcome, Error> {
        let (key, condition) = (key.into(), condition.into());
        let request = pb::DeleteRequest { key, condition, ordinal: None, route: 0 };
        Ok(self.lead(request, self.until()).await?.into())
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// No node could answer before the deadline.
    pub async fn get(
        &self,
        key: impl Into<Bytes>,
        freshness: Freshness,
    ) -> Result<Option<Item>, Error> {
        let stale = freshness == Freshness::Stale;
        let request = pb::GetRequest { key: key.into(), stale, route: 0 };
        let answer = self.call(request, freshness.whom(), self.until()).await?;
        Ok(answer.item.map(Item::from))
    }

    /// Reads the keys that begin with a prefix, in order; all keys when it is empty.
    pub fn range(&self, prefix: impl Into<Bytes>) -> Range {
        Range::new(self.clone(), prefix.into())
    }

    /// Tells every change of the keys that begin with a prefix: those after a version, or else
    /// those after this call has returned.
    ///
    /// # Errors
    ///
    /// No node could be watched before the deadline, or the history is gone.
    pub async fn watch(
        &self,
        prefix: impl Into<Bytes>,
        after: Option<u64>,
    ) -> Result<Watch, Error> {
        Watch::open(self.clone(), prefix.into(), after).await
    }

    /// A session, in which a command that is sent again is not carried out again. It opens with
    /// its first command.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// Adds a member, to vote once it has caught up, or to stay a learner; of one that is there,
    /// sets the address.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn add_member(
        &self,
        id: u64,
        address: impl Into<String>,
        learner: bool,
    ) -> Result<(), Error> {
        let request = pb::AddMemberRequest { id, address: address.into(), learner, route: 0 };
        self.lead(request, self.until()).await.map(drop)
    }

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn promote_member(&self, id: u64) -> Result<(), Error> {
        let request = pb::PromoteMemberRequest { id, route: 0 };
        self.lead(request, self.until()).await.map(drop)
    }

    /// Removes a member.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn remove_member(&self, id: u64) -> Result<(), Error> {
        let request = pb::RemoveMemberRequest { id, route: 0 };
        self.lead(request, self.until()).await.map(drop)
    }

    /// Hands leadership to a voter, or to the one that is furthest; the node that leads then.
    ///
    /// # Errors
    ///
    /// Says whether it may have been done all the same.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, Error> {
        let request = pb::TransferLeadershipRequest { to, route: 0 };
        Ok(self.lead(request, self.until()).await?.leader)
    }
}

/// How a call is made.
impl Client {
    /// The deadline of a call that begins.
    fn until(&self) -> Instant {
        Instant::now() + self.options.deadline
    }

    /// Has the leader carry it out.
    async fn lead<Q: Ask>(&self, request: Q, deadline: Instant) -> Result<Q::Answer, Error> {
        self.call(request, Whom::Leader, deadline).await
    }

    /// Asks until there is an answer, an error that another attempt would not change, an attempt
    /// that may have been carried out and must not be twice, or no time.
    async fn call<Q: Ask>(
        &self,
        mut request: Q,
        whom: Whom,
        deadline: Instant,
    ) -> Result<Q::Answer, Error> {
        let names = request.names();
        let mut course = Course::default();
        loop {
            let reached = self.nodes.reach(whom, deadline).await;
            let (channel, target) = reached.map_err(|reason| course.end_with(reason))?;
            let forward = target.forward;
            request.route(if forward { pb::Route::Forward } else { pb::Route::Here });
            let repeatable = request.is_repeatable();
            let mut until = deadline;
            if repeatable {
                until = until.min(Instant::now() + self.options.attempt);
            }
            let verdict = match timeout_at(until, request.clone().ask(channel)).await {
                Ok(Ok(answer)) => {
                    self.nodes.served(&target);
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => self.learn(&target, &status, names, &mut course),
                Err(_) => self.no_answer(&target, until < deadline, &mut course),
            };
            if matches!(verdict, Verdict::Broken | Verdict::Doubtful) {
                course.doubt |= !Q::READS;
                if !repeatable {
                    return Err(course.end());
                }
            }
            self.settle(verdict, &mut course, deadline).await?;
            if Instant::now() >= deadline {
                return Err(course.end());
            }
        }
    }

    /// What an attempt says of the node that was asked.
    fn learn(
        &self,
        target: &Target,
        status: &Status,
        names: Names,
        course: &mut Course,
    ) -> Verdict {
        let address = self.nodes.address(target);
        course.reason = format!("{address}: {}", reason(status));
        let verdict = judge(status, names);
        match &verdict {
            Verdict::NotLeader(hint) => {
                course.hops += 1;
                self.nodes.follow(target, hint.as_ref());
            }
            Verdict::Unconnected => {
                self.nodes.broken(target);
                self.nodes.lost(target, &course.reason);
            }
            Verdict::Broken => {
                self.nodes.broken(target);
                self.nodes.doubt(target);
            }
            Verdict::Undone | Verdict::Doubtful => self.nodes.doubt(target),
            Verdict::Busy(_) | Verdict::Final(_) => (),
        }
        verdict
    }

    /// A node that was given the time to answer and did not is not asked for a while.
    fn no_answer(&self, target: &Target, had_its_time: bool, course: &mut Course) -> Verdict {
        course.reason = format!("{}: no answer in time", self.nodes.address(target));
        if had_its_time {
            self.nodes.silent(target, &course.reason);
        } else {
            self.nodes.doubt(target);
        }
        Verdict::Doubtful
    }

    /// Waits as long as the verdict asks for before another attempt.
    async fn settle(
        &self,
        verdict: Verdict,
        course: &mut Course,
        deadline: Instant,
    ) -> Result<(), Error> {
        match verdict {
            Verdict::Final(error) if course.doubt => return Err(error.after_doubt()),
            Verdict::Final(error) => return Err(error),
            Verdict::Busy(delay) => {
                let until = Instant::now() + delay + self.nodes.jittered(SHORTEST_PAUSE);
                sleep_until(until.min(deadline)).await;
            }
            // The node rests: the next attempt goes elsewhere.
            Verdict::Unconnected => (),
            Verdict::NotLeader(Some(_)) if course.hops <= HOPS_LIMIT => (),
            Verdict::NotLeader(_) | Verdict::Undone | Verdict::Broken | Verdict::Doubtful => {
                self.pause(course, deadline).await;
            }
        }
        Ok(())
    }

    /// Pauses, each time longer up to a limit.
    async fn pause(&self, course: &mut Course, deadline: Instant) {
        let pause = SHORTEST_PAUSE * 2_u32.pow(course.pauses.min(10));
        course.pauses += 1;
        let until = Instant::now() + self.nodes.jittered(pause.min(LONGEST_PAUSE));
        sleep_until(until.min(deadline)).await;
    }
}

impl Course {
    /// No answer will come.
    fn end(&mut self) -> Error {
        let reason = std::mem::take(&mut self.reason);
        if self.doubt { Error::Unknown(reason) } else { Error::Unavailable(reason) }
    }

    fn end_with(&mut self, reason: String) -> Error {
        if !reason.is_empty() {
            self.reason = reason;
        }
        self.end()
    }
}

impl Freshness {
    fn whom(self) -> Whom {
        match self {
            Self::Latest => Whom::Leader,
            Self::Spread | Self::Stale => Whom::Anyone,
        }
    }
}

/// What a write without a condition made.
fn always(outcome: Outcome) -> Result<Written, Error> {
    match outcome {
        Outcome::Written(written) => Ok(written),
        Outcome::Unmet(_) => Err(Error::Refused("a condition that nobody set did not hold".into())),
    }
}

/// Whether it is a host and a port.
fn check_address(address: &str) -> Result<(), Error> {
    match is_address(address) {
        true => Ok(()),
        false => {
            Err(Error::Invalid(format!("{address}: not a host and port, such as 127.0.0.1:50071")))
        }
    }
}
