//! What becomes of a call: what a status says of the state, and whether to ask again.

use std::fmt;
use std::time::Duration;

use chassis::channel::{Loss, loss, reason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The reason in an `ErrorInfo` when another live process has the address.
const ADDRESS_TAKEN: &str = "ADDRESS_TAKEN";
/// The reason in an `ErrorInfo` when another address has the id.
const ID_TAKEN: &str = "ID_TAKEN";

/// Why a call has no answer: what happened to the state, and whether to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing was done, and nobody could do it before the deadline. Ask again later.
    Unavailable(String),
    /// It may have been done, or may yet be. Look what the key holds before asking again.
    Unknown(String),
    /// Nothing was done: the request itself is wrong, and will be next time.
    Invalid(String),
    /// Nothing was done: there is no room for the key where it belongs, or no id for the node.
    /// That does not pass by itself: something must be removed first, or somebody leave.
    Full(String),
    /// Nothing was done: another live process has the address. Give this one another.
    AddressTaken(String),
    /// Nothing was done: another address has the id. Ask for another, or for any.
    IdTaken(String),
    /// Nothing was done: there is no such node. Register it first.
    NoNode(String),
    /// Nothing was done: who was asked does not do that, and the text says why.
    Refused(String),
}

impl Error {
    /// Whether what was asked may have been done all the same.
    pub fn may_have_been_done(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// What the caller may do about it, to be read after the error.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "nothing was done; ask again",
            Self::Unknown(_) => "it may have been done; look before asking again",
            Self::Full(_) => "nothing was done; remove something first",
            Self::AddressTaken(_) => "give this node another address, or end the other",
            Self::IdTaken(_) => "ask for another id",
            Self::NoNode(_) => "register it first",
            // These say it themselves.
            Self::Invalid(_) | Self::Refused(_) => "",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(text) => write!(f, "not available: {text}"),
            Self::Unknown(text) => write!(f, "the outcome is not known: {text}"),
            Self::Invalid(text)
            | Self::Full(text)
            | Self::AddressTaken(text)
            | Self::IdTaken(text)
            | Self::NoNode(text)
            | Self::Refused(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Why one attempt has no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Who was asked, and what went wrong.
    pub(crate) reason: String,
    pub(crate) verdict: Verdict,
}

/// What one attempt that failed says.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing was done; another attempt is safe.
    Undone,
    /// Nothing was done, because too much waits; another attempt is welcome after this time.
    Busy(Duration),
    /// It may have been done.
    Doubtful,
    /// Another attempt would end the same way.
    Final(Error),
}

impl Failure {
    /// What the caller is told of an attempt after which there is no other.
    pub(crate) fn end(self, reads: bool) -> Error {
        match self.verdict {
            Verdict::Final(error) => error,
            Verdict::Doubtful if !reads => Error::Unknown(self.reason),
            Verdict::Doubtful | Verdict::Undone | Verdict::Busy(_) => {
                Error::Unavailable(self.reason)
            }
        }
    }

    /// What a status says of an attempt at this address.
    pub(crate) fn of(status: &Status, address: &str) -> Self {
        Self { reason: format!("{address}: {}", reason(status)), verdict: judge(status) }
    }
}

fn judge(status: &Status) -> Verdict {
    match loss(status) {
        Some(Loss::Unsent) => return Verdict::Undone,
        Some(Loss::Broken | Loss::Late) => return Verdict::Doubtful,
        None => (),
    }
    let text = || status.message().to_owned();
    match status.code() {
        Code::Unavailable => Verdict::Undone,
        Code::ResourceExhausted => match retry_delay(status) {
            Some(delay) => Verdict::Busy(delay),
            None => Verdict::Final(Error::Full(text())),
        },
        Code::InvalidArgument => Verdict::Final(Error::Invalid(text())),
        Code::NotFound => Verdict::Final(Error::NoNode(text())),
        Code::AlreadyExists => Verdict::Final(taken(status)),
        // A server that serves something else says only that, and not what it was asked.
        Code::Unimplemented if status.message().is_empty() => {
            Verdict::Final(Error::Refused("it does not serve what it was asked for".into()))
        }
        Code::Unimplemented
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated => Verdict::Final(Error::Refused(text())),
        Code::Ok
        | Code::Aborted
        | Code::Cancelled
        | Code::DataLoss
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::OutOfRange
        | Code::Unknown => Verdict::Doubtful,
    }
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

fn taken(status: &Status) -> Error {
    let reason = status.get_details_error_info().map(|info| info.reason);
    let text = status.message().to_owned();
    match reason.as_deref() {
        Some(ADDRESS_TAKEN) => Error::AddressTaken(text),
        Some(ID_TAKEN) => Error::IdTaken(text),
        Some(_) | None => Error::Refused(text),
    }
}
