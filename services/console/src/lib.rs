//! The console: one page that shows a running cluster think, lets its user act on it and break it,
//! checks its promises, and reads its traces.
//!
//! | file | what it holds |
//! |---|---|
//! | `role` | settings; how the process begins and ends |
//! | `fleet` | watches every process that there is: its health, its view, its events |
//! | `scene` | what is seen, as a value that is told the time: nodes, frames, history |
//! | `limits` | what is kept of a text, and how a number is told so that it stays exact |
//! | `logs` | the last lines that each process has written |
//! | `picture` | the words in which the page is told |
//! | [`promises`] | whether what is seen agrees with what the systems promise |
//! | [`traces`] | the spans that processes send, by the trace they belong to |
//! | `act` | what a user has the cluster do, and how it is broken |
//! | `web` | the page, its modules, and what they ask |
//!
//! It believes nothing that it is told: sizes are bounded, strings are text, and what does not
//! parse is left out.

mod act;
mod fleet;
mod limits;
mod logs;
mod picture;
pub mod promises;
mod role;
mod scene;
pub mod traces;
mod web;

pub use self::role::{CONSOLE, ROLES};
