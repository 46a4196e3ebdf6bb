//! How a trace reads: one line for an input, an effect or a fault.
//!
//! ```text
//!    12.345 n1 < n2 says Append { .. }
//!    12.345 n1 > persist Term(4)
//!    12.345 n1 > to n2 Appended { .. }
//!    12.400 n2 ! crashed after 1 of 3 effects
//! ```
//!
//! Milliseconds since the driver started, the node, whether it is told (`<`), does (`>`) or
//! suffers (`!`), and what. The simulator writes these lines, and so does a real process at TRACE,
//! so that the one can be read beside the other. Nothing is formatted until a line is displayed.
//!
//! The simulator's clock is the world's, a process's is its own: two processes' traces cannot be
//! merged by these times.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::{Effect, Input, NodeId, Protocol};

/// The line that says what happened to `node`, at `now` since the driver started.
pub fn input<P: Protocol>(now: Duration, node: NodeId, input: &Input<P>) -> impl Display {
    fmt::from_fn(move |f| write!(f, "{} {node} < {input:?}", Milliseconds(now)))
}

/// The line that says what `node` does, at `now` since the driver started.
pub fn effect<P: Protocol>(now: Duration, node: NodeId, effect: &Effect<P>) -> impl Display {
    fmt::from_fn(move |f| write!(f, "{} {node} > {effect:?}", Milliseconds(now)))
}

/// The line that says what was done to `node` from outside, at `now` since the driver started.
pub fn fault(now: Duration, node: NodeId, fault: impl Display) -> impl Display {
    fmt::from_fn(move |f| write!(f, "{} {node} ! {fault}", Milliseconds(now)))
}

/// Right-aligned up to a hundred seconds, with three decimals.
struct Milliseconds(Duration);

impl Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:03}", self.0.as_millis(), self.0.subsec_micros() % 1_000)
    }
}
