//! Why something was refused, as a status that a program can read too.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a message from outside got wrong: the field and the reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub String, pub String);

/// What was read, or what is wrong with it.
pub type Parsed<T> = Result<T, Wrong>;

/// This field is wrong, for this reason.
pub fn wrong(field: &str, reason: impl Into<String>) -> Wrong {
    Wrong(field.into(), reason.into())
}

impl Wrong {
    /// The same, of a field within `outer`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self(format!("{outer}.{}", self.0), self.1)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

impl From<Wrong> for Status {
    fn from(wrong: Wrong) -> Self {
        let message = wrong.to_string();
        let details = ErrorDetails::with_bad_request_violation(wrong.0, wrong.1);
        Self::with_error_details(Code::InvalidArgument, message, details)
    }
}

/// This field of a request is wrong.
pub fn invalid(field: &str, problem: impl Into<String>) -> Status {
    wrong(field, problem).into()
}

/// A status with a reason that a program can read, in the terms of a domain such as
/// `ensemble.raft`.
pub fn because(
    domain: &str,
    code: Code,
    reason: &str,
    message: impl Into<String>,
    facts: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value));
    let details = ErrorDetails::with_error_info(reason, domain, facts.collect::<HashMap<_, _>>());
    Status::with_error_details(code, message, details)
}

/// Limits are reached; ask again after this time.
pub fn exhausted(message: impl Into<String>, after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(after));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_which_field_is_wrong_and_when_to_ask_again() {
        let status = Status::from(wrong("id", "not in order").within("members[2]"));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "members[2].id: not in order");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        let [violation] = &violations[..] else { panic!("{violations:?}") };
        assert_eq!(violation.field, "members[2].id");
        assert_eq!(violation.description, "not in order");

        let after = Duration::from_millis(50);
        let status = exhausted("full", after);
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "full"));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(after));
    }
}
