//! The console's page in a real browser, before real processes: what its user sees and does.
//!
//! Each test has processes, a console and a Chromium of its own. Where no Chromium is the tests say
//! so and pass, unless `ENSEMBLE_BROWSER=required` is set.

mod breaks;
mod browser;
mod chord;
mod hostile;
mod look;
mod overlay;
mod page;
mod plan;
mod raft;
mod session;
#[path = "../binary/site.rs"]
#[allow(dead_code, reason = "the tests of the binary use the rest")]
mod site;
mod stage;
mod wire;
