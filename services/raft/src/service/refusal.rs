//! Why something was not done, as a status: its code says whether to ask again.

use std::time::Duration;

use chassis::status::{self, exhausted, invalid};
use consensus::{Refusal, Route};
use protocols::NodeId;
use tonic::{Code, Status};

use super::Service;

/// The domain of the reasons.
pub(super) const DOMAIN: &str = "ensemble.raft";
/// When to ask again after limits were reached.
const BUSY_DELAY: Duration = Duration::from_millis(50);

/// A status with a reason that a program can read.
pub(super) fn because(
    code: Code,
    reason: &str,
    message: String,
    facts: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    status::because(DOMAIN, code, reason, message, facts)
}

impl Service {
    /// What a caller is told.
    pub(super) fn refused(&self, refusal: Refusal, route: Route) -> Status {
        let precondition =
            |reason, message: String| because(Code::FailedPrecondition, reason, message, []);
        match refusal {
            Refusal::NotLeader(hint) => self.not_leader(hint, route),
            Refusal::Busy => {
                exhausted("as many requests wait as the limits allow; nothing was done", BUSY_DELAY)
            }
            Refusal::Full => because(
                Code::ResourceExhausted,
                "FULL",
                "the store is full: delete keys, or start the nodes with more RAFT_STORE_MIB; \
                 nothing was done"
                    .into(),
                [],
            ),
            Refusal::HandingOver => because(
                Code::Unavailable,
                "HANDING_OVER",
                "the leader is handing over; nothing was done, ask again".into(),
                [],
            ),
            Refusal::Overwritten => because(
                Code::Aborted,
                "OVERWRITTEN",
                "another leader's entry took its place; nothing was done, ask again".into(),
                [],
            ),
            Refusal::Unknown => because(
                Code::Unknown,
                "UNKNOWN",
                "the leader changed; whether it was done is not known".into(),
                [],
            ),
            Refusal::ChangePending => precondition(
                "CHANGE_PENDING",
                "another change of the members is under way; nothing was done, ask again when it \
                 is finished"
                    .into(),
            ),
            Refusal::NoMember(id) => {
                let message = format!("there is no member {} that could", id.0);
                because(Code::NotFound, "NO_MEMBER", message, [])
            }
            Refusal::AlreadyVoter(id) => {
                precondition("ALREADY_VOTER", format!("member {} votes already", id.0))
            }
            Refusal::Behind(id, lag) => precondition(
                "BEHIND",
                format!("member {} lacks {lag} entries; ask again when it has caught up", id.0),
            ),
            Refusal::LastVoter => {
                precondition("LAST_VOTER", "it is the last voter of the cluster".into())
            }
            Refusal::NoHeir => {
                precondition("NO_HEIR", "no voter could take over; the leader stays".into())
            }
            Refusal::TooManyMembers => precondition(
                "TOO_MANY_MEMBERS",
                format!("{} members are the most", consensus::MEMBERS_LIMIT),
            ),
            Refusal::Invalid(field, problem) => invalid(field, problem),
        }
    }

    fn not_leader(&self, hint: Option<NodeId>, route: Route) -> Status {
        let address = hint.and_then(|leader| self.0.peers.address(leader));
        let mut facts = Vec::new();
        if let Some(leader) = hint {
            facts.push(("leader_id", leader.0.to_string()));
        }
        let message = match &address {
            Some(address) => format!("this node does not lead; ask {address}; nothing was done"),
            None => "there is no leader at the moment; nothing was done, ask again".to_owned(),
        };
        facts.extend(address.map(|address| ("leader_address", address)));
        let code = match route {
            Route::Here => Code::FailedPrecondition,
            Route::Forward => Code::Unavailable,
        };
        because(code, "NOT_LEADER", message, facts)
    }
}
