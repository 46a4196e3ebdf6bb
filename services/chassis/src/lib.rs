//! What every process needs, so that a role says only what it is for: settings, telemetry, TLS,
//! health, reflection, observation, faults, shutdown, and [`drive()`], which runs a protocol for
//! real.
//!
//! Only this crate reads the environment, installs signal handlers or builds channels.

mod callers;
mod calls;
pub mod channel;
mod drive;
mod faults;
pub mod health;
mod host;
mod intake;
mod link;
mod logs;
mod observe;
mod role;
mod seed;
mod serve;
mod services;
mod settings;
mod shutdown;
pub mod status;
pub mod telemetry;
mod tls;
mod traffic;

pub use self::callers::Callers;
pub use self::drive::{Inbox, Outlet, World, drive};
pub use self::faults::Faults;
pub use self::host::HOST;
pub use self::link::{Link, LinkEvent, Outgoing};
pub use self::observe::Events;
pub use self::role::{Chassis, Role, Start, run, run_role};
pub use self::seed::{secret, seed};
pub use self::services::{Services, time_left};
pub use self::settings::{Common, Environment, LogFormat, Settings, Switch, Variable, resolve};
pub use self::shutdown::Shutdown;
pub use self::tls::Tls;
pub use self::traffic::{Counter, Traffic};
