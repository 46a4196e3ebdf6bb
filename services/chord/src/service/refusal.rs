//! Why something was not done, as a status: its code says whether to ask again.

use std::time::Duration;

use chassis::status::{self, exhausted};
use hashring::Refusal;
use tonic::{Code, Status};

/// When to ask again after limits were reached.
const BUSY_DELAY: Duration = Duration::from_millis(50);

/// A status with a reason that a program can read.
pub(super) fn because(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    facts: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    status::because("ensemble.chord", code, reason, message, facts)
}

/// What a caller is told.
pub(super) fn refused(refusal: Refusal) -> Status {
    let of = |code, reason, message: &str| because(code, reason, message, []);
    match refusal {
        Refusal::Busy => {
            exhausted("as many requests wait as the limits allow; nothing was done", BUSY_DELAY)
        }
        Refusal::Full => of(
            Code::ResourceExhausted,
            "FULL",
            "there is no room where the key belongs: remove keys, add nodes, or start the nodes \
             with more CHORD_STORE_MIB; nothing was done",
        ),
        Refusal::Unready => of(
            Code::Unavailable,
            "UNREADY",
            "this node is no member of the ring yet, or is leaving; nothing was done, ask another",
        ),
        Refusal::Lost => of(
            Code::Unavailable,
            "LOST",
            "no node that is responsible was found in time; nothing was done, ask again",
        ),
        Refusal::Unknown => {
            of(Code::Unknown, "UNKNOWN", "no answer came in time; whether it was done is not known")
        }
    }
}
