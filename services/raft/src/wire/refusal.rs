//! Why something was not done.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chassis::status::{Parsed, wrong};
use consensus::Refusal;
use pb::refusal::Reason;
use proto::ensemble::raft::v1 as pb;
use protocols::NodeId;

/// How many texts of refusals are kept for the life of the process, and how long one may be.
const TEXTS_LIMITS: (usize, usize) = (64, 200);

pub(crate) fn encode_refusal(refusal: &Refusal) -> pb::Refusal {
    let of = |reason: Reason| pb::Refusal { reason: reason.into(), ..<_>::default() };
    let about = |reason, member: NodeId| pb::Refusal { member: Some(member.0), ..of(reason) };
    match refusal {
        Refusal::NotLeader(leader) => {
            pb::Refusal { member: leader.map(|leader| leader.0), ..of(Reason::NotLeader) }
        }
        Refusal::Busy => of(Reason::Busy),
        Refusal::Full => of(Reason::Full),
        Refusal::HandingOver => of(Reason::HandingOver),
        Refusal::Overwritten => of(Reason::Overwritten),
        Refusal::Unknown => of(Reason::Unknown),
        Refusal::ChangePending => of(Reason::ChangePending),
        Refusal::NoMember(member) => about(Reason::NoMember, *member),
        Refusal::AlreadyVoter(member) => about(Reason::AlreadyVoter, *member),
        Refusal::Behind(member, count) => {
            pb::Refusal { count: *count, ..about(Reason::Behind, *member) }
        }
        Refusal::LastVoter => of(Reason::LastVoter),
        Refusal::NoHeir => of(Reason::NoHeir),
        Refusal::TooManyMembers => of(Reason::TooManyMembers),
        Refusal::Invalid(field, problem) => pb::Refusal {
            field: (*field).to_owned(),
            problem: (*problem).to_owned(),
            ..of(Reason::Invalid)
        },
    }
}

pub(crate) fn decode_refusal(refusal: &pb::Refusal) -> Parsed<Refusal> {
    let member = || refusal.member.map(NodeId).ok_or_else(|| wrong("member", "missing"));
    Ok(match Reason::try_from(refusal.reason) {
        Ok(Reason::NotLeader) => Refusal::NotLeader(refusal.member.map(NodeId)),
        Ok(Reason::Busy) => Refusal::Busy,
        Ok(Reason::Full) => Refusal::Full,
        Ok(Reason::HandingOver) => Refusal::HandingOver,
        Ok(Reason::Overwritten) => Refusal::Overwritten,
        Ok(Reason::Unknown) => Refusal::Unknown,
        Ok(Reason::ChangePending) => Refusal::ChangePending,
        Ok(Reason::NoMember) => Refusal::NoMember(member()?),
        Ok(Reason::AlreadyVoter) => Refusal::AlreadyVoter(member()?),
        Ok(Reason::Behind) => Refusal::Behind(member()?, refusal.count),
        Ok(Reason::LastVoter) => Refusal::LastVoter,
        Ok(Reason::NoHeir) => Refusal::NoHeir,
        Ok(Reason::TooManyMembers) => Refusal::TooManyMembers,
        Ok(Reason::Invalid) => Refusal::Invalid(
            kept(&refusal.field).unwrap_or("command"),
            kept(&refusal.problem).unwrap_or("contradicts the limits of the leader"),
        ),
        Ok(Reason::Unspecified) | Err(_) => {
            return Err(wrong("reason", format!("{} is none", refusal.reason)));
        }
    })
}

/// Texts that are kept for as long as the process lives. What nodes say are a few constants of
/// theirs; whoever says more than that is not kept.
pub(super) struct Texts(BTreeSet<&'static str>);

impl Texts {
    pub(super) const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// The same text, if it is kept.
    pub(super) fn keep(&mut self, text: &str) -> Option<&'static str> {
        if let Some(kept) = self.0.get(text) {
            return Some(kept);
        }
        let (count, length) = TEXTS_LIMITS;
        if self.0.len() >= count || text.len() > length {
            return None;
        }
        let kept: &'static str = Box::leak(text.into());
        self.0.insert(kept);
        Some(kept)
    }
}

fn kept(text: &str) -> Option<&'static str> {
    static TEXTS: Mutex<Texts> = Mutex::new(Texts::none());
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner).keep(text)
}
