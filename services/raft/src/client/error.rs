//! What becomes of a call: what a status says of the state, and whether to ask again.

use std::fmt;
use std::time::Duration;

use chassis::channel::{Loss, loss};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The reason in an `ErrorInfo` of a node that does not lead.
const NOT_LEADER: &str = "NOT_LEADER";
/// The reason in an `ErrorInfo` when the history asked for is gone.
const COMPACTED: &str = "COMPACTED";
/// The reason in an `ErrorInfo` when a command's answer is not kept any more.
const FORGOTTEN: &str = "FORGOTTEN";
/// The reason in an `ErrorInfo` when there is no such session.
const NO_SESSION: &str = "NO_SESSION";
/// The reason in an `ErrorInfo` when there is no such lease.
const NO_LEASE: &str = "NO_LEASE";

/// Why a call has no answer: what happened to the state, and whether to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing was done, and no node could do it before the deadline. Ask again later.
    Unavailable(String),
    /// It may have been done, or may yet be. Ask again only what may happen twice, or ask in a
    /// [`Session`](super::Session) to begin with.
    Unknown(String),
    /// Nothing was done: the request itself is wrong, and will be next time.
    Invalid(String),
    /// Nothing was done: a limit is reached that does not pass by itself. The store holds as many
    /// bytes as it may, for one; then something must be deleted first.
    Full(String),
    /// Nothing was done: the state of the cluster does not allow it, and the text says why.
    Refused(String),
    /// There is no such lease: it has ended. Nothing was done.
    NoLease(u64),
    /// There is no such session: it was idle for too long, or closed. Whether commands of it that
    /// were not answered were carried out is not known. Open another and look.
    NoSession(u64),
    /// The command was carried out earlier or never will be; its answer is not kept any more. Look
    /// what there is.
    Forgotten,
    /// The history is gone before this version: read everything, and watch from there.
    Compacted {
        /// The earliest version from which one can watch.
        earliest: u64,
    },
}

impl Error {
    /// Whether what was asked may have been carried out all the same.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::NoSession(_) | Self::Forgotten => true,
            Self::Unavailable(_)
            | Self::Invalid(_)
            | Self::Full(_)
            | Self::Refused(_)
            | Self::NoLease(_)
            | Self::Compacted { .. } => false,
        }
    }

    /// What the caller may do about it, to be read after the error.
    pub fn remedy(&self) -> &'static str {
        match self {
            // A node that was reached says it itself.
            Self::Unavailable(text) if text.contains("nothing was done") => "",
            Self::Unavailable(_) => "nothing was done; ask again",
            Self::Unknown(_) => "it may have been carried out; look before asking again",
            Self::NoSession(_) => "open another and look what was carried out",
            Self::Forgotten => "look what there is",
            Self::Compacted { .. } => "read everything, and watch from there",
            // These say it themselves.
            Self::Invalid(_) | Self::Full(_) | Self::Refused(_) | Self::NoLease(_) => "",
        }
    }

    /// The same, of a call that an earlier attempt may have carried out.
    pub(crate) fn after_doubt(self) -> Self {
        match self {
            Self::Unavailable(text)
            | Self::Invalid(text)
            | Self::Full(text)
            | Self::Refused(text) => Self::Unknown(text),
            // These speak of every attempt.
            Self::Unknown(_)
            | Self::NoLease(_)
            | Self::NoSession(_)
            | Self::Forgotten
            | Self::Compacted { .. } => self,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(text) => write!(f, "not available: {text}"),
            Self::Unknown(text) => write!(f, "the outcome is not known: {text}"),
            Self::Invalid(text) | Self::Full(text) | Self::Refused(text) => f.write_str(text),
            Self::NoLease(lease) => write!(f, "there is no lease {lease}"),
            Self::NoSession(session) => write!(f, "there is no session {session}"),
            Self::Forgotten => write!(f, "the answer is not kept any more"),
            Self::Compacted { earliest } => {
                write!(f, "the history before version {earliest} is gone")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What a status says of one attempt.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The node does not lead; nothing was done.
    NotLeader(Option<Hint>),
    /// Nothing was done; another attempt is safe.
    Undone,
    /// Nothing was done, because limits are reached; another attempt is welcome after this time.
    Busy(Duration),
    /// There was no connection to ask on: nothing was done.
    Unconnected,
    /// The connection broke while the answer was awaited: it may have been done.
    Broken,
    /// The node does not know, or did not answer: it may have been done.
    Doubtful,
    /// Another attempt would end the same way.
    Final(Error),
}

/// Who leads, by what a node says that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) id: Option<u64>,
    pub(crate) address: String,
}

/// What a request names that may not be there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names {
    pub(crate) lease: Option<u64>,
    pub(crate) session: Option<u64>,
}

/// What a status says of an attempt whose request has these names in it.
pub(crate) fn judge(status: &Status, names: Names) -> Verdict {
    match loss(status) {
        Some(Loss::Unsent) => return Verdict::Unconnected,
        Some(Loss::Broken | Loss::Late) => return Verdict::Broken,
        None => (),
    }
    let text = || status.message().to_owned();
    match status.code() {
        Code::Unavailable | Code::Aborted => Verdict::Undone,
        Code::ResourceExhausted => match retry_delay(status) {
            Some(delay) => Verdict::Busy(delay),
            None => Verdict::Final(Error::Full(text())),
        },
        Code::FailedPrecondition => refused(status),
        Code::NotFound => Verdict::Final(absent(status, names)),
        Code::OutOfRange => match compacted(status) {
            Some(earliest) => Verdict::Final(Error::Compacted { earliest }),
            None => Verdict::Doubtful,
        },
        Code::InvalidArgument => Verdict::Final(Error::Invalid(text())),
        Code::Unimplemented
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::AlreadyExists => Verdict::Final(Error::Refused(text())),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::DataLoss => Verdict::Doubtful,
    }
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// The reason of an `ErrorInfo`; empty without one.
fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn refused(status: &Status) -> Verdict {
    let Some(mut info) = status.get_details_error_info() else {
        return Verdict::Final(Error::Refused(status.message().to_owned()));
    };
    match info.reason.as_str() {
        NOT_LEADER => {
            let id = info.metadata.get("leader_id").and_then(|id| id.parse().ok());
            let address = info.metadata.remove("leader_address").unwrap_or_default();
            let known = id.is_some() || !address.is_empty();
            Verdict::NotLeader(known.then_some(Hint { id, address }))
        }
        FORGOTTEN => Verdict::Final(Error::Forgotten),
        _ => Verdict::Final(Error::Refused(status.message().to_owned())),
    }
}

fn absent(status: &Status, names: Names) -> Error {
    match (reason(status).as_str(), names.lease, names.session) {
        (NO_LEASE, Some(lease), _) => Error::NoLease(lease),
        (NO_SESSION, _, Some(session)) => Error::NoSession(session),
        // Of two that may be absent, the one whose absence says less.
        (_, _, Some(session)) => Error::NoSession(session),
        (_, Some(lease), None) => Error::NoLease(lease),
        (_, None, None) => Error::Refused(status.message().to_owned()),
    }
}

fn compacted(status: &Status) -> Option<u64> {
    let info = status.get_details_error_info().filter(|info| info.reason == COMPACTED)?;
    info.metadata.get("earliest")?.parse().ok()
}
